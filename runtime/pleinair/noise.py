"""Seeded noise, one generator per picture, the numbers that torch's CPU generator gives for the same seed."""

from math import cos, log1p, pi, sin, sqrt

import numpy as np

BLOCK = 16  # torch fills normal numbers in blocks of 16: 8 radii, then 8 angles


class TorchNoise:
    """`torch.randn(shape, generator=torch.Generator().manual_seed(seed))`, to 1e-6, without torch.

    MT19937 words, 24-bit uniforms and Box-Muller as in ATen's `normal_fill`; torch takes only the low 32 bits
    of a seed.
    """

    def __init__(self, seed: int) -> None:
        self._words = np.random.RandomState(seed & 0xFFFFFFFF)
        self._spare: float | None = None  # the scalar path makes numbers in pairs and keeps one across calls

    def normal(self, shape: tuple[int, ...]) -> np.ndarray:
        """The next standard normal numbers, float32, in C order."""
        size = int(np.prod(shape))
        if size < BLOCK:
            return np.array([self._scalar() for _ in range(size)], np.float32).reshape(shape)
        numbers = self._uniform(size)
        whole = size - size % BLOCK
        numbers[:whole] = box_muller(numbers[:whole])
        if whole < size:  # torch draws the last 16 again, over numbers already made
            numbers[-BLOCK:] = box_muller(self._uniform(BLOCK))
        return numbers.reshape(shape)

    def _uniform(self, count: int) -> np.ndarray:
        words = self._words.randint(0, 1 << 32, count, np.uint32)
        return (words & 0xFFFFFF).astype(np.float32) * np.float32(2**-24)

    def _uniform64(self) -> float:
        high, low = (int(word) for word in self._words.randint(0, 1 << 32, 2, np.uint32))
        return (((high << 32) | low) & ((1 << 53) - 1)) * 2.0**-53

    def _scalar(self) -> float:
        if self._spare is not None:
            number, self._spare = self._spare, None
            return number
        angle, radius = 2 * pi * self._uniform64(), sqrt(-2 * log1p(-self._uniform64()))
        self._spare = radius * sin(angle)
        return radius * cos(angle)


def box_muller(uniform: np.ndarray) -> np.ndarray:
    """Uniform numbers in [0, 1) (16k,) -> standard normal ones (16k,), block by block."""
    pairs = uniform.reshape(-1, 2, BLOCK // 2).astype(np.float64)
    radius, angle = np.sqrt(-2 * np.log(1 - pairs[:, 0])), 2 * np.pi * pairs[:, 1]
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).reshape(-1).astype(np.float32)


def stacked(generators: list[TorchNoise], shape: tuple[int, ...]) -> np.ndarray:
    """One picture's noise from each generator: (len(generators), *shape), so that a batch equals its singles."""
    return np.stack([generator.normal(shape) for generator in generators])
