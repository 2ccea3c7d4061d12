"""An exported graph without its weights: where the large constants lie in its files, and a recipe for each."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np

from pleinair_bench.fill import Outline, Part, Recipe

SMALLEST = 1024  # bytes; smaller constants are kept: biases of last layers, the table of timestep frequencies
LARGEST_TABLE = 1 << 16  # bytes; a constant that is no weight (a mask, positions) is kept up to this size
VALUES = 4  # a constant of no more different values than this is a mask
FAR = 1e4  # so is one with a value beyond this: -inf, or the lowest float
DIGITS = 4  # of a recipe's middle and reach
IR_TYPES = {"f32": "float32", "f16": "float16", "i8": "int8", "u8": "uint8"}
ONNX_TYPES = {1: "float32", 10: "float16", 3: "int8", 2: "uint8"}
Place = tuple[str, int, int, str, tuple[int, ...]]  # file, offset, size in bytes, dtype, shape


def strip(files: list[Path]) -> dict[str, Outline]:
    """The outlines of a graph's files, of which the first is the graph itself, by name.

    Constants stay where they are, to the byte: a filled file has the size and the layout of the exported one.
    """
    places = ir_constants(files[0]) if files[0].suffix == ".xml" else onnx_constants(files[0])
    seeds = count(1)
    return {
        file.name: outline(np.memmap(file, np.uint8, "r"), [place for place in places if place[0] == file.name], seeds)
        for file in files
    }


def outline(data: np.ndarray, places: list[Place], seeds: Iterator[int]) -> Outline:
    """One file's bytes with recipes for the constants at these places."""
    parts: list[Part] = []
    kept = []
    done = 0

    def keep(end: int) -> None:
        if end > done:
            parts.append(end - done)
            kept.append(data[done:end].tobytes())

    for _, offset, size, dtype, shape in sorted(places, key=lambda place: place[1]):
        if offset < done:
            continue  # constants of equal bytes share them
        recipe = describe(data[offset : offset + size].view(dtype), shape, seeds)
        if recipe:
            keep(offset)
            parts.append(recipe)
            done = offset + size
    keep(len(data))
    return Outline(tuple(parts), b"".join(kept))


def describe(values: np.ndarray, shape: tuple[int, ...], seeds: Iterator[int]) -> Recipe | None:
    """A recipe of the same mean and spread; None for what is no weight, or too small to be worth one."""
    if values.nbytes < SMALLEST:
        return None
    wide = values.astype(np.float32)
    if not np.isfinite(wide).all() or np.abs(wide).max() > FAR:
        return None
    if values.nbytes <= LARGEST_TABLE and is_table(wide):
        return None
    spread, middle = np.std(wide, dtype=np.float64), np.mean(wide, dtype=np.float64)
    if np.std(np.abs(wide)) < 0.2 * spread:  # scales of either sign, as NNCF makes them: their size is what counts
        wide = np.abs(wide)
        spread, middle = np.std(wide, dtype=np.float64), np.mean(wide, dtype=np.float64)
    elif abs(middle) < 0.1 * spread:
        middle = 0.0
    numbers = (float(f"{number:.{DIGITS}g}") for number in (middle, 3**0.5 * spread))
    return Recipe(values.dtype.name, shape, next(seeds), *numbers)


def is_table(values: np.ndarray) -> bool:
    """Few different values, or ever rising or falling ones."""
    steps = np.diff(values)
    return len(np.unique(values)) <= VALUES or bool((steps > 0).all() or (steps < 0).all())


def ir_constants(graph: Path) -> list[Place]:
    """The constants of number types that weights have, in the .bin beside an OpenVINO .xml."""
    places = []
    for layer in ElementTree.parse(graph).getroot().iter("layer"):
        data = layer.find("data")
        if layer.get("type") == "Const" and data is not None and data.get("element_type") in IR_TYPES:
            shape = tuple(int(size) for size in data.get("shape").split(",") if size)
            dtype = IR_TYPES[data.get("element_type")]
            places.append(
                (graph.with_suffix(".bin").name, int(data.get("offset")), int(data.get("size")), dtype, shape)
            )
    return places


def onnx_constants(graph: Path) -> list[Place]:
    """The initializers of number types that weights have, in model.onnx itself and in the file beside it.

    Reads just enough of the protobuf: ModelProto.graph is field 7, GraphProto.initializer 5, and of a TensorProto dims
    is 1, data_type 2, raw_data 9 and external_data 13, pairs of key 1 and value 2.
    """
    data = np.memmap(graph, np.uint8, "r")
    places = []
    for model_field, *graph_span in fields(data, 0, len(data)):
        if model_field != 7:
            continue
        for graph_field, *tensor_span in fields(data, *graph_span):
            if graph_field == 5:
                places += tensor(data, graph.name, *tensor_span)
    return places


def tensor(data: np.ndarray, name: str, start: int, end: int) -> list[Place]:
    """Where one TensorProto keeps its numbers: nowhere, for a type that weights do not have."""
    dims, dtype, span, external = [], None, None, {}
    for field, first, last in fields(data, start, end):
        if field == 1:
            dims += numbers(data, first, last)
        elif field == 2:
            dtype = ONNX_TYPES.get(numbers(data, first, last)[0])
        elif field == 9:
            span = first, last - first
        elif field == 13:
            key, value = (data[a:b].tobytes().decode() for _, a, b in fields(data, first, last))
            external[key] = value
    if external:
        name, span = external["location"], (int(external.get("offset", 0)), int(external["length"]))
    return [(name, *span, dtype, tuple(dims))] if dtype and span else []


def fields(data: np.ndarray, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(number, start, end) of every field of a protobuf message; a varint's span is that of its bytes."""
    while start < end:
        tag, start = varint(data, start)
        kind = tag & 7
        if kind == 0:
            last = varint(data, start)[1]
        elif kind == 2:
            length, start = varint(data, start)
            last = start + length
        else:
            last = start + (8 if kind == 1 else 4)
        yield tag >> 3, start, last
        start = last


def numbers(data: np.ndarray, start: int, end: int) -> list[int]:
    """One varint, or several packed ones."""
    found = []
    while start < end:
        value, start = varint(data, start)
        found.append(value)
    return found


def varint(data: np.ndarray, start: int) -> tuple[int, int]:
    """A protobuf integer, and where it ends."""
    value = shift = 0
    while True:
        byte = int(data[start])
        value |= (byte & 127) << shift
        start, shift = start + 1, shift + 7
        if byte < 128:
            return value, start
