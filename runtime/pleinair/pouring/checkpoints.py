"""The tensors of safetensors files and of torch's pickles, which stay on the disk until rows of them are asked for."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise, repeat
from math import prod
from pathlib import Path

import numpy as np

from pleinair.checks import one_line, shown_path
from pleinair.errors import ExportError
from pleinair.pouring.scales import LAYOUT, LAYOUTS, check_layouts, scales_in, spread
from pleinair.sources.pickled import is_pickle
from pleinair.sources.torch_files import Tensor, read_torch_file
from pleinair.sources.weight_files import DOWNLOAD, read_header
from pleinair.system.mistaken import check_mistaken
from pleinair.system.on_disk import FileInUse, OnDisk, Shape, read, row_strides
from pleinair.system.safetensors import STORED, Stored, check_entry, widened

NARROW = ("F8_E4M3", "F8_E5M2")  # of so few digits that a picture shows it
MOST = 1 << 14  # tensors of a file; the largest models have some 3000, with scales for each thrice that
LONGEST = 1 << 16  # bytes of what a layer says of itself


class Checkpoint(Mapping[str, Stored]):
    """The tensors of one file of weights or of all shards, which stay open.

    A name begins with the prefix of its file. `shapes` are those of the tensors whose numbers can be weights, `others`
    the names of all others, `kinds` what safetensors calls the numbers of both; `pickles` are the files that are some,
    by name, each with what else it names. A tensor with a scale beside it is multiplied by that. Raises ExportError for
    files that are damaged, cut short or of another kind.
    """

    def __init__(self, files: Iterable[Path], prefixes: Iterable[str] = repeat("")) -> None:
        self.metadata: dict[str, str] = {}
        self.shapes: dict[str, Shape] = {}
        self.kinds: dict[str, str] = {}
        self.others: set[str] = set()
        self.pickles: dict[str, tuple[str, ...]] = {}
        self._places: dict[str, tuple[FileInUse, Tensor]] = {}
        self._scales: dict[str, str] = {}
        for file, prefix in zip(files, prefixes, strict=False):
            self._add(file, prefix)
            where = one_line(file.name, 80)
        self._find_scales(where)

    def _add(self, file: Path, prefix: str) -> None:
        tensors = self._unpickled(file) if is_pickle(file) else self._listed(file)
        if len(tensors) > MOST:
            raise ExportError(
                f"'{shown_path(file)}' has {len(tensors):,} tensors, more than any model that can"
                " be poured; choose the file of a model"
            )
        try:
            stream = FileInUse(file, ExportError)
        except OSError as error:
            where = shown_path(file)
            raise ExportError(f"cannot read '{where}' ({one_line(error, 80)}); check the file") from None
        for own, tensor in tensors.items():
            name = prefix + own
            self.kinds[name], self._places[name] = tensor.kind, (stream, tensor)
            if tensor.kind in STORED and prod(tensor.shape) and tensor.shape:
                self.shapes[name] = tensor.shape
            else:
                self.others.add(name)

    def _unpickled(self, file: Path) -> dict[str, Tensor]:
        found = read_torch_file(file)
        self.pickles[file.name] = found.named
        return found.tensors

    def _listed(self, file: Path) -> dict[str, Tensor]:
        """Those of a safetensors file."""
        tensors, said, data, size = read_header(file)
        self.metadata |= said
        where = shown_path(file)
        places = sorted(check_entry(where, name, entry, ExportError, DOWNLOAD) for name, entry in tensors.items())
        if not places or max(last for _, last in places) != data:
            check_mistaken(file, ExportError)
            raise ExportError(f"'{where}' is damaged or cut short ({size} bytes); {DOWNLOAD}")
        if any(first < last for (_, last), (first, _) in pairwise(places)):
            raise ExportError(f"'{where}' has weights that overlap; {DOWNLOAD}")
        return {
            name: Tensor(entry["dtype"], tuple(entry["shape"]), size - data + entry["data_offsets"][0])
            for name, entry in tensors.items()
        }

    def _find_scales(self, where: str) -> None:
        places = {name: tensor for name, (_, tensor) in self._places.items()}
        self._scales = scales_in({name: tensor.shape for name, tensor in places.items()}, self.kinds, where)
        said = [self.content(name) for name in places if name.endswith(LAYOUT)]
        check_layouts(said + [self.metadata[LAYOUTS]] if LAYOUTS in self.metadata else said, where)

    def __getitem__(self, name: str) -> Stored:
        stored = self.stored(name)
        if name not in self._scales:
            return stored
        scale = widened(*self.stored(self._scales[name])).astype(np.float32)
        product = widened(*stored).astype(np.float32, copy=False)  # of numbers that were just read
        product *= spread(scale, stored.raw.shape)
        return Stored("F32", product)

    @property
    def scaled(self) -> bool:
        """Whether there are weights with a scale."""
        return bool(self._scales)

    def stored(self, name: str) -> Stored:
        """A tensor as the file has it, without its scale."""
        file, (kind, shape, start, strides) = self._places[name]
        plain = strides in (None, row_strides(shape, STORED[kind].itemsize))
        return Stored(kind, OnDisk(file, STORED[kind], shape, start, None if plain else strides))

    def content(self, name: str) -> bytes:
        """The first bytes of a tensor of single bytes."""
        file, tensor = self._places[name]
        return read(file, tensor.start, min(prod(tensor.shape), LONGEST)).tobytes()

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)
