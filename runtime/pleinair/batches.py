"""Pictures that share the network's calls, and where each gets its noise."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pleinair.pictures import start as starts
from pleinair.request.options import Randomness
from pleinair.sampling.noise import NoiseSource, source


@dataclass(frozen=True)
class Batch:
    """Pictures that share the network's calls, on their way from noise."""

    seeds: tuple[int, ...]
    generators: list[NoiseSource]
    clean: np.ndarray | None  # start latents (B, C, h, w) of the caller's own
    x: np.ndarray = field(default_factory=lambda: np.empty(0))  # (B, C, h, w)
    below: starts.Start | None = None  # the picture that the pass goes over, if there is one
    steps: int = 0  # done


def batched(
    seeds: tuple[int, ...], generators: Sequence[NoiseSource], clean: np.ndarray | None, size: int
) -> list[Batch]:
    """Batches of `size` pictures at most, with the noise and the clean latents (n, C, h, w) of each."""
    batches = []
    for first in range(0, len(seeds), size):
        these = slice(first, first + size)
        batches.append(Batch(seeds[these], list(generators[these]), None if clean is None else clean[these]))
    return batches


def noise_sources(random: Randomness, seeds: tuple[int, ...]) -> list[NoiseSource]:
    """The source of each picture's noise, not used yet."""
    return [source(seed, random.noise, random.subseed, random.subseed_strength) for seed in seeds]


def encoding(random: Randomness, seeds: tuple[int, ...], generators: list[NoiseSource]) -> list[NoiseSource]:
    """What the VAE draws from: a subseed is mixed into the first draw, which must be the noise of the loop."""
    return generators if random.subseed is None else [source(seed, random.noise) for seed in seeds]
