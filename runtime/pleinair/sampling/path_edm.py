"""Paths of EDM models, (alpha sigma_data)^2 + sigma^2 = 1: as diffusers' EDM schedulers lay them, or from a list."""

from itertools import pairwise
from math import inf, log, sqrt
from typing import Any

import numpy as np

from pleinair.errors import BundleError, RequestError
from pleinair.sampling.grids import MULTISTEP, last_orders
from pleinair.sampling.path import CLEAN, Path, Point, karras_point
from pleinair.sampling.sigmas import ALIGNED, RHO, karras, lay
from pleinair.sampling.trained import train_steps


def grid_path(config: dict[str, Any], grid: str, steps: int, spacing: str, schedule: str | None) -> Path:
    """diffusers EDMEuler and EDMDPMSolverMultistep.

    Deviation: one exponential step starts from sigma_max; diffusers' starts from sigma_min, in noise of sigma_max.
    """
    if spacing != "linspace" or schedule in ALIGNED:
        wrong = spacing if spacing != "linspace" else schedule
        raise RequestError(f"an EDM model has no timesteps for the spacing '{wrong}'; use karras or exponential")
    low, high, _ = _range(config)
    if schedule == "karras":
        return _path(config, grid, karras(low, high, steps, config.get("rho", RHO)))
    levels = np.exp(np.linspace(log(low), log(high), train_steps(config)))
    return _path(config, grid, lay(schedule or "karras", low, high, steps, levels))


def on_sigmas(config: dict[str, Any], grid: str, sigmas: np.ndarray) -> Path:
    """Sigmas and the end. Deviation: diffusers' `set_timesteps(sigmas=...)` takes them for shares of its schedule."""
    if len(sigmas) < 2:
        raise RequestError("one sigma is not enough; add the end, for example 80,0")
    return _path(config, grid, sigmas[:-1], float(sigmas[-1]))


def on_timesteps(config: dict[str, Any], grid: str, timesteps: np.ndarray) -> Path:
    """Raises RequestError: an EDM model is walked in sigmas."""
    raise RequestError("an EDM model has no timesteps; give sigmas instead, for example 80,20,5,1,0.2,0")


def _path(config: dict[str, Any], grid: str, sigmas: np.ndarray, last: float | None = None) -> Path:
    low, high, data = _range(config)

    def level(sigma: float) -> Point:
        return karras_point(log(sigma) / 4, sigma, data)

    if last is None:
        obeys = grid in ("euler", "dpm", "unipc") and config.get("final_sigmas_type") == "sigma_min"
        last = (low if grid in MULTISTEP else float(sigmas[-1])) if obeys else 0.0
        end = Point(0.0, 1.0, last)  # not in the network's scale: these are the latents to decode
    else:
        end = level(last) if last else CLEAN
    strides = tuple(pairwise([*(level(float(sigma)) for sigma in sigmas), end]))
    start = sqrt(high**2 + 1) * strides[0][0].alpha
    return Path(strides, start, level, last_orders(config, grid, len(sigmas), last, float(sigmas[-1])))


def _range(config: dict[str, Any]) -> tuple[float, float, float]:
    """sigma_min, sigma_max and sigma_data; BundleError unless they make a range."""
    numbers = [config.get(*pair) for pair in (("sigma_min", 0.002), ("sigma_max", 80.0), ("sigma_data", 0.5))]
    if all(isinstance(number, (int, float)) for number in numbers):
        low, high, data = map(float, numbers)
        if 0 < low < high < inf and 0 < data < inf:
            return low, high, data
    raise BundleError(
        "the scheduler config's sigma_min, sigma_max, sigma_data do not form a range; export the model again"
    )
