"""The operators of an ONNX file that is in memory, and where they stand; the field numbers are those of onnx.proto."""

from collections.abc import Collection, Iterator, Mapping
from math import prod
from typing import NamedTuple

from pleinair.bundle.onnx_data import (
    BYTES,
    MOST_FIELDS,
    NUMBER,
    Content,
    TensorFacts,
    parts_of,
    tensor_facts,
    text_of,
    varint_of,
)

GRAPH, NODE = 7, 1  # of ModelProto, and of GraphProto
INPUT, OUTPUT, NAME, OPERATOR, ATTRIBUTE = 1, 2, 3, 4, 5  # of NodeProto
ATTRIBUTE_NAME, WHOLE, TENSOR, WHOLES = 1, 3, 5, 8  # of AttributeProto
INT32, INT64 = 6, 7  # of TensorProto.DataType
LISTED = {INT32: 5, INT64: 7}  # where a TensorProto has its numbers one by one
SHORT = 8  # numbers of a list of sizes


class Node(NamedTuple):
    """An operator of a graph; `start` and `end` are where its field stands in the file, `body` where its message.

    `whole` are those of its attributes that are whole numbers.
    """

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    whole: Mapping[str, int]
    start: int
    body: int
    end: int

    @property
    def axis(self) -> int | None:
        """The axis that it works along, where it says so."""
        return self.whole.get("axis")


class GraphPlace(NamedTuple):
    """Where a file's graph stands, as Node has it, its operators in their order, and where all of its fields stand.

    Those are (field, start, body, end).
    """

    start: int
    body: int
    end: int
    nodes: tuple[Node, ...]
    fields: tuple[tuple[int, int, int, int], ...]


def graph_place(content: bytes | Content) -> GraphPlace:
    """The graph of an ONNX file; raises ValueError for what is none, or has several."""
    left = [MOST_FIELDS]
    graphs = [field for place, *field in placed(content, 0, len(content), left) if place == GRAPH]
    if len(graphs) != 1:
        raise ValueError("no single graph")
    start, body, end = graphs[0]
    fields = tuple(placed(content, body, end, left))
    nodes = tuple(_node(content, *field, left) for place, *field in fields if place == NODE)
    return GraphPlace(start, body, end, nodes, fields)


def without_inputs(content: bytes, node: Node) -> bytes:
    """An operator's message but for the names of its inputs."""
    return without(content, node, (INPUT,))


def without(content: bytes, node: Node, fields: Collection[int]) -> bytes:
    """An operator's message but for some of its fields."""
    parts, at = [], node.body
    for place, _, _, b in parts_of(content, node.body, node.end, [MOST_FIELDS]):
        parts += [] if place in fields else [content[at:b]]
        at = b
    return b"".join(parts)


def lists_of(content: bytes, node: Node) -> dict[str, tuple[int, ...]]:
    """Name and value of those of its attributes that are short lists of whole numbers."""
    found = {name: _wholes(content, a, b, WHOLES) for name, a, b in _attributes(content, node)}
    return {name: wholes for name, wholes in found.items() if 0 < len(wholes) <= SHORT}


class SmallTensor(NamedTuple):
    """What a TensorProto says, and its numbers where they are few and whole."""

    facts: TensorFacts
    numbers: tuple[int, ...] | None


def tensor_of(content: bytes, node: Node) -> SmallTensor | None:
    """The tensor that one of its attributes is."""
    for _, a, b in _attributes(content, node):
        for place, wire, c, d in parts_of(content, a, b, [MOST_FIELDS]):
            if (place, wire) == (TENSOR, BYTES):
                return small_tensor(content, c, d)
    return None


def small_tensor(content: bytes, start: int, end: int) -> SmallTensor:
    """A TensorProto that stands there."""
    facts = tensor_facts(content, start, end, [MOST_FIELDS])
    if facts.kind not in LISTED or len(facts.shape) > 1 or prod(facts.shape) > SHORT:
        return SmallTensor(facts, None)
    if facts.raw:
        size = 8 if facts.kind == INT64 else 4
        raw = content[slice(*facts.raw)]
        numbers = tuple(int.from_bytes(raw[at : at + size], "little", signed=True) for at in range(0, len(raw), size))
    else:
        numbers = _wholes(content, start, end, LISTED[facts.kind])
    return SmallTensor(facts, numbers if len(numbers) == prod(facts.shape) else None)


def _attributes(content: bytes, node: Node) -> Iterator[tuple[str, int, int]]:
    """Name, start and end of each."""
    for place, _, a, b in placed(content, node.body, node.end, [MOST_FIELDS]):
        if place == ATTRIBUTE:
            names = (span for field, _, *span in placed(content, a, b, [MOST_FIELDS]) if field == ATTRIBUTE_NAME)
            yield "".join(text_of(content, *span) for span in names), a, b


def _wholes(content: bytes, start: int, end: int, field: int) -> tuple[int, ...]:
    """The whole numbers of a field of a message, which stand there one by one or packed."""
    found = []
    for place, wire, a, b in parts_of(content, start, end, [MOST_FIELDS]):
        if place == field and wire == NUMBER:
            found.append(signed(a))
        elif place == field and wire == BYTES:
            while a < b:
                value, a = varint_of(content, a, b)
                found.append(signed(value))
    return tuple(found)


def signed(value: int) -> int:
    """A number of 64 bits as protobuf writes those below 0."""
    return value - (1 << 64) if value >> 63 else value


def placed(data: bytes | Content, start: int, end: int, left: list[int]) -> Iterator[tuple[int, int, int, int]]:
    """(field, start with its tag, start, end) of everything in a message that has a length."""
    at = start
    for place, wire, a, b in parts_of(data, start, end, left):
        if wire == BYTES:
            yield place, at, a, b
        at = b


def _node(data: bytes | Content, start: int, body: int, end: int, left: list[int]) -> Node:
    named: dict[int, list[str]] = {INPUT: [], OUTPUT: [], NAME: [], OPERATOR: []}
    whole = {}
    for place, wire, a, b in parts_of(data, body, end, left):
        if place == ATTRIBUTE and wire == BYTES:
            whole |= _whole(data, a, b, left)
        elif place in named and wire == BYTES:
            named[place].append(text_of(data, a, b))
    return Node(
        op="".join(named[OPERATOR]),
        name="".join(named[NAME]),
        inputs=tuple(named[INPUT]),
        outputs=tuple(named[OUTPUT]),
        whole=whole,
        start=start,
        body=body,
        end=end,
    )


def _whole(data: bytes | Content, start: int, end: int, left: list[int]) -> dict[str, int]:
    """Name and value of an attribute that is a whole number, which may be below 0; nothing for others."""
    name, value = "", None
    for place, wire, a, b in parts_of(data, start, end, left):
        if (place, wire) == (ATTRIBUTE_NAME, BYTES):
            name = text_of(data, a, b)
        elif (place, wire) == (WHOLE, NUMBER):
            value = signed(a)
    return {} if value is None else {name: value}
