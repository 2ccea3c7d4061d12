"""Which bytes of an exported graph are which parameters, read off two exports of models that differ in every weight.

A constant is recognised by its bytes: they are those of a parameter of the first model in some form, and in the second
export, at the same place, those of the same parameter of the second model. Every other byte must be the same in both.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pleinair.pouring.checkpoints import Shape, Stored
from pleinair.pouring.forms import FORMS, formed, size_of
from pleinair.pouring.topologies import Hole, Part
from pleinair_bench.strip import ir_constants, onnx_constants

Parameters = Mapping[str, np.ndarray]  # float32, by name
STORED = {  # format and weights -> the forms that parameters may have there
    ("openvino", "fp32"): ("f32",),
    ("openvino", "fp16"): ("f16", "f32"),
    ("openvino", "int8"): ("nncf_int8", "nncf_scale", "f32", "f16"),
    ("onnx", "fp32"): ("f32",),
    ("onnx", "fp16"): ("f16", "f32"),
    ("onnx", "int8"): ("onnx_int8", "onnx_scale", "f32"),
}
STEP = 1 << 26  # bytes that are compared at a time


def recognised(
    first: list[Path], second: list[Path], parameters: tuple[Parameters, Parameters], forms: tuple[str, ...]
) -> dict[str, tuple[Part, ...]]:
    """The parts of a graph's files by name, of which the first is the graph itself.

    Raises ValueError for bytes that differ and are no parameter in one of the `forms`.
    """
    candidates = by_size(parameters[0], forms)
    digests: dict[Hole, bytes] = {}
    places = ir_constants(first[0]) if first[0].suffix == ".xml" else onnx_constants(first[0])
    files = {}
    for mine, theirs in zip(first, second, strict=True):
        left, right = (np.memmap(file, np.uint8, "r") for file in (mine, theirs))
        holes: dict[int, tuple[int, Hole]] = {}
        for _, offset, size, *_ in (place for place in places if place[0] == mine.name):
            wanted = digest_of(left[offset : offset + size])
            for hole in candidates.get(size, ()):
                if hole not in digests:
                    digests[hole] = digest(parameters[0], hole)
                other = right[offset : offset + size]
                if digests[hole] == wanted and digest(parameters[1], hole) == digest_of(other):
                    holes[offset] = size, hole
                    break
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


def cut(left: np.ndarray, right: np.ndarray, holes: dict[int, tuple[int, Hole]], name: str) -> tuple[Part, ...]:
    """The parts of a file with these holes, of bytes that are the same in both."""
    parts: list[Part] = []
    done = 0
    for offset, (size, hole) in sorted(holes.items()):
        if offset < done:
            continue  # constants of equal bytes share them
        parts += kept(left, right, done, offset, name)
        parts.append(hole)
        done = offset + size
    if len(left) != len(right):
        raise ValueError(f"{name} has {len(left)} bytes and {len(right)}")
    return (*parts, *kept(left, right, done, len(left), name))


def kept(left: np.ndarray, right: np.ndarray, start: int, end: int, name: str) -> list[Part]:
    """The bytes of a stretch, none for an empty one; ValueError where they are not those of the other file."""
    for at in range(start, end, STEP):
        stop = min(at + STEP, end)
        unlike = np.flatnonzero(left[at:stop] != right[at:stop])
        if len(unlike):
            raise ValueError(f"{name} differs at {at + unlike[0]}, where no parameter lies in a form that is known")
    return [left[start:end].tobytes()] if end > start else []


def shapes_of(files: Mapping[str, tuple[Part, ...]], parameters: Parameters) -> dict[str, Shape]:
    """The shapes of the parameters that are taken, in the order of the parameters."""
    used = {part.key for parts in files.values() for part in parts if isinstance(part, Hole)}
    return {key: values.shape for key, values in parameters.items() if key in used}
