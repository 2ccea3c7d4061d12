"""Samplers: generator functions that walk latents down a path.    x = alpha * image + sigma * noise, everywhere.

The whole first-order family is one line, `move`; a sampler says which image to head for and how much of the noise
is new. History is local variables; noise is a callable; cancelling is `break`.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import expm1, sqrt
from typing import NamedTuple

import numpy as np

from pleinair.schedule import Path, Point

Denoise = Callable[[np.ndarray, Point], np.ndarray]  # latents, where they are -> the image the network sees in them
Noise = Callable[[], np.ndarray]
Past = deque[tuple[Point, np.ndarray]]  # (where, x0), newest first


@dataclass
class State:
    """What a sampler shows after each step; a caller may replace `x` before the next one."""

    x: np.ndarray  # (B, 4, h, w)
    x0: np.ndarray | None = None  # what the network currently believes the picture is


TO_X0: dict[str, Callable[[np.ndarray, np.ndarray, Point], np.ndarray]] = {
    "epsilon": lambda out, x, p: (x - p.sigma * out) / p.alpha,
    "v_prediction": lambda out, x, p: p.alpha * x - p.sigma * out,
    "sample": lambda out, x, p: out,
}


def move(
    x: np.ndarray, x0: np.ndarray, a: Point, b: Point, fresh: float = 0.0, noise: Noise | None = None
) -> np.ndarray:
    """Carry x from a to b along the line through x0, replacing `fresh` of b's noise by new noise."""
    kept = sqrt(max(b.sigma**2 - fresh**2, 0.0)) / a.sigma
    moved = kept * x + (b.alpha - kept * a.alpha) * x0
    return moved + fresh * noise() if fresh and noise else moved


def deterministic(a: Point, b: Point) -> float:
    """No new noise: DDIM, Euler, DPM++ 2M."""
    return 0.0


def ancestral(a: Point, b: Point) -> float:
    """As much new noise as the forward process would add between b and a: DDPM, Euler a."""
    return b.sigma * sqrt(-expm1(2 * (a.lam - b.lam))) if b.sigma else 0.0


def newest(past: Past, b: Point) -> np.ndarray:
    """Head for what the network says now."""
    return past[0][1]


def dpmpp_2m(past: Past, b: Point) -> np.ndarray:
    """Extrapolate the last two x0 linearly in lambda (Lu et al. 2022, DPM-Solver++(2M), midpoint)."""
    (a, x0), *older = past
    if not older or not b.sigma:
        return x0
    p, before = older[0]
    return x0 + 0.5 * (b.lam - a.lam) / (a.lam - p.lam) * (x0 - before)


def multistep(
    aim: Callable[[Past, Point], np.ndarray] = newest, fresh: Callable[[Point, Point], float] = deterministic
) -> Callable[..., Iterator[State]]:
    """A sampler with one network evaluation a step: where it heads for, and how much noise it renews."""

    def sample(denoise: Denoise, x: np.ndarray, path: Path, noise: Noise) -> Iterator[State]:
        state = State(x)
        past: Past = deque(maxlen=2)
        for step, (a, b) in enumerate(path.strides, 1):
            past.appendleft((a, denoise(state.x, a)))
            state.x0 = past[0][1]
            target = state.x0 if path.euler_last and step == len(path) else aim(past, b)
            state.x = move(state.x, target, a, b, fresh(a, b), noise)
            yield state

    return sample


class Sampler(NamedTuple):
    """A sampler, the grid its path is laid on, and what users of other tools know it as."""

    walk: Callable[..., Iterator[State]]
    grid: str
    order: int
    stochastic: bool
    diffusers: str
    a1111: str


SAMPLERS: dict[str, Sampler] = {
    "ddim": Sampler(multistep(), "ddim", 1, False, "DDIMScheduler", "DDIM"),
    "euler": Sampler(multistep(), "k", 1, False, "EulerDiscreteScheduler", "Euler"),
    "euler_a": Sampler(multistep(fresh=ancestral), "k", 1, True, "EulerAncestralDiscreteScheduler", "Euler a"),
    "dpmpp_2m": Sampler(multistep(dpmpp_2m), "dpm", 2, False, "DPMSolverMultistepScheduler", "DPM++ 2M"),
}
