"""Whole pictures against diffusers: same folder, same seeds, every sampler and spacing, both engines."""

import itertools

import diffusers
import numpy as np
import pytest
import torch

import oracle
import pleinair

TOLERANCE = 2e-3
STEPS = 4
torch.set_num_threads(1)  # tiny graphs run fastest so
CASES = {  # 72x56 makes 252 latent numbers, no multiple of the 16 that torch makes noise in
    "cfg": {"guidance": 7.5, "seed": (3,), "width": 64, "height": 64, "batch": 1},
    "batch-of-3-without-cfg": {"guidance": 1.0, "seed": (5, 9, 4), "width": 72, "height": 56, "batch": 3},
    "batch-of-2-and-1": {"guidance": 4.0, "seed": (8, 1, 2), "width": 56, "height": 96, "batch": 2},
}


EVERY_SPACING = ("ddim", "euler", "euler_a", "dpmpp_2m")
ASKED = [*itertools.product(EVERY_SPACING, oracle.SPACINGS), *((sampler, None) for sampler in oracle.SAMPLERS)]


@pytest.fixture(scope="module", params=["sd1", "sd2"])
def family(request):
    return request.param


@pytest.fixture(scope="module", params=CASES)
def case(request):
    return CASES[request.param]


@pytest.fixture(scope="module")
def reference(family, tiny_sources):
    """The diffusers pipeline and the scheduler config its folder has."""
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(tiny_sources[family], safety_checker=None)
    pipe.set_progress_bar_config(disable=True)
    return pipe, pipe.scheduler.config


@pytest.fixture(scope="module")
def engines(family, case, exported):
    """Our pipelines, made anew for each case: graphs are compiled for its shapes once."""
    return [
        pleinair.load(exported(family, "fp32"), engine=engine, threads=1, precision="f32")
        for engine in ("openvino", "onnx")
    ]


@pytest.mark.parametrize("sampler, spacing", ASKED)
def test_pictures_equal_diffusers(reference, engines, case, sampler, spacing):
    theirs, config = reference
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
    for pipe in engines:
        ours = pipe.generate("the red one", "and on", sampler=sampler, spacing=spacing, steps=STEPS, **case)
        assert ours.pixels.shape == expected.shape == (len(case["seed"]), case["height"], case["width"], 3)
        assert np.abs(ours.pixels - expected).max() < TOLERANCE, pipe.engine
