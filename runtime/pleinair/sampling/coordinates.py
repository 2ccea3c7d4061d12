"""The coordinates of sampling and the one line that everything is made of.    x = alpha * image + sigma * noise

`move` carries latents from one noise level to another along the line through a picture; a sampler says which picture
to head for and how much of the noise is new.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import expm1, inf, sqrt
from typing import Protocol

import numpy as np

from pleinair.sampling.path import Path, Point

Denoise = Callable[[np.ndarray, Point, int], np.ndarray]  # latents, where they are, which step asks (from 0) -> x0
Draw = Callable[[], np.ndarray]  # -> new unit noise like the latents
Keep = Callable[[np.ndarray, Point | None], np.ndarray]  # latents, where they have come (None: the end) -> what goes on
Fresh = Callable[[Point, Point], float]  # a stride -> the deviation of the noise that it renews
Seen = tuple[Point, np.ndarray]  # where, and the x0 (or eps) the network saw there; histories are newest first


@dataclass(frozen=True)
class State:
    """What a sampler shows after each step."""

    x: np.ndarray  # (B, C, h, w)
    x0: np.ndarray  # what the network currently believes the picture is


class Solver(Protocol):
    """A walk down a path, step by step; after each one, `keep` says which latents it goes on with."""

    def __call__(
        self, denoise: Denoise, x: np.ndarray, path: Path, draw: Draw, keep: Keep = ..., /
    ) -> Iterator[State]: ...


def untouched(x: np.ndarray, reached: Point | None) -> np.ndarray:
    """The latents as the solver made them, where nothing of them is to be put back."""
    return x


def move(x: np.ndarray, x0: np.ndarray, a: Point, b: Point, fresh: float = 0.0, draw: Draw | None = None) -> np.ndarray:
    """Carry x from a to b along the line through x0, replacing `fresh` of b's noise by new noise."""
    kept = sqrt(max(b.sigma**2 - fresh**2, 0.0)) / a.sigma
    moved = kept * x + (b.alpha - kept * a.alpha) * x0
    return moved + fresh * draw() if fresh and draw else moved


def climb(x: np.ndarray, a: Point, b: Point, draw: Draw) -> np.ndarray:
    """Carry x back up from a to the noisier b by adding noise, as the forward process does."""
    low, high = ratio(a), ratio(b)
    return b.alpha * (x / a.alpha + sqrt(high**2 - low**2) * draw())


def churned(x: np.ndarray, a: Point, path: Path, churn: float, draw: Draw) -> tuple[np.ndarray, Point]:
    """x and its level after Karras et al. 2022's churn, `churn` spread over the path (algorithm 2)."""
    share = min(churn / len(path), sqrt(2) - 1)
    if not share or not a.alpha:
        return x, a
    higher = path.level((1 + share) * ratio(a))
    return climb(x, a, higher, draw), higher


def same(noise: np.ndarray) -> Draw:
    """A draw of what has been drawn already."""
    return lambda: noise


def ratio(p: Point) -> float:
    """Noise per unit of image: the sigma of Karras et al. and of k-diffusion."""
    return p.sigma / p.alpha if p.alpha else inf


def deterministic(a: Point, b: Point) -> float:
    """No new noise: DDIM, Euler, DPM++ 2M."""
    return 0.0


def ancestral(a: Point, b: Point, eta: float = 1.0) -> float:
    """`eta` times what the forward process adds between b and a: DDPM, Euler a, DDIM with eta."""
    return b.sigma * min(1.0, eta * sqrt(max(-expm1(2 * (a.lam - b.lam)), 0.0))) if b.sigma else 0.0


def langevin(a: Point, b: Point, eta: float = 1.0) -> float:
    """What an SDE renews that forgets `eta` times as fast as the ODE moves: DPM++ 2M SDE; with eta 1 as ancestral."""
    return b.sigma * sqrt(-expm1(-2 * eta * (b.lam - a.lam))) if b.sigma and eta else 0.0


def everything(a: Point, b: Point) -> float:
    """All noise is new: consistency models, stochastic flow matching."""
    return b.sigma


def stray(
    x: np.ndarray, eps: np.ndarray, a: Point, b: Point, forgetting: float, noise: np.ndarray | None
) -> np.ndarray:
    """Carry x from a to b as the SDE solvers written for the noise eps do (sde-dpmsolver, SA-Solver on noise).

    Unlike `move` it keeps the noise level only to first order. `forgetting` 0 is the ODE.
    """
    growth = b.lam - a.lam
    moved = b.alpha / a.alpha * x - (1 + forgetting) * b.sigma * expm1(growth) * eps
    return moved if noise is None else moved + b.sigma * sqrt(forgetting * expm1(2 * growth)) * noise
