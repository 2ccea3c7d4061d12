"""Some of the arrays of a safetensors file, read without torch.

The files come from strangers. Nothing in them is run, and their header is believed only where the sizes agree.
"""

import json
import math
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np

from pleinair.checks import one_line, shown_path
from pleinair.errors import RequestError
from pleinair.system.files import read_part, regular_file

LARGEST = 64 << 20  # bytes of what is read; 75 vectors for both encoders of SDXL are 0.6 MB
LARGEST_HEADER = 16 << 20
KINDS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl")
CHECK = "check the path: a textual inversion is a small .safetensors file"

Entries = dict[str, Any]
Chosen = Callable[[Collection[str]], Collection[str]]  # names of all arrays -> those that are read


def every(names: Collection[str]) -> Collection[str]:
    """All of them."""
    return names


def read_safetensors(file: Path, chosen: Chosen = every) -> dict[str, np.ndarray]:
    """The floating-point arrays of a safetensors file that are `chosen` as float32 or wider.

    Raises RequestError for files that are absent, pickled, or whose header and size do not agree, and for arrays that
    are too large.
    """
    if file.suffix.lower() in PICKLES:
        raise RequestError(
            f"'{file.name}' is a PyTorch file, which can run any code when it is opened; convert it to .safetensors"
            " where you trust it (safetensors.torch.save_file), or download the .safetensors form"
        )
    with regular_file(file, RequestError, CHECK) as (descriptor, size):
        try:
            start, entries = _header(descriptor, size)
            wanted = chosen(entries)
            if sum(_bytes(entries[name]) for name in wanted) > LARGEST:
                raise RequestError(f"'{shown_path(file)}' is too large to be a textual inversion; {CHECK}")
            other = sorted({entries[name]["dtype"] for name in wanted} - {*KINDS})
            if other:
                kinds = one_line(", ".join(other), 60)
                raise RequestError(
                    f"'{file.name}' has numbers of a kind that is not read, {kinds}; download it again, in F16 or F32"
                )
            return {name: _array(descriptor, start, entries[name]) for name in wanted}
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise RequestError(
                f"'{file.name}' is not a safetensors file, or is damaged ({str(error)[:80]}); download it again"
            ) from None


def _header(descriptor: int, size: int) -> tuple[int, Entries]:
    """Where the arrays begin, and what the header says of each: they lie there without gaps or overlaps."""
    length = int.from_bytes(read_part(descriptor, 0, 8), "little")
    if not 2 <= length <= min(LARGEST_HEADER, size - 8):
        raise ValueError("header length")
    header = json.loads(read_part(descriptor, 8, length), object_pairs_hook=_without_repeats)
    header.pop("__metadata__", None)
    end = 0
    for entry in sorted(header.values(), key=lambda each: each["data_offsets"]):
        kind, shape, (start, stop) = entry["dtype"], entry["shape"], entry["data_offsets"]
        if not isinstance(shape, list) or not all(type(side) is int and side >= 0 for side in (*shape, start, stop)):
            raise ValueError("shapes")
        if start != end or stop > size - 8 - length or len(shape) > 8:
            raise ValueError("offsets")
        if not isinstance(kind, str):
            raise ValueError(f"numbers of type {str(kind)[:10]}")
        if kind in KINDS and stop - start != math.prod(shape) * np.dtype(KINDS[kind]).itemsize:
            raise ValueError("sizes")
        end = stop
    if end != size - 8 - length:
        raise ValueError("trailing bytes")
    return 8 + length, header


def _bytes(entry: Entries) -> int:
    start, stop = entry["data_offsets"]
    return stop - start


def _array(descriptor: int, start: int, entry: Entries) -> np.ndarray:
    kind, (first, _) = entry["dtype"], entry["data_offsets"]
    numbers = np.frombuffer(read_part(descriptor, start + first, _bytes(entry)), KINDS[kind]).reshape(entry["shape"])
    return (numbers.astype(np.uint32) << 16).view(np.float32) if kind == "BF16" else numbers


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    entries = dict(pairs)
    if len(entries) != len(pairs):
        raise ValueError("a key twice")
    return entries
