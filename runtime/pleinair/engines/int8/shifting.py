"""Convolutions whose 8-bit activations begin at 0, in place of a zero point somewhere between.

Kernels for VNNI subtract a zero point by sums over each weight, and apart from that at the borders, where padding is no
number but the zero point. Weights take five times as long to be arranged for that, and convolutions up to a tenth
longer. Here padding is written out, and what the zero point adds up to is part of the bias. Exact.
"""

import numpy as np

from pleinair.engines.int8.nodes import constant_of, lead, whole_numbers
from pleinair.engines.int8.saturation import scaled_chain
from pleinair.engines.openvino_weights import added, numbers
from pleinair.engines.telemetry import without_telemetry

with without_telemetry():
    import openvino as ov
    from openvino import opset13 as ops

LEVELS = 256
NEAR = 1e-3  # of a level: as near as a zero point is to a whole number


def shift_activations(model: ov.Model) -> int:
    """Rewrite a W8A8 model in place; returns how many convolutions read shifted numbers."""
    shifted = 0
    for node in model.get_ordered_ops():
        readers = [port.get_node() for port in node.output(0).get_target_inputs()] if is_uneven(node) else []
        sums = [sums_of(each.input_value(1)) if is_explicit(each) else None for each in readers]
        if readers and all(each is not None for each in sums):
            _shift(node, list(zip(readers, sums, strict=True)))
            shifted += len(readers)
    if shifted:
        model.validate_nodes_and_infer_types()
    return shifted


def is_uneven(node: ov.Node) -> bool:
    """Whether a node rounds to 8 bits, in one range for all numbers, with a zero point above 0."""
    if node.get_type_name() != "FakeQuantize" or node.get_attributes()["levels"] != LEVELS:
        return False
    ends = [constant_of(each) for each in node.input_values()[1:]]
    if any(each is None or each.size != 1 for each in ends):
        return False
    low, high, *same = (float(each.item()) for each in ends)
    if not -np.inf < low < 0 < high < np.inf or same != [low, high]:
        return False
    zero = -low * (LEVELS - 1) / (high - low)
    return abs(zero - round(zero)) < NEAR


def is_explicit(node: ov.Node) -> bool:
    """Whether a node is a convolution that says by how much it pads."""
    return node.get_type_name() == "Convolution" and node.get_attributes()["auto_pad"] == "explicit"


def sums_of(weight: ov.Output) -> np.ndarray | None:
    """Of each output channel (out,) the sum of a weight stored as int8 with scales; None for any other."""
    chain = scaled_chain(weight)
    stored = chain and chain[0].input_value(0).get_node()
    scale = chain and constant_of(chain[1].input_value(1))
    if scale is None or stored.get_element_type() != ov.Type.i8:
        return None
    rows = stored.data.reshape(len(stored.data), -1)
    if scale.size not in (1, len(rows)) or scale.size != max(scale.shape[:1], default=1):
        return None
    return rows.sum(1, dtype=np.int32) * scale.astype(np.float64).reshape(-1)


def _shift(quantizer: ov.Node, readers: list[tuple[ov.Node, np.ndarray]]) -> None:
    """Let convolutions read what a quantizer rounds to, as numbers from 0 to 255."""
    low, high = (float(constant_of(quantizer.input_value(place)).item()) for place in (1, 2))
    scale = (high - low) / (LEVELS - 1)
    ends = [ops.constant(np.float32(each)) for each in (0, LEVELS - 1)]
    rounded = ops.fake_quantize(quantizer.input_value(0), *quantizer.input_values()[1:3], *ends, LEVELS)
    whole = ops.convert(rounded, "u8")
    padding = ops.constant(np.uint8(round(-low / scale)))
    for node, sums in readers:
        how = node.get_attributes()
        around = [whole_numbers([0, 0, *how[side]]) for side in ("pads_begin", "pads_end")]
        padded = ops.pad(whole, *around, "constant", padding) if any((*how["pads_begin"], *how["pads_end"])) else whole
        real = ops.multiply(ops.convert(padded, "f32"), ops.constant(np.float32(scale)))
        none = [0] * len(how["pads_begin"])
        made = ops.convolution(real, node.input_value(1), how["strides"], none, none, how["dilations"])
        made.set_friendly_name(node.get_friendly_name())
        _add(node, made, low * sums)


def _add(node: ov.Node, made: ov.Node, more: np.ndarray) -> None:
    """Put a convolution in the place of another, with `more` (out,) in its bias."""
    more = more.reshape(1, -1, *[1] * (len(node.get_output_partial_shape(0)) - 2))
    bias = added(node.output(0))
    if bias is None:
        lead(node.output(0), ops.add(made, ops.constant(more.astype(np.float32))).output(0))
        return
    total = numbers(bias.get_source_output()) + more
    bias.replace_source_output(ops.constant(total.astype(np.float32)).output(0))
    lead(node.output(0), made.output(0))
