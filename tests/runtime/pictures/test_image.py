"""Latents and pictures: encoding, decoding, tiles on the real VAE, quick previews."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from PIL import Image

import pleinair
from pleinair.bundle.opening import open_bundle
from pleinair.engines.graphs import open_graph
from pleinair.errors import BundleError, RequestError
from pleinair.pictures.tiles import cut
from pleinair.pictures.vae import decode, drawn, encode, encoder_answer, rough, scaled, tile_shape, to_pil, to_pixels
from pleinair.sampling.noise import TorchNoise

VAE = open_bundle().manifest.vae
PICTURES = np.random.RandomState(0).rand(3, 48, 64, 3).astype(np.float32)


class Encoder:
    """Means and logarithms of variances that a test knows."""

    def __init__(self, logvar):
        self.logvar = logvar

    def __call__(self, sample):
        assert sample.shape[0] == 1 and sample.dtype == np.float32
        b, _, height, width = sample.shape
        mean = sample.reshape(b, 3, height // 8, 8, width // 8, 8).mean((3, 5))
        return {
            "latent_parameters": np.concatenate([mean, mean[:, :1], np.full_like(mean, self.logvar), mean[:, :1]], 1)
        }


@pytest.fixture(scope="module")
def vae():
    """Storybook's (encode, decode), bound to their graphs, on the engine that compiles nothing for new sizes."""
    graphs = [open_graph(open_bundle(), name, "onnx", "cpu", 1) for name in ("vae_encoder", "vae_decoder")]
    return partial(encode, graphs[0], vae=VAE), partial(decode, graphs[1], vae=VAE)


@pytest.fixture(scope="module")
def painted():
    """A picture (1, 224, 288, 3) that storybook made."""
    how = {"seed": 5, "steps": 4, "width": 288, "height": 224}
    return pleinair.load(engine="onnx", threads=1).generate("a red house on a snowy hill", **how).pixels


def psnr(one, other):
    return -10 * np.log10(np.square(one - other).mean())


def test_the_mean_at_the_scale_of_the_loop():
    vae = replace(VAE, scale=0.5, shift=0.25)
    z = encode(Encoder(0.0), PICTURES, vae)
    assert z.shape == (3, 4, 6, 8) and z.dtype == np.float32
    mean = 2 * PICTURES.reshape(3, 6, 8, 8, 8, 3).mean((2, 4)).transpose(0, 3, 1, 2) - 1
    np.testing.assert_allclose(z[:, :3], (mean - 0.25) * 0.5, atol=1e-6)


def drawn_with(logvar, generator):
    """Latents of the second picture, at the scale of the loop."""
    return scaled(drawn(encoder_answer(Encoder(logvar), PICTURES[1:2], VAE), generator, VAE), VAE)


def test_latents_are_drawn_from_the_generator():
    noise = (drawn_with(np.log(4.0), TorchNoise(2))[0, :3] - drawn_with(0, None)[0, :3]) / VAE.scale / 2
    np.testing.assert_allclose(noise, TorchNoise(2).normal((4, 6, 8))[:3], atol=1e-5)


def test_absurd_variances_are_cut_as_diffusers_cuts_them():
    assert np.isfinite(drawn_with(1e9, TorchNoise(2))).all()
    surest = drawn_with(-1e9, TorchNoise(2))
    np.testing.assert_allclose(surest[:, :3], drawn_with(0, None)[:, :3], atol=1e-6)


def test_pictures_that_are_no_whole_number_of_latents_are_refused():
    with pytest.raises(RequestError, match="multiple of 8"):
        encode(Encoder(0), PICTURES[:, :44], VAE)


@pytest.mark.parametrize("tile", [0, 63, 100_000, 64.5, "big"])
def test_bad_tiles_are_refused(tile):
    for job in (partial(encode, Encoder(0), PICTURES), partial(decode, None, np.zeros((1, 4, 8, 8)))):
        with pytest.raises(RequestError, match="tile"):
            job(vae=VAE, tile=tile)


def test_what_is_small_is_not_cut_and_what_is_large_is_cut_into_tiles_of_one_size():
    assert tile_shape(64, 64, VAE) == (64, 64) and tile_shape(96, 96, VAE) == (96, 96)
    assert tile_shape(128, 128, VAE) == (128, 72)
    assert np.prod(tile_shape(512, 512, VAE)) <= 96 * 96
    assert tile_shape(64, 64, VAE, 512) == (64, 64) and np.prod(tile_shape(64, 64, VAE, 256)) <= 32 * 32


def test_tiles_are_all_that_the_vae_is_given():
    shapes = set()

    def decoder(latent_sample):
        shapes.add(latent_sample.shape)
        return {"sample": latent_sample[:, :3].repeat(8, 2).repeat(8, 3)}

    z = np.random.RandomState(0).normal(size=(2, 4, 41, 67)).astype(np.float32) * 0.1
    np.testing.assert_allclose(decode(decoder, z, VAE, 192), decode(decoder, z, VAE), atol=1e-5)
    assert shapes == {(2, 4, *tile_shape(41, 67, VAE, 192)), z.shape}


def test_the_vae_in_tiles_is_near_the_whole_and_shows_no_seam(vae, painted):
    (encoded, decoded), tile = vae, 160
    z = encoded(painted)
    whole, tiles = decoded(z), decoded(z, tile=tile)
    assert psnr(whole, tiles) >= 40
    assert psnr(whole, decoded(encoded(painted, tile=tile))) >= 40
    for axis in (1, 2):  # a seam is a step in the error along a whole row or column, where tiles meet
        steps = np.abs(np.diff(tiles - whole, axis=axis).mean((0, 3 - axis, 3)))
        pieces = cut(z.shape[axis + 1], tile_shape(*z.shape[2:], VAE, tile)[axis - 1], 16)
        for start, before in zip(pieces.starts[1:], pieces.starts, strict=False):
            assert steps[8 * start - 1 : 8 * (before + pieces.size)].max() < 1 / 255


def test_encoding_undoes_decoding(vae, painted):
    encoded, decoded = vae
    assert psnr(decoded(encoded(painted)), painted) > 30


@pytest.mark.parametrize("size", [(72, 56), (8, 8), (136, 200)])
def test_every_multiple_of_8_goes_through_the_vae_in_tiles(vae, size):
    encoded, decoded = vae
    pixels = np.random.RandomState(1).rand(1, *size, 3).astype(np.float32)
    z = encoded(pixels, tile=64)
    assert z.shape == (1, 4, size[0] // 8, size[1] // 8) and decoded(z, tile=64).shape == pixels.shape


def test_the_fake_engine_has_an_encoder_that_undoes_its_decoder():
    encoder, decoder = (open_graph(open_bundle(), name, "fake", None, None) for name in ("vae_encoder", "vae_decoder"))
    flat = np.full((1, 16, 24, 3), (0.2, 0.5, 0.9), np.float32)
    np.testing.assert_allclose(decode(decoder, encode(encoder, flat, VAE), VAE), flat, atol=1e-3)


def test_pictures_become_numbers_and_come_back():
    pictures = to_pil(PICTURES)
    assert to_pixels(pictures).dtype == np.float32
    assert np.array_equal(to_pixels(to_pil(to_pixels(pictures))), to_pixels(pictures))


def test_rough_previews_follow_the_linear_map():
    rgb = ((0.1, 0, 0), (0, 0.1, 0), (0, 0, 0.1), (0, 0, 0), (0.5, 0.5, 0.5))
    x0 = np.zeros((2, 4, 5, 7), np.float32)
    x0[1, 0] = 3
    gray, red = rough(x0, rgb, 8)
    assert gray.size == red.size == (56, 40) and gray.mode == "RGB"
    assert gray.getpixel((20, 20)) == (128, 128, 128) and red.getpixel((20, 20)) == (204, 128, 128)
    assert rough(np.full((1, 4, 2, 2), np.nan), rgb, 8)[0].size == (16, 16)  # a preview is no place for an error
    assert isinstance(rough(x0 * 1e9, rgb, 8)[1], Image.Image)


def test_a_model_without_the_map_says_so():
    with pytest.raises(BundleError, match="export it again"):
        rough(np.zeros((1, 4, 2, 2)), None, 8)
