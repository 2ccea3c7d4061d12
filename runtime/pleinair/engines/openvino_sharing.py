"""Rows that are alike, computed once: with guidance, the same latents are asked about beside several texts.

Until a network first reads the text, it says the same for each of them. In Stable Diffusion 1 and 2 that is what comes
before the first cross-attention: two convolutions, and one of the five largest attentions. Exact.
"""

from collections.abc import Callable, Collection, Iterator

from pleinair.engines.int8.nodes import described, integers_of, sides, whole_numbers
from pleinair.engines.int8.shapes import freeze_shapes
from pleinair.engines.openvino_weights import source
from pleinair.engines.rows import Fewer
from pleinair.engines.settled import settled_nodes
from pleinair.engines.telemetry import without_telemetry

with without_telemetry():
    import openvino as ov
    from openvino import opset13 as ops

Rule = Callable[[ov.Node, int], bool]


def share_rows(model: ov.Model, fewer: Fewer) -> int:
    """Let a port of a model of static shapes, that of all its rows, take fewer; in place.

    The batch consists of equal blocks of these. Returns how many operations compute each row of a block once. Whatever
    else reads what they answer has it repeated.
    """
    freeze_shapes(model)
    parameter, rows, times = model.input(fewer.port).get_node(), fewer.whole[0], fewer.times
    shared = {node.get_name(): node for node in alike(model, {fewer.port, *fewer.rowless}, rows)}
    for node in shared.values():
        if node.get_type_name() in ("Reshape", "Broadcast") and rowed(node.output(0), rows):
            small = [rows // times, *sides(node.output(0))[1:]]
            node.input(1).replace_source_output(whole_numbers(small).output(0))
    for node in shared.values():
        for output in node.outputs():
            others = [reader for reader in output.get_target_inputs() if reader.get_node().get_name() not in shared]
            if rowed(output, rows) and others:
                repeat(output, others, times)
    parameter.set_partial_shape(ov.PartialShape([rows // times, *sides(parameter.output(0))[1:]]))
    model.validate_nodes_and_infer_types()
    return sum(node.get_type_name() != "Parameter" for node in shared.values())


def alike(model: ov.Model, ports: Collection[str], rows: int) -> Iterator[ov.Node]:
    """What follows from some ports alone, each row of it from the same row of what it reads; the ports come first."""
    nodes = model.get_ordered_ops()
    told = {port.get_node().get_name() for port in model.inputs if port.get_names() & {*ports}}
    settled = settled_nodes(map(described, nodes), told)
    left: set[str] = set()
    for node in nodes:
        name = node.get_name()
        if name not in settled:
            continue
        if keeps_rows(node, rows) and not any(each.get_node().get_name() in left for each in node.input_values()):
            yield node
        else:
            left.add(name)


def keeps_rows(node: ov.Node, rows: int) -> bool:
    """Whether each row that a node answers follows from the same row of what it reads."""
    reads, answers = (any(rowed(each, rows) for each in ends) for ends in (node.input_values(), node.outputs()))
    rule = RULES.get(node.get_type_name())
    if node.get_type_name() == "Parameter" or not (reads or answers):
        return True
    return rule is not None and all(rowed(each, rows) for each in node.outputs()) and rule(node, rows)


def rowed(output: ov.Output, rows: int) -> bool:
    shape = sides(output)
    return bool(shape) and shape[0] == rows


def repeat(output: ov.Output, readers: list[ov.Input], times: int) -> None:
    """Give readers all rows of an output that had them, and will have one for every `times`."""
    row, *others = sides(output)
    if row == times and len(others) == 3 and others[1:] == [1, 1]:
        readers = [
            reader for reader in readers if reader.get_node().get_type_name() != "Add"
        ]  # it spreads one row itself
    if readers:
        repeated = ops.concat([output] * times, 0).output(0)
        for reader in readers:
            reader.replace_source_output(repeated)


def number_by_number(node: ov.Node, rows: int) -> bool:
    """Each number by itself, and beside others in its place: arrays with rows have as many axes as the answer."""
    axes = len(sides(node.output(0)))
    return all(len(sides(each)) == axes for each in node.input_values() if rowed(each, rows))


def image_by_image(node: ov.Node, rows: int) -> bool:
    """Convolutions and norms of images with weights that are stored."""
    return all(source(port) is not None for port in node.inputs()[1:])


def attends(node: ov.Node, rows: int) -> bool:
    """Attention without a mask."""
    return len(node.inputs()) == 3


def multiplies(node: ov.Node, rows: int) -> bool:
    """Matrices of each row, or rows as a matrix, times a stored one."""
    if len(sides(node.output(0))) > 2:
        return all(len(sides(each)) > 2 for each in node.input_values() if rowed(each, rows))
    return not node.get_attributes()["transpose_a"] and source(node.input(1)) is not None


def reshapes(node: ov.Node, rows: int) -> bool:
    """Only what is within a row."""
    return rowed(node.input_value(0), rows)


def spreads(node: ov.Node, rows: int) -> bool:
    """What is the same for all rows, or has them."""
    axes = len(sides(node.input_value(0)))
    return rowed(node.input_value(0), rows) or axes < len(sides(node.output(0))) or sides(node.input_value(0))[0] == 1


def turns(node: ov.Node, rows: int) -> bool:
    """Other axes than the first."""
    return integers_of(node.input_value(1))[:1] == [0]


def along(place: int) -> Rule:
    """A rule for what happens along the axes that an input says: the one of rows is not among them."""

    def within(node: ov.Node, rows: int) -> bool:
        axes = integers_of(node.input_value(place)) if place < len(node.inputs()) else None
        return axes is not None and all(axis % len(sides(node.output(0))) for axis in axes)

    return within


def joins(node: ov.Node, rows: int) -> bool:
    """Along another axis than the first."""
    axis = node.get_attributes()["axis"] % len(sides(node.output(0)))
    return axis > 0 and all(rowed(each, rows) for each in node.input_values())


def pads(node: ov.Node, rows: int) -> bool:
    """Within a row."""
    return all((integers_of(node.input_value(place)) or [1])[0] == 0 for place in (1, 2))


RULES: dict[str, Rule] = {
    **dict.fromkeys(("Add", "Convert", "Cos", "Divide", "FakeQuantize", "Gelu", "Multiply"), number_by_number),
    **dict.fromkeys(("Sigmoid", "Sin", "Subtract", "Swish"), number_by_number),
    **dict.fromkeys(("Convolution", "GroupNormalization"), image_by_image),
    "ScaledDotProductAttention": attends,
    "MatMul": multiplies,
    "Reshape": reshapes,
    "Broadcast": spreads,
    "Transpose": turns,
    "Concat": joins,
    "Pad": pads,
    "MVN": along(1),
    "Unsqueeze": along(1),
    "Split": along(1),
    "VariadicSplit": along(1),
    "Slice": along(4),
}
