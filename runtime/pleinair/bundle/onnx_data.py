"""What an ONNX file says of its weights, read from its bytes without the onnx package.

The field numbers are those of onnx.proto. A weight can stand in a graph, in an attribute of a node at any depth, in a
function and in training information: all are walked.
"""

import mmap
from collections.abc import Collection, Iterator
from pathlib import Path

from pleinair.errors import BundleError

LOCATION = b"location"
TENSOR, GRAPH, NODE, ATTRIBUTE, SPARSE, TRAINING, FUNCTION, MODEL = range(8)
INSIDE: dict[int, dict[int, int]] = {  # message -> field -> the message that it holds, as far as these hold tensors
    MODEL: {7: GRAPH, 20: TRAINING, 25: FUNCTION},
    TRAINING: {1: GRAPH, 2: GRAPH},
    FUNCTION: {7: NODE, 11: ATTRIBUTE},
    GRAPH: {1: NODE, 5: TENSOR, 15: SPARSE},
    NODE: {5: ATTRIBUTE},
    ATTRIBUTE: {5: TENSOR, 6: GRAPH, 10: TENSOR, 11: GRAPH, 22: SPARSE, 23: SPARSE},
    SPARSE: {1: TENSOR, 2: TENSOR},
}
GRAPH_OF_MODEL, TENSOR_OF_GRAPH = 7, 5
EXTERNAL_DATA, KEY, VALUE = 13, 1, 2  # fields of TensorProto and of the pairs it lists
DIMENSIONS, DATA_TYPE, NAME, DATA_LOCATION = 1, 2, 8, 14  # further ones of TensorProto
ELSEWHERE = 1  # a DATA_LOCATION
DEEPEST = 100  # messages in each other, as protobuf itself allows
MOST_FIELDS = 3_000_000  # some seconds; the UNet of SDXL has less than a tenth of it


def locations(path: Path) -> set[str]:
    """The names under which an ONNX file refers to files of weights; empty where all lie in it.

    Raises BundleError for a file that is not ONNX.
    """
    try:
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            if data.find(LOCATION) < 0:  # the key stands in the bytes as it is: most graphs need no walk
                return set()
            spans = _walk(data, 0, len(data), MODEL, [MOST_FIELDS], 0)
            return {data[a:b].decode("utf-8", "backslashreplace") for a, b in spans}
    except (OSError, ValueError, IndexError) as error:
        raise BundleError(f"'{path}' is not an ONNX file ({error}); restore it or export the model again") from None


def initializers(path: Path) -> dict[str, tuple[int, tuple[int, ...]]]:
    """The weights of an ONNX file's graph: name -> TensorProto.DataType and shape; BundleError as for `locations`."""
    left = [MOST_FIELDS]
    try:
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            graphs = [span for place, *span in _fields(data, 0, len(data), left) if place == GRAPH_OF_MODEL]
            spans = [span for a, b in graphs for span in _fields(data, a, b, left)]
            tensors = [span for place, *span in spans if place == TENSOR_OF_GRAPH]
            return dict(_described(data, a, b, left) for a, b in tensors)
    except (OSError, ValueError, IndexError) as error:
        raise BundleError(f"'{path}' is not an ONNX file ({error}); restore it or export the model again") from None


def without_values(path: Path, names: Collection[str]) -> bytes | None:
    """An ONNX file whose initializers of these names lie elsewhere; None where they all do so already.

    Raises BundleError as `locations` does.
    """
    left, kept, at = [MOST_FIELDS], [], 0
    try:
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            ((start, end),) = [span for place, *span in _fields(data, 0, len(data), left) if place == GRAPH_OF_MODEL]
            at = start
            for place, a, b in _fields(data, start, end, left):
                if place != TENSOR_OF_GRAPH or any(field == EXTERNAL_DATA for field, _, _ in _fields(data, a, b, left)):
                    continue
                name, (kind, shape) = _described(data, a, b, left)
                if name in names:
                    kept += [data[at : _head(a, b)], _message(TENSOR_OF_GRAPH, _elsewhere(name, kind, shape))]
                    at = b
            if not kept:
                return None
            graph = b"".join([*kept, data[at:end]])
            return data[: _head(start, end)] + _message(GRAPH_OF_MODEL, graph) + data[end:]
    except (OSError, ValueError, IndexError) as error:
        raise BundleError(f"'{path}' is not an ONNX file ({error}); restore it or export the model again") from None


def _head(start: int, end: int) -> int:
    """Where the field begins whose content this is: before its length, and its number, which is below 16."""
    return start - len(_encoded(end - start)) - 1


def _elsewhere(name: str, kind: int, shape: tuple[int, ...]) -> bytes:
    """A TensorProto whose values are not in the file."""
    dimensions = b"".join(_encoded(DIMENSIONS << 3) + _encoded(side) for side in shape)
    pair = _message(KEY, LOCATION) + _message(VALUE, b"given")
    numbers = dimensions + _encoded(DATA_TYPE << 3) + _encoded(kind)
    where = _message(EXTERNAL_DATA, pair) + _encoded(DATA_LOCATION << 3) + _encoded(ELSEWHERE)
    return numbers + _message(NAME, name.encode()) + where


def _message(place: int, content: bytes) -> bytes:
    return _encoded(place << 3 | 2) + _encoded(len(content)) + content


def _encoded(value: int) -> bytes:
    """A varint."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _described(data: mmap.mmap, start: int, end: int, left: list[int]) -> tuple[str, tuple[int, tuple[int, ...]]]:
    """Name, type and shape of a TensorProto; its dimensions stand one by one, or packed into one field."""
    name, kind, shape, at = "", 0, [], start
    while at < end:
        left[0] -= 1
        tag, at = _varint(data, at, end)
        place, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _varint(data, at, end)
            kind = value if place == DATA_TYPE else kind
            shape += [value] if place == DIMENSIONS else []
            continue
        length, at = _varint(data, at, end) if wire == 2 else (8 if wire == 1 else 4, at)
        if at + length > end or not left[0]:
            raise ValueError("cut short")
        if place == NAME:
            name = data[at : at + length].decode("utf-8", "backslashreplace")
        inside = at
        while place == DIMENSIONS and inside < at + length:
            value, inside = _varint(data, inside, at + length)
            shape.append(value)
        at += length
    return name, (kind, tuple(shape))


def _walk(
    data: mmap.mmap, start: int, end: int, message: int, left: list[int], depth: int
) -> Iterator[tuple[int, int]]:
    """The spans of all locations below a message; `left` counts down the fields that may still be read."""
    if depth > DEEPEST:
        raise ValueError("nested too deeply")
    for place, a, b in _fields(data, start, end, left):
        if message == TENSOR:
            if place == EXTERNAL_DATA:
                pairs = list(_fields(data, a, b, left))
                if any(data[c:d] == LOCATION for key, c, d in pairs if key == KEY):
                    yield from ((c, d) for key, c, d in pairs if key == VALUE)
        elif place in INSIDE[message]:
            yield from _walk(data, a, b, INSIDE[message][place], left, depth + 1)


def _fields(data: mmap.mmap, start: int, end: int, left: list[int]) -> Iterator[tuple[int, int, int]]:
    """(field, start, end) of everything in a message that has a length."""
    at = start
    while at < end:
        left[0] -= 1
        if not left[0]:
            raise ValueError("more parts than any model has")
        tag, at = _varint(data, at, end)
        kind = tag & 7
        if kind == 0:
            _, at = _varint(data, at, end)
        elif kind == 2:
            length, at = _varint(data, at, end)
            if at + length > end:
                raise ValueError("cut short")
            yield tag >> 3, at, at + length
            at += length
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise ValueError("an unknown kind of field")


def _varint(data: mmap.mmap, at: int, end: int) -> tuple[int, int]:
    """A number of at most 10 bytes, and where it ends."""
    value = 0
    for place, byte in enumerate(data[at : min(at + 10, end)]):
        value |= (byte & 127) << 7 * place
        if byte < 128:
            return value, at + place + 1
    raise ValueError("a number without an end")
