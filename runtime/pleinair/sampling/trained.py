"""The noise levels that a model was trained on, worked out from its scheduler config as diffusers does."""

from collections.abc import Callable
from dataclasses import dataclass
from math import pi, sqrt
from typing import Any

import numpy as np

from pleinair.errors import BundleError
from pleinair.sampling.path import Point, karras_point

DISTILLED_BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}  # diffusers' LCM and TCD


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


def cosine_alpha_bar(share: np.ndarray) -> np.ndarray:
    """alpha_bar at shares 0..1 of the training steps (Nichol and Dhariwal 2021), as are the two below."""
    return np.cos((share + 0.008) / 1.008 * pi / 2) ** 2


def exponential_alpha_bar(share: np.ndarray) -> np.ndarray:
    """diffusers' `alpha_transform_type` "exp"."""
    return np.exp(-12 * share)


def laplace_alpha_bar(share: np.ndarray) -> np.ndarray:
    """Hang et al. 2024, as diffusers has it."""
    ratio = np.exp(-0.5 * np.copysign(1, 0.5 - share) * np.log(1 - 2 * np.abs(0.5 - share) + 1e-6))
    return np.sqrt(ratio / (1 + ratio))


ALPHA_BARS: dict[str, Callable[[np.ndarray], np.ndarray]] = {  # beta_schedule -> alpha_bar
    "squaredcos_cap_v2": cosine_alpha_bar,
    "exp": exponential_alpha_bar,
    "laplace": laplace_alpha_bar,
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
