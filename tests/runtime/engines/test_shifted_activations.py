"""Convolutions of W8A8 graphs that read numbers from 0 on say what they said with a zero point in between."""

import numpy as np
import pytest
from openvino import opset13 as ops

from pleinair.engines.int8.forms import ChosenForm
from pleinair.engines.int8.nodes import constant_of
from pleinair.engines.int8.rewriting import put_in_form
from pleinair.engines.int8.shifting import shift_activations
from pleinair.engines.openvino import ov

SIDES = (2, 6, 9, 7)


def rounded(start, zero=17, scale=0.03, levels=256):
    """`start` in a grid of 8 bits with this zero point."""
    low, high = np.float32(-zero * scale), np.float32((255 - zero) * scale)
    return ops.fake_quantize(start, low, high, low, high, levels)


def weight_of(shape, kind="f32"):
    """As NNCF stores it, or as it is when it was saved with 16-bit floats; most are above 0."""
    noise = np.random.default_rng(0)
    integers = noise.integers(-60, 128, shape).astype(np.int8)
    scale = (noise.random((shape[0], *[1] * (len(shape) - 1))) / 50).astype(kind.replace("f", "float"))
    made = ops.multiply(ops.convert(ops.constant(integers), kind), ops.constant(scale))
    return made if kind == "f32" else ops.convert(made, "f32")


def convolution(image, weight=None, strides=(1, 1), begin=(1, 1), end=(1, 1), dilations=(1, 1)):
    weight = weight_of((5, 6, 3, 3)) if weight is None else weight
    return ops.convolution(image, weight, [*strides], [*begin], [*end], [*dilations])


def biased(node, kind="f32"):
    values = np.linspace(-1, 1, 5).reshape(1, 5, 1, 1).astype(kind.replace("f", "float"))
    bias = ops.constant(values)
    return ops.add(node, bias if kind == "f32" else ops.convert(bias, "f32"))


GRAPHS = {
    "padded": lambda start: biased(convolution(rounded(start))),
    "without a bias": lambda start: convolution(rounded(start)),
    "padded on two sides": lambda start: biased(convolution(rounded(start), begin=(0, 1), end=(1, 0))),
    "in strides": lambda start: biased(convolution(rounded(start), strides=(2, 2), begin=(0, 0))),
    "dilated": lambda start: biased(convolution(rounded(start), begin=(2, 2), end=(2, 2), dilations=(2, 2))),
    "with a bias in 8 bits": lambda start: ops.add(convolution(rounded(start)), weight_of((1, 5, 1, 1))),
    "1x1": lambda start: biased(convolution(rounded(start), weight_of((5, 6, 1, 1)), begin=(0, 0), end=(0, 0))),
    "in 16-bit floats": lambda start: biased(convolution(rounded(start), weight_of((5, 6, 3, 3), "f16")), "f16"),
    "read twice": lambda start: read_twice(rounded(start)),
    "added to what was there": lambda start: ops.add(biased(convolution(rounded(start))), ops.constant(np.float32(2))),
}
LEFT = {
    "a zero point of 0": lambda start: convolution(rounded(start, zero=0)),
    "one between two numbers": lambda start: convolution(rounded(start, zero=16.5)),
    "fewer levels": lambda start: convolution(rounded(start, levels=128)),
    "weights in float": lambda start: convolution(rounded(start), ops.constant(np.ones((5, 6, 3, 3), np.float32))),
    "no end": lambda start: convolution(endless(start)),
    "a scale for each input channel": lambda start: convolution(rounded(start), weight_by_input()),
    "a range for each channel": lambda start: convolution(by_channel(start)),
    "read by another operation too": lambda start: read_by_others(rounded(start)),
}


def read_twice(image):
    return ops.add(biased(convolution(image)), biased(convolution(image, begin=(0, 2), end=(2, 0))))


def read_by_others(image):
    return ops.concat([convolution(image), image], 1)


def endless(start):
    low, high = np.float32(-np.inf), np.float32(1)
    return ops.fake_quantize(start, low, high, low, high, 256)


def weight_by_input():
    integers = np.random.default_rng(0).integers(-60, 128, (6, 6, 3, 3)).astype(np.int8)
    scales = np.linspace(0.01, 0.03, 6).reshape(1, 6, 1, 1).astype(np.float32)
    return ops.multiply(ops.convert(ops.constant(integers), "f32"), ops.constant(scales))


def by_channel(start):
    low, high = (np.linspace(side, 2 * side, 6).reshape(1, 6, 1, 1).astype(np.float32) for side in (-1, 1))
    return ops.fake_quantize(start, low, high, low, high, 256)


def model_of(made, sides=SIDES):
    start = ops.parameter([*sides], np.float32)
    return ov.Model([made(start)], [start], "model")


def answer(model):
    image = np.random.default_rng(1).standard_normal(SIDES).astype(np.float32) * 3
    return next(iter(ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([image]).values()))


def quantizers(model):
    return [node for node in model.get_ordered_ops() if node.get_type_name() == "FakeQuantize"]


@pytest.mark.parametrize("form", ["shifted", "paired"])
@pytest.mark.parametrize("name", GRAPHS)
def test_it_is_exact_but_for_rounding(name, form):
    """And the padding is no number of the range: that would be seen at the borders."""
    stored, model = model_of(GRAPHS[name]), model_of(GRAPHS[name])
    put_in_form(stored, ChosenForm("stored" if form == "shifted" else "paired", ""))
    taken = put_in_form(model, ChosenForm(form, ""))
    assert taken.shifted == (2 if name == "read twice" else 1)
    assert all(constant_of(port) in (0, 255) for node in quantizers(model) for port in node.input_values()[3:])
    expected = answer(model_of(GRAPHS[name]))
    near = 1e-6 if form == "shifted" else 2e-2  # weights that cannot saturate are rounded anew
    assert np.abs(answer(model) - expected).max() < near * np.abs(expected).max()


@pytest.mark.parametrize("name", LEFT)
def test_what_it_does_not_suit_is_left_alone(name):
    model = model_of(LEFT[name])
    assert shift_activations(model) == 0
    assert np.array_equal(answer(model), answer(model_of(LEFT[name])))


def test_open_sizes_stay_open():
    model = model_of(GRAPHS["padded"], (-1, 6, -1, -1))
    assert shift_activations(model) == 1 and model.is_dynamic()
    expected = answer(model_of(GRAPHS["padded"]))
    assert np.abs(answer(model) - expected).max() < 1e-6 * np.abs(expected).max()
