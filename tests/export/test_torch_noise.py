"""Our noise against the installed torch, number by number, for millions of numbers and any sequence of sizes."""

import random

import numpy as np
import pytest
import torch

from pleinair.sampling.noise import source

pytestmark = pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"),
    reason="torch draws with its vector kernel on x86 with AVX2 only; elsewhere its own last bits differ",
)


def same_bits(ours, theirs):
    return np.array_equal(ours.view(np.uint32), theirs.numpy().view(np.uint32))


@pytest.mark.parametrize("seed", [0, 1, 42, 2**32 - 1, 2**63 + 12345, 2**64 - 1])
def test_millions_of_numbers_equal_torchs(seed):
    ours, theirs = source(seed), torch.Generator().manual_seed(seed)
    for size in (1 << 20, 1 << 19, 4 * 64 * 64):
        assert same_bits(ours.normal((size,)), torch.randn(size, generator=theirs))


@pytest.mark.parametrize("seed", range(25))
def test_any_sequence_of_sizes_equals_torchs(seed):
    ours, theirs, sizes = source(seed), torch.Generator().manual_seed(seed), random.Random(seed)
    for _ in range(25):
        size = sizes.choice([sizes.randrange(16), sizes.randrange(16, 64), sizes.randrange(64, 5000)])
        assert same_bits(ours.normal((size,)), torch.randn(size, generator=theirs))
