"""Samplers and schedules against golden numbers of pinned diffusers, and properties that need no oracle."""

from pathlib import Path

import numpy as np
import pytest
import toy

from pleinair.noise import TorchNoise
from pleinair.sampling import SAMPLERS, TO_X0, move
from pleinair.schedule import Path as NoisePath
from pleinair.schedule import Point, make_path

GOLDEN = np.load(Path(__file__).parent / "golden" / "trajectories.npz")


def walk(sampler, path, prediction, seed, shape=toy.SHAPE):
    """Final latents of our sampler on the toy network."""
    generator = TorchNoise(seed)

    def denoise(x, point):
        return TO_X0[prediction](toy.network(x, point.t, np.sin), x, point)

    x = path.start * generator.normal(shape)
    for state in SAMPLERS[sampler].walk(denoise, x, path, lambda: generator.normal(shape)):
        x = state.x
    return x


@pytest.mark.parametrize("case", GOLDEN.files)
def test_trajectory_equals_diffusers(case):
    sampler, spacing, prediction, steps = case.split("/")
    path = make_path(toy.CONFIGS[prediction], SAMPLERS[sampler].grid, int(steps), spacing)
    assert len(path) == int(steps)
    ours, theirs = walk(sampler, path, prediction, int(steps)), GOLDEN[case]
    assert ours.dtype == np.float32
    assert np.abs(ours - theirs).max() <= 2e-5 * np.abs(theirs).max()
