"""One noise level, and a path of them.

x = alpha * image + sigma * noise        betas    alpha^2 + sigma^2 = 1
                                         flow     alpha + sigma = 1, t = 1000 sigma
                                         EDM      (alpha sigma_data)^2 + sigma^2 = 1, t = log(sigma / alpha) / 4
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from math import inf, log, sqrt
from typing import NamedTuple

import numpy as np

from pleinair.errors import RequestError


class Point(NamedTuple):
    """One noise level: x = alpha * image + sigma * noise."""

    t: float  # what the network is told
    alpha: float
    sigma: float

    @property
    def lam(self) -> float:
        """Half the log signal-to-noise ratio: the clock that the exponential solvers tick by."""
        if not self.alpha:
            return -inf
        return log(self.alpha / self.sigma) if self.sigma else inf


CLEAN = Point(t=0.0, alpha=1.0, sigma=0.0)


@dataclass(frozen=True)
class Path:
    """The strides (from, to) of one walk.

    A stride usually starts where the one before ended; DDIM's do not for every spacing, which is why they are pairs.
    """

    strides: tuple[tuple[Point, Point], ...]
    start: float  # the first latents are this times unit noise
    level: Callable[[float], Point]  # noise per unit of image -> the point where the model met it in training
    last_orders: tuple[int, ...] = ()  # a multistep solver's highest order for the last stride, the one before it, ...
    in_part: bool = False  # whether a stride is walked that only a part of is left of a cut path

    def __len__(self) -> int:
        return len(self.strides)

    def reached(self, step: int) -> Point | None:
        """Where a stride leaves off, counted from 0: where the next one starts; None for the last."""
        return self.strides[step + 1][0] if step + 1 < len(self) else None

    def order_for(self, left: int) -> int | None:
        """The highest order allowed when `left` strides remain; None for any."""
        return self.last_orders[left - 1] if left <= len(self.last_orders) else None

    def after(self, strength: float, name: str = "strength") -> "Path":
        """The last strides, those that img2img walks when it may change `strength` (0 to 1) of a picture; 1 is all.

        As many as diffusers' `get_timesteps` leaves, which counts otherwise for flow models. Deviation: its LMS and
        PNDM go wrong when cut (one weighs what it has not seen, the other skips a stride); here they start anew. Raises
        RequestError for other strengths and where no stride is left.
        """
        try:
            share = float(strength)
        except (TypeError, ValueError):
            share = -1.0
        if not 0 <= share <= 1:
            raise RequestError(f"{name} must be a number from 0 to 1, not {str(strength)[:40]!r}; 0.75 is usual")
        count = self._walked(share)
        if not count:
            least = next(tried for n in range(1, 1001) if self._walked(tried := n / 1000))
            raise RequestError(
                f"{name} {share:g} of {len(self)} steps leaves none to run; use {least:g} or more, or more steps"
            )
        return replace(self, strides=self.strides[len(self) - count :])

    def _walked(self, share: float) -> int:
        count = len(self)
        return count - int(max(count - count * share, 0)) if self.in_part else min(int(count * share), count)

    def above(self, t: float) -> "Path":
        """The strides that start at timestep `t` or above it."""
        count = self._above(t)
        return replace(self, strides=self.strides[:count], last_orders=self.last_orders[len(self) - count :])

    def below(self, t: float) -> "Path":
        """The strides that start below timestep `t`."""
        return replace(self, strides=self.strides[self._above(t) :])

    def _above(self, t: float) -> int:
        return sum(start.t >= t for start, _ in self.strides)


def karras_point(t: float, sigma: float, data: float = 1.0) -> Point:
    """A point from t and Karras' sigma (noise per unit of image), of variance 1 for images of deviation `data`."""
    sigma = float(sigma)  # a NumPy scalar would promote float32 latents
    alpha = 1 / sqrt(data * data + sigma * sigma)
    return Point(float(t), alpha, sigma * alpha)


def chain(
    timesteps: np.ndarray, sigmas: np.ndarray, last: float, point: Callable[[float, float], Point] = karras_point
) -> tuple[tuple[Point, Point], ...]:
    """The strides from point to point, and from the last one to sigma `last` at t = 0."""
    points = [point(t, s) for t, s in zip(timesteps, sigmas, strict=True)]
    return tuple(pairwise([*points, point(0, last)]))
