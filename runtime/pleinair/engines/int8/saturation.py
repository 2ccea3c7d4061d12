"""Weights in int8 that vpmaddubsw cannot let saturate.

It multiplies unsigned 8-bit activations by signed 8-bit weights and adds neighbouring products in signed 16 bits:
255 * 128 still fits, so no two weights of neighbouring input channels may add up to more than 128 either way. Seven
bits everywhere (NNCF's overflow_fix, ONNX Runtime's reduce_range) see to that too, and lose 2.3 dB more.
"""

from typing import NamedTuple

import numpy as np

from pleinair.engines.int8.nodes import constant_of
from pleinair.engines.telemetry import without_telemetry

with without_telemetry():
    import openvino as ov
    from openvino import opset13 as ops

LARGEST_PAIR = 126.5  # rounding adds half to each of the two


class Rounded(NamedTuple):
    """How many weights were rounded anew, of how many in int8, and how many are stored in a way that is not known."""

    rounded: int
    weights: int
    unknown: int


def pair_weights(model: ov.Model) -> Rounded:
    """Round the int8 weights of linear layers and convolutions so that no pair of them saturates.

    Known are weights as NNCF stores them, a Constant of int8 widened and multiplied by a scale per output channel.
    Those of grouped convolutions, whose input channels have no neighbours, stay as they are.
    """
    found = {}
    for node in model.get_ordered_ops():
        if node.get_type_name() in ("MatMul", "Convolution"):
            stored = int8_constant(node.input_value(1))
            if stored is not None:
                found[stored.get_name()] = node, stored
    done = [_round(node, stored) for node, stored in found.values()]
    return Rounded(sum(each is True for each in done), len(done), sum(each is None for each in done))


def int8_constant(weight: ov.Output) -> ov.Node | None:
    """The constant of 8 bits that a weight is made of; None for a wider one."""
    node = weight.get_node()
    while node.get_type_name() in ("Convert", "Multiply", "Subtract"):
        node = node.input_value(0).get_node()
    small = node.get_type_name() == "Constant" and node.get_output_element_type(0) in (ov.Type.i8, ov.Type.u8)
    return node if small else None


def _round(node: ov.Node, stored: ov.Node) -> bool | None:
    """Whether a weight had to be rounded; None where it is not stored as is known."""
    chain = scaled_chain(node.input_value(1))
    if chain is None or stored.get_output_element_type(0) != ov.Type.i8:
        return None
    widened, scaled = chain
    turned = node.get_type_name() == "MatMul" and not node.get_attributes()["transpose_b"]
    integers, scale = stored.data, constant_of(scaled.input_value(1))
    by_output = integers.T if turned else integers  # (out, in, ...)
    channels = by_output.shape[0]
    if scale is None or scale.size not in (1, channels) or integers.ndim < 2:
        return None
    factor = shrinking(by_output)
    if (factor == 1).all():
        return False
    wide = (channels, *[1] * (integers.ndim - 1))
    paired = np.rint(by_output * factor.reshape(wide)).astype(np.int8)
    shape = wide[::-1] if turned else wide
    scales = (scale.astype(np.float32).reshape(-1) / factor).reshape(shape)
    widened.input(0).replace_source_output(_constant(paired.T if turned else paired, stored.get_friendly_name()))
    kind = scaled.input_value(1).get_element_type()
    wide_scale = ops.constant(np.ascontiguousarray(scales))
    same = kind == ov.Type.f32
    scaled.input(1).replace_source_output((wide_scale if same else ops.convert(wide_scale, kind)).output(0))
    return True


def scaled_chain(weight: ov.Output) -> tuple[ov.Node, ov.Node] | None:
    """The Convert behind an int8 constant and the Multiply by its scale, maybe widened once more."""
    node = weight.get_node()
    if node.get_type_name() == "Convert":
        node = node.input_value(0).get_node()
    if node.get_type_name() != "Multiply":
        return None
    widened = node.input_value(0).get_node()
    constant = widened.get_type_name() == "Convert" and widened.input_value(0).get_node().get_type_name() == "Constant"
    return (widened, node) if constant else None


def shrinking(integers: np.ndarray) -> np.ndarray:
    """By how much each output channel of int8 weights (out, in, ...) is to be multiplied, float32 (out,), at most 1."""
    even = integers.shape[1] // 2 * 2
    pairs = np.abs(integers[:, 0:even:2].astype(np.int16) + integers[:, 1:even:2]).reshape(len(integers), -1)
    largest = pairs.max(axis=1, initial=1)
    return np.where(largest > 128, LARGEST_PAIR / largest, 1).astype(np.float32)


def _constant(array: np.ndarray, name: str) -> ov.Output:
    return ops.constant(np.ascontiguousarray(array), name=name).output(0)
