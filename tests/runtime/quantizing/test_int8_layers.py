"""Layers of OpenVINO models made int8, tried and watched, on a model of three layers."""

import numpy as np
import pytest

ov = pytest.importorskip("openvino")
from openvino import opset13 as ops  # noqa: E402

from pleinair.quantizing.openvino_layers import (  # noqa: E402
    GATES,
    attentions,
    gated,
    outermost,
    quantizable,
    quantize_attention,
    quantize_layers,
    rounded_layers,
    roundings,
    watched,
)
from pleinair.quantizing.ranges import Ranges  # noqa: E402
from pleinair.quantizing.watching import compiled, infer  # noqa: E402

SHAPES = {"sample": (1, 4, 8, 8)}
RNG = np.random.default_rng(0)
WEIGHTS = {
    "first": RNG.standard_normal((8, 4, 3, 3)).astype(np.float32),
    "middle": RNG.standard_normal((8, 8)).astype(np.float32),
    "last": RNG.standard_normal((4, 8, 1, 1)).astype(np.float32),
}
SAMPLE = RNG.standard_normal(SHAPES["sample"]).astype(np.float32)


def model():
    """A convolution with a bias, a product over channels, and a convolution; twisted by sizes read of the sample."""

    def weight(name):
        return ops.constant(WEIGHTS[name], name=f"self.{name}.weight")

    sample = ops.parameter([-1, 4, 8, 8], np.float32, name="sample")
    sample.output(0).set_names({"sample"})
    first = ops.convolution(sample, weight("first"), [1, 1], [1, 1], [1, 1], [1, 1])
    biased = ops.add(first, ops.constant(np.full((1, 8, 1, 1), 0.5, np.float32)))
    rows = ops.transpose(biased, ops.constant([0, 2, 3, 1]))
    middle = ops.matmul(ops.relu(rows), weight("middle"), False, True)
    batch = ops.convert(ops.gather(ops.shape_of(sample), ops.constant(0), ops.constant(0)), "f32")
    back = ops.transpose(ops.multiply(middle, batch), ops.constant([0, 3, 1, 2]))
    last = ops.convolution(back, weight("last"), [1, 1], [0, 0], [0, 0], [1, 1])
    return ov.Model([last.output(0)], [sample])


def ranges_of(layers):
    request = compiled("model", watched(made := model(), quantizable(made, {}).values()), SHAPES)
    answers = infer("model", request, {"sample": SAMPLE})
    ranges = Ranges(tuple(layers))
    ranges.add(np.array([float(each) for each in answers[:-1]], np.float32).reshape(-1, 4))
    return ranges


def answer(made, **more):
    return infer(
        "model", compiled("model", made, SHAPES | {k: v.shape for k, v in more.items()}), {"sample": SAMPLE, **more}
    )[0]


def test_watched_layers_tell_the_ends_of_what_they_read_and_answer():
    ranges = ranges_of(quantizable(model(), {}))
    low, high = ranges.grid_in("first").low, ranges.grid_in("first").high
    assert low == pytest.approx(SAMPLE.min(), abs=0.05) and high == pytest.approx(SAMPLE.max(), abs=0.05)
    exact = np.einsum("oc,nchw->nohw", WEIGHTS["last"][:, :, 0, 0], np.zeros((1, 8, 8, 8)))
    assert exact.shape == answer(model()).shape
    assert ranges.grid_out("last").high == pytest.approx(answer(model()).max(), rel=0.02)
    assert ranges.grid_in("middle").zero == 0  # behind a ReLU


def test_outermost_layers_are_those_that_read_the_latents_and_answer():
    made = model()
    assert outermost(made, quantizable(made, {}), "sample") == {"first", "last"}


def test_quantized_layers_answer_nearly_alike_with_weights_in_int8():
    made = model()
    layers = quantizable(made, {})
    wide = answer(model())
    quantize_layers({path: layers[path] for path in ("middle", "last")}, ranges_of(layers))
    kinds = [op.get_type_name() for op in made.get_ops()]
    assert kinds.count("FakeQuantize") == 2
    stored = {
        op.get_friendly_name(): op.get_element_type().get_type_name()
        for op in made.get_ops()
        if op.get_type_name() == "Constant"
    }
    assert stored["self.first.weight"] == "f32"
    assert stored["self.middle.weight"] == stored["self.last.weight"] == "i8"
    assert 0 < np.abs(answer(made) - wide).max() < 0.03 * np.abs(wide).max()


def test_gates_let_layers_round_what_they_read_one_by_one():
    def opened(gates):
        made = model()
        layers = quantizable(made, {})
        tried = roundings(made, layers, ranges)
        return answer(gated(made, list(tried.values())), **{GATES: np.array(gates, np.float32)})

    ranges, wide = ranges_of(quantizable(model(), {})), answer(model())
    np.testing.assert_allclose(opened([0, 0, 0]), wide, atol=1e-4)
    alone = [np.abs(opened(np.eye(3)[place]) - wide).mean() for place in range(3)]
    assert min(alone) > 1e-4
    assert np.abs(opened([1, 1, 1]) - wide).mean() > max(alone)


HEADS, TOKENS, WIDTH = 2, 16, 8
TOLD = {"tokens": (1, TOKENS, WIDTH), "text": (1, 5, WIDTH)}


def attending(of="tokens"):
    """Attention of tokens to themselves, or to a text, with layers for queries, keys and values."""
    noise = np.random.default_rng(3)
    ports = {name: ops.parameter(list(shape), np.float32, name=name) for name, shape in TOLD.items()}
    for name, port in ports.items():
        port.output(0).set_names({name})

    def heads(kind, read):
        weight = noise.standard_normal((WIDTH, WIDTH)).astype(np.float32)
        made = ops.matmul(ports[read], ops.constant(weight, name=f"self.attn.to_{kind}.weight"), False, True)
        split = ops.reshape(made, ops.constant([1, TOLD[read][1], HEADS, WIDTH // HEADS]), False)
        return ops.transpose(split, ops.constant([0, 2, 1, 3]))

    read = ops.scaled_dot_product_attention(heads("q", "tokens"), heads("k", of), heads("v", of), causal=False)
    return ov.Model([read.output(0)], [*ports.values()])


def attended(made):
    noise = np.random.default_rng(4)
    told = {name: noise.standard_normal(shape).astype(np.float32) for name, shape in TOLD.items()}
    return infer("model", compiled("model", made, TOLD), told)


def test_attention_of_an_image_to_itself_multiplies_queries_and_keys_in_int8():
    """In grids with 0 in their middle, of what the layers of queries and keys have answered."""
    made = attending()
    layers = quantizable(made, {})
    (path,) = found = attentions(made, layers)
    assert path == "attn" and found[path].queries == "attn.to_q" and found[path].keys == "attn.to_k"
    assert found[path].cost == TOKENS * TOKENS * WIDTH
    other = attending("text")
    assert not attentions(other, quantizable(other, {}))
    ranges = Ranges(tuple(layers))
    watching = attending()
    ends = attended(watched(watching, quantizable(watching, {}).values()))[:-1]
    ranges.add(np.array([float(each) for each in ends], np.float32).reshape(-1, 4))
    wide = attended(attending())[0]
    quantize_attention([roundings(made, layers, ranges)[path]])
    rounded = [node for node in made.get_ordered_ops() if node.get_type_name() == "FakeQuantize"]
    assert len(rounded) == 2
    for node in rounded:
        low, high = (float(node.input_value(place).get_node().data) for place in (1, 2))
        assert low / high == pytest.approx(-128 / 127)
    assert 0 < np.abs(attended(made)[0] - wide).max() < 0.05 * np.abs(wide).max()


def test_what_convolutions_answer_is_rounded_too_where_an_engine_does_so():
    """With the bias, before anything reads it; products answer as they are."""
    made = model()
    layers = quantizable(made, {})
    ranges = ranges_of(layers)
    read, both = rounded_layers(layers, ranges), rounded_layers(layers, ranges, answers=True)
    assert {path: len(each.ports) for path, each in read.items()} == {"first": 1, "middle": 1, "last": 1}
    assert {path: len(each.ports) for path, each in both.items()} == {"first": 2, "middle": 1, "last": 2}
    assert both["first"].grids[1] == ranges.grid_out("first")
    assert both["first"].ports[1].get_source_output().get_node().get_type_name() == "Add"
    wide = answer(model())
    missed = []
    for answers in (False, True):
        made = model()
        tried = rounded_layers(quantizable(made, {}), ranges, answers)
        gates = np.ones(len(tried), np.float32)
        missed.append(np.abs(answer(gated(made, list(tried.values())), **{GATES: gates}) - wide).mean())
    assert 0 < missed[0] < missed[1]
