"""Upsampling that is folded into the convolution behind it: the same answers, where there is something to fold."""

import numpy as np
import pytest
from openvino import opset11
from openvino import opset13 as ops

import pleinair
from pleinair.bundle.opening import open_bundle
from pleinair.engines import openvino
from pleinair.engines.edits import Change, NewWeights
from pleinair.engines.engine import engine_named
from pleinair.engines.graphs import Graphs
from pleinair.engines.openvino import ov
from pleinair.engines.openvino_upsampling import fold_upsampling
from pleinair.files.metadata import read_record
from pleinair.files.output import write_pictures
from pleinair.tasks.rerun import rerun

CHANNELS = 6
F32 = {"INFERENCE_PRECISION_HINT": "f32"}
JOB = {"seed": 1, "steps": 2, "width": 128, "height": 128}
PLAIN = {
    "mode": "nearest",
    "shape_calculation_mode": "scales",
    "pads_begin": [0, 0],
    "pads_end": [0, 0],
    "coordinate_transformation_mode": "asymmetric",
    "nearest_mode": "floor",
}


def enlarging(
    side=(32, 36), scale=2.0, kernel=3, stride=1, pad=1, bias=True, weight=None, before=None, behind=None, **how
):
    """A model (1, C, h, w) -> interpolate -> convolution, with one thing or another of its own."""
    noise = np.random.default_rng(0)
    image = ops.parameter([1, CHANNELS, *side], np.float32, name="image")
    scales = ops.constant(np.array([scale, scale], np.float32))
    small = image if before is None else before(image)
    large = opset11.interpolate(small, scales_or_sizes=scales, axes=ops.constant([2, 3]), **{**PLAIN, **how})
    large = large if behind is None else behind(large)
    taps = noise.standard_normal((CHANNELS, CHANNELS, kernel, kernel)).astype(np.float32)
    made = ops.convolution(large, (weight or ops.constant)(taps), [stride] * 2, [pad] * 2, [pad] * 2, [1, 1])
    if bias:
        made = ops.add(made, ops.constant(noise.standard_normal((1, CHANNELS, 1, 1)).astype(np.float32)))
    return ov.Model([ops.relu(made)], [image])


def answer(model):
    image = np.random.default_rng(1).standard_normal(tuple(model.inputs[0].shape)).astype(np.float32)
    return np.array(ov.Core().compile_model(model, "CPU", F32)([image])[0])


def kinds(model):
    return [node.get_type_name() for node in model.get_ordered_ops()]


def decibels(one, other):
    error = np.mean((one.astype(float) - other) ** 2)
    return float("inf") if error == 0 else 10 * np.log10(np.mean(one.astype(float) ** 2) / error)


def in_int8(taps):
    scale = np.abs(taps).max(axis=(1, 2, 3), keepdims=True) / 127
    return ops.multiply(ops.convert(ops.constant(np.rint(taps / scale).astype(np.int8)), "f32"), ops.constant(scale))


def in_halves(taps):
    return ops.convert(ops.constant(taps.astype(np.float16)), "f32")


def rounding(low, high):
    def quantizer(image):
        ends = [ops.constant(np.float32(low)), ops.constant(np.float32(high))]
        return ops.fake_quantize(image, *ends, *ends, 256)

    return quantizer


@pytest.mark.parametrize("halves", [False, True])
@pytest.mark.parametrize(
    "how",
    [
        {},
        {"bias": False},
        {"side": (33, 47)},
        {"weight": in_halves},
        {"coordinate_transformation_mode": "half_pixel", "nearest_mode": "round_prefer_floor"},
        {"before": rounding(-4, 4)},
        {"behind": rounding(-4, 4)},
    ],
)
def test_the_answer_is_the_same(how, halves):
    model, plain = enlarging(**how), answer(enlarging(**how))
    assert fold_upsampling(model, halves=halves) == 1
    assert "Interpolate" not in kinds(model) and kinds(model).count("Convolution") == 4
    assert decibels(plain, answer(model)) > (60 if halves else 110)


@pytest.mark.parametrize(
    "how",
    [
        {"side": (31, 32)},
        {"scale": 3.0},
        {"scale": 1.5},
        {"mode": "linear_onnx"},
        {"coordinate_transformation_mode": "align_corners"},
        {"nearest_mode": "ceil"},
        {"kernel": 5, "pad": 2},
        {"kernel": 1, "pad": 0},
        {"pad": 0},
        {"stride": 2},
        {"behind": ops.relu},
        {"weight": lambda taps: ops.relu(ops.constant(taps))},
    ],
)
def test_what_is_no_such_upsampling_stays_as_it_is(how):
    model = enlarging(**how)
    before = kinds(model)
    assert fold_upsampling(model, halves=False) == 0 and kinds(model) == before


def test_weights_in_int8_stay_in_int8():
    """They are rounded anew, to the same 8 bits: about as far from the plain graph as rounding is from the weights."""
    model, exact = enlarging(weight=in_int8, behind=rounding(-4, 4)), answer(enlarging(behind=rounding(-4, 4)))
    plain = decibels(exact, answer(enlarging(weight=in_int8, behind=rounding(-4, 4))))
    assert fold_upsampling(model, halves=True) == 1
    small = [node for node in model.get_ordered_ops() if node.get_element_type() == ov.Type.i8]
    assert [list(node.get_output_shape(0)) for node in small] == [[CHANNELS, CHANNELS, 2, 2]] * 4
    assert decibels(exact, answer(model)) > plain - 8


def test_weights_in_int8_of_images_that_are_not_rounded_become_wide():
    model, plain = enlarging(weight=in_int8), answer(enlarging(weight=in_int8))
    assert fold_upsampling(model, halves=False) == 1
    assert not any(node.get_element_type() == ov.Type.i8 for node in model.get_ordered_ops())
    assert decibels(plain, answer(model)) > 110


def test_pictures_are_the_same_and_their_records_say_so(tmp_path):
    with pleinair.load(engine="openvino", precision="f32") as pipe:
        folded = pipe.generate("a red house", **JOB)
    with pleinair.load(engine="openvino", precision="f32", fold=False) as pipe:
        plain = pipe.generate("a red house", **JOB)
    assert folded.settings["folded"] == {"vae_decoder": 2} and "folded" not in plain.settings
    assert not np.array_equal(folded.pixels, plain.pixels) and decibels(plain.pixels, folded.pixels) > 80


@pytest.mark.parametrize("fold", [True, False])
def test_a_picture_is_painted_again_as_it_was(tmp_path, fold):
    """Records from before there was something to fold have nothing of it."""
    with pleinair.load(engine="openvino", precision="f32", fold=fold) as pipe:
        painted = pipe.generate("a red house", **JOB)
    (file,) = write_pictures(painted, [tmp_path / "house.png"], overwrite=False)
    assert ("folded" in read_record(file).ours) == fold
    again = rerun(file, fold=True).result  # the command line always says how it would open a model
    assert ("folded" in again.settings) == fold
    assert np.array_equal(again.pixels, painted.pixels)


def test_a_second_start_knows_what_was_folded(tmp_path, monkeypatch):
    monkeypatch.setenv("PLEINAIR_HOME", str(tmp_path))
    found = []
    for _ in range(2):
        with pleinair.load(engine="openvino", cache=True) as pipe:
            found.append(pipe.generate("a red house", **JOB))
        monkeypatch.setattr(openvino, "fold_upsampling", None)
    assert found[0].settings["folded"] == found[1].settings["folded"] == {"vae_decoder": 2}
    assert np.array_equal(found[0].pixels, found[1].pixels)


def test_weights_that_edits_change_are_folded():
    def doubled(weight):
        return 2 * weight

    edit = NewWeights("doubled", {"up_blocks.1.upsamplers.0.conv": Change(weight=doubled)})
    noise = np.random.default_rng(0)
    feeds = {"sample": noise.standard_normal((1, 4, 64, 64), np.float32), "timestep": np.float32(500)}
    feeds |= {"encoder_hidden_states": noise.standard_normal((1, 9, 128), np.float32)}
    answers = {}
    for fold in (True, False):
        graphs = Graphs(open_bundle(None), engine_named("openvino"), precision="f32", fold=fold)
        answers[fold] = [graphs.open("unet", edits)(**feeds)["out_sample"] for edits in ((), (edit,))]
        assert graphs.rewritten == ({"folded": {"unet": 1}} if fold else {})
    assert decibels(*answers[False]) < 40 and decibels(answers[False][1], answers[True][1]) > 110
