"""Norms spelled out where AVX-512 is there and OpenVINO must not use it (ONEDNN_MAX_CPU_ISA).

OpenVINO 2026.4 takes its AVX-512 kernel for a norm nevertheless. With a FakeQuantize or a scale for each channel behind
it, and a number of elements that sixteen do not divide, that kernel reads at a wrong address and ends the process.
"""

from math import prod

from pleinair.engines.int8.cpu import avx512_forbidden
from pleinair.engines.int8.nodes import integers_of, lead, sides, whole_numbers
from pleinair.engines.telemetry import without_telemetry

with without_telemetry():
    import openvino as ov
    from openvino import opset13 as ops

LANES = 16  # numbers of AVX-512


def spell_out_where_forced(model: ov.Model) -> int:
    """Spell a model's norms out where they would end the process; returns how many were."""
    return spell_out_norms(model) if avx512_forbidden() and not model.is_dynamic() else 0


def spell_out_norms(model: ov.Model) -> int:
    """Replace norms over a number of elements with a rest; returns how many. The model's shapes are static."""
    found = 0
    for node in model.get_ordered_ops():
        spell = SPELLED.get(node.get_type_name())
        made = spell(node) if spell else None
        if made is not None:
            lead(node.output(0), made)
            found += 1
    if found:
        model.validate_nodes_and_infer_types()
    return found


def _group_norm(node: ov.Node) -> ov.Output | None:
    x, scale, shift = node.input_values()
    told = node.get_attributes()
    shape, groups = sides(x), told["num_groups"]
    if prod(shape[2:]) % LANES == 0:  # the kernel goes through a group channel by channel
        return None
    count = prod(shape[1:]) // groups
    split = ops.reshape(x, whole_numbers([shape[0], groups, count]), special_zero=False).output(0)
    normed = ops.reshape(_normed(split, [2], count, told["epsilon"]), whole_numbers(shape), special_zero=False)
    channels = whole_numbers([1, shape[1], *[1] * len(shape[2:])])
    scale, shift = (ops.reshape(each, channels, special_zero=False) for each in (scale, shift))
    return ops.add(ops.multiply(normed, scale), shift).output(0)


def _mvn(node: ov.Node) -> ov.Output | None:
    x, axes = node.input_value(0), integers_of(node.input_value(1))
    told = node.get_attributes()
    count = prod(sides(x)[axis] for axis in axes)
    if count % LANES == 0 or not told["normalize_variance"]:
        return None
    return _normed(x, axes, count, told["eps"]).output(0)


def _normed(x: ov.Output, axes: list[int], count: int, epsilon: float) -> ov.Node:
    """Sums and a factor stand for means: OpenVINO makes a norm of those again."""
    part, over = ops.constant(1 / count, ov.Type.f32), whole_numbers(axes)
    centred = ops.subtract(x, ops.multiply(ops.reduce_sum(x, over, keep_dims=True), part))
    variance = ops.multiply(ops.reduce_sum(ops.multiply(centred, centred), over, keep_dims=True), part)
    return ops.divide(centred, ops.sqrt(ops.add(variance, ops.constant(epsilon, ov.Type.f32))))


SPELLED = {"GroupNormalization": _group_norm, "MVN": _mvn}
