"""Upsampling folded into the convolution behind it: of nine products for each number four are left.

Upsampling by 2 to the nearest neighbour repeats each pixel four times, so that a 3x3 convolution multiplies the same
number by up to four weights. Added up beforehand they are 2x2 taps for each of the four places of a pixel, over the
small image: the sub-pixel convolution of Shi et al., 2016. Exact but for rounding.
"""

from math import prod
from typing import NamedTuple

import numpy as np

from pleinair.engines.int8.nodes import lead
from pleinair.engines.openvino_weights import LARGEST_HALF, MARK, added, numbers, source
from pleinair.engines.telemetry import without_telemetry

with without_telemetry():
    import openvino as ov
    from openvino import opset13 as ops

SMALLEST = 32 * 32  # pixels: over fewer, weights (16 for 9, kept twice) take more memory than the time is worth
REPEATING = {("asymmetric", "floor"), ("asymmetric", "simple"), ("half_pixel", "round_prefer_floor")}
PLACES = ((0, 0), (0, 1), (1, 0), (1, 1))  # row and column of an output pixel within its input pixel
AROUND = ((0, 0), (0, 1), (1, 1), (1, 0))  # taps, each beside the next
LARGEST = 127


class Upsampled(NamedTuple):
    """A convolution, the small image that it reads enlarged, and what rounds that to 8 bits, if anything does."""

    convolution: ov.Node
    small: ov.Output
    quantizer: ov.Node | None

    @property
    def in_int8(self) -> bool:
        """Whether its weight is multiplied as 8-bit integers."""
        return self.quantizer is not None and source(self.convolution.input(1)).get_element_type().bitwidth <= 8


def fold_upsampling(model: ov.Model, *, halves: bool) -> int:
    """Rewrite a model of static shapes in place; returns how many convolutions were folded.

    With `halves`, sums of weights are stored in 16 bits, which is exact enough for what is computed in fewer.
    """
    found = [each for node in model.get_ordered_ops() if (each := upsampled(node)) is not None]
    for each in found:
        _fold(each, halves)
    if found:
        model.validate_nodes_and_infer_types()
    return len(found)


def upsampled(node: ov.Node) -> Upsampled | None:
    """What there is to fold into a node; None for all but a 3x3 convolution that keeps an image enlarged by 2."""
    if node.get_type_name() != "Convolution" or list(node.get_input_shape(1))[2:] != [3, 3]:
        return None
    how = node.get_attributes()
    plain = all(list(how[name]) == [1, 1] for name in ("strides", "dilations", "pads_begin", "pads_end"))
    if not plain or source(node.input(1)) is None:
        return None
    enlarged, quantizer = node.input_value(0).get_node(), None
    if enlarged.get_type_name() == "FakeQuantize":
        quantizer, enlarged = enlarged, enlarged.input_value(0).get_node()
        if any(prod(port.get_shape()) != 1 for port in quantizer.input_values()[1:]):
            return None
    return Upsampled(node, enlarged.input_value(0), quantizer) if repeats_pixels(enlarged) else None


def repeats_pixels(node: ov.Node) -> bool:
    """Whether a node makes four of each pixel of an image (B, C, h, w) that is not tiny."""
    if node.get_type_name() != "Interpolate":
        return False
    how = node.get_attributes()
    if how["mode"] != "nearest" or (how["coordinate_transformation_mode"], how["nearest_mode"]) not in REPEATING:
        return False
    small, large = list(node.get_input_shape(0)), list(node.get_output_shape(0))
    return len(small) == 4 and prod(small[2:]) >= SMALLEST and large == [*small[:2], *(2 * side for side in small[2:])]


def _fold(found: Upsampled, halves: bool) -> None:
    """Let all that reads a convolution, or the sum of it and its bias, read four small ones instead."""
    node, image = found.convolution, found.small
    if found.quantizer is not None:
        levels = found.quantizer.get_attributes()["levels"]
        image = ops.fake_quantize(image, *found.quantizer.input_values()[1:], levels).output(0)
    weight, bias = numbers(node.input_value(1)), added(node.output(0))
    places = []
    for row, column in PLACES:
        taps = folded_taps(weight, row, column)
        kernel = in_int8(taps) if found.in_int8 else stored(taps, halves)
        place = ops.convolution(image, kernel, [1, 1], [1 - row, 1 - column], [row, column], [1, 1])
        places.append(place if bias is None else ops.add(place, bias.get_source_output()))
    made = ops.depth_to_space(ops.concat(places, 1), "blocks_first", 2)
    replaced = node if bias is None else bias.get_node()
    made.set_friendly_name(replaced.get_friendly_name())
    lead(replaced.output(0), made.output(0))


def folded_taps(weight: np.ndarray, row: int, column: int) -> np.ndarray:
    """The taps (out, in, 2, 2) of a weight (out, in, 3, 3) for one of the four places of a pixel."""
    return np.ascontiguousarray(two_taps(two_taps(weight, row, axis=2), column, axis=3))


def two_taps(weight: np.ndarray, place: int, axis: int) -> np.ndarray:
    """Three taps as two: the first place has one neighbour before it, the second one behind it."""
    before, here, behind = (weight.take([tap], axis) for tap in range(3))
    return np.concatenate([before, here + behind] if place == 0 else [before + here, behind], axis)


def in_int8(taps: np.ndarray) -> ov.Node:
    """Taps as integers of 8 bits, with a scale for each output channel.

    What rounding a tap leaves over is added to the one beside it, so that their sum stays what it was but for half a
    unit: that is what counts where neighbouring pixels are alike.
    """
    scale = np.maximum(np.abs(taps).max(axis=(1, 2, 3), keepdims=True), np.finfo(np.float32).tiny) / LARGEST
    scaled, integers, left = taps / scale, np.empty(taps.shape, np.int8), np.float32(0)
    for row, column in AROUND:
        wanted = scaled[:, :, row, column] + left
        rounded = np.rint(wanted).clip(-LARGEST, LARGEST)
        integers[:, :, row, column], left = rounded, wanted - rounded
    return ops.multiply(ops.convert(ops.constant(integers), "f32"), ops.constant(scale))


def stored(taps: np.ndarray, halves: bool) -> ov.Node:
    """Taps as a constant, in 16 bits where that is asked for and their range allows it."""
    if not halves or np.abs(taps).max(initial=0) > LARGEST_HALF:
        return ops.constant(taps)
    wide = ops.convert(ops.constant(taps.astype(np.float16)), "f32")
    wide.set_rt_info("", MARK)
    return wide
