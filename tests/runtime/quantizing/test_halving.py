"""A layer whose answer is cut in two becomes two layers, and is one layer for whoever changes its weights."""

import numpy as np
import pytest
from openvino import opset13 as ops

from pleinair.engines.edits import Change
from pleinair.engines.openvino import ov
from pleinair.engines.openvino_weights import change, sites
from pleinair.quantizing.halving import split_halves
from pleinair.quantizing.openvino_layers import quantizable

IN, OUT = 4, 6  # of each half
NAME = "self.model.ff.net.0.proj"


def constant(array, name):
    return ops.constant(np.ascontiguousarray(array), name=name)


def weight_of(kind, turned):
    """(2 OUT, IN), or the other way round, named as tools write it."""
    noise = np.random.default_rng(0)
    integers = noise.integers(-127, 128, (2 * OUT, IN)).astype(np.int8)
    scale = noise.random((2 * OUT, 1)).astype(np.float32)
    integers, scale = (integers, scale) if turned else (integers.T, scale.T)
    if kind == "f32":
        return constant(integers * scale, f"{NAME}.weight")
    if kind == "f16":
        return ops.convert(constant((integers * scale).astype(np.float16), f"{NAME}.weight"), "f32")
    return ops.multiply(ops.convert(constant(integers, f"{NAME}.weight"), "f32"), constant(scale, f"{NAME}.scale"))


def cut(answer, kind):
    axis = ops.constant(np.int64(-1))
    if kind == "Split":
        return ops.split(answer, axis, 2)
    width = ops.gather(ops.shape_of(answer), ops.constant([-1]), ops.constant(np.int64(0)))
    half = ops.divide(width, ops.constant([2]))
    return ops.variadic_split(answer, axis, ops.concat([half, half], 0))


def gated(kind="int8", turned=True, biased=True, cutter="VariadicSplit", also=None):
    """GEGLU: one half of a layer's answer times the GELU of the other; `also` reads the answer besides."""
    start = ops.parameter([-1, 3, IN], np.float32)
    answer = ops.matmul(start, weight_of(kind, turned), False, turned)
    answer.set_friendly_name("__module.model.ff.net.0.proj/aten::linear/MatMul")
    if biased:
        answer = ops.add(answer, ops.constant(np.linspace(-1, 1, 2 * OUT).reshape(1, 1, -1).astype(np.float32)))
    halves = cut(answer, cutter)
    out = ops.multiply(halves.output(0), ops.gelu(halves.output(1), "erf"))
    return ov.Model([out] if also is None else [out, also(answer)], [start])


def answer(model):
    tokens = np.random.default_rng(1).standard_normal((2, 3, IN)).astype(np.float32)
    return next(iter(ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([tokens]).values()))


def split(model):
    done = split_halves(quantizable(model, {}).values())
    model.validate_nodes_and_infer_types()
    return done


def kinds(model):
    return [node.get_type_name() for node in model.get_ordered_ops()]


@pytest.mark.parametrize("kind", ["f32", "f16", "int8"])
@pytest.mark.parametrize("turned", [True, False])
@pytest.mark.parametrize("how", [{}, {"biased": False}, {"cutter": "Split"}])
def test_the_answer_is_the_same(kind, turned, how, tmp_path):
    model = gated(kind, turned, **how)
    assert split(model) == 1
    ov.save_model(model, tmp_path / "model.xml", compress_to_fp16=False)
    written = ov.Core().read_model(tmp_path / "model.xml")
    assert kinds(written).count("MatMul") == 2 and not {"Split", "VariadicSplit"} & {*kinds(written)}
    np.testing.assert_allclose(answer(written), answer(gated(kind, turned, **how)), rtol=1e-5, atol=1e-5)


def three_parts(answer):
    return ops.relu(ops.split(answer, ops.constant(np.int64(-1)), 3).output(0))


@pytest.mark.parametrize("also", [ops.relu, three_parts])
def test_a_layer_that_is_read_whole_stays_one(also):
    model = gated(also=also)
    before = kinds(model)
    assert split(model) == 0 and kinds(model) == before


def test_a_weight_that_is_stored_otherwise_stays_one():
    flat = constant(np.arange(2 * OUT * IN, dtype=np.float32), f"{NAME}.weight")
    weight = ops.reshape(flat, ops.constant([2 * OUT, IN]), False)
    start = ops.parameter([2, 3, IN], np.float32)
    halves = cut(ops.matmul(start, weight, False, True), "Split")
    assert split(ov.Model([halves.output(0), halves.output(1)], [start])) == 0


def test_unequal_halves_stay_together():
    start = ops.parameter([2, 3, IN], np.float32)
    parts = ops.variadic_split(
        ops.matmul(start, weight_of("f32", True), False, True), ops.constant(np.int64(2)), ops.constant([5, 7])
    )
    assert split(ov.Model([parts.output(0), parts.output(1)], [start])) == 0


@pytest.mark.parametrize("kind", ["f16", "int8"])
@pytest.mark.parametrize("named", [{}, {f"{NAME}.weight": "ff.net.0.proj"}])
def test_a_change_of_the_layer_reaches_both_halves(kind, named):
    """The weight and the bias are told whole, and what they become is told apart."""
    whole, model = gated(kind), gated(kind)
    split(model)
    noise = np.random.default_rng(2)
    changes = Change(
        weight=lambda weight: weight + noise.standard_normal(weight.shape).astype(np.float32),
        bias=lambda bias: bias * np.float32(3),
    )
    for each in (whole, model):
        noise = np.random.default_rng(2)
        (path, site), *_ = sites(each, named).items()
        assert path == "ff.net.0.proj" and site.layer.shape == (2 * OUT, IN) and site.layer.bias
        change(site, changes)
    assert not np.allclose(answer(model), answer(gated(kind)), atol=0.1)
    np.testing.assert_allclose(answer(model), answer(whole), rtol=1e-3, atol=1e-3)
