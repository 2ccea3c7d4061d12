"""Guidance: the formula, what the network is told when, and how its result is held back."""

from dataclasses import replace

import numpy as np
import pytest

from pleinair.bundle.manifest import GUIDANCE
from pleinair.bundle.opening import open_bundle
from pleinair.engines.graphs import open_graph
from pleinair.errors import PleinairError, RequestError
from pleinair.network.denoiser import denoiser_inputs
from pleinair.network.guidance import (
    LATENT_REACH,
    METHODS,
    Guidance,
    Guide,
    Guided,
    along,
    rescaled,
    thresholded,
    with_feeds,
)
from pleinair.sampling.configured import make_solver
from pleinair.sampling.laying import make_path
from pleinair.sampling.noise import TorchNoise
from pleinair.sampling.path import Point
from pleinair.sampling.predictions import TO_X0, prediction_type
from pleinair.sampling.samplers import SAMPLERS
from toy import CONFIGS

POINT = Point(400.0, 0.8, 0.6)
SHAPE = (2, 4, 5, 3)


class Network:
    """A network that listens to its text, and remembers how it was called."""

    def __init__(self):
        self.calls = []

    def __call__(self, x, point, step, told):
        text = told["text"]
        assert len(x) == len(text)
        self.calls.append((len(x), step, text))
        colour = text.mean(1)[:, : x.shape[1], None, None]  # (B, 4, 1, 1)
        if "channels" in told:
            colour = colour + 0.3 * told["channels"]
        return (np.sin(1.3 * x + point.t / 300) * (1 + colour) + colour).astype(np.float32)


def noise(seed, shape=SHAPE):
    return TorchNoise(seed).normal(shape)


def a_guide(parts=1, weights=None, seed=5, length=6):
    texts = noise(seed, (parts, length, 8))
    told = tuple({"text": text[None]} for text in texts)
    return Guide(told, weights or (1.0,) * parts, {"text": noise(seed + 1, (1, length, 8))})


def said(x, told):
    """What the network says to one row of feeds."""
    rows = {feed: np.repeat(array, len(x) // len(array), axis=0) for feed, array in told.items()}
    return Network()(x, POINT, 0, rows)


def run(guide, guidance, x=None, step=0, steps=10, prediction="sample"):
    network = Network()
    denoise = Guided(network, lambda _: guide, guidance, prediction, steps)
    return denoise(noise(1) if x is None else x, POINT, step), network, denoise


@pytest.mark.parametrize("two_calls", [False, True])
@pytest.mark.parametrize("parts, weights", [(1, (1.0,)), (1, (0.6,)), (2, (1.0, 1.0)), (3, (1.0, -0.4, 0.7))])
@pytest.mark.parametrize("scale", [0.0, 1.0, 1.5, 7.5])
def test_the_formula(scale, parts, weights, two_calls):
    guide, x = a_guide(parts, weights), noise(1)
    x0, _, _ = run(guide, Guidance(scale, two_calls=two_calls), x)
    negative = said(x, guide.negative).astype(np.float64)
    toward = sum(w * (said(x, part) - negative) for w, part in zip(weights, guide.parts, strict=True))
    np.testing.assert_allclose(x0, negative + max(scale, 1) * toward, rtol=0, atol=2e-5)
    assert x0.dtype == np.float32


@pytest.mark.parametrize("prediction", TO_X0)
def test_what_the_network_says_is_guided_before_it_becomes_a_picture(prediction):
    guide, x = a_guide(), noise(1)
    x0, _, _ = run(guide, Guidance(5.0), x, prediction=prediction)
    without, text = said(x, guide.negative), said(x, guide.parts[0])
    np.testing.assert_allclose(x0, TO_X0[prediction](without + 5 * (text - without), x, POINT), rtol=0, atol=1e-5)


@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0])
def test_without_guidance_the_text_is_told_once_and_the_negative_never(scale):
    guide, x = a_guide(), noise(1)
    x0, network, denoise = run(guide, Guidance(scale, rescale=0.7, threshold=0.995, parallel=0.0), x)
    assert [batch for batch, _, _ in network.calls] == [2]
    np.testing.assert_allclose(x0, said(x, guide.parts[0]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("weights", [(0.25, 0.75), (1.0,), (0.5, 0.5)])
def test_parts_whose_weights_leave_the_negative_no_share_do_without_it(weights):
    guide, x = a_guide(len(weights), weights), noise(1)
    x0, network, denoise = run(guide, Guidance(1.0), x)
    assert network.calls[0][0] == 2 * len(weights)
    np.testing.assert_allclose(
        x0, sum(w * said(x, part) for w, part in zip(weights, guide.parts, strict=True)), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("parts", [1, 2, 4])
def test_together_is_one_call_and_apart_is_one_for_each_text(parts):
    guide, guidance = a_guide(parts), Guidance(7.5)
    one, network, denoise = run(guide, guidance)
    assert [batch for batch, _, _ in network.calls] == [2 * (parts + 1)]
    other, network, denoise = run(guide, replace(guidance, two_calls=True))
    assert [batch for batch, _, _ in network.calls] == [2] * (parts + 1)
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)


def test_each_picture_of_a_batch_is_guided_as_it_would_be_alone():
    guide, x = a_guide(2), noise(1, (3, 4, 5, 3))
    guidance = Guidance(30.0, rescale=0.7, threshold=0.9, parallel=0.2)
    both, _, _ = run(guide, guidance, x)
    for picture, alone in zip(both, x, strict=True):
        np.testing.assert_allclose(picture, run(guide, guidance, alone[None])[0][0], rtol=0, atol=1e-5)


def test_embeddings_are_laid_out_once_for_as_long_as_they_hold():
    guides = [a_guide(seed=1), a_guide(seed=20)]
    network = Network()
    denoise = Guided(network, lambda step: guides[step // 2], Guidance(7.5), "sample", 4)
    for step in range(4):
        denoise(noise(1), POINT, step)
    first, again, other, _ = (text for _, _, text in network.calls)
    assert first is again and other is not first
    assert np.array_equal(first[2:], np.repeat(guides[0].parts[0]["text"], 2, axis=0))
    assert np.array_equal(other[:2], np.repeat(guides[1].negative["text"], 2, axis=0))
    alone = denoise(noise(1)[:1], POINT, 3)  # another batch size: laid out anew
    assert alone.shape == (1, *SHAPE[1:]) and network.calls[-1][0] == 2


@pytest.mark.parametrize(
    "start, end, steps, on",
    [
        (0.0, 1.0, 4, [0, 1, 2, 3]),
        (0.25, 0.75, 4, [1, 2]),
        (0.0, 0.5, 5, [0, 1]),
        (0.5, 1.0, 5, [2, 3, 4]),
        (0.3, 0.8, 10, [3, 4, 5, 6, 7]),
        (0.9, 1.0, 1, [0]),
    ],
)
def test_outside_its_interval_the_network_is_told_the_text_alone(start, end, steps, on):
    guide, x = a_guide(), noise(1)
    for step in range(steps):
        x0, network, _ = run(guide, Guidance(7.5, start=start, end=end), x, step, steps)
        assert sum(batch for batch, _, _ in network.calls) == (4 if step in on else 2)
        alone = said(x, guide.parts[0])
        assert np.allclose(x0, alone, atol=1e-5) == (step not in on)


def test_outside_the_interval_parts_are_weighed_against_the_first_as_a1111_does():
    guide, x = a_guide(3, (1.0, 0.5, -0.3)), noise(1)
    x0, network, _ = run(guide, Guidance(7.5, end=0.5), x, step=9)
    first, second, third = (said(x, part) for part in guide.parts)
    np.testing.assert_allclose(x0, first + 0.5 * (second - first) - 0.3 * (third - first), rtol=0, atol=1e-5)
    assert len(network.calls) == 3


def test_an_interval_keeps_to_one_batch_size():
    """Engines compile for a batch size; where steps differ, the texts are told one by one."""
    _, network, denoise = run(a_guide(), Guidance(7.5, start=0.2))
    assert {batch for batch, _, _ in network.calls} == {2}
    _, network, _ = run(a_guide(), Guidance(7.5, end=0.999), steps=1)  # never on: one row in every step
    assert [batch for batch, _, _ in network.calls] == [2]


def test_rescale_gives_each_picture_the_spread_of_its_text():
    guide, x = a_guide(), noise(1)
    text = said(x, guide.parts[0])
    full, _, _ = run(guide, Guidance(7.5, rescale=1.0), x)
    half, _, _ = run(guide, Guidance(7.5, rescale=0.5), x)
    none, _, _ = run(guide, Guidance(7.5), x)
    np.testing.assert_allclose(full.std((1, 2, 3)), text.std((1, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(half, (full + none) / 2, rtol=0, atol=1e-5)
    assert none.std() > 1.5 * text.std()
    assert np.isfinite(rescaled(np.zeros(SHAPE), text, 1.0)).all()


def test_projection_leaves_out_what_lies_along_the_picture():
    guide, x = a_guide(), noise(1)
    text = said(x, guide.parts[0])
    plain, _, _ = run(guide, Guidance(7.5), x)
    projected, _, _ = run(guide, Guidance(7.5, parallel=0.0), x)
    half, _, _ = run(guide, Guidance(7.5, parallel=0.5), x)
    for one, base in zip(projected, text, strict=True):
        assert abs(((one - base) * base).sum()) < 1e-3 * np.linalg.norm(one - base) * np.linalg.norm(base)
    np.testing.assert_allclose(half, (plain + projected) / 2, rtol=0, atol=1e-5)
    a = noise(3)
    np.testing.assert_allclose(along(a, 2 * a), a, rtol=1e-5)
    assert np.isfinite(along(a, 0 * a)).all()


def test_thresholding_holds_latents_within_their_reach_and_leaves_calm_ones_alone():
    guide, x = a_guide(), noise(1)
    plain, _, _ = run(guide, Guidance(50.0), x)
    held, _, _ = run(guide, Guidance(50.0, threshold=0.9), x)
    assert np.abs(plain).max() > 2 * LATENT_REACH and held.dtype == np.float32
    np.testing.assert_allclose(np.abs(held).max((1, 2, 3)), LATENT_REACH, rtol=1e-5)
    inside = np.abs(held) < 0.99 * LATENT_REACH
    ratio = (held / plain)[0][inside[0]]
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-3)
    calm, _, _ = run(guide, Guidance(1.0, threshold=0.9), x)
    assert np.array_equal(calm, run(guide, Guidance(1.0), x)[0])


def test_thresholding_with_a_ceiling_is_imagens_and_is_always_on():
    x0 = np.array([0.2, -0.4, 3.0, -6.0], np.float32).reshape(1, 4, 1, 1)
    clipped = thresholded(x0, 0.9, 1.0, 1.0).reshape(-1)
    np.testing.assert_allclose(clipped, [0.2, -0.4, 1.0, -1.0], rtol=1e-6)
    limit = np.quantile(np.abs(x0), 0.9)
    shrunk = thresholded(x0, 0.9, 1.0, 100.0).reshape(-1)
    np.testing.assert_allclose(shrunk, [0.2 / limit, -0.4 / limit, 3 / limit, -1.0], rtol=1e-5)
    guide = a_guide()
    for guidance in (Guidance(1.0), Guidance(9.0), Guidance(9.0, end=0.1)):
        x0, _, _ = run(guide, replace(guidance, threshold=0.995, ceiling=1.0), step=5)
        assert np.abs(x0).max() <= 1


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"scale": -1}, "guidance -1"),
        ({"scale": float("nan")}, "guidance nan"),
        ({"scale": 101}, "0 to 100"),
        ({"rescale": -0.1}, "rescale -0.1"),
        ({"rescale": 1.1}, "choose 0 to 1"),
        ({"rescale": "much"}, "a number"),
        ({"start": -0.1}, "guidance_start"),
        ({"end": 1.5}, "guidance_end"),
        ({"start": 0.6, "end": 0.4}, "never on"),
        ({"start": 0.5, "end": 0.5}, "never on"),
        ({"threshold": 0.1}, "0.995 is usual"),
        ({"threshold": 99.5}, "0.995 is usual"),
        ({"threshold": 0.9, "ceiling": 0.5}, "1 or more"),
        ({"parallel": 2}, "parallel 2"),
    ],
)
def test_guidance_out_of_range_is_refused_in_one_line(wrong, message):
    with pytest.raises(RequestError) as caught:
        Guidance(**{"scale": 7.5, **wrong})
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert isinstance(caught.value, PleinairError)


def walked(sampler, denoise, x, path):
    """The latents at the end of a walk."""
    *_, last = make_solver(sampler, {})(denoise, path.start * x, path, lambda: noise(3))
    return last.x


@pytest.mark.parametrize("sampler", ["euler", "heun", "dpmpp_2m"])
def test_apart_or_together_a_whole_walk_ends_alike(sampler):
    path = make_path(CONFIGS["epsilon"], SAMPLERS[sampler].grid, 6)
    ends = []
    for two_calls in (False, True):
        denoise = Guided(Network(), lambda _: a_guide(2), Guidance(5.0, rescale=0.5, two_calls=two_calls), "epsilon", 6)
        ends.append(walked(sampler, denoise, noise(2), path))
    np.testing.assert_allclose(*ends, rtol=0, atol=1e-4)


@pytest.mark.parametrize("engine, module", [("fake", "numpy"), ("openvino", "openvino"), ("onnx", "onnxruntime")])
def test_apart_or_together_an_engine_paints_alike(sketch, engine, module):
    pytest.importorskip(module)
    bundle = open_bundle(sketch)
    unet = open_graph(bundle, "unet", engine, None, None)
    width = bundle.manifest.graphs["unet"].inputs["encoder_hidden_states"].shape[-1]
    first, second, negative = ({"text": noise(seed, (1, 77, width))} for seed in (5, 6, 7))
    guide = Guide((first, second), (1.0, 0.5), negative)
    config = bundle.scheduler_config
    path = make_path(config, "euler", 5)

    def network(x, point, step, told):
        return unet(**denoiser_inputs(bundle.manifest.denoiser, x, point.t, told))["out_sample"]

    ends = []
    for two_calls in (False, True):
        guidance = Guidance(5.0, rescale=0.3, two_calls=two_calls)
        denoise = Guided(network, lambda _: guide, guidance, prediction_type(config), len(path))
        ends.append(walked("euler", denoise, noise(2, (1, 4, 16, 16)), path))
    np.testing.assert_allclose(*ends, rtol=0, atol=1e-4)
    assert ends[0].std() > 0.1


def test_every_kind_that_a_manifest_may_name_is_known():
    assert tuple(METHODS) == GUIDANCE


def test_a_network_that_is_told_the_scale_is_asked_for_the_text_alone():
    guide, x, network = a_guide(), noise(1), Network()
    denoise = Guided(network, lambda _: guide, Guidance(8.5), "sample", 4, "embedded")
    np.testing.assert_allclose(denoise(x, POINT, 0), said(x, guide.parts[0]), rtol=0, atol=1e-6)
    assert [batch for batch, _, _ in network.calls] == [2]


@pytest.mark.parametrize("two_calls", [False, True])
@pytest.mark.parametrize("scale, image", [(7.5, 1.5), (3.0, 1.0)])
def test_a_picture_that_is_edited_has_a_scale_of_its_own(scale, image, two_calls):
    x, picture = noise(1), noise(2)
    guide = with_feeds(lambda _: a_guide(), {"channels": picture})
    guidance = Guidance(scale, image=image, two_calls=two_calls)
    x0 = Guided(Network(), guide, guidance, "sample", 4, "image_text")(x, POINT, 0)
    negative, text = guide(0).negative, guide(0).parts[0]
    bare, base, full = (said(x, told) for told in (negative | {"channels": 0 * picture}, negative, text))
    np.testing.assert_allclose(x0, bare + image * (base - bare) + scale * (full - base), rtol=0, atol=2e-5)


def test_a_picture_is_edited_without_guidance_in_one_call():
    guide, network = with_feeds(lambda _: a_guide(), {"channels": noise(2)}), Network()
    Guided(network, guide, Guidance(1.0, image=1.5), "sample", 4, "image_text")(noise(1), POINT, 0)
    assert [batch for batch, _, _ in network.calls] == [2]


def test_steps_that_share_a_guide_still_do_when_they_are_told_more():
    guides = [a_guide(seed=1), a_guide(seed=2)]
    told = with_feeds(lambda step: guides[step // 2], {"size_ids": np.zeros((1, 6), np.float32)})
    assert told(0) is told(1) and told(2) is told(3) and told(0) is not told(2)
    assert set(told(0).negative) == {"text", "size_ids"}
