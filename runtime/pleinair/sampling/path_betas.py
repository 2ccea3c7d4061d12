"""Paths of models trained on betas, alpha^2 + sigma^2 = 1: as diffusers' schedulers lay them, or from a list.

Each family of diffusers' schedulers lays its points a little differently; `grids` lists them.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from math import log
from typing import Any

import numpy as np

from pleinair.errors import BundleError, RequestError
from pleinair.sampling.grids import FEW_STEPS, MULTISTEP, ON_SIGMAS, WHOLE_TIMESTEPS, last_orders
from pleinair.sampling.path import CLEAN, Path, Point, chain, karras_point
from pleinair.sampling.sigmas import SIGMAS, lay
from pleinair.sampling.spacings import resolve_spacing, sigma_range, spaced_timesteps
from pleinair.sampling.trained import DISTILLED_BETAS, Training, torch_linspace, train_steps, training


def grid_path(config: dict[str, Any], grid: str, steps: int, spacing: str, schedule: str | None) -> Path:
    """The path of a named grid, or of the one that takes its place where a sigma schedule lays the points."""
    return GRIDS[ON_SIGMAS.get(grid, grid) if schedule else grid](config, steps, spacing, schedule)


def on_sigmas(config: dict[str, Any], grid: str, sigmas: np.ndarray) -> Path:
    """diffusers Euler's `set_timesteps(sigmas=...)`, which names the end as well; on every grid."""
    if len(sigmas) < 2:
        raise RequestError("one sigma is not enough; add the end, for example 14.6,0")
    trained = _told(config)
    points = [karras_point(t, s) for t, s in zip(trained.timestep_of(np.maximum(sigmas, 1e-10)), sigmas, strict=True)]
    spacing, _ = resolve_spacing(config, ON_SIGMAS.get(grid, grid), None)
    start = 1.0 if grid in MULTISTEP or spacing == "leading" else points[0].sigma
    orders = last_orders(config, grid, len(sigmas) - 1, float(sigmas[-1]), float(sigmas[-2]))
    return Path(tuple(pairwise(points)), start, trained.level, orders)


def on_timesteps(config: dict[str, Any], grid: str, timesteps: np.ndarray) -> Path:
    """diffusers' `set_timesteps(timesteps=...)`, which DDIM lacks: there each stride goes to the next one."""
    count = train_steps(config)
    if timesteps[0] > count - 1:
        raise RequestError(f"timestep {timesteps[0]:g} is out of range; the model was trained on 0 to {count - 1}")
    if grid in (*WHOLE_TIMESTEPS, *MULTISTEP) and (timesteps % 1).any():
        raise RequestError("this sampler takes whole timesteps; round them, or choose a sampler like euler")
    if grid in WHOLE_TIMESTEPS:
        trained = training({**DISTILLED_BETAS, **config} if grid in FEW_STEPS else config, finite_sigma=False)
        stays = grid == "tcd" or not config.get("set_alpha_to_one", grid != "pndm") and grid in ("ddim", "pndm")
        points = [trained.at(int(t)) for t in timesteps]
        strides = tuple(pairwise([*points, trained.at(0) if stays else CLEAN]))
        return Path(strides, 1.0, training(config).level)
    trained = _told(config)
    if trained.continuous:
        raise RequestError("this model takes log sigma, not timesteps; give sigmas instead")
    table = trained.sigmas
    sigmas = np.interp(timesteps, np.arange(count), table)
    last = _last_sigma(config, table) if grid in ("euler", *MULTISTEP) else 0.0
    strides = chain(timesteps, sigmas, last)
    if last and grid not in MULTISTEP:
        strides = _unscaled(strides, last)
    spacing, _ = resolve_spacing(config, grid, None)
    start = 1.0 if grid in MULTISTEP or spacing == "leading" else strides[0][0].sigma
    return Path(strides, start, trained.level, last_orders(config, grid, len(sigmas), last, float(sigmas[-1])))


def _last_sigma(config: dict[str, Any], table: np.ndarray) -> float:
    return float(table[0]) if config.get("final_sigmas_type", "zero") == "sigma_min" else 0.0


def _unscaled(strides: tuple[tuple[Point, Point], ...], last: float) -> tuple[tuple[Point, Point], ...]:
    """The same, with the end as diffusers' Euler leaves it: not scaled back, alpha is 1 there."""
    return (*strides[:-1], (strides[-1][0], Point(0.0, 1.0, last)))


def _k_grid(
    config: dict[str, Any], steps: int, spacing: str, schedule: str | None, whole: bool = False, ends: bool = False
) -> Path:
    """diffusers EulerAncestralDiscrete, Heun, LMS; `whole` rounds Karras' t, `ends` obeys what only Euler has."""
    trained = _told(config)
    table = trained.sigmas
    timesteps = spaced_timesteps(config, steps, spacing, extra=0)
    sigmas = np.interp(timesteps, np.arange(len(table)), table)
    last = _last_sigma(config, table) if ends else 0.0
    if ends and config.get("interpolation_type") == "log_linear":
        sigmas = np.exp(torch_linspace(log(table[-1]), log(table[0]), steps + 1).astype(np.float64))
    if schedule:
        low, high = sigma_range(config, sigmas, obeyed=ends)
        sigmas = lay(schedule, low, high, steps, table)
    elif len(sigmas) > steps:  # log_linear lays one more, and Euler never comes to the last
        sigmas, last = sigmas[:-1], float(sigmas[-1])
    if schedule or trained.continuous:
        timesteps = trained.timestep_of(sigmas)
        if whole and schedule == "karras" and not trained.continuous:
            timesteps = timesteps.round()
    strides = chain(timesteps, sigmas, last)
    if last:
        strides = _unscaled(strides, last)
    return Path(strides, 1.0 if spacing == "leading" else strides[0][0].sigma, trained.level)


def _told(config: dict[str, Any]) -> Training:
    """The trained levels, with the t that the network of a continuous v-prediction model is told."""
    continuous = config.get("timestep_type") == "continuous" and config.get("prediction_type") == "v_prediction"
    return replace(training(config), continuous=continuous)


def _dpm_grid(config: dict[str, Any], steps: int, spacing: str, schedule: str | None, grid: str = "dpm") -> Path:
    """diffusers DPMSolverMultistep, DPMSolverSinglestep, UniPC; DEIS and SASolver, which never go down to zero."""
    trained = training(config if grid in ("dpm", "unipc") else {**config, "rescale_betas_zero_snr": False})
    table = trained.sigmas
    stays = grid in ("deis", "sa")  # on sigmas their last stride has no length
    last = float(table[0]) if stays else _last_sigma(config, table)
    if schedule:
        low, high = sigma_range(config, table[::-1], obeyed=grid == "unipc")
        sigmas = lay(schedule, low, high, steps, table)
        timesteps = trained.timestep_of(sigmas)
        if schedule in ("karras", "lu") and (grid != "dpm" or config.get("beta_schedule") != "squaredcos_cap_v2"):
            timesteps = timesteps.round()
        if schedule in SIGMAS:  # those that diffusers has
            timesteps = np.trunc(timesteps)
        if stays or (grid == "unipc" and last):
            last = float(sigmas[-1])
    else:
        top = _unclipped(config, trained) if grid in ("dpm", "singlestep", "sa") else None
        timesteps = np.trunc(spaced_timesteps(config, steps, spacing, extra=1, top=top).round())
        sigmas = np.interp(timesteps, np.arange(len(table)), table)
    orders = last_orders(config, grid, len(sigmas), last, float(sigmas[-1]))
    return Path(chain(timesteps, sigmas, last), 1.0, trained.level, orders)


def _unclipped(config: dict[str, Any], trained: Training) -> int:
    """How many of the trained levels have at least `lambda_min_clipped` as half their log signal-to-noise ratio."""
    least = config.get("lambda_min_clipped")
    if least is None:
        return len(trained.alpha_bar)
    bar = trained.alpha_bar.astype(np.float32)
    return int((np.log(np.sqrt(bar)) - np.log(np.sqrt(1 - bar)) >= np.float32(least)).sum())


def _ddim_grid(config: dict[str, Any], steps: int, spacing: str, schedule: str | None) -> Path:
    """diffusers DDIMScheduler: each stride goes N // n timesteps down, wherever the next one starts.

    Deviation, in DDPM too: `clip_sample`, assumed where a config is silent, is for pixels and never applied.
    """
    trained = training(config, finite_sigma=False)
    end = CLEAN if config.get("set_alpha_to_one", True) else trained.at(0)
    starts = _whole_timesteps(config, steps, spacing)
    ends = (start - len(trained.alpha_bar) // steps for start in starts)
    strides = tuple((trained.at(a), trained.at(b) if b >= 0 else end) for a, b in zip(starts, ends, strict=True))
    return Path(strides, 1.0, training(config).level)


def _ddpm_grid(config: dict[str, Any], steps: int, spacing: str, schedule: str | None) -> Path:
    """diffusers DDPMScheduler (fixed_small variance)."""
    trained = training(config, finite_sigma=False)
    points = [trained.at(t) for t in _whole_timesteps(config, steps, spacing)]
    return Path(tuple(pairwise([*points, CLEAN])), 1.0, training(config).level)


def _pndm_grid(config: dict[str, Any], steps: int, spacing: str, schedule: str | None) -> Path:
    """diffusers PNDMScheduler, which has no zero-terminal-SNR; the points as DDIM has them, the second one once."""
    ends = config.get("set_alpha_to_one", False)
    return _ddim_grid({**config, "rescale_betas_zero_snr": False, "set_alpha_to_one": ends}, steps, spacing, schedule)


def _few_step_grid(
    config: dict[str, Any], steps: int, spacing: str, schedule: str | None, to_zero: bool = True
) -> Path:
    """diffusers LCMScheduler and (not `to_zero`) TCDScheduler: some of the steps that the model was distilled on."""
    config = {**DISTILLED_BETAS, **config}
    trained = training(config, finite_sigma=False)
    count, original = train_steps(config), config.get("original_inference_steps", 50)
    if not isinstance(original, int) or not 0 < original <= count:
        raise BundleError(f"the scheduler config's original_inference_steps is {original!r}; export the model again")
    if steps > original:
        raise RequestError(
            f"{steps} steps are more than the {original} a few-step sampler chooses from; use fewer, 4 to 8 are usual"
        )
    places = np.floor(np.linspace(0, original, steps, endpoint=False)).astype(int)
    points = [trained.at(int((original - place) * (count // original) - 1)) for place in places]
    end = CLEAN if to_zero else trained.at(0)
    return Path(tuple(pairwise([*points, end])), 1.0, trained.level)


def _whole_timesteps(config: dict[str, Any], steps: int, spacing: str) -> list[int]:
    timesteps = [round(t) for t in spaced_timesteps(config, steps, spacing, extra=0)]
    count = train_steps(config)
    if timesteps[0] >= count:
        raise RequestError(f"{steps} steps start beyond the {count} trained timesteps; use fewer steps")
    return timesteps


GRIDS: dict[str, Callable[[dict[str, Any], int, str, str | None], Path]] = {
    "k": _k_grid,
    "ancestral": _k_grid,
    "euler": partial(_k_grid, ends=True),
    "kdpm": partial(_k_grid, whole=True),
    "dpm": _dpm_grid,
    "unipc": partial(_dpm_grid, grid="unipc"),
    "ddim": _ddim_grid,
    "ddpm": _ddpm_grid,
    "pndm": _pndm_grid,
    "singlestep": partial(_dpm_grid, grid="singlestep"),
    "deis": partial(_dpm_grid, grid="deis"),
    "sa": partial(_dpm_grid, grid="sa"),
    "lcm": _few_step_grid,
    "tcd": partial(_few_step_grid, to_zero=False),
}
