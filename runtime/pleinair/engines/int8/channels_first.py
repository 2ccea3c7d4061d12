"""Transformer blocks over image tokens in channels-first layout, so that their linear layers are 1x1 convolutions.

An array of tokens (B, S, C) that was made of an image by Transpose and Reshape has a twin (B, C, h, w). Rules carry the
twin through every operation of a block, and through attention, where heads are split behind a Transpose to
channels-last: that is how OpenVINO lays images out, so it costs nothing, and attention stays fused. Where the block
makes an image of its tokens again, the twin is that image. An operation without a rule gets its tokens back. Exact but
for rounding. As Apple does for its Neural Engine (ml-ane-transformers).
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from pleinair.engines.int8.nodes import (
    BINARY,
    TO_FIRST,
    TO_LAST,
    Place,
    constant_of,
    integers_of,
    kind_of_node,
    lead,
    place_of,
    sides,
    weight_rebuilt,
    whole_numbers,
)
from pleinair.engines.telemetry import without_telemetry

with without_telemetry():
    import openvino as ov
    from openvino import opset13 as ops

Twins = Sequence[ov.Output | None]  # of an operation's inputs
KEPT_GRID = ("Transpose", "Reshape", "ScaledDotProductAttention", "MatMul", "Softmax", "Multiply", "FakeQuantize")
UNARY = {"Swish": ops.swish, "Sigmoid": ops.sigmoid, "Tanh": ops.tanh, "Relu": ops.relu, "Erf": ops.erf}


def channels_first(model: ov.Model) -> int:
    """Rewrite a model of static, frozen shapes in place; returns how many linear layers are convolutions now."""
    rewriting = Rewriting()
    for node in model.get_ordered_ops():
        rewriting.visit(node)
    model.validate_nodes_and_infer_types()
    return rewriting.convolutions


class Rewriting:
    """One walk through a model, in the order in which it computes."""

    def __init__(self) -> None:
        self.convolutions = 0
        self._twins: dict[Place, ov.Output] = {}
        self._grids: dict[Place, tuple[int, int]] = {}  # (h, w) of what was split into heads

    def visit(self, node: ov.Node) -> None:
        """Carry the twins of a node's inputs through it, or look whether tokens begin here."""
        twins = [self._twins.get(place_of(source)) for source in node.input_values()]
        if all(twin is None for twin in twins):
            self._begin(node)
            return
        rule = RULES.get(node.get_type_name())
        if rule is None or not rule(self, node, twins):
            for port, twin in zip(node.inputs(), twins, strict=True):
                if twin is not None:
                    port.replace_source_output(tokens_of(twin))

    def _begin(self, node: ov.Node) -> None:
        if not node.get_input_size():
            return
        first, kind = node.input_value(0), node.get_type_name()
        grid = self._grids.get(place_of(first))
        if kind == "Reshape" and len(node.get_output_shape(0)) == 3:
            twin = image_behind(node) if grid is None else joined(node, grid)
            if twin is not None:
                self._twins[place_of(node.output(0))] = twin
        elif grid is not None and kind in KEPT_GRID:
            self._grids[place_of(node.output(0))] = grid

    def _set(self, node: ov.Node, twin: ov.Node) -> None:
        self._twins[place_of(node.output(0))] = named(twin, node)

    def norm(self, node: ov.Node, twins: Twins) -> bool:
        """LayerNorm's MVN over the channels."""
        axes = integers_of(node.input_value(1))
        if axes not in ([-1], [2]):
            return False
        how = node.get_attributes()
        by_channel = ops.mvn(twins[0], whole_numbers([1]), how["normalize_variance"], how["eps"], how["eps_mode"])
        self._set(node, by_channel)
        return True

    def binary(self, node: ov.Node, twins: Twins) -> bool:
        """Of two arrays of tokens, or of one and a constant for each channel."""
        width = sides(node.output(0))[-1]
        arguments = [
            by_channel(source, width) if twin is None else twin
            for source, twin in zip(node.input_values(), twins, strict=True)
        ]
        if any(argument is None for argument in arguments):
            return False
        self._set(node, BINARY[node.get_type_name()](*arguments))
        return True

    def unary(self, node: ov.Node, twins: Twins) -> bool:
        """Of each number by itself."""
        if len(twins) > 1:  # Swish's slope
            return False
        self._set(node, UNARY[node.get_type_name()](twins[0]))
        return True

    def gelu(self, node: ov.Node, twins: Twins) -> bool:
        """As it is approximated in the graph."""
        self._set(node, ops.gelu(twins[0], node.get_attributes()["approximation_mode"]))
        return True

    def quantizer(self, node: ov.Node, twins: Twins) -> bool:
        """FakeQuantize with one range, or one for each channel."""
        image, *others = twins
        width = sides(node.output(0))[-1]
        ranges = [by_channel(source, width) for source in node.input_values()[1:]]
        if image is None or any(each is not None for each in others) or any(each is None for each in ranges):
            return False
        self._set(node, ops.fake_quantize(image, *ranges, node.get_attributes()["levels"]))
        return True

    def linear(self, node: ov.Node, twins: Twins) -> bool:
        """A MatMul by a constant weight, (out, in) or (in, out)."""
        image, how = twins[0], node.get_attributes()
        if image is None or twins[1] is not None or how["transpose_a"] or len(node.get_input_shape(1)) != 2:
            return False
        turned = not how["transpose_b"]
        kernel = weight_rebuilt(node.input_value(1), lambda stored: as_kernel(stored, turned))
        if kernel is None:
            return False
        self._set(node, ops.convolution(image, kernel, [1, 1], [0, 0], [0, 0], [1, 1]))
        self.convolutions += 1
        return True

    def split(self, node: ov.Node, twins: Twins) -> bool:
        """The halves of GEGLU."""
        if twins[0] is None or integers_of(node.input_value(1)) not in ([-1], [2]):
            return False
        channels = whole_numbers(1)
        if node.get_type_name() == "Split":
            made = ops.split(twins[0], channels, node.get_attributes()["num_splits"])
        else:
            made = ops.variadic_split(twins[0], channels, node.input_value(2))
        made.set_friendly_name(name_of_twin(node))
        for old, new in zip(node.outputs(), made.outputs(), strict=True):
            self._twins[place_of(old)] = new
        return True

    def reshape(self, node: ov.Node, twins: Twins) -> bool:
        """Tokens split into heads, or made an image again."""
        image, shape = twins[0], sides(node.output(0))
        if image is None or len(shape) != 4:
            return False
        batch, channels, height, width = sides(image)
        if shape == [batch, height, width, channels]:
            return self._end(node, image)
        if shape[:2] != [batch, height * width] or shape[2] * shape[3] != channels:
            return False
        split = named(ops.reshape(ops.transpose(image, whole_numbers(TO_LAST)), whole_numbers(shape), False), node)
        lead(node.output(0), split)
        self._grids[place_of(split)] = height, width
        return True

    def _end(self, node: ov.Node, image: ov.Output) -> bool:
        readers = [reader.get_node() for reader in node.output(0).get_target_inputs()]
        if any(each.get_type_name() != "Transpose" or order_of(each) != TO_FIRST for each in readers):
            return False
        for each in readers:
            lead(each.output(0), image)
        return bool(readers)


RULES: Mapping[str, Callable[[Rewriting, ov.Node, Twins], bool]] = {
    "MVN": Rewriting.norm,
    "Gelu": Rewriting.gelu,
    "FakeQuantize": Rewriting.quantizer,
    "MatMul": Rewriting.linear,
    "Split": Rewriting.split,
    "VariadicSplit": Rewriting.split,
    "Reshape": Rewriting.reshape,
    **dict.fromkeys(BINARY, Rewriting.binary),
    **dict.fromkeys(UNARY, Rewriting.unary),
}


def image_behind(node: ov.Node) -> ov.Output | None:
    """The image (B, C, h, w) that a Reshape makes tokens (B, h w, C) of."""
    turned = node.input_value(0)
    if kind_of_node(turned) != "Transpose" or order_of(turned.get_node()) != TO_LAST:
        return None
    batch, height, width, channels = sides(turned)
    made = sides(node.output(0)) == [batch, height * width, channels]
    return turned.get_node().input_value(0) if made else None


def joined(node: ov.Node, grid: tuple[int, int]) -> ov.Output | None:
    """The image of heads (B, h w, heads, d) that a Reshape joins to tokens."""
    batch, tokens, channels = sides(node.output(0))
    if tokens != grid[0] * grid[1]:
        return None
    last = ops.reshape(node.input_value(0), whole_numbers([batch, *grid, channels]), False)
    return ops.transpose(last, whole_numbers(TO_FIRST)).output(0)


def tokens_of(image: ov.Output) -> ov.Output:
    """(B, C, h, w) -> (B, h w, C)."""
    batch, channels, height, width = sides(image)
    last = ops.transpose(image, whole_numbers(TO_LAST))
    return ops.reshape(last, whole_numbers([batch, height * width, channels]), False).output(0)


def by_channel(source: ov.Output, channels: int) -> ov.Node | None:
    """A constant for all numbers, or for each channel of tokens, in the shape that it has beside an image."""
    found = constant_of(source)
    if found is None or not (found.size == 1 or found.size == channels == found.shape[-1]):
        return None
    return ops.constant(np.ascontiguousarray(found.reshape(1, -1, 1, 1)))


def as_kernel(stored: np.ndarray, turned: bool) -> np.ndarray:
    """A weight (out, in), or (in, out) where it is `turned`, or its scale, as that of a 1x1 convolution."""
    if stored.size == 1:
        return stored.reshape(())
    stored = np.atleast_2d(stored)
    return (stored.T if turned else stored)[..., None, None]


def order_of(transpose: ov.Node) -> list[int] | None:
    return integers_of(transpose.input_value(1))


def named(new: ov.Node, old: ov.Node) -> ov.Output:
    """The output of a node that stands for another, and says so in its name."""
    new.set_friendly_name(name_of_twin(old))
    return new.output(0)


def name_of_twin(node: ov.Node) -> str:
    return f"{node.get_friendly_name()}/channels_first"
