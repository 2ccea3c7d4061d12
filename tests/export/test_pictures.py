"""Whole pictures against diffusers: same folder, same seeds, every sampler and spacing, both engines."""

import itertools
from functools import cache, lru_cache

import diffusers
import numpy as np
import pytest
import torch

import oracle
import pleinair
from pairwise import all_pairs

TOLERANCE = 2e-3
STEPS = 4
torch.set_num_threads(1)  # tiny graphs run fastest so
SIZES = {  # 72x56 makes 252 latent numbers, no multiple of the 16 that torch makes noise in
    "batch-of-3-without-cfg": {"guidance": 1.0, "seed": (5, 9, 4), "width": 72, "height": 56, "batch": 3},
    "batch-of-2-and-1": {"guidance": 4.0, "seed": (8, 1, 2), "width": 56, "height": 96, "batch": 2},
}
EVERY_SPACING = itertools.cycle(("ddim", "euler", "euler_a", "dpmpp_2m"))
ASKED = [*zip(EVERY_SPACING, oracle.SPACINGS, strict=False), *((sampler, None) for sampler in oracle.SAMPLERS)]
# what samplers make of spacings is proven in test_parity and test_spacings: here they meet each size, model and engine
PAIRS = sorted(all_pairs(("sd1", "sd2"), [*SIZES], ("openvino", "onnx"), ASKED), key=lambda pair: pair[:3])
CASES = [(*where, *asked) for *where, asked in PAIRS]


@pytest.fixture(scope="module")
def reference(tiny_sources):
    """`reference(family)`: the diffusers pipeline and the scheduler config its folder has."""

    @cache
    def opened(family):
        pipe = diffusers.StableDiffusionPipeline.from_pretrained(tiny_sources[family], safety_checker=None)
        pipe.set_progress_bar_config(disable=True)
        return pipe, pipe.scheduler.config

    return opened


@pytest.fixture(scope="module")
def painter(exported):
    """`painter(family, size, engine)`: a pipeline for each, whose graphs are compiled for its shapes once."""

    @lru_cache(maxsize=1)  # cases come in this order
    def opened(family, size, engine):
        return pleinair.load(exported(family, "fp32"), engine=engine, threads=1, precision="f32")

    return opened


@pytest.mark.parametrize("family, size, engine, sampler, spacing", CASES)
def test_pictures_equal_diffusers(reference, painter, family, size, engine, sampler, spacing):
    (theirs, config), case = reference(family), SIZES[size]
    theirs.scheduler = oracle.scheduler(config, sampler, spacing)
    expected = theirs(
        ["the red one"] * len(case["seed"]),
        negative_prompt=["and on"] * len(case["seed"]),
        num_inference_steps=STEPS,
        guidance_scale=case["guidance"],
        width=case["width"],
        height=case["height"],
        eta=0.3 if sampler == "tcd" else 0.0,
        generator=[torch.Generator().manual_seed(seed) for seed in case["seed"]],
        output_type="np",
    ).images
    pipe = painter(family, size, engine)
    ours = pipe.generate("the red one", "and on", sampler=sampler, spacing=spacing, steps=STEPS, **case)
    assert ours.pixels.shape == expected.shape == (len(case["seed"]), case["height"], case["width"], 3)
    assert np.abs(ours.pixels - expected).max() < TOLERANCE
