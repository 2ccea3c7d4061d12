"""Reuse: the network is asked in some steps, and in those between, the noise that it found last holds.

Between two answers that noise hardly turns, while the picture behind it does (TeaCache, Liu et al. 2024, reuses
outputs likewise). It turns most while the picture takes shape, so the first steps ask one after another, and then
fewer and fewer do. What was tried in its place came less near: every Nth step, a line through the last two answers,
asking without the negative prompt (docs/decisions.md).
"""

from collections.abc import Callable, Iterable
from itertools import accumulate
from math import ceil, inf, sqrt

import numpy as np

from pleinair.sampling.coordinates import Denoise
from pleinair.sampling.path import Point

END = 0.97  # of the steps, which is where the last call lies
HALVINGS = 50  # of an interval: to the last bits
TINY = 1e-6
FEWEST = 3  # calls: the first two steps, and one of the last
EXACT = "exact"
SPEEDS = {EXACT: inf, "balanced": 2.2, "fast": 1.5}  # calls of the network for the square root of the steps


def asked_steps(count: int, reuse: float, turns: Callable[[int], bool]) -> frozenset[int]:
    """The steps of `count`, from 0, in which a network is asked: one of `reuse`, and where one turns.

    A step `turns` where the network is told something else than in the step before; it and the next are asked.
    """
    turning = {step for step in range(count) if turns(step)}
    after = {step + 1 for step in turning} & set(range(count))
    return frozenset(placed(count, max(round(count / reuse), min(FEWEST, count)))) | turning | after


def placed(count: int, calls: int) -> list[int]:
    """So many of `count` steps, from 0: the first two, and then with gaps that grow by one factor."""
    if calls == 1:
        return [0]
    length = max(END * (count - 1), calls - 1)
    low, high = 1.0, length ** (1 / max(calls - 2, 1))  # which makes the last gap alone as long
    for _ in range(HALVINGS):
        factor = (low + high) / 2
        low, high = (low, factor) if sum(gaps(factor, calls)) > length else (factor, high)
    return [int(place + TINY) for place in accumulate(gaps(low, calls), initial=0.0)]


def gaps(factor: float, calls: int) -> list[float]:
    """Between so many calls, in steps: the first is one."""
    return [factor**gap for gap in range(calls - 1)]


def calls_at(speed: str, count: int) -> int:
    """In how many of `count` steps a network is asked at one of SPEEDS."""
    return ceil(min(SPEEDS[speed] * sqrt(count), count))


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
