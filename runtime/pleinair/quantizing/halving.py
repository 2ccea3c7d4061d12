"""Layers whose answer is cut in two, as GEGLU's is: made two layers that read the same.

OpenVINO copies halves that lie beside each other in memory, and fuses GELU only with the layer that it follows.
"""

from collections.abc import Iterable
from functools import partial

import numpy as np

from pleinair.engines.int8.nodes import lead, weight_rebuilt
from pleinair.engines.openvino_weights import WeightPorts, part_named
from pleinair.engines.telemetry import without_telemetry
from pleinair.quantizing.openvino_layers import QuantizableLayer

with without_telemetry():
    import openvino as ov
    from openvino import opset13 as ops

CUTTERS = ("Split", "VariadicSplit")


def split_halves(layers: Iterable[QuantizableLayer]) -> int:
    """Rewrite the model of these layers in place; returns how many became two."""
    done = 0
    for layer in layers:
        cutter = None if layer.is_convolution else cutter_of(layer.answer)
        halves = cutter and [half_of(layer, place) for place in (0, 1)]
        if halves and all(halves):
            for output, made in zip(cutter.outputs(), halves, strict=True):
                lead(output, made.output(0))
            done += 1
    return done


def cutter_of(answer: ov.Output) -> ov.Node | None:
    """The node that cuts an answer (..., C) into halves of its channels, where no other reads it."""
    readers = [port.get_node() for port in answer.get_target_inputs()]
    readers = [each for each in readers if each.get_type_name() != "ShapeOf"]
    if len(readers) != 1 or readers[0].get_type_name() not in CUTTERS or len(readers[0].outputs()) != 2:
        return None
    shapes = [each.get_partial_shape() for each in (answer, *readers[0].outputs())]
    ends = [shape[len(shape) - 1] for shape in shapes]
    if any(end.is_dynamic for end in ends):
        return None
    channels, first, second = (end.get_length() for end in ends)
    return readers[0] if channels == 2 * first == 2 * second else None


def half_of(layer: QuantizableLayer, place: int) -> ov.Node | None:
    """A layer that answers the first or the second half; None where its constants are stored in a way not known."""
    node, ports = layer.node, layer.ports
    weight = weight_rebuilt(node.input_value(1), partial(half, place=place, axis=1 if ports.transposed else 0))
    bias = ports.bias and weight_rebuilt(ports.bias.get_source_output(), partial(half, place=place, axis=-1))
    if weight is None or (ports.bias and bias is None):
        return None
    made = ops.matmul(node.input_value(0), weight, False, not ports.transposed)
    made.set_friendly_name(part_named(node.get_friendly_name(), place))
    stored = WeightPorts([made.input(1)], None).stored
    stored.set_friendly_name(part_named(ports.stored.get_friendly_name(), place))
    return made if bias is None else ops.add(made, bias)


def half(array: np.ndarray, place: int, axis: int) -> np.ndarray:
    """The first or the second half of a weight, a bias or a scale; all of what is the same for both."""
    return array if array.size == 1 or array.shape[axis] == 1 else np.split(array, 2, axis)[place]
