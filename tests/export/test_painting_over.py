"""img2img and inpainting against diffusers' pipelines: same folder, same seed, same picture and mask."""

from functools import cache

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

import oracle
import pleinair
from pairwise import all_pairs

TOLERANCE = 5e-3
ENGINES = ("openvino", "onnx")
STEPS = 6
SAMPLERS = ("ddim", "euler", "euler_a", "dpmpp_2m", "dpmpp_2m_sde", "lms", "unipc")
torch.set_num_threads(1)


def picture(width, height):
    """Smooth colours, 8 bit."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x / (5 + i) + i) * np.cos(y / (7 - i)) for i in range(3)]
    return Image.fromarray(((np.stack(waves, -1) / 2 + 0.5) * 255).astype(np.uint8))


def mask(width, height):
    shape = np.zeros((height, width), np.uint8)
    shape[height // 4 : height // 2 + 3, width // 3 : width - 10] = 255
    return Image.fromarray(shape)


@pytest.fixture(scope="module")
def painted(tiny_sources):
    """`painted(kind, family, sampler, strength)`: the picture of a diffusers pipeline."""

    @cache
    def opened(kind, family):
        pipe = getattr(diffusers, kind).from_pretrained(tiny_sources[family], safety_checker=None)
        pipe.set_progress_bar_config(disable=True)
        return pipe, pipe.scheduler.config

    def made(kind, family, sampler, strength):
        pipe, config = opened(kind, family)
        pipe.scheduler = oracle.scheduler(config, sampler, None)
        hole = {"mask_image": mask(72, 56), "width": 72, "height": 56} if "Inpaint" in kind else {}
        return pipe(
            "the red one",
            negative_prompt="and on",
            image=picture(72, 56),
            strength=strength,
            guidance_scale=4.0,
            num_inference_steps=STEPS,
            generator=torch.Generator().manual_seed(5),
            output_type="np",
            **hole,
        ).images

    return made


def cases(families, strengths):
    """Pairs of a family, a sampler, a strength and an engine.

    diffusers' LMS takes weights for four directions where it has seen fewer, once it starts in the middle.
    """
    pairs = all_pairs(families, SAMPLERS, strengths, ENGINES)
    return sorted({(family, sampler, 1.0 if sampler == "lms" else strength, engine)
                   for family, sampler, strength, engine in pairs})  # fmt: skip


@pytest.fixture(scope="module")
def painter(exported):
    """`painter(family, engine)`: our pipeline, kept loaded."""

    @cache
    def opened(family, engine):
        return pleinair.load(exported(family, "fp32"), engine=engine, threads=1, precision="f32")

    return opened


@pytest.mark.parametrize("family, sampler, strength, engine", cases(["sd1"], [1.0, 0.6, 0.34]))
def test_image_to_image_equals_diffusers(painter, painted, family, sampler, strength, engine):
    expected = painted("StableDiffusionImg2ImgPipeline", family, sampler, strength)
    ours = painter(family, engine).generate(
        "the red one", "and on", image=picture(72, 56), strength=strength, steps=STEPS, sampler=sampler, guidance=4.0,
        seed=5, width=72, height=56,
    )  # fmt: skip
    assert np.abs(ours.pixels - expected).max() < TOLERANCE


@pytest.mark.parametrize("family, sampler, strength, engine", cases(["sd1", "sd1-inpaint"], [1.0, 0.6]))
def test_inpainting_equals_diffusers(painter, painted, family, sampler, strength, engine):
    """With a UNet of 4 channels, whose picture is mixed in at every step, and one of 9, which is shown it."""
    expected = painted("StableDiffusionInpaintPipeline", family, sampler, strength)
    ours = painter(family, engine).generate(
        "the red one", "and on", image=picture(72, 56), mask=mask(72, 56), strength=strength, steps=STEPS,
        sampler=sampler, guidance=4.0, seed=5, width=72, height=56, restore=False,
    )  # fmt: skip
    assert np.abs(ours.pixels - expected).max() < TOLERANCE
