"""Attention of a W8A8 graph computed in float: without VNNI, it is slower in int8."""

from pleinair.engines.int8.nodes import constant_of, kind_of_node
from pleinair.engines.openvino_weights import source
from pleinair.engines.telemetry import without_telemetry

with without_telemetry():
    import openvino as ov

PASSED = ("Reshape", "Transpose", "Multiply", "Softmax", "Add")  # between a projection, or softmax, and a product


def widen_attention(model: ov.Model) -> int:
    """Take out the FakeQuantizes of queries, keys, values and probabilities, and return how many these were."""
    taken: set[str] = set()
    for node in model.get_ordered_ops():
        for port in products(node):
            _climb(port, taken)
    if taken:
        model.validate_nodes_and_infer_types()
    return len(taken)


def products(node: ov.Node) -> list[ov.Input]:
    """The inputs of attention that are multiplied with each other; those of a MatMul by weights are none."""
    kind = node.get_type_name()
    if kind == "ScaledDotProductAttention":
        return node.inputs()[:3]
    if kind == "MatMul" and all(source(port) is None and len(port.get_partial_shape()) == 4 for port in node.inputs()):
        return node.inputs()
    return []


def _climb(port: ov.Input, taken: set[str]) -> None:
    above = port.get_source_output()
    node = above.get_node()
    if kind_of_node(above) == "FakeQuantize" and constant_of(node.input_value(0)) is None:
        taken.add(node.get_name())
        port.replace_source_output(node.input_value(0))
        _climb(port, taken)
    elif kind_of_node(above) in PASSED:
        _climb(node.input(0), taken)
