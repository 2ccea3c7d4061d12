"""The files of a component's weights, judged by their headers before gigabytes are read."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pleinair.checks import shown_path, shown_value, wholes
from pleinair.errors import ExportError
from pleinair.sources.pickled import is_pickle, pickle_refused
from pleinair.system import safetensors
from pleinair.system.files import read_json
from pleinair.system.safetensors import Header

DOWNLOAD = "download the model again"
COUNTED = ("I64", "I32", "BOOL")  # kinds of position ids and the like
VARIANTS = (None, "fp16", "bf16")  # in the order in which they are preferred; others stand behind them
SAFE, PICKLED = "safetensors", "bin"  # suffixes
STEMS_PICKLED = {"model": "pytorch_model"}  # stem of safetensors -> that of pickles, where it is another
VARIANT = r"(?:\.([A-Za-z]\w*))?"
SHARD = r"-\d+-of-\d+\.safetensors"
INDEX = 1 << 24  # bytes: the largest index of shards


def check_weights(folder: Path, stem: str, pickles: bool = False) -> tuple[str | None, int]:
    """(variant, number of parameters) of a component's weights; raises ExportError: none, or truncated."""
    variant, files = weight_files(folder, stem, pickles)
    return variant, sum(map(count_parameters, files))


def weight_files(folder: Path, stem: str, pickles: bool = False) -> tuple[str | None, list[Path]]:
    """(variant, files) of a component's safetensors, or where there are none and `pickles` are allowed, its .bin.

    Raises ExportError where there are neither.
    """
    names, where = [each.name for each in folder.iterdir()] if folder.is_dir() else [], shown_path(folder)
    there = sets_of(stem, names)
    if not there:
        there = pickled_sets_of(stem, names)
        if there and not pickles:
            raise pickle_refused(f"'{where}' has no {stem}.safetensors but a pickle, which")
    if not there and any(re.fullmatch(rf"{stem}{VARIANT}{SHARD}", name) for name in names):
        raise ExportError(f"'{where}' has its weights in parts and no {stem}.safetensors.index.json; get that too")
    if not there:
        raise ExportError(f"'{where}' has no {stem}.safetensors; {DOWNLOAD}, with its .safetensors files")
    variant = first_of(there, VARIANTS)
    name = there[variant]
    return variant, [folder / each for each in (sorted(shards(folder / name)) if is_index(name) else [name])]


def sets_of(stem: str, names: Iterable[str], suffix: str = SAFE) -> dict[str | None, str]:
    """The sets of weights among a folder's files: variant, None for none -> one file, or the index of many.

    The variant stands in one of three places, by the tool and its version: model.fp16.safetensors,
    model.safetensors.index.fp16.json, model.fp16.safetensors.index.json.
    """
    found: dict[str | None, str] = {}
    pattern = re.compile(rf"{VARIANT}\.{suffix}(?:{VARIANT}\.index{VARIANT}\.json)?")
    for name in sorted(names, key=is_index):
        place = name.startswith(stem) and pattern.fullmatch(name[len(stem) :])
        if place:
            found.setdefault(next(filter(None, place.groups()), None), name)
    return found


def pickled_sets_of(stem: str, names: Iterable[str]) -> dict[str | None, str]:
    """The same of pickles, `stem` being that of the safetensors."""
    return sets_of(STEMS_PICKLED.get(stem, stem), names, PICKLED)


def is_index(name: str) -> bool:
    """Whether a file of weights is the index of several."""
    return name.endswith(".json")


def first_of(there: Mapping[str | None, str], order: Sequence[str | None]) -> str | None:
    """The variant to take: by the order, then by the alphabet."""
    others = sorted(variant for variant in there if variant is not None)
    return next((variant for variant in (*order, *others) if variant in there), None)


def stored_kind(folder: Path, stem: str) -> str:
    """What safetensors calls the numbers that a component's weights are; "F32" where there are several kinds."""
    _, files = weight_files(folder, stem)
    kinds = {str(entry.get("dtype")) for file in files for entry in read_header(file).tensors.values()} - set(COUNTED)
    return kinds.pop() if len(kinds) == 1 else "F32"


def shards(index: Path) -> set[str]:
    """The files that an index of shards names, all beside it; ExportError for names that lead elsewhere."""
    table = read_json(index, INDEX, ExportError, DOWNLOAD).get("weight_map")
    if not isinstance(table, dict) or not table:
        raise ExportError(f"'{shown_path(index)}' has no weight_map; {DOWNLOAD}")
    for name in table.values():
        if not isinstance(name, str) or not re.fullmatch(r"[\w.+-]{1,200}\.(safetensors|bin)", name):
            raise ExportError(
                f"'{shown_path(index)}' names {shown_value(name)}, which is not a file beside it; {DOWNLOAD}"
            )
    return set(table.values())


def count_parameters(file: Path) -> int:
    """Numbers stored in a file of weights, from its header; raises ExportError when the file is cut short."""
    if is_pickle(file):
        from pleinair.sources.torch_files import read_torch_file  # whose imports nothing else needs

        return sum(math.prod(tensor.shape) for tensor in read_torch_file(file).tensors.values())
    tensors, _, data, size = read_header(file)
    where = shown_path(file)
    try:
        end = max((entry["data_offsets"][1] for entry in tensors.values()), default=-1)
        shapes = [entry["shape"] for entry in tensors.values()]
        count = sum(math.prod(shape) for shape in shapes if len(shape) < 9 and wholes(shape, size))
    except (KeyError, TypeError, IndexError):
        raise ExportError(f"'{where}' is not a safetensors file (what it lists has no shapes); {DOWNLOAD}") from None
    if data != end or not 0 < count <= 2 * size:  # two numbers to a byte at most
        raise ExportError(f"'{where}' is damaged or cut short ({size} bytes); {DOWNLOAD}")
    return count


def read_header(file: Path) -> Header:
    """The header of a safetensors file, read once; raises ExportError for a file of another kind, or a damaged one."""
    return safetensors.read_safetensors_header(file, ExportError, DOWNLOAD)
