"""How a parameter lies in the files of a graph: as it is, halved, or in 8 bits with a scale for each row."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod

import numpy as np

from pleinair.errors import ExportError
from pleinair.system.on_disk import Shape
from pleinair.system.safetensors import Stored, widened

EPS = np.finfo(np.float32).eps
LARGEST_HALF = np.finfo(np.float16).max
HALF_EXPONENT = np.uint16(0x7C00)  # of numbers that are not finite all its bits are set
PIECE = 1 << 18  # numbers that are worked on at a time: a megabyte, which stays in the cache


@dataclass(frozen=True)
class Form:
    """What is written of a parameter's rows (first axis, all others): `size` bytes a number, or a row where `scale`."""

    made: Callable[[np.ndarray], np.ndarray]
    size: int
    scale: bool = False


def single(rows: np.ndarray) -> np.ndarray:
    return rows.astype(np.float32, copy=False)


def half(rows: np.ndarray) -> np.ndarray:
    """The export leaves a parameter beyond float16's range as it is, in another graph: there is no form for that."""
    if rows.dtype != np.float16 and np.abs(rows).max(initial=0) > LARGEST_HALF:
        words = "is too large a number for 16 bits; pour with --weights fp32 or int8"
        raise ExportError(words, option="--weights fp32")
    return rows.astype(np.float16, copy=False)


def onnx_scale(rows: np.ndarray) -> np.ndarray:
    """As pleinair_export.quantize does: the largest of a row becomes 127."""
    scale = np.abs(rows).max(axis=1, keepdims=True) / np.float32(127)
    scale[scale == 0] = 1
    return scale


def onnx_int8(rows: np.ndarray) -> np.ndarray:
    return np.rint(rows / onnx_scale(rows)).astype(np.int8)


def exact_nncf_scale(rows: np.ndarray) -> np.ndarray:
    """As NNCF's INT8_SYM: the largest of a row, of either sign, becomes -128."""
    low, high = np.abs(rows.min(axis=1, keepdims=True)), rows.max(axis=1, keepdims=True)
    scale = np.where(low >= high, low, -high) / np.float32(128)
    return np.where(np.abs(scale) < EPS, EPS, scale)


def nncf_scale(rows: np.ndarray) -> np.ndarray:
    return exact_nncf_scale(rows).astype(np.float16)


def nncf_int8(rows: np.ndarray) -> np.ndarray:
    """Rounded with the exact scale, though the stored one has 16 bits."""
    return np.rint(rows / exact_nncf_scale(rows)).clip(-128, 127).astype(np.int8)


FORMS = {
    "f32": Form(single, 4),
    "f16": Form(half, 2),
    "onnx_int8": Form(onnx_int8, 1),
    "onnx_scale": Form(onnx_scale, 4, scale=True),
    "nncf_int8": Form(nncf_int8, 1),
    "nncf_scale": Form(nncf_scale, 2, scale=True),
}


def size_of(shape: Shape, form: str) -> int:
    """Bytes that a parameter takes in a form."""
    return FORMS[form].size * (shape[0] if FORMS[form].scale else prod(shape))


def formed(stored: Stored, form: str, transposed: bool = False) -> Iterator[np.ndarray]:
    """A parameter in a form, in pieces; raises ExportError for numbers that are not finite.

    One that is transposed, a matrix or a kernel of one pixel, is a piece as a whole.
    """
    raw = stored.raw
    rows = raw.reshape(len(raw), -1) if raw.ndim > 1 else raw.reshape(1, -1)
    step = len(rows) if transposed else max(1, PIECE // rows.shape[1])
    for start in range(0, len(rows), step):
        some = widened(stored.kind, rows[start : start + step])
        some = some if FORMS[form].made is half else single(some)
        if not all_finite(some):
            raise ExportError("is not a finite number everywhere; download the model again")
        made = FORMS[form].made(some)
        yield np.ascontiguousarray(made.T if transposed else made)


def all_finite(numbers: np.ndarray) -> bool:
    """Whether all are; NumPy itself takes 16-bit ones one by one."""
    if numbers.dtype != np.float16:
        return bool(np.isfinite(numbers).all())
    return not ((numbers.view(np.uint16) & HALF_EXPONENT) == HALF_EXPONENT).any()
