"""Paths of flow models, alpha + sigma = 1: as diffusers' FlowMatch schedulers lay them, or from a list."""

from collections.abc import Callable
from math import exp, isfinite
from typing import Any

import numpy as np

from pleinair.errors import BundleError, RequestError
from pleinair.sampling.grids import MULTISTEP, last_orders
from pleinair.sampling.path import Path, Point, chain
from pleinair.sampling.scheduler_config import TRIGONOMETRIC, is_flow_class
from pleinair.sampling.sigmas import ALIGNED, karras, lay
from pleinair.sampling.spacings import sigma_range, spaced_timesteps
from pleinair.sampling.trained import train_steps, training

SETTLED = "shift_here"  # a key that `settled` adds: the shift for one size of picture
WIDEST_ANGLE, SECOND_ANGLE = 1.57080, 1.3  # diffusers SCMScheduler's max_timesteps and intermediate_timesteps
LARGEST_MU = 40.0  # beyond it all is noise


def settled(config: dict[str, Any], patches: int) -> dict[str, Any]:
    """A config whose shift follows from the size of the picture, settled for one of so many patches.

    diffusers' `calculate_shift`, and FlowMatchEuler's `time_shift`, which is the plain shift by e^mu, or by mu. Other
    configs are returned as they are.
    """
    if not config.get("use_dynamic_shifting"):
        return config
    few, many = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
    low, high = config.get("base_shift", 0.5), config.get("max_shift", 1.15)
    if few == many:
        raise BundleError("the scheduler config has one size for its shifts; correct max_image_seq_len")
    mu = low + (high - low) / (many - few) * (patches - few)
    linear = config.get("time_shift_type", "exponential") == "linear"
    return {**config, SETTLED: mu if linear else exp(min(mu, LARGEST_MU))}


def grid_path(config: dict[str, Any], grid: str, steps: int, spacing: str, schedule: str | None) -> Path:
    """diffusers FlowMatchEuler, FlowMatchHeun; on multistep grids `use_flow_sigmas` of DPMSolverMultistep, UniPC."""
    if schedule in ALIGNED:
        raise RequestError(f"'{schedule}' is a table for Stable Diffusion's noise, not for flow models; use 'simple'")
    if is_trigonometric(config) and not schedule:
        return _path(config, grid, from_angles(angles(steps)))
    count, shifted = train_steps(config), _shifting(config)
    if grid in MULTISTEP and spacing == "linspace" and not schedule:
        even = np.linspace(1, 1 / count, steps + 1)
        if grid == "unipc":
            return _path(config, grid, _stretched(config, shifted(even[:-1])), whole=True)
        return _path(config, grid, shifted(1 - even)[::-1][:-1], whole=True)
    if grid == "unipc" and schedule == "karras" and config.get("use_flow_sigmas"):  # laid on the betas
        sigmas = karras(*sigma_range(config, training(config).sigmas[::-1], obeyed=True), steps)
        return _path(config, grid, sigmas / (sigmas + 1), whole=True)
    if spacing == "linspace":
        # shifted twice at the weak end, as diffusers does where the shift is known before the size
        low = 1 / count if config.get("use_dynamic_shifting") else shifted(np.array(1 / count))
        even = np.linspace(1, low, steps)
    elif spacing == "trailing":
        even = np.linspace(1, 1 / steps, steps)
    else:
        even = (spaced_timesteps({"num_train_timesteps": count}, steps, spacing, extra=0) + 1) / count
    sigmas = _stretched(config, shifted(even))
    if schedule:
        levels = shifted(np.arange(1, count + 1) / count)
        sigmas = lay(schedule, float(sigmas[-1]), float(sigmas[0]), steps, levels)
    return _path(config, grid, sigmas)


def is_trigonometric(config: dict[str, Any]) -> bool:
    """Whether a config's class, diffusers' SCMScheduler, tells noise as an angle: x = cos s image + sin s noise."""
    return str(config.get("_class_name") or "").startswith(TRIGONOMETRIC)


def angles(steps: int) -> np.ndarray:
    """diffusers' SCMScheduler: those where steps begin (steps,), with its default for the second of two."""
    return np.array([WIDEST_ANGLE, SECOND_ANGLE]) if steps == 2 else np.linspace(WIDEST_ANGLE, 0, steps + 1)[:-1]


def from_angles(s: np.ndarray) -> np.ndarray:
    """The sigmas of a flow model at which the same picture is hidden by as much noise (SANA-Sprint, section 3.1)."""
    return np.minimum(np.sin(s) / (np.sin(s) + np.cos(s)), 1.0)


def on_sigmas(config: dict[str, Any], grid: str, sigmas: np.ndarray) -> Path:
    """diffusers FlowMatchEuler's `set_timesteps(sigmas=...)`: they are shifted, and 0 follows."""
    if sigmas[0] > 1:
        raise RequestError(f"sigma {sigmas[0]:g} is out of range; a flow model's go from 1 down to 0")
    sigmas = sigmas if sigmas[-1] else sigmas[:-1]
    if not len(sigmas):
        raise RequestError("sigma 0 alone is not a path; start above it, for example 1,0.75,0.5,0.25")
    return _path(config, grid, _stretched(config, _shifting(config)(sigmas)), whole=grid in MULTISTEP)


def on_timesteps(config: dict[str, Any], grid: str, timesteps: np.ndarray) -> Path:
    """diffusers FlowMatchEuler's `set_timesteps(timesteps=...)`: the sigmas are shifted, the timesteps are not."""
    count = train_steps(config)
    if not 0 < timesteps[-1] <= timesteps[0] <= count:
        wrong = timesteps[0] if timesteps[0] > count else timesteps[-1]
        raise RequestError(f"timestep {wrong:g} is out of range; a flow model's go from {count} down, without 0")
    sigmas = _stretched(config, _shifting(config)(timesteps / count))
    return _path(config, grid, sigmas, timesteps)


def _path(
    config: dict[str, Any], grid: str, sigmas: np.ndarray, timesteps: np.ndarray | None = None, whole: bool = False
) -> Path:
    """The path over a flow model's falling sigmas (n,); t is N sigma unless given, without fraction if `whole`."""
    count = train_steps(config)

    def point(t: float, sigma: float) -> Point:
        sigma = float(np.float32(sigma))  # as diffusers: 1 - sigma is all that is left of the picture at the start
        return Point(float(t), 1 - sigma, sigma)

    def level(ratio: float) -> Point:
        sigma = ratio / (1 + ratio)
        return point(sigma * count, sigma)

    if grid == "unipc":  # as diffusers: lambda would start at minus infinity
        sigmas = np.concatenate([np.minimum(sigmas[:1], 1 - 1e-6), sigmas[1:]])
    if timesteps is None:
        timesteps = np.trunc(sigmas * count) if whole else sigmas * count
    last = 0.0
    if grid in MULTISTEP and config.get("final_sigmas_type") == "sigma_min":
        last = float(sigmas[-1] if grid == "unipc" else training(config).sigmas[0])
    if grid in ("deis", "sa"):
        last = float(sigmas[-1])
    orders = last_orders(config, grid, len(sigmas), last, float(sigmas[-1]))
    piped = is_flow_class(config.get("_class_name"))  # as the pipelines of such models cut them
    return Path(chain(timesteps, sigmas, last, point), 1.0, level, orders, in_part=piped)


def _shifting(config: dict[str, Any]) -> Callable[[np.ndarray], np.ndarray]:
    """sigma -> sigma with more noise, by the config's `shift` or `flow_shift` (Esser et al. 2024, eq. 23).

    Raises BundleError where the shift depends on a size of picture that is not `settled`, or the walk goes from picture
    to noise.
    """
    if config.get("invert_sigmas"):
        raise BundleError("the scheduler config inverts its sigmas, which is not supported; set invert_sigmas to false")
    shift = config.get("flow_shift" if config.get("use_flow_sigmas") else "shift", config.get("flow_shift", 1.0))
    if config.get("use_dynamic_shifting"):
        shift = config.get(SETTLED)
        if shift is None:
            raise BundleError(
                "the scheduler config shifts noise levels by picture size, and none is given;"
                " set use_dynamic_shifting to false and shift to a number like 3"
            )
    if isinstance(shift, bool) or not isinstance(shift, (int, float)) or not (isfinite(shift) and shift > 0):
        raise BundleError(f"the scheduler config's shift is {shift!r}; set it to a number above 0, like 3")
    return lambda sigmas: shift * sigmas / (1 + (shift - 1) * sigmas)


def _stretched(config: dict[str, Any], sigmas: np.ndarray) -> np.ndarray:
    """Falling sigmas (n,), stretched to end at the config's `shift_terminal` where it has one."""
    terminal = config.get("shift_terminal")
    if not terminal or sigmas[-1] == 1:
        return sigmas
    return 1 - (1 - sigmas) / ((1 - sigmas[-1]) / (1 - terminal))
