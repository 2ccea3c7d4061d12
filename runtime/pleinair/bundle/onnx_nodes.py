"""The operators of an ONNX file that is in memory, and where they stand; the field numbers are those of onnx.proto."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pleinair.bundle.onnx_data import BYTES, MOST_FIELDS, NUMBER, Content, parts_of, text_of

GRAPH, NODE = 7, 1  # of ModelProto, and of GraphProto
INPUT, OUTPUT, NAME, OPERATOR, ATTRIBUTE = 1, 2, 3, 4, 5  # of NodeProto
ATTRIBUTE_NAME, WHOLE = 1, 3  # of AttributeProto


@dataclass(frozen=True)
class Node:
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


@dataclass(frozen=True)
class GraphPlace:
    """Where a file's graph stands, as Node has it, and its operators in their order."""

    start: int
    body: int
    end: int
    nodes: tuple[Node, ...]


def graph_place(content: bytes | Content) -> GraphPlace:
    """The graph of an ONNX file; raises ValueError for what is none, or has several."""
    left = [MOST_FIELDS]
    graphs = [field for place, *field in placed(content, 0, len(content), left) if place == GRAPH]
    if len(graphs) != 1:
        raise ValueError("no single graph")
    start, body, end = graphs[0]
    fields = [field for place, *field in placed(content, body, end, left) if place == NODE]
    return GraphPlace(start, body, end, tuple(_node(content, *field, left) for field in fields))


def without_inputs(content: bytes, node: Node) -> bytes:
    """An operator's message but for the names of its inputs."""
    parts, at = [], node.body
    for place, _, _, b in parts_of(content, node.body, node.end, [MOST_FIELDS]):
        parts += [] if place == INPUT else [content[at:b]]
        at = b
    return b"".join(parts)


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
    for place, _, a, b in placed(data, body, end, left):
        if place in named:
            named[place].append(text_of(data, a, b))
        elif place == ATTRIBUTE:
            whole |= _whole(data, a, b, left)
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
            value = a - (1 << 64) if a >> 63 else a
    return {} if value is None else {name: value}
