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
Seen = tuple[Point, np.ndarray]  # where, and the x0 (or eps) the network saw there; histories are newest first
GAUSS_NODES, GAUSS_WEIGHTS = np.polynomial.legendre.leggauss(4)  # exact for the polynomials of `adams`


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


def direction(x: np.ndarray, x0: np.ndarray, a: Point) -> np.ndarray:
    """The noise (eps) that x at a holds if x0 is the picture."""
    return (x - a.alpha * x0) / a.sigma


def picture(x: np.ndarray, eps: np.ndarray, a: Point) -> np.ndarray:
    """The picture (x0) that x at a holds if eps is the noise."""
    return (x - a.sigma * eps) / a.alpha


def deterministic(a: Point, b: Point) -> float:
    """No new noise: DDIM, Euler, DPM++ 2M."""
    return 0.0


def ancestral(a: Point, b: Point) -> float:
    """As much new noise as the forward process would add between b and a: DDPM, Euler a."""
    return b.sigma * sqrt(-expm1(2 * (a.lam - b.lam))) if b.sigma else 0.0


def newest(past: list[Seen], b: Point) -> np.ndarray:
    """Head for what the network says now."""
    return past[0][1]


def dpmpp_2m(past: list[Seen], b: Point) -> np.ndarray:
    """Extrapolate the last two x0 linearly in lambda (Lu et al. 2022, DPM-Solver++(2M), midpoint)."""
    (a, x0), *older = past
    if not older or not b.sigma:
        return x0
    p, before = older[0]
    return x0 + 0.5 * (b.lam - a.lam) / (a.lam - p.lam) * (x0 - before)


def dpmpp_3m(past: list[Seen], b: Point) -> np.ndarray:
    """Extrapolate the last three x0 quadratically in lambda (Lu et al. 2022, DPM-Solver++(3M))."""
    if len(past) < 3 or not b.sigma:
        return dpmpp_2m(past, b)
    (a, x0), (p, x1), (q, x2) = past
    h = b.lam - a.lam
    near, far = (a.lam - p.lam) / h, (p.lam - q.lam) / h
    slope, before = (x0 - x1) / near, (x1 - x2) / far
    first = slope + near / (near + far) * (slope - before)
    second = (slope - before) / (near + far)
    phi = -expm1(-h)
    return x0 + ((1 - phi / h) * first - ((h - phi) / h**2 - 0.5) * second) / phi


def adams(past: list[Seen], b: Point) -> np.ndarray:
    """Integrate the polynomial through the last four noise directions over sigma (diffusers LMSDiscreteScheduler).

    Entries of `past` hold eps in place of x0; the result is their weighted mean.
    """
    nodes = [p.sigma / p.alpha for p, _ in past]
    start, end = nodes[0], b.sigma / b.alpha
    at = (end - start) / 2 * GAUSS_NODES + (end + start) / 2
    basis = [np.prod([(at - other) / (node - other) for other in nodes if other != node], axis=0) for node in nodes]
    weights = [float((GAUSS_WEIGHTS * values).sum() / 2) for values in basis]
    return sum(weight * eps for weight, (_, eps) in zip(weights, past, strict=True))


def multistep(
    aim: Callable[[list[Seen], Point], np.ndarray] = newest,
    fresh: Callable[[Point, Point], float] = deterministic,
    memory: int = 1,
    of_noise: bool = False,
) -> Callable[..., Iterator[State]]:
    """A sampler with one network evaluation a step: where it heads for, and how much noise it renews.

    `of_noise`: the history that `aim` sees, and what it returns, are noise directions rather than pictures.
    """

    def sample(denoise: Denoise, x: np.ndarray, path: Path, noise: Noise) -> Iterator[State]:
        state = State(x)
        past: deque[Seen] = deque(maxlen=memory)
        for left, (a, b) in zip(range(len(path), 0, -1), path.strides, strict=True):
            state.x0 = denoise(state.x, a)
            past.appendleft((a, direction(state.x, state.x0, a) if of_noise else state.x0))
            target = aim(list(past)[: path.order_for(left)], b)
            if of_noise:
                target = picture(state.x, target, a)
            state.x = move(state.x, target, a, b, fresh(a, b), noise)
            yield state

    return sample


def heun(denoise: Denoise, x: np.ndarray, path: Path, noise: Noise) -> Iterator[State]:
    """Look again from the far end and average the two noise directions (Karras et al. 2022, algorithm 1)."""
    state = State(x)
    for a, b in path.strides:
        x0 = state.x0 = denoise(state.x, a)
        far = move(state.x, x0, a, b)
        if b.sigma:
            eps = (direction(state.x, x0, a) + direction(far, denoise(far, b), b)) / 2
            far = move(state.x, picture(state.x, eps, a), a, b)
        state.x = far
        yield state


def dpm2(fresh: Callable[[Point, Point], float] = deterministic) -> Callable[..., Iterator[State]]:
    """Go along the noise direction found half way down, in log sigma (k-diffusion's sample_dpm_2)."""

    def sample(denoise: Denoise, x: np.ndarray, path: Path, noise: Noise) -> Iterator[State]:
        state = State(x)
        for a, b in path.strides:
            x0 = state.x0 = denoise(state.x, a)
            new = fresh(a, b)
            if b.sigma:
                down = sqrt(b.sigma**2 - new**2) / b.alpha
                middle = path.level(sqrt(a.sigma / a.alpha * down))
                half = move(state.x, x0, a, middle)
                x0 = picture(state.x, direction(half, denoise(half, middle), middle), a)
            state.x = move(state.x, x0, a, b, new, noise)
            yield state

    return sample


def unipc(order: int) -> Callable[..., Iterator[State]]:
    """Predict like DPM++, then correct each step with what the network says at its end (Zhao et al. 2023, bh2)."""

    def sample(denoise: Denoise, x: np.ndarray, path: Path, noise: Noise) -> Iterator[State]:
        state = State(x)
        past: deque[Seen] = deque(maxlen=order + 1)
        before, used = x, 0  # where the last step started, and with how many x0
        for left, (a, b) in zip(range(len(path), 0, -1), path.strides, strict=True):
            x0 = state.x0 = denoise(state.x, a)
            if past:
                state.x = move(before, unified(list(past)[:used], a, x0), past[0][0], a)
            past.appendleft((a, x0))
            before, used = state.x, min(order, left, len(past))
            state.x = move(state.x, unified(list(past)[:used], b), a, b)
            yield state

    return sample


def unified(past: list[Seen], b: Point, end: np.ndarray | None = None) -> np.ndarray:
    """The x0 to head for from past[0] to b: UniP, or UniC where the x0 found at b is given as `end`."""
    (a, x0), *older = past
    if not b.sigma:
        return x0
    h = b.lam - a.lam
    nodes = [(p.lam - a.lam) / h for p, _ in older]
    slopes = [(seen - x0) / node for (_, seen), node in zip(older, nodes, strict=True)]
    if end is not None:
        nodes, slopes = [*nodes, 1.0], [*slopes, end - x0]
    if len(nodes) <= 1:
        weights = [0.5] * len(nodes)  # as the paper simplifies the lowest order
    else:
        weights = np.linalg.solve(np.vander(nodes, increasing=True).T, phi_ratios(-h, len(nodes)))
    return x0 + sum(float(weight) * slope for weight, slope in zip(weights, slopes, strict=True))


def phi_ratios(h: float, count: int) -> list[float]:
    """k! phi_{k+1}(h) / phi_1(h) for k = 1 .. count: what the weights of UniPC must sum to (bh2)."""
    phi, factorial, ratios = expm1(h) / h - 1, 1, []
    for k in range(1, count + 1):
        ratios.append(phi * factorial / expm1(h))
        factorial *= k + 1
        phi = phi / h - 1 / factorial
    return ratios


class Sampler(NamedTuple):
    """A sampler, the grid its path is laid on, and what users of other tools know it as."""

    walk: Callable[..., Iterator[State]]
    grid: str
    order: int
    evaluations: int  # network calls a step
    stochastic: bool
    diffusers: str
    a1111: str


SAMPLERS: dict[str, Sampler] = {
    "ddim": Sampler(multistep(), "ddim", 1, 1, False, "DDIMScheduler", "DDIM"),
    "ddpm": Sampler(multistep(fresh=ancestral), "ddpm", 1, 1, True, "DDPMScheduler", "DDPM"),
    "euler": Sampler(multistep(), "euler", 1, 1, False, "EulerDiscreteScheduler", "Euler"),
    "euler_a": Sampler(
        multistep(fresh=ancestral), "ancestral", 1, 1, True, "EulerAncestralDiscreteScheduler", "Euler a"
    ),
    "heun": Sampler(heun, "k", 2, 2, False, "HeunDiscreteScheduler", "Heun"),
    "lms": Sampler(multistep(adams, memory=4, of_noise=True), "k", 4, 1, False, "LMSDiscreteScheduler", "LMS"),
    "dpm2": Sampler(dpm2(), "kdpm", 2, 2, False, "KDPM2DiscreteScheduler", "DPM2"),
    "dpm2_a": Sampler(dpm2(ancestral), "kdpm", 2, 2, True, "KDPM2AncestralDiscreteScheduler", "DPM2 a"),
    "dpmpp_2m": Sampler(multistep(dpmpp_2m, memory=2), "dpm", 2, 1, False, "DPMSolverMultistepScheduler", "DPM++ 2M"),
    "dpmpp_2m_sde": Sampler(
        multistep(dpmpp_2m, ancestral, memory=2), "dpm", 2, 1, True, "DPMSolverMultistepScheduler", "DPM++ 2M SDE"
    ),
    "dpmpp_3m": Sampler(multistep(dpmpp_3m, memory=3), "dpm", 3, 1, False, "DPMSolverMultistepScheduler", "DPM++ 3M"),
    "unipc": Sampler(unipc(2), "unipc", 2, 1, False, "UniPCMultistepScheduler", "UniPC"),
}
