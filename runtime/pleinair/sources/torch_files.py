"""Files that torch.save wrote (.ckpt, .pt, .pth, .bin): where their tensors lie, told without PyTorch.

Since PyTorch 1.6 they are archives of `data.pkl` and, uncompressed, of one member for each storage; before, they were
pickles in a row, with the storages behind them. Of a pickle only the description is read (`system/pickles.py`).
"""

import io
import stat
import zipfile
from collections.abc import Mapping
from math import prod
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from pleinair.checks import one_line
from pleinair.errors import ExportError
from pleinair.sources.pickled import ZIP
from pleinair.sources.torch_pickles import View, kinds_of, views, weights_of
from pleinair.system.pickles import Pickled, read_pickle

LARGEST, LIST = 1 << 26, 1 << 22  # bytes of a pickle, and of an archive's list of some 50 000 members, that are read
MAGIC, LITTLE = 0x1950A86A20F9469CFC6C, "little_endian"
GAPS = 1 << 28  # bytes between the numbers of a tensor, which are read with them
LOCAL = 30  # bytes of the header of an archive's member, with the lengths of what follows at 26 and 28
SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "I64": 8, "I32": 4, "I16": 2, "I8": 1,
         "U8": 1, "BOOL": 1}  # fmt: skip
USUAL = ("torch.", "collections.OrderedDict", "numpy.", "_codecs.encode")  # names of tensors and numbers


class Tensor(NamedTuple):
    """Where a tensor lies in a file: its kind of number, as safetensors has them, its first byte, and its strides
    where rows do not follow each other.
    """

    kind: str
    shape: tuple[int, ...]
    start: int
    strides: tuple[int, ...] | None = None  # bytes


class Storage(NamedTuple):
    """Numbers that tensors are views of: their first byte in the file, and how many bytes."""

    start: int
    size: int


class TorchFile(NamedTuple):
    """The tensors by name, and what else the pickle names, of which nothing is made."""

    tensors: dict[str, Tensor]
    named: tuple[str, ...]


class Brief(io.FileIO):
    """A file of which no more than `most` bytes are read at once, whatever it says of itself."""

    def __init__(self, file: str | Path, most: int = LARGEST) -> None:
        super().__init__(file)
        self.most = most

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not size <= self.most:
            raise ValueError("a list in it is too long")
        return super().read(self.most if size < 0 else size)


def read_torch_file(file: Path) -> TorchFile:
    """Raises ExportError for what is damaged, of another kind, or holds no tensors by name."""
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            raise ValueError("it is not an ordinary file")
        with Brief(file) as stream:
            read = in_archive if stream.read(len(ZIP)) == ZIP else in_row
            pickled, storages = read(stream, file.stat().st_size)
        named = tuple(sorted(name for name in pickled.names if not name.startswith(USUAL)))
        return TorchFile(tensors_of(pickled, storages), named)
    except (zipfile.BadZipFile, NotImplementedError):
        why = "it is damaged or cut short"
    except (OSError, ValueError) as error:
        why = one_line(getattr(error, "strerror", None) or error, 120)
    where = one_line(file.name, 80)
    raise ExportError(f"cannot read '{where}' as weights alone ({why}); download the model again, as .safetensors")


def in_archive(stream: Brief, size: int) -> tuple[Pickled, dict[str, Storage]]:
    """The pickle of an archive, and its storages by key."""
    with Brief(stream.name, LIST) as brief, zipfile.ZipFile(brief) as archive:
        members = {each.filename: each for each in archive.infolist()}
    (whole, *others) = [name for name in members if PurePosixPath(name).name == "data.pkl"] or [None]
    if whole is None or others:
        raise ValueError("it is an archive of other things")
    root = whole.removesuffix("data.pkl")
    order = members.get(f"{root}byteorder")
    if order and content(stream, order, size) != b"little":
        raise ValueError("its numbers are of another byte order")
    pickled = read_pickle(io.BytesIO(content(stream, members[whole], size)))
    storages = {}
    for key in kinds_of(pickled.elsewhere):
        if member := members.get(f"{root}data/{key}"):
            storages[key] = Storage(beginning(stream, member, size), member.file_size)
    return pickled, storages


def beginning(stream: Brief, member: zipfile.ZipInfo, size: int) -> int:
    """The first byte of an archive's member, which is there as it is."""
    stream.seek(member.header_offset)
    head = stream.read(LOCAL)
    first = member.header_offset + LOCAL + sum(int.from_bytes(head[at : at + 2], "little") for at in (26, 28))
    stored = member.compress_type == zipfile.ZIP_STORED and not member.flag_bits & 1
    if not head.startswith(ZIP) or not stored or member.compress_size != member.file_size:
        raise ValueError("it is compressed or encrypted")
    if first + member.file_size > size:
        raise ValueError("it is cut short")
    return first


def content(stream: Brief, member: zipfile.ZipInfo, size: int) -> bytes:
    first = beginning(stream, member, size)
    stream.seek(first)
    return stream.read(member.file_size)


def in_row(stream: Brief, size: int) -> tuple[Pickled, dict[str, Storage]]:
    """The pickle of a file of before PyTorch 1.6, and its storages by key."""
    stream.seek(0)
    head = io.BytesIO(stream.read(LARGEST))
    if read_pickle(head).value != MAGIC:
        raise ValueError("torch.save has not written it")
    read_pickle(head)  # the version
    system = read_pickle(head).value
    if not isinstance(system, dict) or system.get(LITTLE) is not True:
        raise ValueError("its numbers are of another byte order")
    pickled, keys = read_pickle(head), read_pickle(head).value
    kinds, at, storages = kinds_of(pickled.elsewhere), head.tell(), {}
    for key in keys if isinstance(keys, list) else ():
        if not isinstance(key, str) or key not in kinds:
            raise ValueError("it has numbers of an unknown kind")
        stream.seek(at)
        length = int.from_bytes(stream.read(8), "little") * SIZES[kinds[key]]
        storages[key] = Storage(at + 8, length)
        at += 8 + length
        if at > size:
            raise ValueError("it is cut short")
    return pickled, storages


def tensors_of(pickled: Pickled, storages: Mapping[str, Storage]) -> dict[str, Tensor]:
    """The tensors of the dictionary that holds a model's weights; raises ValueError where there is none."""
    found = {name: placed(name, view, storages) for name, view in views(weights_of(pickled.value)).items()}
    if not found:
        raise ValueError("it holds no weights by name")
    return found


def placed(name: str, view: View, storages: Mapping[str, Storage]) -> Tensor:
    """A tensor in the file; raises ValueError for one that is larger than its storage, or not in it."""
    storage, size, count = storages.get(view.key, Storage(0, 0)), SIZES[view.kind], prod(view.shape)
    last = view.offset + sum((side - 1) * stride for side, stride in zip(view.shape, view.strides, strict=True))
    if count and max(last + 1, count) * size > storage.size:
        raise ValueError(f"its '{one_line(name, 60)}' is not all there")
    if (last + 1 - view.offset - count) * size > GAPS:
        raise ValueError(f"its '{one_line(name, 60)}' is scattered in it")
    strides = tuple(stride * size for stride in view.strides)
    return Tensor(view.kind, view.shape, storage.start + view.offset * size, strides)
