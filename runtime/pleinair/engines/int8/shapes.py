"""Shapes that a graph computes, made constants: rules that move axes need to see them."""

from pleinair.engines.int8.nodes import integers_of, kind_of_node, sides, whole_numbers
from pleinair.engines.telemetry import without_telemetry

with without_telemetry():
    import openvino as ov


def freeze_shapes(model: ov.Model) -> None:
    """Make constants of computed shapes, and of the lengths of VariadicSplit, in a model of static shapes."""
    for node in model.get_ordered_ops():
        kind = node.get_type_name()
        if kind in ("Reshape", "Broadcast") and kind_of_node(node.input_value(1)) != "Constant":
            _put(node.input(1), sides(node.output(0)))
        elif kind == "VariadicSplit" and kind_of_node(node.input_value(2)) != "Constant":
            (axis,) = integers_of(node.input_value(1))
            _put(node.input(2), [sides(part)[axis] for part in node.outputs()])
    model.validate_nodes_and_infer_types()


def _put(port: ov.Input, values: list[int]) -> None:
    port.replace_source_output(whole_numbers(values).output(0))
