"""Pictures that repeat: no step where their borders meet."""

import numpy as np
import pytest

import pleinair
from pleinair.bundle.opening import open_bundle
from pleinair.engines.graphs import open_graph
from pleinair.errors import RequestError
from pleinair.pictures.seamless import AXES, MARGIN, seamless_decode, wrap_margins, wrapped
from pleinair.pictures.vae import decode
from pleinair.sampling.path import Point

BUNDLE = open_bundle()
VAE = BUNDLE.manifest.vae
X = np.random.RandomState(0).normal(size=(2, 4, 9, 13)).astype(np.float32)


def blur(x):
    """A network that knows no other side: 3x3 with zero padding."""
    wide = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    return sum(wide[:, :, i : i + x.shape[2], j : j + x.shape[3]] for i in range(3) for j in range(3)) / 9


def points(*times):
    return [Point(t=t, alpha=0.7, sigma=0.7) for t in times]


def test_what_each_latent_alone_decides_is_not_changed():
    denoise = wrapped(lambda x, point, step: 2 * x, "xy")
    assert np.array_equal(denoise(X, points(500)[0], 0), 2 * X)


@pytest.mark.parametrize("axes", AXES)
def test_the_border_moves_with_the_noise_level(axes):
    denoise = wrapped(lambda x, point, step: blur(x), axes)
    borders = [np.abs(denoise(X, point, 0) - around(X)).sum((0, 1)) > 1e-4 for point in points(*range(20, 999, 53))]
    assert len({border.tobytes() for border in borders}) > 1
    stays = np.logical_and.reduce(borders)
    assert not stays[1:-1, 1:-1].any()
    assert stays[0].all() == (axes == "x") and stays[:, 0].all() == (axes == "y")


def around(x):
    """What `blur` would be if the borders touched."""
    return sum(np.roll(x, (i, j), (2, 3)) for i in (-1, 0, 1) for j in (-1, 0, 1)) / 9


def test_the_same_level_gives_the_same_offset_in_a_batch_and_alone():
    denoise = wrapped(lambda x, point, step: blur(x), "xy")
    (point,) = points(321)
    assert np.array_equal(denoise(X, point, 0)[1:], denoise(X[1:], point, 0))
    (below,) = points(-1.4)  # EDM's log sigma
    assert np.array_equal(denoise(X, below, 0), denoise(X, below, 1))


def test_decoding_sees_the_other_side():
    def decoder(latent_sample):
        return {"sample": blur(latent_sample)[:, :3].repeat(8, 2).repeat(8, 3)}

    z = np.tile(X, (1, 1, 2, 2)) * 0.05
    pixels = seamless_decode(decoder, z, VAE, "xy")
    np.testing.assert_allclose(pixels[:, :72, :104], pixels[:, 72:, 104:], atol=1e-6)
    expected = around(z / VAE.scale)[:, :3].transpose(0, 2, 3, 1).repeat(8, 1).repeat(8, 2) / 2 + 0.5
    np.testing.assert_allclose(pixels, expected.clip(0, 1), atol=1e-5)
    assert wrap_margins("x") == (0, MARGIN) and wrap_margins("y") == (MARGIN, 0)


def test_latents_smaller_than_the_margin_wrap_more_than_once():
    decoder = open_graph(BUNDLE, "vae_decoder", "fake", None, None)
    z = X[:, :, :3, :2]
    np.testing.assert_allclose(seamless_decode(decoder, z, VAE, "xy"), decode(decoder, z, VAE), atol=1e-6)


@pytest.mark.parametrize("axes", ["", "z", "yx"])
def test_unknown_axes_are_refused(axes):
    with pytest.raises(RequestError, match="choose from xy, x, y"):
        wrapped(lambda x, point, step: x, axes)
    with pytest.raises(RequestError, match="choose from xy, x, y"):
        seamless_decode(None, X, VAE, axes)


@pytest.fixture(scope="module")
def pipe():
    return pleinair.load(engine="onnx", threads=1)


@pytest.mark.parametrize("axes", AXES)
def test_the_step_across_a_joined_border_is_like_any_other(pipe, axes):
    picture = pipe.generate("a snowy hill", seed=4, steps=10, size="128x128", tile=axes).pixels[0]
    for name, axis in (("y", 0), ("x", 1)):
        steps = np.abs(np.diff(picture, axis=axis)).mean((1 - axis, 2))
        across = np.abs(picture.take(0, axis) - picture.take(-1, axis)).mean()
        if name in axes:
            assert across <= steps.max(), name
