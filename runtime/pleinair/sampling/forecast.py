"""Forecasting: the network is asked in some steps, and what it would say in the others is drawn from its answers.

Between two answers the noise that a network finds hardly turns. It is laid on a line in half the log signal-to-noise
ratio, through the last two answers: the first-order case of TaylorSeer (Liu et al. 2025), of whole outputs.
"""

from collections.abc import Callable, Iterable
from math import isfinite

import numpy as np

from pleinair.sampling.coordinates import Denoise
from pleinair.sampling.path import Point

Answer = tuple[float, np.ndarray]  # where (lam), and the noise that the network found there


def asked_steps(count: int, every: int, turns: Callable[[int], bool]) -> frozenset[int]:
    """The steps of `count` in which a network is asked: each `every`-th, the first two, the last, and where one turns.

    A step `turns` where the network is told something else than in the step before; it and the next are asked.
    """
    turning = {step for step in range(count) if turns(step)}
    ends = {0, 1, count - 1}
    return frozenset(step for step in range(count) if step % every == 0 or step in ends or {step, step - 1} & turning)


class Forecast:
    """`denoise` for a solver, asked in the steps `asked` (from 0) and forecast in the others."""

    def __init__(self, denoise: Denoise, asked: Iterable[int]) -> None:
        self._denoise = denoise
        self._asked = frozenset(asked)
        self._answers: list[Answer] = []  # the newest first

    def __call__(self, x: np.ndarray, point: Point, step: int) -> np.ndarray:
        if step not in self._asked and self._answers:
            return (x - point.sigma * forecast(self._answers, point.lam)) / point.alpha
        x0 = self._denoise(x, point, step)
        if isfinite(point.lam):
            self._answers = [(point.lam, (x - point.alpha * x0) / point.sigma), *self._answers[:1]]
        return x0


def forecast(answers: list[Answer], lam: float) -> np.ndarray:
    """The noise at lam, on the line through the last two answers, or as the last one has it."""
    at, found = answers[0]
    before, earlier = answers[-1]
    if at == before:
        return found
    share = np.float32((lam - at) / (at - before))
    return found + share * (found - earlier)
