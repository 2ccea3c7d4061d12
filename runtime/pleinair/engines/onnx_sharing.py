"""Rows that are alike, computed once: with guidance, the same latents are asked about beside several texts.

As `openvino_sharing`, in the bytes of an ONNX file. Its sides are free, so that what follows from the latents alone has
as many rows as these. What else reads it has it repeated, as often as there are texts for each of the latents. What
follows from the time has all rows, as before: its kernels round one row otherwise than two.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping

from pleinair.bundle.onnx_data import BYTES, MOST_FIELDS, value_of
from pleinair.bundle.onnx_nodes import (
    ATTRIBUTE,
    GRAPH,
    INPUT,
    NAME,
    NODE,
    OPERATOR,
    OUTPUT,
    GraphPlace,
    Node,
    graph_place,
    small_tensor,
    without,
)
from pleinair.bundle.onnx_weights import varint
from pleinair.engines.onnx_ports import INPUT as PORT
from pleinair.engines.onnx_ports import bytes_field, input_field, number_field
from pleinair.engines.onnx_rows import KnownArray, answered, constant
from pleinair.engines.onnx_sizes import ROWS, Sides

WEIGHT, ANSWER, WRITTEN = 5, 12, 13  # of GraphProto: initializers, outputs, and what is written of arrays' shapes
INT64 = 7  # TensorProto.DataType
NESTED = ("If", "Loop", "Scan", "SequenceMap")  # operators with graphs in them, which read arrays that they do not name
REMADE = ("DequantizeLinear",)  # operators whose answers are made again for all rows: kernels in int8 want them near
DEEPEST = 20  # operators between an array and the weights that it is made of
MADE = "pleinair/rows"  # begins the names of what counts rows


def share_rows(content: bytes, latents: str, texts: str, rowless: Mapping[str, Sides]) -> tuple[bytes, int]:
    """A file's bytes that take fewer `latents` (B, ...) than `texts` (k B, ...), and how many operators have B rows.

    `rowless` are the shapes of ports that have no rows. A file of which nothing can be shared is not changed. Raises
    ValueError for bytes that are no ONNX file.
    """
    graph = SharedGraph(content, latents, rowless)
    count = sum(graph.known[node.outputs[0]].rowed for node in graph.place.nodes if node.start in graph.shared)
    nested = any(node.op in NESTED for node in graph.place.nodes)
    if not count or nested or any(name in graph.known for name in graph.answers):
        return content, 0
    return rewritten(graph, latents, texts), count


class SharedGraph:
    """What of a graph follows from its `latents` and `rowless` ports alone: `known` arrays.

    Those that `shared` operators make have as many rows as the latents; these are told apart by where they stand. The
    others have equal rows.
    """

    def __init__(self, content: bytes, latents: str, rowless: Mapping[str, Sides]) -> None:
        self.content = content
        self.place: GraphPlace = graph_place(content)
        self.makers = {name: node for node in self.place.nodes for name in node.outputs if name}
        self._constants: dict[str, KnownArray] = {}
        for field, _, *span in self.place.fields:
            if field == WEIGHT:
                tensor = small_tensor(content, *span)
                self._constants[tensor.facts.name] = KnownArray(tensor.facts.shape, tensor.numbers)
        self.ports, self.answers = (
            dict(value_of(content, *span, [MOST_FIELDS]) for field, _, *span in self.place.fields if field == kind)
            for kind in (PORT, ANSWER)
        )
        others = {*self.ports} - {latents, *rowless, *self._constants}
        self._constants |= {name: KnownArray(sides) for name, sides in rowless.items()}
        self.known: dict[str, KnownArray] = {}
        self.shared: set[int] = set()
        port = self.ports.get(latents)
        if port is not None and port.shape:
            self.known[latents] = KnownArray((ROWS, *[None] * (len(port.shape) - 1)))
            self._follow(others)

    def _follow(self, told: set[str]) -> None:
        """Find what follows from what is known, and from no array that is `told` more."""
        for node in self.place.nodes:
            follows, more = (not names.isdisjoint(node.inputs) for names in (self.known.keys(), told))
            if follows and not more:
                found = answered(self.content, node, [self.of(name) for name in node.inputs])
                if found is not None:
                    self.known[node.outputs[0]] = found
                    self.shared |= set() if found.equal else {node.start}
                    continue
            if follows or more:
                told.update(filter(None, node.outputs))

    def of(self, name: str) -> KnownArray:
        """What is known of an array."""
        return self.known[name] if name in self.known else self._constant(name, DEEPEST)

    def _constant(self, name: str, left: int) -> KnownArray:
        """What is known of an array that follows from neither latents nor texts; `left` are operators before it."""
        if name not in self._constants:
            self._constants[name] = KnownArray()  # for what would follow from itself
            maker, found = self.makers.get(name), None
            if maker is not None and maker.op == "Constant":
                found = constant(self.content, maker)
            elif maker is not None and left:
                found = answered(self.content, maker, [self._constant(each, left - 1) for each in maker.inputs])
            self._constants[name] = found or KnownArray()
        return self._constants[name]


def rewritten(graph: SharedGraph, latents: str, texts: str) -> bytes:
    """The file with arrays that have all rows behind those with fewer, for operators that are not shared."""
    content, place, view = graph.content, graph.place, memoryview(graph.content)
    whole = {name: f"{name}/all" for name in repeated_arrays(graph)}
    first = {name: f"{name}/first" for name in cut_arrays(graph)}
    ranks = {rank_of(graph.known[name]) for name in whole if not remade(graph, name)}
    parts = [*counting(latents, texts, sorted(ranks))]
    parts += [with_all_rows(graph, name, whole) for name in whole if name not in graph.makers]
    nodes = {node.start: node for node in place.nodes}
    for field, start, body, end in place.fields:
        if field == NODE:
            node = nodes[start]
            renamed = first if start in graph.shared else whole
            parts.append(view[start:end] if renamed.keys().isdisjoint(node.inputs) else reading(graph, node, renamed))
            if node.outputs and node.outputs[0] in graph.known:
                parts += added_behind(graph, node.outputs[0], whole, first)
        elif field == PORT and value_of(content, body, end, [MOST_FIELDS])[0] == latents:
            parts.append(of_rows_of_its_own(graph, latents))
        elif field != WRITTEN:
            parts.append(view[start:end])
    size = sum(map(len, parts))
    return b"".join([view[: place.start], varint(GRAPH << 3 | BYTES), varint(size), *parts, view[place.end :]])


def added_behind(graph: SharedGraph, name: str, whole: Mapping[str, str], first: Mapping[str, str]) -> Iterator[bytes]:
    """What makes an array with all rows of one, or with fewer."""
    if name in whole:
        yield with_all_rows(graph, name, whole)
    if name in first:
        yield operator("Slice", [name, f"{MADE}/zero", f"{MADE}/latents", f"{MADE}/zero"], first[name])


def repeated_arrays(graph: SharedGraph) -> set[str]:
    """The arrays that are needed with all rows, or counted for all of them."""
    needed: set[str] = set()
    for node in reversed(graph.place.nodes):
        if node.start not in graph.shared or (node.outputs[0] in needed and remade(graph, node.outputs[0])):
            needed.update(name for name in node.inputs if name in graph.known and has_fewer(graph.known[name]))
    return needed


def rank_of(known: KnownArray) -> int:
    """Axes of an array, or of the one whose sides it counts."""
    return len(known.sides if known.rowed else known.numbers)


def has_fewer(known: KnownArray) -> bool:
    """Whether an array that follows from the latents has as many rows as they, or counts them."""
    return known.follows and not known.equal


def cut_arrays(graph: SharedGraph) -> set[str]:
    """The arrays of equal rows of which shared operators read fewer."""
    read = {name for node in graph.place.nodes if node.start in graph.shared for name in node.inputs}
    return {name for name in read if name in graph.known and graph.known[name].equal}


def remade(graph: SharedGraph, name: str) -> bool:
    """Whether an array is made from others with all rows, as it was from those with fewer."""
    maker, known = graph.makers.get(name), graph.known[name]
    return maker is not None and maker.op != "Shape" and (maker.op in REMADE or not known.rowed)


def with_all_rows(graph: SharedGraph, name: str, whole: Mapping[str, str]) -> bytes:
    """An operator that makes an array with all rows."""
    if not remade(graph, name):
        op = "Tile" if graph.known[name].rowed else "Mul"  # sides are counted: as many times the rows, and others once
        return operator(op, [name, times(rank_of(graph.known[name]))], whole[name])
    named = bytes_field(OUTPUT, whole[name].encode())
    return reading(graph, graph.makers[name], whole, named, (INPUT, OUTPUT, NAME))


def reading(
    graph: SharedGraph,
    node: Node,
    renamed: Mapping[str, str],
    named: bytes = b"",
    fields: Collection[int] = (INPUT,),
) -> bytes:
    """An operator that reads other arrays, and has what is `named` in place of some of its `fields`."""
    texts = b"".join(bytes_field(INPUT, renamed.get(name, name).encode()) for name in node.inputs)
    return bytes_field(NODE, texts + named + without(graph.content, node, fields))


def of_rows_of_its_own(graph: SharedGraph, latents: str) -> bytes:
    """The port of the latents, its rows without a name: sides that have one are of equal size to ONNX Runtime."""
    port = graph.ports[latents]
    return input_field(latents, port.kind, [b"", *map(side_of, port.shape[1:])])


def side_of(side: int | str) -> bytes:
    """The content of a dimension: its size, its name, or nothing."""
    if isinstance(side, int):
        return number_field(1, side)
    return bytes_field(2, side.encode()) if side else b""


def counting(latents: str, texts: str, ranks: Iterable[int]) -> Iterator[bytes]:
    """What counts how often rows are repeated, for arrays of so many axes."""
    yield listed(f"{MADE}/zero", [0])
    for name, port in (("texts", texts), ("latents", latents)):
        yield operator("Shape", [port], f"{MADE}/{name}/sides")
        yield operator("Gather", [f"{MADE}/{name}/sides", f"{MADE}/zero"], f"{MADE}/{name}")
    yield operator("Div", [f"{MADE}/texts", f"{MADE}/latents"], times(1))
    for rank in ranks:
        if rank > 1:
            yield listed(f"{MADE}/ones/{rank}", [1] * (rank - 1))
            axis = bytes_field(ATTRIBUTE, bytes_field(1, b"axis") + number_field(3, 0) + number_field(20, 2))
            yield operator("Concat", [times(1), f"{MADE}/ones/{rank}"], times(rank), axis)


def times(rank: int) -> str:
    """The name of how often an array is repeated along each of its axes."""
    return f"{MADE}/times/{rank}"


def operator(op: str, inputs: Iterable[str], output: str, attributes: bytes = b"") -> bytes:
    """A field of an operator; its name is that of what it makes."""
    named = (*((INPUT, name) for name in inputs), (OUTPUT, output), (NAME, output), (OPERATOR, op))
    return bytes_field(NODE, b"".join(bytes_field(place, text.encode()) for place, text in named) + attributes)


def listed(name: str, numbers: list[int]) -> bytes:
    """A Constant that is a list of whole numbers."""
    raw = b"".join(number.to_bytes(8, "little") for number in numbers)
    tensor = number_field(1, len(numbers)) + number_field(2, INT64) + bytes_field(9, raw)
    value = bytes_field(1, b"value") + bytes_field(5, tensor) + number_field(20, 4)
    return operator("Constant", [], name, bytes_field(ATTRIBUTE, value))
