"""Loops of solvers that ask the network several times in a step: at its start, its middle or its end."""

from collections.abc import Iterator
from itertools import pairwise
from math import sqrt

import numpy as np

from pleinair.sampling.coordinates import (
    Denoise,
    Draw,
    Fresh,
    Keep,
    Solver,
    State,
    ancestral,
    churned,
    climb,
    deterministic,
    move,
    ratio,
    same,
    untouched,
)
from pleinair.sampling.path import Path, Point
from pleinair.sampling.predictions import FROM_X0, TO_X0
from pleinair.sampling.sigmas import karras


def heun(of: str = "epsilon", churn: float = 0.0) -> Solver:
    """Look again from the far end and average the two noise directions (Karras et al. 2022, algorithms 1 and 2)."""

    def sample(denoise: Denoise, x: np.ndarray, path: Path, draw: Draw, keep: Keep = untouched) -> Iterator[State]:
        for step, (a, b) in enumerate(path.strides):
            x, a = churned(x, a, path, churn, draw)
            x, x0 = heun_step(denoise, x, a, b, step, of)
            x = keep(x, path.reached(step))
            yield State(x, x0)

    return sample


def heun_step(
    denoise: Denoise, x: np.ndarray, a: Point, b: Point, step: int, of: str = "epsilon"
) -> tuple[np.ndarray, np.ndarray]:
    """x at b, and the x0 seen at a."""
    x0 = denoise(x, a, step)
    far = move(x, x0, a, b)
    if b.sigma and (a.alpha or of != "epsilon"):
        mean = (FROM_X0[of](x0, x, a) + FROM_X0[of](denoise(far, b, step), far, b)) / 2
        far = move(x, TO_X0[of](mean, x, a), a, b)
    return far, x0


def restart(denoise: Denoise, x: np.ndarray, path: Path, draw: Draw, keep: Keep = untouched) -> Iterator[State]:
    """Heun that goes back up to sigma 2 from 0.1 and down again (Xu et al. 2023; A1111's restart_sampler).

    As there, 20 steps or more are laid out anew on Karras' sigmas between the path's first and last, nine (from 36
    on: a quarter, twice) of them for going down again; with fewer it is Heun.
    """
    strides, reached = restarted(path), path.strides[0][0]
    for step, (a, b) in enumerate(strides):
        if ratio(a) > ratio(reached):
            x = climb(x, reached, a, draw)
        x, x0 = heun_step(denoise, x, a, b, step)
        x = keep(x, b if step + 1 < len(path) else None)
        reached = b
        yield State(x, x0)


def restarted(path: Path) -> list[tuple[Point, Point]]:
    """As many strides as the path has, some of which start above where the one before ended."""
    steps, first, last = len(path), path.strides[0][0], path.strides[-1]
    if steps < 20 or not first.alpha or last[1].sigma:
        return list(path.strides)
    again, times = (9, 1) if steps < 36 else (steps // 4, 2)
    sigmas = [*karras(ratio(last[0]), ratio(first), steps - again * times), 0.0]
    points = [first, *(path.level(float(sigma)) for sigma in sigmas[1:-1]), last[1]]
    low, high = (int(np.abs(np.subtract(sigmas, wanted)).argmin()) for wanted in (0.1, 2.0))
    if high >= low:
        return list(path.strides)
    strides = list(pairwise(points))
    inner = karras(sigmas[low], sigmas[high], again + 1)[1:-1]
    down = [points[high], *(path.level(float(sigma)) for sigma in inner), points[low]]
    return strides[:low] + list(pairwise(down)) * times + strides[low:]


def midway(fresh: Fresh = deterministic, of: str = "sample", churn: float = 0.0) -> Solver:
    """Head for what is seen half way down in log sigma (k-diffusion's sample_dpm_2 with eps, its dpmpp_2s with x0)."""

    def sample(denoise: Denoise, x: np.ndarray, path: Path, draw: Draw, keep: Keep = untouched) -> Iterator[State]:
        for step, (a, b) in enumerate(path.strides):
            x, a = churned(x, a, path, churn, draw)
            target = x0 = denoise(x, a, step)
            new = fresh(a, b)
            down = sqrt(b.sigma**2 - new**2) / b.alpha if b.alpha else 0.0
            if down and a.alpha:
                middle = path.level(sqrt(ratio(a) * down))
                half = move(x, x0, a, middle)
                target = denoise(half, middle, step)
                target = TO_X0[of](FROM_X0[of](target, half, middle), x, a)
            x = keep(move(x, target, a, b, new, draw), path.reached(step))
            yield State(x, x0)

    return sample


def dpmpp_sde(eta: float = 1.0) -> Solver:
    """Half a stride with noise, then the stride again towards what was seen there (diffusers DPMSolverSDEScheduler).

    diffusers draws from one Brownian motion in sigma, so the stride's noise contains the half's. Here the two
    independent parts are drawn and combined: the same law, without a tree.
    """

    def sample(denoise: Denoise, x: np.ndarray, path: Path, draw: Draw, keep: Keep = untouched) -> Iterator[State]:
        for step, (a, b) in enumerate(path.strides):
            x0 = denoise(x, a, step)
            if not b.sigma or not a.alpha:
                x = move(x, x0, a, b, ancestral(a, b, eta), draw)
            else:
                middle = path.level(sqrt(ratio(a) * ratio(b)))
                early, late = draw(), draw()
                share = (ratio(a) - ratio(middle)) / (ratio(a) - ratio(b))
                half = move(x, x0, a, middle, ancestral(a, middle, eta), same(early))
                both = sqrt(share) * early + sqrt(1 - share) * late
                x = move(x, denoise(half, middle, step), a, b, ancestral(a, b, eta), same(both))
            x = keep(x, path.reached(step))
            yield State(x, x0)

    return sample
