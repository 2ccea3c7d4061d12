"""Which spacing a path is laid with: what a caller names, and for the rest what the scheduler config says.

A timestep spacing (leading, linspace, trailing) spreads the steps over the trained timesteps; a sigma schedule (karras,
beta ...; see `sigmas`) lays noise levels of its own over their range.
"""

from typing import Any, NamedTuple

import numpy as np

from pleinair.checks import one_of
from pleinair.errors import BundleError, RequestError
from pleinair.sampling.grids import EULER_LIKE, FEW_STEPS, WHOLE_TIMESTEPS
from pleinair.sampling.scheduler_config import is_flow_match, trained_as
from pleinair.sampling.sigmas import SIGMA_SCHEDULES
from pleinair.sampling.trained import train_steps

TIMESTEP_SPACINGS = ("leading", "linspace", "trailing")
SPACINGS = TIMESTEP_SPACINGS + SIGMA_SCHEDULES


class Switch(NamedTuple):
    """A key of the scheduler config that turns a sigma schedule on, and the grids whose diffusers class has it."""

    key: str
    schedule: str
    grids: tuple[str, ...]


SWITCHES = (
    Switch(key="use_karras_sigmas", schedule="karras", grids=EULER_LIKE),
    Switch(key="use_exponential_sigmas", schedule="exponential", grids=EULER_LIKE),
    Switch(key="use_beta_sigmas", schedule="beta", grids=EULER_LIKE),
    Switch(key="use_lu_lambdas", schedule="lu", grids=("dpm",)),
)


def resolve_spacing(config: dict[str, Any], grid: str, spacing: str | None) -> tuple[str, str | None]:
    """(timestep spacing, sigma schedule or None): what `spacing` names, and for the rest what the config says.

    As diffusers' `from_config` does, a key that the class behind the grid does not have is not inherited, and where the
    config is silent the default of that class holds. Flow and EDM models are laid alike on every grid; a config of
    FlowMatchEuler, which has no timestep spacing of its own, has the one that its pipeline lays.
    """
    timestep_spacing, sigma_schedule = _configured(config, grid)
    named = [one_of("spacing", part.strip().lower(), SPACINGS) for part in spacing.split(",")] if spacing else []
    timestep_spacings = [name for name in named if name in TIMESTEP_SPACINGS]
    sigma_schedules = [name for name in named if name in SIGMA_SCHEDULES]
    if len(timestep_spacings) > 1 or len(sigma_schedules) > 1:
        raise RequestError(f"spacing '{spacing}' names two of one kind; name at most one of each: trailing,karras")
    if timestep_spacings and grid in FEW_STEPS:
        raise RequestError(
            f"few-step samplers have timesteps of their own, not spacing '{spacing}'; leave it out or try karras"
        )
    if timestep_spacing not in TIMESTEP_SPACINGS and not timestep_spacings:
        raise BundleError(
            f"the scheduler config asks for timestep spacing '{timestep_spacing}', which this version does not know;"
            f" choose one with --spacing ({', '.join(SPACINGS)})"
        )
    return (timestep_spacings or [timestep_spacing])[0], (sigma_schedules or [sigma_schedule])[0]


def _configured(config: dict[str, Any], grid: str) -> tuple[str, str | None]:
    """The timestep spacing and the sigma schedule that the config asks for on a grid."""
    trained = trained_as(config)
    silent = "leading" if grid in WHOLE_TIMESTEPS and trained == "betas" else "linspace"
    # the classes behind these three have a spacing of their own
    own = trained != "betas" or grid in ("singlestep", *FEW_STEPS)
    piped = trained == "flow" and is_flow_match(config.get("_class_name"))
    timestep_spacing = silent if own and not piped else config.get("timestep_spacing", silent)
    if trained == "edm":
        schedule = config.get("sigma_schedule", "karras")
        if schedule not in ("karras", "exponential"):
            raise BundleError(f"sigma_schedule '{schedule}' is not supported; export the model with 'karras'")
        return timestep_spacing, schedule
    switched_on = (
        switch.schedule for switch in SWITCHES if config.get(switch.key) and (grid in switch.grids or trained == "flow")
    )
    return timestep_spacing, next(switched_on, None)


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


def sigma_range(config: dict[str, Any], sigmas: np.ndarray, obeyed: bool) -> tuple[float, float]:
    """The lowest and highest of falling sigmas, or what the config says, where the class obeys it."""
    low, high = (config.get("sigma_min"), config.get("sigma_max")) if obeyed else (None, None)
    return float(sigmas[-1] if low is None else low), float(sigmas[0] if high is None else high)
