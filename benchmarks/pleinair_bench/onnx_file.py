"""ONNX files of one operator, written without the onnx package: protobuf is numbers, lengths and bytes.

The field numbers are those of onnx.proto, IR version 8.
"""

from collections.abc import Mapping

import numpy as np

TYPES = {np.dtype(np.float32): 1, np.dtype(np.uint8): 2, np.dtype(np.int8): 3, np.dtype(np.int32): 6}
Attributes = Mapping[str, list[int]]


def one_operator(
    operator: str,
    inputs: Mapping[str, np.ndarray | tuple[np.dtype, tuple[int, ...]]],
    output: tuple[np.dtype, tuple[int, ...]],
    attributes: Attributes | None = None,
) -> bytes:
    """A model of `operator`; its inputs are constants where arrays are given, and ports where types and shapes are."""
    node = b"".join(text(1, name) for name in inputs) + text(2, "out") + text(4, operator)
    for name, values in (attributes or {}).items():
        node += field(5, text(1, name) + b"".join(number(8, value) for value in values) + number(20, 7))
    graph = field(1, node) + text(2, operator)
    graph += b"".join(field(5, tensor(name, each)) for name, each in inputs.items() if isinstance(each, np.ndarray))
    graph += b"".join(field(11, port(name, *each)) for name, each in inputs.items() if not isinstance(each, np.ndarray))
    graph += field(12, port("out", *output))
    return number(1, 8) + field(7, graph) + field(8, number(2, 17))


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def number(place: int, value: int) -> bytes:
    return varint(place << 3) + varint(value)


def field(place: int, content: bytes) -> bytes:
    return varint(place << 3 | 2) + varint(len(content)) + content


def text(place: int, content: str) -> bytes:
    return field(place, content.encode())


def tensor(name: str, array: np.ndarray) -> bytes:
    dims = b"".join(number(1, side) for side in array.shape)
    return dims + number(2, TYPES[array.dtype]) + text(8, name) + field(9, array.tobytes())


def port(name: str, dtype: np.dtype, shape: tuple[int, ...]) -> bytes:
    dims = b"".join(field(1, number(1, side)) for side in shape)
    return text(1, name) + field(2, field(1, number(1, TYPES[np.dtype(dtype)]) + field(2, dims)))
