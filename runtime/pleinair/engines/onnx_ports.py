"""Messages of an ONNX file as bytes: fields, and inputs of a graph. Field numbers are those of onnx.proto."""

from collections.abc import Iterable

INPUT = 11  # of GraphProto


def bytes_field(place: int, content: bytes) -> bytes:
    """A field that has a length."""
    return _varint(place << 3 | 2) + _varint(len(content)) + content


def number_field(place: int, value: int) -> bytes:
    """A field that is a whole number from 0 on."""
    return _varint(place << 3) + _varint(value)


def input_field(name: str, numbers: int, sides: Iterable[bytes]) -> bytes:
    """An input of a graph, of numbers of a TensorProto.DataType; each side is the content of a dimension."""
    shape = b"".join(bytes_field(1, side) for side in sides)
    kind = bytes_field(1, number_field(1, numbers) + bytes_field(2, shape))
    return bytes_field(INPUT, bytes_field(1, name.encode()) + bytes_field(2, kind))


def _varint(value: int) -> bytes:
    """A number in groups of seven bits, the lowest first."""
    groups = []
    while value > 127:
        groups.append(value & 127 | 128)
        value >>= 7
    return bytes([*groups, value])
