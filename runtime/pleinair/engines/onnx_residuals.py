"""Ports for a ControlNet's residuals, put into the bytes of a UNet's ONNX file.

A skip connection is joined to the way up by a Concat of two arrays along their channels; that both come from
convolutions tells it from others. The last one made is joined first. Field numbers are those of onnx.proto.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from pleinair.bundle.onnx_data import Initializer
from pleinair.bundle.onnx_nodes import GRAPH, NODE, GraphPlace, Node, graph_place, without_inputs
from pleinair.engines.edits import Residuals
from pleinair.engines.onnx_ports import bytes_field, input_field, number_field

CHANNELS = (1, -3)  # the axis of four, counted from either end
# operators that keep channels as they are
SAME = ("Add", "Sub", "Mul", "Div", "Cast", "Identity", "Dropout", "Resize", "QuantizeLinear", "DequantizeLinear")
STORED = ("Cast", "DequantizeLinear", "Identity")  # operators that make a weight of what is stored
DEEPEST = 4  # of these behind each other
FURTHEST = 200  # operators between an array and a convolution
FLOAT = 1  # TensorProto.DataType


class Kind(NamedTuple):
    """What an array is made of: so many channels, of numbers of a TensorProto.DataType."""

    channels: int
    numbers: int


class Arrays:
    """Which arrays of a graph have channels, as far as convolutions tell."""

    def __init__(self, nodes: Sequence[Node], weights: Mapping[str, Initializer]) -> None:
        self._makers = {name: node for node in nodes for name in node.outputs}
        self._weights = weights

    def kind(self, array: str) -> Kind | None:
        """That of an array; None where no convolution is near enough to tell."""
        waiting, seen = [array], {array}
        while waiting and len(seen) < FURTHEST:
            maker = self._makers.get(waiting.pop(0))
            if maker is None:
                continue
            if maker.op == "Conv" and len(maker.inputs) > 1:
                return self._made_with(maker.inputs[1])
            if maker.op in SAME:
                fresh = [name for name in maker.inputs if name not in seen]
                waiting += fresh
                seen.update(fresh)
        return None

    def _made_with(self, weight: str) -> Kind | None:
        """What a convolution with a weight makes: float32 where that is widened before."""
        stored, maker = self._weights.get(weight), self._makers.get(weight)
        numbers = FLOAT if stored is None else stored.kind
        for _ in range(DEEPEST):
            if stored is not None or maker is None or maker.op not in STORED or not maker.inputs:
                break
            weight = maker.inputs[0]
            stored, maker = self._weights.get(weight), self._makers.get(weight)
        return Kind(stored.shape[0], numbers) if stored is not None and len(stored.shape) == 4 else None


def with_residuals(
    content: bytes, weights: Mapping[str, Initializer], edit: Residuals
) -> tuple[bytes, list[int] | None]:
    """A file's bytes with the ports of `edit`; where its skip connections are others, their channels, and no change.

    Raises ValueError for bytes that are no ONNX file.
    """
    place = graph_place(content)
    arrays = Arrays(place.nodes, weights)
    joints = [node for node in place.nodes if node.op == "Concat" and node.axis in CHANNELS and len(node.inputs) == 2]
    joints = [node for node in joints if arrays.kind(node.inputs[1])][::-1]
    found = [arrays.kind(node.inputs[1]) for node in joints]
    found += [arrays.kind(joints[-1].inputs[0]) or found[-1]] if joints else []
    if tuple(each.channels for each in found) != edit.channels:
        return content, [each.channels for each in found]
    return _rewritten(content, place, joints, edit, [each.numbers for each in found]), None


def _rewritten(content: bytes, place: GraphPlace, joints: list[Node], edit: Residuals, numbers: list[int]) -> bytes:
    graph, done = [], place.body
    for number, joint in sorted(enumerate(joints), key=_start):
        ports = {1: edit.ports[number]} | ({0: edit.ports[-1]} if joint is joints[-1] else {})
        graph += [content[done : joint.start], *_joined(content, joint, ports)]
        done = joint.end
    ports = zip(edit.ports, edit.channels, numbers, strict=True)
    graph += [content[done : place.end], *(input_field(name, kind, _sides(name, count)) for name, count, kind in ports)]
    return content[: place.start] + bytes_field(GRAPH, b"".join(graph)) + content[place.end :]


def _start(numbered: tuple[int, Node]) -> int:
    return numbered[1].start


def _joined(content: bytes, joint: Node, ports: Mapping[int, str]) -> Iterator[bytes]:
    """The operators in place of a Concat: what adds the ports to its inputs, and the Concat of the sums."""
    inputs = list(joint.inputs)
    for number, port in ports.items():
        yield bytes_field(NODE, _added(inputs[number], port))
        inputs[number] = f"{port}/sum"
    named = b"".join(bytes_field(1, name.encode()) for name in inputs)
    yield bytes_field(NODE, named + without_inputs(content, joint))


def _added(array: str, port: str) -> bytes:
    """A NodeProto that adds a port to an array."""
    named = ((1, array), (1, port), (2, f"{port}/sum"), (3, f"{port}/add"), (4, "Add"))
    return b"".join(bytes_field(number, text.encode()) for number, text in named)


def _sides(name: str, channels: int) -> list[bytes]:
    """Dimensions (B, channels, h, w)."""
    sides = [bytes_field(2, f"{name}/{axis}".encode()) for axis in range(4)]
    sides[1] = number_field(1, channels)
    return sides


def side_names(edit: Residuals) -> dict[str, tuple[str, ...]]:
    """What the sides of its ports are called in the file, "" for channels, which are a number there."""
    return {name: (f"{name}/0", "", f"{name}/2", f"{name}/3") for name in edit.ports}
