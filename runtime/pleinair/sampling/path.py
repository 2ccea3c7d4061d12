"""Noise levels: one of them, a path of them, and the table that a model was trained on, from its scheduler config.

x = alpha * image + sigma * noise        betas    alpha^2 + sigma^2 = 1
                                         flow     alpha + sigma = 1, t = 1000 sigma
                                         EDM      (alpha sigma_data)^2 + sigma^2 = 1, t = log(sigma / alpha) / 4
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from math import inf, log, pi, sqrt
from typing import Any, NamedTuple

import numpy as np

from pleinair.errors import BundleError, RequestError

MULTISTEP = ("dpm", "unipc", "singlestep", "deis", "sa")  # grids of solvers that look back


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


@dataclass(frozen=True)
class Path:
    """The strides (from, to) of one walk.

    A stride usually starts where the one before ended; DDIM's do not for every spacing, which is why they are pairs.
    """

    strides: tuple[tuple[Point, Point], ...]
    start: float  # the first latents are this times unit noise
    level: Callable[[float], Point]  # noise per unit of image -> the point where the model met it in training
    last_orders: tuple[int, ...] = ()  # a multistep solver's highest order for the last stride, the one before it, ...

    def __len__(self) -> int:
        return len(self.strides)

    def order_for(self, left: int) -> int | None:
        """The highest order allowed when `left` strides remain; None for any."""
        return self.last_orders[left - 1] if left <= len(self.last_orders) else None

    def after(self, strength: float, name: str = "strength") -> "Path":
        """The last strides, those that img2img walks when it may change `strength` (0 to 1) of a picture; 1 is all.

        As many as diffusers' `get_timesteps` leaves. Deviation: its LMS and PNDM go wrong when cut (one weighs what it
        has not seen, the other skips a stride); here they start anew. Raises RequestError for other strengths and
        where no stride is left.
        """
        try:
            share = float(strength)
        except (TypeError, ValueError):
            share = -1.0
        if not 0 <= share <= 1:
            raise RequestError(f"{name} must be a number from 0 to 1, not {str(strength)[:40]!r}; 0.75 is usual")
        kept = min(int(len(self) * share), len(self))
        if not kept:
            least = next(tried for n in range(1, 1001) if int(len(self) * (tried := n / 1000)))
            raise RequestError(
                f"{name} {share:g} of {len(self)} steps leaves none to walk; use {least:g} or more, or more steps"
            )
        return replace(self, strides=self.strides[len(self) - kept :])


@dataclass(frozen=True)
class Training:
    """The noise levels a model was trained on, for t = 0 .. N-1."""

    alpha_bar: np.ndarray  # (N,)
    continuous: bool = False  # the network is told log(sigma) / 4 in place of t

    @property
    def sigmas(self) -> np.ndarray:  # (N,)
        """Noise per unit of image, sqrt((1 - alpha_bar) / alpha_bar): the `sigma` of Karras et al. and of diffusers."""
        # float32, as diffusers computes them: rounding t of a sigma must fall on the same side as there
        bar = self.alpha_bar.astype(np.float32)
        return (((1 - bar) / bar) ** np.float32(0.5)).astype(np.float64)

    def at(self, t: int) -> Point:
        bar = float(self.alpha_bar[t])
        return Point(float(t), sqrt(bar), sqrt(1 - bar))

    def timestep_of(self, sigmas: np.ndarray) -> np.ndarray:
        """Real-valued t whose noise is `sigmas` (n,) -> (n,): linear in log sigma, clipped to the trained range.

        In the mixed precision of diffusers' `_sigma_to_t`: some of its schedulers drop the fraction of the result.
        """
        if self.continuous:
            return np.log(sigmas) / 4
        table = np.log(self.sigmas.astype(np.float32))  # (N,) rising
        wanted = np.log(np.maximum(sigmas, 1e-10))
        low = np.clip(np.searchsorted(table, wanted, side="right") - 1, 0, len(table) - 2)
        share = np.clip((table[low] - wanted) / (table[low] - table[low + 1]), 0, 1)
        return (1 - share) * low + share * (low + 1)

    def level(self, sigma: float) -> Point:
        """The point of a noise level between the trained ones."""
        return karras_point(float(self.timestep_of(sigma)), sigma)


def training(config: dict[str, Any], finite_sigma: bool = True) -> Training:
    """The trained noise levels, in float32 like diffusers' own tables.

    `finite_sigma` keeps the last level of a zero-terminal-SNR model just above zero signal, as the schedulers
    that divide by alpha do; DDIM uses the exact zero. Raises BundleError for values that make no noise levels.
    """
    kind = config.get("beta_schedule", "linear")
    try:
        betas = make_betas(config, kind)
    except (TypeError, ValueError, OverflowError) as error:
        raise BundleError(f"the scheduler config makes no betas ({error}); export the model again") from None
    if betas.ndim != 1 or not len(betas) > 1 or not ((betas > 0) & (betas < 1)).all():
        raise BundleError("the scheduler config's betas are not all between 0 and 1; export the model again")
    if config.get("rescale_betas_zero_snr"):
        betas = zero_terminal_snr(betas)
    alpha_bar = _cumulative(1 - betas)
    if config.get("rescale_betas_zero_snr") and finite_sigma:
        alpha_bar[-1] = 2.0**-24
    return Training(alpha_bar.astype(np.float64))


def make_betas(config: dict[str, Any], kind: str) -> np.ndarray:
    """The variance that each of the N training steps adds (N,) float32; BundleError for an unknown `beta_schedule`."""
    if config.get("trained_betas") is not None:
        return np.asarray(config["trained_betas"], np.float32)
    count = train_steps(config)
    low, high = float(config.get("beta_start", 0.0001)), float(config.get("beta_end", 0.02))
    if kind == "linear":
        return torch_linspace(low, high, count)
    if kind == "scaled_linear" and low > 0 and high > 0:
        return torch_linspace(low**0.5, high**0.5, count) ** 2
    if kind == "sigmoid":
        shares = 1 / (1 + np.exp(-torch_linspace(-6, 6, count)))
        return (shares * (high - low) + low).astype(np.float32)
    if kind in ALPHA_BARS:
        bar = ALPHA_BARS[kind](np.arange(count + 1) / count)
        return np.minimum(1 - bar[1:] / bar[:-1], 0.999).astype(np.float32)
    raise BundleError(f"beta schedule '{kind}' is not supported; export the model with another scheduler config")


def _laplace(share: np.ndarray) -> np.ndarray:
    ratio = np.exp(-0.5 * np.copysign(1, 0.5 - share) * np.log(1 - 2 * np.abs(0.5 - share) + 1e-6))
    return np.sqrt(ratio / (1 + ratio))


ALPHA_BARS: dict[str, Callable[[np.ndarray], np.ndarray]] = {  # beta_schedule -> alpha_bar at shares 0..1 of N
    "squaredcos_cap_v2": lambda share: np.cos((share + 0.008) / 1.008 * pi / 2) ** 2,
    "exp": lambda share: np.exp(-12 * share),
    "laplace": _laplace,
}


def train_steps(config: dict[str, Any]) -> int:
    """N, the number of timesteps the model was trained on."""
    count = config.get("num_train_timesteps", 1000)
    if not isinstance(count, int) or not 1 < count <= 100_000:
        raise BundleError(f"the scheduler config's num_train_timesteps is {count!r}; export the model again")
    return count


def zero_terminal_snr(betas: np.ndarray) -> np.ndarray:
    """Betas (N,) whose sqrt(alpha_bar) is shifted and scaled to end in pure noise (Lin et al. 2023, algorithm 1)."""
    root = np.sqrt(_cumulative(1 - betas))
    last = root[-1]
    root = (root - last) * (root[0] / (root[0] - last))
    bar = root**2
    return 1 - np.concatenate([bar[:1], bar[1:] / bar[:-1]])


def _cumulative(alphas: np.ndarray) -> np.ndarray:
    """The running product, kept in float64 and shown in float32, bit for bit as torch.cumprod does."""
    return np.cumprod(alphas, dtype=np.float64).astype(np.float32)


def torch_linspace(low: float, high: float, count: int) -> np.ndarray:
    """torch.linspace in float32, bit for bit: from both ends, with one rounding each (fused multiply-add).

    A last bit of alpha_bar near 1 is 1e-4 of the smallest sigma.
    """
    first, last = np.float64(np.float32(low)), np.float64(np.float32(high))
    step = np.float64(np.float32((np.float32(high) - np.float32(low)) / np.float32(count - 1)))
    rank = np.arange(count)
    return np.where(rank < count // 2, first + step * rank, last - step * rank[::-1]).astype(np.float32)


def karras_point(t: float, sigma: float, data: float = 1.0) -> Point:
    """A point from t and Karras' sigma (noise per unit of image), of variance 1 for images of deviation `data`."""
    sigma = float(sigma)  # a NumPy scalar would promote float32 latents
    alpha = 1 / sqrt(data * data + sigma * sigma)
    return Point(float(t), alpha, sigma * alpha)


def chain(
    timesteps: np.ndarray, sigmas: np.ndarray, last: float, point: Callable[[float, float], Point] = karras_point
) -> tuple[tuple[Point, Point], ...]:
    points = [point(t, s) for t, s in zip(timesteps, sigmas, strict=True)]
    return tuple(pairwise([*points, point(0, last)]))


def sigma_range(config: dict[str, Any], sigmas: np.ndarray, obeyed: bool) -> tuple[float, float]:
    """The lowest and highest of falling sigmas, or what the config says, where the class obeys it."""
    low, high = (config.get("sigma_min"), config.get("sigma_max")) if obeyed else (None, None)
    return float(sigmas[-1] if low is None else low), float(sigmas[0] if high is None else high)


def last_orders(config: dict[str, Any], grid: str, steps: int, last: float, before: float) -> tuple[int, ...]:
    """`Path.last_orders` of a multistep solver whose last stride goes from sigma `before` to sigma `last`."""
    if grid not in MULTISTEP:
        return ()
    if grid == "singlestep":  # each stride's order says how far its group has come
        ours = config.get("_class_name") == "DPMSolverSinglestepScheduler"
        order = config.get("solver_order", 2) if ours else 2
        if order not in (1, 2, 3):
            raise BundleError(f"the scheduler config's solver_order is {order!r}, not 1, 2 or 3; choose a --sampler")
        orders = ([*range(1, order + 1)] * (steps // order + 1))[:steps]
        if not last or (config.get("lower_order_final", False) and steps % order == 0):
            orders[-1] = 1
        return tuple(reversed(orders))
    careful = config.get("lower_order_final", True) and (grid in ("unipc", "sa") or steps < 15)
    ends_low = not last or before <= last * (1 + 1e-6) or (grid == "dpm" and config.get("euler_at_final"))
    return (1, 2) if careful else (1,) if ends_low else ()  # a stride without length has no slope to extrapolate


def spaced_timesteps(
    config: dict[str, Any], steps: int, spacing: str, extra: int, top: int | None = None
) -> np.ndarray:
    """n falling timesteps (n,); `extra` is 1 where the scheduler lays n+1 points and drops the smallest.

    Only timesteps below `top` are used where it is given.
    """
    count = train_steps(config)
    top = count if top is None else top
    if spacing == "linspace":
        return np.linspace(0, top - 1, steps + extra)[::-1][:steps]
    if spacing == "leading":
        return (np.arange(steps + extra) * (top // (steps + extra)))[::-1][:steps] + config.get("steps_offset", 0)
    # float error can make arange one longer than asked
    return np.arange(top, 0, -count / steps).round()[:steps] - 1
