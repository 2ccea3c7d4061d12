"""The operators of an ONNX file that is in memory, and where they stand; the field numbers are those of onnx.proto."""

from collections.abc import Iterator
from dataclasses import dataclass

from pleinair.bundle.onnx_data import BYTES, MOST_FIELDS, NUMBER, parts_of, text_of

GRAPH, NODE = 7, 1  # of ModelProto, and of GraphProto
INPUT, OUTPUT, OPERATOR, ATTRIBUTE = 1, 2, 4, 5  # of NodeProto
ATTRIBUTE_NAME, WHOLE = 1, 3  # of AttributeProto
AXIS = b"axis"


@dataclass(frozen=True)
class Node:
    """An operator of a graph; `start` and `end` are where its field stands in the file, `body` where its message."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    axis: int | None
    start: int
    body: int
    end: int


@dataclass(frozen=True)
class GraphPlace:
    """Where a file's graph stands, as Node has it, and its operators in their order."""

    start: int
    body: int
    end: int
    nodes: tuple[Node, ...]


def graph_place(content: bytes) -> GraphPlace:
    """The graph of an ONNX file that is in memory; raises ValueError for what is none, or has several."""
    left = [MOST_FIELDS]
    graphs = [field for place, *field in _placed(content, 0, len(content), left) if place == GRAPH]
    if len(graphs) != 1:
        raise ValueError("no single graph")
    start, body, end = graphs[0]
    fields = [field for place, *field in _placed(content, body, end, left) if place == NODE]
    return GraphPlace(start, body, end, tuple(_node(content, *field, left) for field in fields))


def without_inputs(content: bytes, node: Node) -> bytes:
    """An operator's message but for the names of its inputs."""
    parts, at = [], node.body
    for place, _, _, b in parts_of(content, node.body, node.end, [MOST_FIELDS]):
        parts += [] if place == INPUT else [content[at:b]]
        at = b
    return b"".join(parts)


def _placed(data: bytes, start: int, end: int, left: list[int]) -> Iterator[tuple[int, int, int, int]]:
    """(field, start with its tag, start, end) of everything in a message that has a length."""
    at = start
    for place, wire, a, b in parts_of(data, start, end, left):
        if wire == BYTES:
            yield place, at, a, b
        at = b


def _node(data: bytes, start: int, body: int, end: int, left: list[int]) -> Node:
    named: dict[int, list[str]] = {INPUT: [], OUTPUT: [], OPERATOR: []}
    axis = None
    for place, _, a, b in _placed(data, body, end, left):
        if place in named:
            named[place].append(text_of(data, a, b))
        elif place == ATTRIBUTE:
            axis = _axis(data, a, b, left, axis)
    return Node(
        op="".join(named[OPERATOR]),
        inputs=tuple(named[INPUT]),
        outputs=tuple(named[OUTPUT]),
        axis=axis,
        start=start,
        body=body,
        end=end,
    )


def _axis(data: bytes, start: int, end: int, left: list[int], usual: int | None) -> int | None:
    """The number of an attribute that is called axis, which may be below 0; `usual` for other attributes."""
    name, value = b"", usual
    for place, wire, a, b in parts_of(data, start, end, left):
        if (place, wire) == (ATTRIBUTE_NAME, BYTES):
            name = data[a:b]
        elif (place, wire) == (WHOLE, NUMBER):
            value = a - (1 << 64) if a >> 63 else a
    return value if name == AXIS else usual
