"""The safetensors format: a header that lists tensors by name, judged before anything it lists is read."""

import json
import stat
from functools import cache
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pleinair.checks import one_line, shown_path, shown_value
from pleinair.errors import PleinairError
from pleinair.system.mistaken import HEAD, check_mistaken
from pleinair.system.on_disk import OnDisk

STORED: dict[str, np.dtype] = {  # what safetensors calls a kind of number -> what its bytes are read as
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(np.uint16),
    "F8_E4M3": np.dtype(np.uint8),
    "F8_E5M2": np.dtype(np.uint8),
}
HEADER = 1 << 24  # bytes: the largest header
MOST_AXES = 8
LONGEST_SIDE = 1 << 48


class Header(NamedTuple):
    """What a safetensors file begins with: tensors by name, what it says of itself; bytes behind that, and of all."""

    tensors: dict[str, dict[str, Any]]
    metadata: dict[str, str]
    data: int
    size: int


class Stored(NamedTuple):
    """A tensor as a file has it: its kind, and its bytes in their shape."""

    kind: str
    raw: np.ndarray | OnDisk


def read_safetensors_header(file: Path, raises: type[PleinairError], remedy: str) -> Header:
    """The header of a safetensors file, read once; `raises` for a file of another kind, or a damaged one."""
    where, head = shown_path(file), b""
    try:
        facts = file.stat()
        if not stat.S_ISREG(facts.st_mode):
            raise raises(f"'{where}' is not an ordinary file; {remedy}")
        with file.open("rb") as stream:
            head = stream.read(HEAD)
            stream.seek(8)
            length = int.from_bytes(head[:8], "little")
            if not length <= min(HEADER, facts.st_size - 8):
                check_mistaken(file, raises, head)
                raise raises(f"'{where}' is damaged or cut short ({facts.st_size} bytes); {remedy}")
            header = json.loads(stream.read(length), object_pairs_hook=unrepeated)
    except FileNotFoundError:
        raise raises(f"'{where}' is missing; {remedy}") from None
    except OSError as error:
        raise raises(f"'{where}' cannot be read ({one_line(error.strerror, 80)}); {remedy}") from None
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        check_mistaken(file, raises, head)
        raise raises(f"'{where}' is not a safetensors file (it does not begin with a list of weights); {remedy}")
    said = header.pop("__metadata__", None)
    said = {key: text for key, text in said.items() if isinstance(text, str)} if isinstance(said, dict) else {}
    return Header(header, said, facts.st_size - 8 - length, facts.st_size)


def unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; ValueError for one that names a thing twice, of which nobody can say which is meant."""
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("named twice")
    return made


def check_entry(where: str, name: str, entry: Any, raises: type[PleinairError], remedy: str) -> tuple[int, int]:
    """Where the bytes of a header's entry begin and end, behind the header; `raises` where they cannot be so."""
    try:
        kind, shape, (first, last) = entry["dtype"], entry["shape"], entry["data_offsets"]
        counts = all(type(side) is int and 0 <= side <= LONGEST_SIDE for side in shape) and len(shape) <= MOST_AXES
        fits = type(first) is int and type(last) is int and 0 <= first <= last and counts
        if fits and kind in STORED:
            fits = last - first == prod(shape) * STORED[kind].itemsize
    except (TypeError, KeyError, ValueError):
        fits = False
    if not fits:
        raise raises(f"'{where}' has an impossible {shown_value(name)} in its header; {remedy}")
    return first, last


def widened(kind: str, raw: np.ndarray | OnDisk) -> np.ndarray:
    """Numbers of a kind as float16, where they are that, else as float32."""
    raw = np.asarray(raw)
    if kind == "BF16":
        return (raw.astype(np.uint32) << np.uint32(16)).view(np.float32)
    if kind == "F8_E5M2":  # the upper half of a float16
        return (raw.astype(np.uint16) << np.uint16(8)).view(np.float16)
    if kind == "F8_E4M3":
        return eighths()[raw]
    return raw if raw.dtype == np.float16 else raw.astype(np.float32, copy=False)


@cache
def eighths() -> np.ndarray:
    """The 256 numbers of F8_E4M3: a sign, four bits of exponent, three of fraction, and no infinity."""
    codes = np.arange(256)
    exponent, fraction = codes >> 3 & 15, codes & 7
    size = np.where(exponent, (8 + fraction) * 2.0 ** (exponent - 10), fraction * 2.0**-9)
    size[codes & 127 == 127] = np.nan
    return np.where(codes < 128, size, -size).astype(np.float32)
