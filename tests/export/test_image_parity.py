"""Pictures and masks against diffusers' own processors, and encoding against its VAE."""

import diffusers
import numpy as np
import pytest
import torch
from diffusers.image_processor import VaeImageProcessor
from PIL import Image

from pairwise import all_pairs
from pleinair.bundle.opening import open_bundle
from pleinair.engines.graphs import open_graph
from pleinair.pictures import masks
from pleinair.pictures import vae as image
from pleinair.pictures.reading import fitted
from pleinair.sampling.noise import TorchNoise

RNG = np.random.RandomState(0)
SIZES = [(64, 48), (72, 56), (40, 88)]
MASKS = VaeImageProcessor(vae_scale_factor=8, do_normalize=False, do_binarize=True, do_convert_grayscale=True)


def random_picture(width, height, mode="RGB"):
    depth = (height, width, 3) if mode == "RGB" else (height, width)
    return Image.fromarray(RNG.randint(256, size=depth).astype(np.uint8))


@pytest.mark.parametrize("size", SIZES)
def test_pixels_are_what_the_processor_makes_of_them(size):
    picture = random_picture(*size)
    theirs = VaeImageProcessor(vae_scale_factor=8).preprocess(picture).numpy()
    ours = 2 * image.to_pixels([picture]).transpose(0, 3, 1, 2) - 1
    assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("source", [(100, 77), (33, 300), (64, 48)])
def test_stretching_is_the_processors_default(source):
    picture = random_picture(*source)
    theirs = VaeImageProcessor(vae_scale_factor=8).preprocess(picture, height=48, width=64).numpy()
    assert np.array_equal(2 * image.to_pixels([fitted(picture, 64, 48, "stretch")]).transpose(0, 3, 1, 2) - 1, theirs)


@pytest.mark.parametrize("size", SIZES)
def test_latent_masks_are_those_of_the_inpaint_pipeline(size):
    width, height = size
    grays = random_picture(width, height, "L")
    theirs = torch.nn.functional.interpolate(
        MASKS.preprocess(grays, height=height, width=width), (height // 8, width // 8)
    )
    assert np.array_equal(masks.latent_mask(grays, height // 8, width // 8), theirs.numpy())


@pytest.mark.parametrize("h, w", [(7, 5), (9, 13), (3, 64), (48, 64), (50, 70)])
def test_nearest_is_torchs_for_every_ratio(h, w):
    grays = random_picture(64, 48, "L")
    binary = torch.from_numpy((np.asarray(grays) >= 128).astype(np.float32))[None, None]
    assert np.array_equal(masks.latent_mask(grays, h, w), torch.nn.functional.interpolate(binary, (h, w)).numpy())


@pytest.mark.parametrize("radius", [1, 4, 7.5])
def test_blurring_is_the_processors(radius):
    grays = random_picture(64, 48, "L")
    assert np.array_equal(masks.blurred(grays, radius), VaeImageProcessor.blur(grays, radius))


@pytest.mark.parametrize("padding", [0, 7, 32])
@pytest.mark.parametrize("output", [(64, 64), (128, 64)])
def test_regions_hold_what_the_processors_regions_hold(padding, output):
    """The two round differently by a pixel or two."""
    marked = np.zeros((150, 200), np.uint8)
    marked[60:91, 70:112] = 255
    ours = masks.masked_region(Image.fromarray(marked), padding, *output)
    theirs = VaeImageProcessor.get_crop_region(Image.fromarray(marked), *output, pad=padding)
    assert np.abs(np.subtract(ours, theirs)).max() <= 2


@pytest.mark.parametrize("engine, family, size", all_pairs(("openvino", "onnx"), ("sd1", "sd2"), SIZES))
def test_encoding_draws_what_diffusers_draws(tiny_sources, exported, family, engine, size):
    vae = diffusers.AutoencoderKL.from_pretrained(tiny_sources[family], subfolder="vae")
    bundle = open_bundle(exported(family, "fp32"))
    encoder = open_graph(bundle, "vae_encoder", engine, "cpu", 1)
    pixels = image.to_pixels([random_picture(*size), random_picture(*size)])
    sample = torch.from_numpy(2 * pixels.transpose(0, 3, 1, 2) - 1)
    with torch.no_grad():
        drawn = [
            vae.encode(one[None]).latent_dist.sample(torch.Generator().manual_seed(seed))
            for one, seed in zip(sample, (5, 9), strict=True)
        ]
        mean = vae.encode(sample).latent_dist.mean * vae.config.scaling_factor
    theirs = (torch.cat(drawn) * vae.config.scaling_factor).numpy()
    info = bundle.manifest.vae
    answers = [image.encoder_answer(encoder, picture[None], info) for picture in pixels]
    ours = [image.drawn(answer, TorchNoise(seed), info) for answer, seed in zip(answers, (5, 9), strict=True)]
    assert np.abs(image.scaled(np.concatenate(ours), info) - theirs).max() < 1e-4
    assert np.abs(image.encode(encoder, pixels, info) - mean.numpy()).max() < 1e-4
