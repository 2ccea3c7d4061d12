"""What an ONNX file says of its ports and weights, read from its bytes without the onnx package.

The field numbers are those of onnx.proto. A weight can stand in a graph, in an attribute of a node at any depth, in a
function and in training information: all are walked.

The file is not mapped: where another program cuts a mapped file, reading it ends the process.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import NamedTuple

from pleinair.checks import one_line, shown_path
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
EXTERNAL_DATA, KEY, VALUE = 13, 1, 2  # fields of TensorProto and of the pairs it lists
DIMENSIONS, DATA_TYPE, NAME, RAW_DATA = 1, 2, 8, 9  # further ones of TensorProto
INPUT, OUTPUT = 11, 12  # of GraphProto
VALUE_NAME, VALUE_TYPE, TENSOR_TYPE, ELEMENT, SHAPE = 1, 2, 1, 1, 2  # of ValueInfoProto and down into its type
DIMENSION, SIZE, SIZE_NAME = 1, 1, 2  # of a shape
NUMBER, BYTES, FIXED = 0, 2, {1: 8, 5: 4}  # how fields are written: a varint, a length and as many bytes, 8 or 4 bytes
DEEPEST = 100  # messages in each other, as protobuf itself allows
MOST_FIELDS = 3_000_000  # some seconds; the UNet of SDXL has less than a tenth of it
BLOCK = 1 << 16  # bytes that are read at once, and the most that a name takes


class Content:
    """The bytes of an open file, of which one block is held; slices have a start and an end within the file.

    Raises BundleError where the file has become shorter, ValueError for an empty one and for slices above a block.
    """

    def __init__(self, file: FileIO) -> None:
        self._file, self._size = file, os.fstat(file.fileno()).st_size
        self._start, self._block = 0, b""
        if not self._size:
            raise ValueError("it is empty")

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, span: slice) -> bytes:
        if span.stop - span.start > BLOCK:
            raise ValueError("a name longer than any model's")
        if not self._start <= span.start <= span.stop <= self._start + len(self._block):
            self._start, self._block = span.start, self._read(span.start)
        return self._block[span.start - self._start : span.stop - self._start]

    def holds(self, word: bytes) -> bool:
        """Whether the bytes of a word, which fits into a block, stand anywhere."""
        step = BLOCK - len(word) + 1  # blocks overlap, for the word may stand where one ends
        return any(word in self._read(start) for start in range(0, self._size, step))

    def piece(self, start: int, end: int) -> bytes:
        """A part that is longer than a block may be, of which nothing is kept."""
        return self._read(start, end - start)

    def _read(self, start: int, most: int = BLOCK) -> bytes:
        count = min(most, self._size - start)
        self._file.seek(start)
        block = self._file.read(count)
        if len(block) < count:
            where = shown_path(self._file.name)
            raise BundleError(f"'{where}' became shorter while it was read; try again when no other program writes it")
        return block


@contextmanager
def opened_onnx(path: Path) -> Iterator[Content]:
    """The content of an ONNX file; what is wrong with it within becomes a BundleError."""
    try:
        with FileIO(path) as file:
            yield Content(file)
    except (OSError, ValueError, IndexError) as error:
        why, where = one_line(getattr(error, "strerror", None) or error, 80), shown_path(path)
        raise BundleError(f"'{where}' is not an ONNX file ({why}); restore it or export the model again") from None


def locations(path: Path) -> set[str]:
    """The names under which an ONNX file refers to files of weights, without "./"; empty where all lie in it.

    Raises BundleError for a file that is not ONNX.
    """
    with opened_onnx(path) as data:
        if not data.holds(LOCATION):  # the key stands in the bytes as it is: most graphs need no walk
            return set()
        spans = _walk(data, 0, len(data), MODEL, [MOST_FIELDS], 0)
        return {text_of(data, a, b).removeprefix("./") for a, b in spans}


@dataclass(frozen=True)
class Initializer:
    """A weight of a graph: its TensorProto.DataType, its shape, and where its bytes stand in the file, if they do."""

    kind: int
    shape: tuple[int, ...]
    span: tuple[int, int] | None


def initializers(path: Path) -> dict[str, Initializer]:
    """The weights of an ONNX file's graph, by name; raises BundleError as `locations` does."""
    left = [MOST_FIELDS]
    with opened_onnx(path) as data:
        graphs = [span for place, *span in _fields(data, 0, len(data), left) if place == 7]
        tensors = [span for a, b in graphs for place, *span in _fields(data, a, b, left) if place == 5]
        return dict(_described(data, a, b, left) for a, b in tensors)


@dataclass(frozen=True)
class Value:
    """An input or output of a graph: its TensorProto.DataType, and its sides, where the file says them.

    A side without a size has a name, "" where it has none.
    """

    kind: int
    shape: tuple[int | str, ...] | None


def ports(path: Path) -> tuple[dict[str, Value], dict[str, Value]]:
    """Inputs and outputs of an ONNX file's graph, by name, weights among the inputs; raises as `locations` does."""
    left = [MOST_FIELDS]
    found: dict[int, dict[str, Value]] = {INPUT: {}, OUTPUT: {}}
    with opened_onnx(path) as data:
        graphs = [span for place, *span in _fields(data, 0, len(data), left) if place == 7]
        for place, *span in (field for a, b in graphs for field in _fields(data, a, b, left)):
            if place in found:
                name, value = value_of(data, *span, left)
                found[place][name] = value
    return found[INPUT], found[OUTPUT]


def value_of(data: Content, start: int, end: int, left: list[int]) -> tuple[str, Value]:
    """Name and facts of a ValueInfoProto; what is no tensor has the kind 0."""
    spans = {place: span for place, *span in _fields(data, start, end, left)}
    name = text_of(data, *spans.get(VALUE_NAME, (start, start)))
    kinds = dict((place, span) for place, *span in _fields(data, *spans.get(VALUE_TYPE, (start, start)), left))
    if TENSOR_TYPE not in kinds:
        return name, Value(0, None)
    kind, shape = 0, None
    for place, wire, a, b in parts_of(data, *kinds[TENSOR_TYPE], left):
        if (place, wire) == (ELEMENT, NUMBER):
            kind = a
        if (place, wire) == (SHAPE, BYTES):
            shape = tuple(_side(data, c, d, left) for place, c, d in _fields(data, a, b, left) if place == DIMENSION)
    return name, Value(kind, shape)


def _side(data: Content, start: int, end: int, left: list[int]) -> int | str:
    """The size of a dimension, or its name."""
    for place, wire, a, b in parts_of(data, start, end, left):
        if (place, wire) == (SIZE, NUMBER) and 0 < a < 1 << 31:
            return a
        if (place, wire) == (SIZE_NAME, BYTES):
            return text_of(data, a, b)
    return ""


def text_of(data: Content | bytes, start: int, end: int) -> str:
    """What is written somewhere, whatever bytes that are."""
    return data[start:end].decode("utf-8", "backslashreplace")


class TensorFacts(NamedTuple):
    """What a TensorProto says: its DataType, where its bytes stand in the file, if they do, or what says where else."""

    name: str
    kind: int
    shape: tuple[int, ...]
    raw: tuple[int, int] | None
    outside: dict[str, str]


def tensor_facts(data: Content | bytes, start: int, end: int, left: list[int]) -> TensorFacts:
    """Those of one; its dimensions stand one by one, or packed into one field."""
    name, kind, shape, raw, outside = "", 0, [], None, {}
    for place, wire, a, b in parts_of(data, start, end, left):
        if wire == NUMBER:
            kind = a if place == DATA_TYPE else kind
            shape += [a] if place == DIMENSIONS else []
        elif place == NAME:
            name = text_of(data, a, b)
        elif place == RAW_DATA:
            raw = a, b
        elif place == EXTERNAL_DATA:
            pair = {key: text_of(data, c, d) for key, wire, c, d in parts_of(data, a, b, left) if wire == BYTES}
            outside[pair.get(KEY, "")] = pair.get(VALUE, "")
        elif place == DIMENSIONS:
            while a < b:
                value, a = varint_of(data, a, b)
                shape.append(value)
    return TensorFacts(name, kind, tuple(shape), raw, outside)


def _described(data: Content, start: int, end: int, left: list[int]) -> tuple[str, Initializer]:
    """Name and facts of a TensorProto."""
    facts = tensor_facts(data, start, end, left)
    return facts.name, Initializer(facts.kind, facts.shape, facts.raw)


def _walk(data: Content, start: int, end: int, message: int, left: list[int], depth: int) -> Iterator[tuple[int, int]]:
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


def _fields(data: Content, start: int, end: int, left: list[int]) -> Iterator[tuple[int, int, int]]:
    """(field, start, end) of everything in a message that has a length."""
    return ((place, a, b) for place, wire, a, b in parts_of(data, start, end, left) if wire == BYTES)


def parts_of(data: Content | bytes, start: int, end: int, left: list[int]) -> Iterator[tuple[int, int, int, int]]:
    """(field, kind, start, end) of everything in a message; of a NUMBER, (field, kind, its value, where it ends)."""
    at = start
    while at < end:
        left[0] -= 1
        if not left[0]:
            raise ValueError("more parts than any model has")
        tag, at = varint_of(data, at, end)
        kind = tag & 7
        if kind == NUMBER:
            value, at = varint_of(data, at, end)
            yield tag >> 3, kind, value, at
            continue
        if kind == BYTES:
            length, at = varint_of(data, at, end)
        elif kind in FIXED:
            length = FIXED[kind]
        else:
            raise ValueError("an unknown kind of field")
        if at + length > end:
            raise ValueError("cut short")
        yield tag >> 3, kind, at, at + length
        at += length


def varint_of(data: Content | bytes, at: int, end: int) -> tuple[int, int]:
    """A number of at most 10 bytes, and where it ends."""
    first = data[at : at + 1]
    if first < b"\x80" and at < end:  # most are of one byte
        return first[0], at + 1
    value = 0
    for place, byte in enumerate(data[at : min(at + 10, end)]):
        value |= (byte & 127) << 7 * place
        if byte < 128:
            return value, at + place + 1
    raise ValueError("a number without an end")
