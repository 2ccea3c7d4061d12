"""Forms of W8A8 graphs: which a CPU takes, what records say of it, and weights that vpmaddubsw cannot let saturate."""

import numpy as np
import pytest
from openvino import opset13 as ops

import pleinair
from pleinair.engines.doctor import int8_here
from pleinair.engines.engine import engine_named
from pleinair.engines.int8 import cpu
from pleinair.engines.int8.attention import widen_attention
from pleinair.engines.int8.forms import FORMS, ChosenForm, TakenForm, chosen_form, form_again
from pleinair.engines.int8.rewriting import is_w8a8, put_in_form
from pleinair.engines.int8.saturation import pair_weights, shrinking
from pleinair.engines.openvino import ov
from pleinair.engines.openvino_weights import numbers
from pleinair.errors import RequestError

ZEN4 = ("sse4_2", "avx2", "avx512f", "avx512_vnni", "avx512_bf16")
ALDER_LAKE = ("sse4_2", "avx2", "avx_vnni")
ZEN3 = ("sse4_2", "avx", "avx2", "fma")
SKYLAKE_X = ("sse4_2", "avx2", "avx512f")
ARM = ("asimd", "asimddp", "i8mm")


@pytest.mark.parametrize(
    ("flags", "forced", "form", "why"),
    [
        (ZEN4, "", "shifted", "VNNI"),
        (ALDER_LAKE, "", "shifted", "AVX-VNNI"),
        (SKYLAKE_X, "", "paired", "AVX-512 without VNNI"),
        (ZEN3, "", "channels-first", "AVX2, and neither"),
        (("sse4_2",), "", "paired", "not known to have AVX2"),
        (ARM, "", "stored", "not an x86"),
        ((), "", "stored", "not an x86"),
        (ZEN4, "AVX2", "channels-first", "(forced: AVX2)"),
        (ZEN4, "avx512_core", "paired", "(forced: avx512_core)"),
        (ZEN4, "AVX512_CORE_VNNI", "shifted", "this CPU has VNNI"),
        (ZEN4, "ALL", "shifted", "this CPU has VNNI"),
        (ZEN3, "AVX512_CORE", "channels-first", "neither AVX-512 nor VNNI"),
        (ALDER_LAKE, "AVX2", "channels-first", "(forced: AVX2)"),
        ((*ZEN4, "avx_vnni"), "AVX2_VNNI", "shifted", "AVX-VNNI (forced: AVX2_VNNI)"),
    ],
)
def test_the_form_follows_from_the_flags(flags, forced, form, why):
    chosen = chosen_form("auto", flags, forced)
    assert chosen.form == form and why in chosen.why
    assert ("forced" in chosen.why) == ("forced" in why)


@pytest.mark.parametrize("asked", FORMS)
def test_a_form_that_is_asked_for_is_taken_on_every_cpu(asked):
    assert {chosen_form(asked, flags) for flags in (ZEN4, ZEN3, ARM)} == {(asked, "it was asked for")}


def test_another_form_is_refused():
    with pytest.raises(RequestError, match="channels-first"):
        pleinair.load(engine="fake", int8="seven bits")


def test_where_the_system_tells_nothing_numpy_does(monkeypatch):
    monkeypatch.setattr(cpu, "instruction_sets", list)
    monkeypatch.setattr(cpu, "numpy_features", lambda: {"SSE42": True, "AVX2": True, "AVX512F": False})
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    assert cpu.cpu_flags() == ["sse4_2", "avx2"] and cpu.form_here().form == "channels-first"


def test_numpy_is_asked_by_names_that_it_has():
    assert set(cpu.NUMPY_NAMES) <= set(cpu.numpy_features()) or "NEON" in cpu.numpy_features()


def test_doctor_says_the_form_and_why(monkeypatch):
    monkeypatch.setattr(cpu, "instruction_sets", lambda: [*ZEN4])
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    said = int8_here(engine_named("openvino"))
    assert "linear layers as convolutions" in said and "AVX2, and neither AVX-512 nor VNNI (forced: AVX2)" in said
    assert int8_here(engine_named("onnx")) == "W8A8 graphs as they are stored"


@pytest.mark.parametrize(
    ("recorded", "here", "form"),
    [
        ({"unet": {"form": "channels-first"}, "vae_decoder": {"form": "channels-first"}}, "shifted", "channels-first"),
        ({"unet": {"form": "paired"}}, "channels-first", "paired"),
        ({"unet": {"form": "paired"}}, "paired", None),
        ({"unet": {"form": "stored"}}, "shifted", "stored"),
        ({"unet": {"form": "shifted"}}, "shifted", None),
        ({"unet": {"form": "stored"}}, "channels-first", None),
        ({"unet": {"form": "shifted"}}, "paired", None),
        ({"unet": {"form": "paired"}, "vae_decoder": {"form": "stored"}}, "stored", None),
        ({"unet": {"form": ["paired"]}}, "stored", None),
        ({"unet": "paired"}, "stored", None),
        ("paired", "stored", None),
        (None, "stored", None),
    ],
)
def test_a_record_asks_for_its_form_again(recorded, here, form):
    assert form_again(recorded, here) == form


def test_records_leave_out_what_is_none():
    assert TakenForm("paired", "so", rounded=2, weights=3).record == {
        "form": "paired",
        "why": "so",
        "rounded": 2,
        "weights": 3,
    }


@pytest.mark.parametrize("shape", [(16, 32), (8, 6, 3, 3), (5, 7, 1, 1), (3, 1)])
def test_no_pair_of_paired_weights_can_saturate(shape):
    """255 * (w0 + w1) stays within 16 bits for all neighbours, and what cannot saturate anyway is left as it is."""
    weights = np.random.default_rng(0).integers(-127, 128, shape).astype(np.int8)
    weights[0] = 127
    weights[1] = np.clip(weights[1], -64, 64)
    factor = shrinking(weights)
    paired = np.rint(weights * factor.reshape(-1, *[1] * (len(shape) - 1))).astype(int)
    even = shape[1] // 2 * 2
    sums = paired[:, 0:even:2] + paired[:, 1:even:2]
    assert np.abs(255 * sums).max(initial=0) < 1 << 15
    assert factor[1] == 1 and (factor[0] == 126.5 / 254 if even else factor[0] == 1)


def stored_weight(integers, scale, kind="f32"):
    """As NNCF stores it, or as it is when it was saved with 16-bit floats."""
    widened = ops.convert(ops.constant(integers), kind)
    made = ops.multiply(widened, ops.constant(scale.astype(np.float32 if kind == "f32" else np.float16)))
    return made if kind == "f32" else ops.convert(made, "f32")


def quantized(start):
    low, high = np.float32(-1), np.float32(1)
    return ops.fake_quantize(start, low, high, low, high, 256)


def linear_model(weight, width=8, turned=False):
    start = ops.parameter([1, 4, width], np.float32)
    return ov.Model([ops.matmul(quantized(start), weight, False, not turned)], [start], "linear")


def weight_in(model):
    return next(numbers(node.input_value(1)) for node in model.get_ordered_ops() if node.get_type_name() == "MatMul")


@pytest.mark.parametrize("kind", ["f32", "f16"])
@pytest.mark.parametrize("turned", [False, True])
def test_paired_weights_are_near_what_they_were(kind, turned):
    integers = np.random.default_rng(0).integers(-127, 128, (8, 8)).astype(np.int8)
    scale = np.linspace(0.5, 2, 8).reshape(1, 8) if turned else np.linspace(0.5, 2, 8).reshape(8, 1)
    model = linear_model(stored_weight(integers, scale, kind), turned=turned)
    before = weight_in(model)
    assert pair_weights(model) == (1, 1, 0)
    after = weight_in(model)
    assert 0 < np.abs(after - before).max() <= 1.01 * scale.max()


def test_weights_of_an_unknown_kind_are_counted_and_left():
    """With a zero point: the sums of such weights could overflow, and somebody has to say so."""
    integers = np.full((8, 8), 120, np.int8)
    shifted = ops.subtract(ops.convert(ops.constant(integers), "f32"), ops.constant(np.float32(3)))
    model = linear_model(ops.multiply(shifted, ops.constant(np.ones((8, 1), np.float32))))
    taken = put_in_form(model, ChosenForm("paired", ""))
    assert (taken.rounded, taken.weights, taken.unknown) == (0, 1, 1)
    assert (weight_in(model) == 117).all()


def test_what_is_stored_is_left_alone():
    model = linear_model(stored_weight(np.full((8, 8), 127, np.int8), np.ones((8, 1))))
    assert put_in_form(model, ChosenForm("stored", "so")) == TakenForm("stored", "so")
    assert (weight_in(model) == 127).all()


def test_a_graph_without_quantized_activations_is_no_w8a8():
    start = ops.parameter([1, 4, 8], np.float32)
    weight = stored_weight(np.ones((8, 8), np.int8), np.ones((8, 1)))
    assert not is_w8a8(ov.Model([ops.matmul(start, weight, False, True)], [start], "weights alone"))
    assert is_w8a8(linear_model(weight))


def test_attention_of_two_products_is_widened_and_weights_keep_their_quantizers():
    start = ops.parameter([1, 2, 4, 8], np.float32)
    shared = quantized(start)
    scores = ops.matmul(shared, quantized(start), False, True)
    mixed = ops.matmul(quantized(ops.softmax(scores, 3)), shared, False, False)
    out = ops.matmul(quantized(mixed), stored_weight(np.ones((8, 8), np.int8), np.ones((8, 1))), False, True)
    model = ov.Model([out.output(0), shared.output(0)], [start], "attention")
    assert widen_attention(model) == 3
    left = [node for node in model.get_ordered_ops() if node.get_type_name() == "FakeQuantize"]
    assert len(left) == 2  # of the last linear layer, and the shared one, which is an answer too
