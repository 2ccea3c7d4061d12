"""The layers of an OpenVINO model that can compute in int8: found, watched, tried and made so."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from pleinair.engines.int8.nodes import place_of
from pleinair.engines.openvino_weights import WeightPorts, sites
from pleinair.engines.telemetry import without_telemetry
from pleinair.quantizing.ranges import LEVELS, Grid, Ranges, int8_weight

with without_telemetry():
    import openvino as ov
    from openvino import opset13 as ops

FEWEST_AXES = 3  # of what a layer reads: with fewer it is asked once a picture or a step, and computes next to nothing
GATES = "quantized"  # a port of `gated` models


@dataclass(frozen=True)
class QuantizableLayer:
    """A layer whose weight is a constant: where it is, and the output that has its answer with the bias added."""

    ports: WeightPorts
    answer: ov.Output

    @property
    def node(self) -> ov.Node:
        """The convolution or product."""
        return self.ports.readers[0].get_node()

    @property
    def is_convolution(self) -> bool:
        """Whether it is a convolution, and no product."""
        return self.node.get_type_name() == "Convolution"

    @property
    def cost(self) -> int:
        """Multiplications of a call; the model must have static shapes."""
        weight, out = self.node.input_value(1).get_shape(), self.node.output(0).get_shape()
        return prod(weight) * prod(out) // self.ports.layer.shape[0]

    def as_stored(self, array: np.ndarray) -> np.ndarray:
        """An array (out, in, ...) in the order in which the graph has the weight."""
        return np.ascontiguousarray(array.T if self.ports.transposed else array)


@dataclass(frozen=True)
class QuantizableAttention:
    """Attention of an image to itself: its product of queries and keys, and the paths of the layers that make them."""

    node: ov.Node
    queries: str
    keys: str

    @property
    def cost(self) -> int:
        """Multiplications of a call for that product; the model must have static shapes."""
        return prod(self.node.get_input_shape(0)) * self.node.get_input_shape(1)[-2]


@dataclass(frozen=True)
class Rounding:
    """What is rounded where something computes in int8: ports, and the grid of each."""

    ports: tuple[ov.Input, ...]
    grids: tuple[Grid, ...]


def quantizable(model: ov.Model, named: Mapping[str, str]) -> dict[str, QuantizableLayer]:
    """Layer path -> layer, for those large enough to gain; `named` as in `openvino_weights.sites`.

    Layers whose weight several nodes read are left out.
    """
    found = {}
    for path, ports in sites(model, named).items():
        node = ports.readers[0].get_node()
        axes = node.input_value(0).get_partial_shape().rank
        if ports.vector or ports.others or len(ports.readers) > 1 or axes.is_dynamic or axes.get_length() < FEWEST_AXES:
            continue
        found[path] = QuantizableLayer(ports, ports.bias.get_node().output(0) if ports.bias else node.output(0))
    return found


def attentions(model: ov.Model, layers: Mapping[str, QuantizableLayer]) -> dict[str, QuantizableAttention]:
    """What layers of queries and keys have in common in their paths -> their attention, where they read the same."""
    answers = {place_of(layer.answer): path for path, layer in layers.items()}
    found = {}
    for node in model.get_ordered_ops():
        if node.get_type_name() != "ScaledDotProductAttention":
            continue
        queries, keys = (answers.get(place_of(split_of(node.input_value(place)))) for place in (0, 1))
        if queries and keys and place_of(read_by(layers[queries])) == place_of(read_by(layers[keys])):
            found[queries.rpartition(".")[0]] = QuantizableAttention(node, queries, keys)
    return found


def split_of(heads: ov.Output) -> ov.Output:
    """What was split into heads."""
    while heads.get_node().get_type_name() in ("Reshape", "Transpose"):
        heads = heads.get_node().input_value(0)
    return heads


def read_by(layer: QuantizableLayer) -> ov.Output:
    return layer.node.input_value(0)


def rounded_layers(
    layers: Mapping[str, QuantizableLayer], ranges: Ranges, answers: bool = False
) -> dict[str, Rounding]:
    """Path -> what is rounded in a layer: what it reads, and with `answers` what convolutions answer (ONNX Runtime)."""
    found = {}
    for path, layer in layers.items():
        readers = layer.answer.get_target_inputs() if answers and layer.is_convolution else ()
        grids = ranges.grid_in(path), *[ranges.grid_out(path)] * len(readers)
        found[path] = Rounding((layer.node.input(0), *readers), grids)
    return found


def roundings(model: ov.Model, layers: Mapping[str, QuantizableLayer], ranges: Ranges) -> dict[str, Rounding]:
    """Path -> what is rounded in a layer, or in the product of queries and keys of attention."""
    found = rounded_layers(layers, ranges)
    for path, each in attentions(model, layers).items():
        grids = ranges.even_grid_out(each.queries), ranges.even_grid_out(each.keys)
        found[path] = Rounding((each.node.input(0), each.node.input(1)), grids)
    return found


def outermost(model: ov.Model, layers: Mapping[str, QuantizableLayer], port: str) -> set[str]:
    """The layers that read an input port, and those that answer, with nothing but small operations between.

    Errors of the first go through all others, errors of the last go nowhere else.
    """
    paths = {layer.node.get_name(): path for path, layer in layers.items()}
    last = {path for result in model.get_results() for path in behind(result, paths)[0]}
    first = {path for path, layer in layers.items() if port in behind(layer.node, paths, of_first=True)[1]}
    return first | last


def behind(node: ov.Node, paths: Mapping[str, str], of_first: bool = False) -> tuple[set[str], set[str]]:
    """The nearest layers that a node's inputs come from, and the ports that they come from without any layer between.

    Of a layer, with `of_first`, only what it reads and not its weight.
    """
    waiting = [node.input_value(0).get_node()] if of_first else [each.get_node() for each in node.input_values()]
    seen, found, ports = set(), set(), set()
    while waiting:
        each = waiting.pop()
        name = each.get_name()
        if name in seen:
            continue
        seen.add(name)
        if name in paths:
            found.add(paths[name])
        elif each.get_type_name() == "Parameter":
            ports |= each.output(0).get_names()
        elif each.get_type_name() != "ShapeOf":  # which passes on no numbers
            waiting += [value.get_node() for value in each.input_values()]
    return found, ports


def watched(model: ov.Model, layers: Iterable[QuantizableLayer]) -> ov.Model:
    """The model with two outputs more for each tensor: the lowest and the highest number of each layer's in and out.

    They come before the model's own: OpenVINO asks for outputs in turn, and would otherwise keep every tensor to the
    end (SD 1.5's UNet at 512x512: 3.3 GB instead of 0.2).
    """
    more = []
    for layer in layers:
        for tensor in (layer.node.input_value(0), layer.answer):
            axes = ops.constant(np.arange(tensor.get_partial_shape().rank.get_length()))
            more += [ops.reduce_min(tensor, axes, False), ops.reduce_max(tensor, axes, False)]
    return ov.Model([*(node.output(0) for node in more), *model.outputs], model.get_parameters())


def gated(model: ov.Model, tried: Sequence[Rounding]) -> ov.Model:
    """The model with a port GATES, one number for each of `tried`: at 1 it rounds, at 0 numbers stay as they are.

    Any subset can so be tried without compiling again, and for the cost of a call. Weights stay exact: with a scale for
    each output channel they add little.
    """
    gates = ops.parameter([len(tried)], np.float32, name=GATES)
    gates.output(0).set_names({GATES})
    for place, each in enumerate(tried):
        gate = ops.gather(gates, ops.constant(np.int64(place)), ops.constant(np.int64(0)))
        for port, cover in zip(each.ports, each.grids, strict=True):
            tensor = port.get_source_output()
            error = ops.subtract(fake_quantize(tensor, cover), tensor)
            port.replace_source_output(ops.add(tensor, ops.multiply(error, gate)).output(0))
    return ov.Model(model.outputs, [*model.get_parameters(), gates])


def fake_quantize(tensor: ov.Output, cover: Grid) -> ov.Node:
    ends = [ops.constant(cover.low), ops.constant(cover.high)]
    return ops.fake_quantize(tensor, *ends, *ends, LEVELS)


def quantize_attention(rounded: Iterable[Rounding]) -> None:
    """Let products of queries and keys compute in int8, in place."""
    for each in rounded:
        for port, cover in zip(each.ports, each.grids, strict=True):
            port.replace_source_output(fake_quantize(port.get_source_output(), cover).output(0))


def quantize_layers(layers: Mapping[str, QuantizableLayer], ranges: Ranges) -> None:
    """Let layers compute in int8, in place: FakeQuantize on what they read, weights as int8, Convert and Multiply.

    Layers that read the same tensor share its FakeQuantize.
    """
    read: dict[tuple[str, int], ov.Node] = {}
    for path, layer in layers.items():
        node, tensor = layer.node, layer.node.input_value(0)
        key = tensor.get_node().get_name(), tensor.get_index()
        if key not in read:
            read[key] = fake_quantize(tensor, ranges.grid_in(path))
        whole, scale = int8_weight(layer.ports.weight())
        constant = ops.constant(layer.as_stored(whole), name=layer.ports.stored.get_friendly_name())
        scaled = ops.multiply(ops.convert(constant, "f32"), ops.constant(layer.as_stored(scale)))
        node.input(0).replace_source_output(read[key].output(0))
        node.input(1).replace_source_output(scaled.output(0))
