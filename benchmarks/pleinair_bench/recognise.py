"""Which bytes of an exported graph are which parameters, read off two exports of models that differ in every weight.

A constant is recognised by its bytes: they are those of a parameter of the first model in some form, and in the second
export, at the same place, those of the same parameter of the second model. Every other byte must be the same in both.
"""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from pleinair.pouring.checkpoints import Shape, Stored
from pleinair.pouring.forms import FORMS, formed, size_of
from pleinair.pouring.topologies import Hole, Segment
from pleinair_bench.constants import ir_constants, onnx_constants

Parameters = Mapping[str, np.ndarray]  # float32, by name
STORED = {  # format and weights -> the forms that parameters may have there
    ("openvino", "fp32"): ("f32",),
    ("openvino", "fp16"): ("f16", "f32"),
    ("openvino", "int8"): ("nncf_int8", "nncf_scale", "f32", "f16"),
    ("onnx", "fp32"): ("f32",),
    ("onnx", "fp16"): ("f16", "f32"),
    ("onnx", "int8"): ("onnx_int8", "onnx_scale", "f32"),
}
HoleOf = Callable[[np.ndarray, np.ndarray], Hole | None]
STEP = 1 << 26  # bytes that are compared at a time


class Recogniser:
    """Tells which parameter a constant is, in one of the `forms`, by the bytes that it has in either export."""

    def __init__(self, parameters: tuple[Parameters, Parameters], forms: tuple[str, ...]) -> None:
        self._parameters = parameters
        self._candidates = by_size(parameters[0], forms)
        self._digests: dict[Hole, bytes] = {}

    def hole(self, first: np.ndarray, second: np.ndarray) -> Hole | None:
        wanted = digest_of(first) if len(first) in self._candidates else b""
        for hole in self._candidates.get(len(first), ()):
            if hole not in self._digests:
                self._digests[hole] = digest(self._parameters[0], hole)
            if self._digests[hole] == wanted and digest(self._parameters[1], hole) == digest_of(second):
                return hole
        return None


def recognised(first: list[Path], second: list[Path], hole_of: HoleOf) -> dict[str, tuple[Segment, ...]]:
    """The parts of the files of two graphs by name, the graph itself first; `hole_of` tells which parameter bytes are.

    Raises ValueError for bytes that differ and are no parameter.
    """
    places = ir_constants(first[0]) if first[0].suffix == ".xml" else onnx_constants(first[0])
    files = {}
    for mine, theirs in zip(first, second, strict=True):
        left, right = (np.memmap(file, np.uint8, "r") for file in (mine, theirs))
        holes: dict[int, tuple[int, Hole]] = {}
        for _, offset, size, *_ in (place for place in places if place[0] == mine.name):
            there = slice(offset, offset + size)
            if hole := hole_of(left[there], right[there]):
                holes[offset] = size, hole
        files[mine.name] = cut(left, right, holes, mine.name)
    return files


def by_size(parameters: Parameters, forms: tuple[str, ...]) -> dict[int, list[Hole]]:
    """Everything that a constant of so many bytes could be."""
    found: dict[int, list[Hole]] = {}
    for key, values in parameters.items():
        turnable = values.ndim == 2 or (values.ndim == 4 and values.shape[2:] == (1, 1))
        for form in forms:
            if values.ndim < 2 and form not in ("f32", "f16"):
                continue
            holes = found.setdefault(size_of(values.shape, form), [])
            holes.append(Hole(key, form))
            if turnable and not FORMS[form].scale:
                holes.append(Hole(key, form, transposed=True))
    return found


def digest(parameters: Parameters, hole: Hole) -> bytes:
    """Of a parameter as a hole takes it."""
    made = hashlib.blake2b(digest_size=16)
    for piece in formed(Stored("F32", parameters[hole.key]), hole.form, hole.transposed):
        made.update(np.ascontiguousarray(piece))
    return made.digest()


def digest_of(data: np.ndarray) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def cut(left: np.ndarray, right: np.ndarray, holes: dict[int, tuple[int, Hole]], name: str) -> tuple[Segment, ...]:
    """The parts of a file with these holes, of bytes that are the same in both."""
    parts: list[Segment] = []
    done = 0
    for offset, (size, hole) in sorted(holes.items()):
        if offset < done:
            continue  # constants of equal bytes share them
        parts += unchanged(left, right, done, offset, name)
        parts.append(hole)
        done = offset + size
    if len(left) != len(right):
        raise ValueError(f"{name} has {len(left)} bytes and {len(right)}")
    return (*parts, *unchanged(left, right, done, len(left), name))


def unchanged(left: np.ndarray, right: np.ndarray, start: int, end: int, name: str) -> list[Segment]:
    """The bytes of a stretch, none for an empty one; ValueError where they are not those of the other file."""
    for at in range(start, end, STEP):
        stop = min(at + STEP, end)
        unlike = np.flatnonzero(left[at:stop] != right[at:stop])
        if len(unlike):
            raise ValueError(f"{name} differs at {at + unlike[0]}, where no parameter lies in a form that is known")
    return [left[start:end].tobytes()] if end > start else []


def used(files: Mapping[str, tuple[Segment, ...]], shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    """The shapes of the parameters that are taken, in the order of the parameters."""
    taken = {part.key for parts in files.values() for part in parts if isinstance(part, Hole)}
    return {key: shape for key, shape in shapes.items() if key in taken}
