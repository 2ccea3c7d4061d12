"""Reuse: the network is asked in some steps, and in those between, the noise that it found last holds.

Between two answers that noise hardly turns, while the picture behind it does (TeaCache, Liu et al. 2024, reuses
outputs likewise). A line through the last two answers was tried in its place and comes less near (docs/performance.md).
"""

from collections.abc import Callable, Iterable

import numpy as np

from pleinair.sampling.coordinates import Denoise
from pleinair.sampling.path import Point


def asked_steps(count: int, every: int, turns: Callable[[int], bool]) -> frozenset[int]:
    """The steps of `count` in which a network is asked: each `every`-th, the first two, the last, and where one turns.

    A step `turns` where the network is told something else than in the step before; it and the next are asked.
    """
    turning = {step for step in range(count) if turns(step)}
    ends = {0, 1, count - 1}
    return frozenset(step for step in range(count) if step % every == 0 or step in ends or {step, step - 1} & turning)


class Reuse:
    """`denoise` for a solver, asked in the steps `asked` (from 0, which is one of them)."""

    def __init__(self, denoise: Denoise, asked: Iterable[int]) -> None:
        self._denoise = denoise
        self._asked = frozenset(asked)
        self._noise: np.ndarray | None = None  # (B, C, h, w), as it was found last

    def __call__(self, x: np.ndarray, point: Point, step: int) -> np.ndarray:
        if step not in self._asked and self._noise is not None and point.alpha:
            return (x - point.sigma * self._noise) / point.alpha
        x0 = self._denoise(x, point, step)
        self._noise = (x - point.alpha * x0) / point.sigma
        return x0
