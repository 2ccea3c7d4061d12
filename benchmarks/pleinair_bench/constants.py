"""Where the constants of a graph lie in its files, read without an engine."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import numpy as np

IR_TYPES = {"f32": "float32", "f16": "float16", "i8": "int8", "u8": "uint8"}
ONNX_TYPES = {1: "float32", 10: "float16", 3: "int8", 2: "uint8"}
Place = tuple[str, int, int, str, tuple[int, ...]]  # file, offset, size in bytes, dtype, shape


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
