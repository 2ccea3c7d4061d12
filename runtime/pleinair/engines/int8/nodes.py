"""Reading and writing nodes of an OpenVINO model."""

from collections.abc import Callable, Iterable

import numpy as np

from pleinair.engines.openvino_weights import MARK
from pleinair.engines.settled import GraphNode
from pleinair.engines.telemetry import without_telemetry

with without_telemetry():
    import openvino as ov
    from openvino import opset13 as ops

Place = tuple[str, int]  # a node's unique name, and which of its outputs
TO_LAST, TO_FIRST = [0, 2, 3, 1], [0, 3, 1, 2]  # (B, C, h, w) -> (B, h, w, C), and back
BINARY = {"Add": ops.add, "Multiply": ops.multiply, "Subtract": ops.subtract, "Divide": ops.divide}
SCALED = ("Multiply", "Subtract")


def place_of(output: ov.Output) -> Place:
    """What tells an output apart from all others of a model."""
    return output.get_node().get_name(), output.get_index()


def sides(output: ov.Output) -> list[int]:
    """The sides of an array of static shape."""
    return [int(side) for side in output.get_shape()]


def kind_of_node(output: ov.Output) -> str:
    return output.get_node().get_type_name()


def described(node: ov.Node) -> GraphNode:
    """A node as `settled_nodes` looks at it."""
    inputs = tuple(source.get_node().get_name() for source in node.input_values())
    return GraphNode(node.get_name(), node.get_type_name(), inputs)


def constant_of(output: ov.Output) -> np.ndarray | None:
    """The numbers of a constant, widened where it is stored in fewer bits; None for anything else."""
    node = output.get_node()
    if node.get_type_name() == "Convert":
        stored = constant_of(node.input_value(0))
        return None if stored is None else stored.astype(node.get_output_element_type(0).to_dtype())
    return node.data if node.get_type_name() == "Constant" else None


def integers_of(output: ov.Output) -> list[int] | None:
    """Those of a constant, such as the order of a Transpose."""
    found = constant_of(output)
    return None if found is None else [int(each) for each in np.ravel(found)]


def whole_numbers(values: Iterable[int] | int) -> ov.Node:
    return ops.constant(np.asarray(values, np.int64))


def lead(old: ov.Output, new: ov.Output) -> None:
    """Let all that reads one array read another."""
    for reader in list(old.get_target_inputs()):
        reader.replace_source_output(new)


def weight_rebuilt(output: ov.Output, change: Callable[[np.ndarray], np.ndarray]) -> ov.Output | None:
    """A constant weight, its widening and its scaling, built anew with `change` on each constant; else None."""
    node = output.get_node()
    kind = node.get_type_name()
    if kind == "Constant":
        return ops.constant(np.ascontiguousarray(change(node.data)), name=node.get_friendly_name()).output(0)
    if kind not in ("Convert", *SCALED):
        return None
    inputs = [weight_rebuilt(each, change) for each in node.input_values()]
    if any(each is None for each in inputs):
        return None
    if kind == "Convert":
        made = ops.convert(inputs[0], node.get_output_element_type(0).get_type_name())
        if MARK in node.get_rt_info():
            made.set_rt_info("", MARK)
    else:
        made = BINARY[kind](*inputs)
    return made.output(0)
