"""Guidance against diffusers: its pipelines' rescale, its guiders and its schedulers' thresholding."""

import diffusers
import numpy as np
import pytest
import torch
from diffusers.guiders import AdaptiveProjectedGuidance, ClassifierFreeGuidance
from diffusers.guiders.adaptive_projected_guidance import normalized_guidance
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg

from pleinair.network.guidance import Guidance, Guide, Guided, rescaled, thresholded
from pleinair.sampling.noise import source
from pleinair.sampling.path import Point

SHAPE = (2, 4, 8, 8)
STEPS = 7
X = source(0).normal(SHAPE)
TEXT, WITHOUT = source(1).normal(SHAPE), source(2).normal(SHAPE)
GUIDE = Guide(({"text": np.ones((1, 1, 1), np.float32)},), (1.0,), {"text": np.zeros((1, 1, 1), np.float32)})


def network(x, point, step, told):
    """Says TEXT to an embedding of 1, WITHOUT to one of 0."""
    text = told["text"]
    return np.where(
        text[:, :, :, None] == 1, np.tile(TEXT, (len(x) // 2, 1, 1, 1)), np.tile(WITHOUT, (len(x) // 2, 1, 1, 1))
    )


def ours(guidance, step):
    denoise = Guided(network, lambda _: GUIDE, guidance, "sample", STEPS)
    return denoise(X, Point(500.0, 0.6, 0.8), step)


def theirs(guider, step):
    guider.set_state(step, STEPS, torch.tensor(500))
    return guider.forward(torch.from_numpy(TEXT), torch.from_numpy(WITHOUT)).pred.numpy()


@pytest.mark.parametrize("start, stop", [(0.0, 1.0), (0.2, 0.7), (0.0, 0.5), (0.4, 1.0)])
@pytest.mark.parametrize("rescale", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("scale", [1.0, 3.0, 12.0])
def test_guidance_equals_the_guider_of_diffusers(scale, rescale, start, stop):
    guider = ClassifierFreeGuidance(guidance_scale=scale, guidance_rescale=rescale, start=start, stop=stop)
    for step in range(STEPS):
        picture = ours(Guidance(scale, rescale=rescale, start=start, end=stop), step)
        np.testing.assert_allclose(picture, theirs(guider, step), rtol=0, atol=1e-5)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_rescale_equals_that_of_the_pipelines(share):
    expected = rescale_noise_cfg(torch.from_numpy(WITHOUT * 3), torch.from_numpy(TEXT), share)
    np.testing.assert_allclose(rescaled(WITHOUT * 3, TEXT, share), expected.numpy(), rtol=0, atol=2e-6)


@pytest.mark.parametrize("parallel", [0.0, 0.4])
def test_projection_equals_adaptive_projected_guidance(parallel):
    """With the paper's formula (guidance is added to the text's own picture), without momentum and limit."""
    text, without = torch.from_numpy(TEXT), torch.from_numpy(WITHOUT)
    expected = normalized_guidance(text, without, 6.5, None, parallel, 0.0, use_original_formulation=True).numpy()
    np.testing.assert_allclose(ours(Guidance(7.5, parallel=parallel), 0), expected, rtol=0, atol=1e-5)
    guider = AdaptiveProjectedGuidance(
        guidance_scale=6.5, eta=parallel, adaptive_projected_guidance_rescale=0.0, use_original_formulation=True
    )
    np.testing.assert_allclose(expected, theirs(guider, 0), rtol=0, atol=1e-5)


@pytest.mark.parametrize("ceiling", [1.0, 1.5, 100.0])
@pytest.mark.parametrize("share", [0.5, 0.9, 0.995])
def test_thresholding_equals_that_of_the_schedulers(share, ceiling):
    for scheduler in (diffusers.DDIMScheduler, diffusers.DPMSolverMultistepScheduler):
        stepper = scheduler(thresholding=True, dynamic_thresholding_ratio=share, sample_max_value=ceiling)
        expected = stepper._threshold_sample(torch.from_numpy(2 * TEXT)).numpy()
        np.testing.assert_allclose(thresholded(2 * TEXT, share, 1.0, ceiling), expected, rtol=0, atol=1e-6)
