"""Noise equals torch's, number by number, for every size and across calls."""

from itertools import groupby
from pathlib import Path

import numpy as np
import pytest

from pleinair.noise import TorchNoise, stacked

GOLDEN = np.load(Path(__file__).parent / "golden" / "noise.npz")
DRAWS = {seed: list(names) for seed, names in groupby(GOLDEN.files, key=lambda name: name.split("/")[0])}


@pytest.mark.parametrize("seed", DRAWS)
def test_noise_equals_torch(seed):
    generator = TorchNoise(int(seed))
    for name in DRAWS[seed]:  # in the order they were drawn: a later draw depends on the earlier ones
        shape = tuple(map(int, name.split("/")[2].split("x")))
        drawn = generator.normal(shape)
        assert drawn.shape == shape and drawn.dtype == np.float32
        np.testing.assert_allclose(drawn.reshape(-1)[-64:], GOLDEN[name], rtol=0, atol=2e-6)


def test_a_batch_equals_its_singles():
    together = stacked([TorchNoise(1), TorchNoise(2)], (4, 9, 7))
    assert np.array_equal(together[1], TorchNoise(2).normal((4, 9, 7)))


def test_noise_is_standard_normal():
    numbers = TorchNoise(0).normal((200_000,))
    assert abs(numbers.mean()) < 0.01 and abs(numbers.std() - 1) < 0.01 and np.isfinite(numbers).all()
