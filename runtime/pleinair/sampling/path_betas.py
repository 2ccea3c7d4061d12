"""From a diffusers scheduler_config.json to a path of noise levels for the samplers to walk.

What the model was trained with (betas, flow, EDM) follows from the config. For betas each family of diffusers'
schedulers lays its points a little differently; parity with them lives here, in a few grids:

    grid       laid like                   timesteps for n steps                        where the last stride ends
    k          Heun, LMS                   linspace(0, N-1, n), real-valued             sigma 0
    ancestral  EulerAncestral              the same                                     sigma 0
    euler      Euler                       the same                                     sigma 0, or the smallest trained
    kdpm       KDPM2, KDPM2Ancestral       the same; Karras' rounded                    sigma 0
    dpm        DPMSolverMultistep          linspace(0, N-1, n+1) rounded, last dropped  sigma 0, or the smallest trained
    unipc      UniPCMultistep              the same                                     sigma 0, or the smallest trained
    ddim       DDIM                        n integers                                   alpha_bar 1, or that of t = 0
    ddpm       DDPM                        n integers                                   alpha_bar 1
    pndm       PNDM                        n integers, as DDIM                          alpha_bar 1, or that of t = 0
    singlestep DPMSolverSinglestep         as dpm, linspace unless asked otherwise      sigma 0, or the smallest trained
    deis, sa   DEISMultistep, SASolver     as dpm                                       the smallest trained or listed
    lcm, tcd   LCM, TCD                    n of the few the model was distilled on      alpha_bar 1; that of t = 0 (tcd)

Flow models are walked as FlowMatchEuler lays them, by multistep solvers as their `use_flow_sigmas` does; EDM models
from sigma_max to sigma_min, whatever the grid.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from math import log
from typing import Any

import numpy as np

from pleinair.checks import items, one_of, scalar
from pleinair.errors import BundleError, RequestError
from pleinair.sampling import path_edm as edm
from pleinair.sampling import path_flow as flow
from pleinair.sampling.path import (
    MULTISTEP,
    Path,
    Point,
    Training,
    chain,
    karras_point,
    last_orders,
    sigma_range,
    spaced_timesteps,
    torch_linspace,
    train_steps,
    training,
)
from pleinair.sampling.spacings import SIGMA_SCHEDULES, SIGMAS, lay

TIMESTEP_SPACINGS = ("leading", "linspace", "trailing")
SPACINGS = TIMESTEP_SPACINGS + SIGMA_SCHEDULES
PREDICTIONS = ("epsilon", "v_prediction", "sample", "flow_prediction")
EDM_PREDICTIONS = {"epsilon": "edm", "v_prediction": "edm_v_prediction"}
WHOLE_TIMESTEPS = ("ddim", "ddpm", "pndm", "lcm", "tcd")  # grids whose points are trained ones, by their integer t
ON_SIGMAS = {  # these grids -> the one that lays arbitrary sigmas; DDIM is Euler there, DDPM is Euler a
    "ddim": "euler",
    "pndm": "k",
    "ddpm": "ancestral",
    "lcm": "ancestral",
    "tcd": "ancestral",
}
EULER_LIKE = ("euler", "k", "kdpm", *MULTISTEP)
FEW_STEP = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}  # as diffusers' LCM and TCD
SWITCHES = {  # config key -> (the sigma schedule it turns on, the grids whose diffusers class has the key)
    "use_karras_sigmas": ("karras", EULER_LIKE),
    "use_exponential_sigmas": ("exponential", EULER_LIKE),
    "use_beta_sigmas": ("beta", EULER_LIKE),
    "use_lu_lambdas": ("lu", ("dpm",)),
}
UNFOLLOWED: tuple[tuple[str, tuple[str, ...], tuple], ...] = (  # config key, the grids it matters on, what is followed
    ("tau_func", ("sa",), (None,)),
    ("solver_p", ("unipc",), (None,)),
    ("timestep_type", (*WHOLE_TIMESTEPS, *MULTISTEP), (None, "discrete")),
    ("variance_type", ("ddpm",), (None, "fixed_small", "fixed_small_log", "fixed_large")),
)
THRESHOLDED = ("ddim", "ddpm", "lcm", "tcd", *MULTISTEP)  # grids whose diffusers class has `thresholding`
LONGEST = 1001  # numbers of a list that are read: a thousand steps and the end
EXAMPLES = {"sigmas": "14.6,7,2.5,0.8,0.2,0", "timesteps": "999,750,500,250"}


def make_path(
    config: dict[str, Any],
    grid: str,
    steps: int,
    spacing: str | None = None,
    *,
    sigmas: Iterable[float] | None = None,
    timesteps: Iterable[float] | None = None,
) -> Path:
    """Lay `steps` strides on a grid as `config` says; `spacing` ("trailing", "trailing,karras") overrides it.

    `sigmas` (falling, the last is where the path ends) or `timesteps` (falling) take the place of steps and spacing, as
    in diffusers' `set_timesteps`. Raises RequestError for unknown spacings, for more steps than the spacing has
    distinct points and for lists that make no path; BundleError for a config that this version cannot follow.
    """
    lay_grid = {"flow": flow.grid_path, "edm": edm.grid_path, "betas": _betas_grid}[trained_as(config)]
    if sigmas is None and timesteps is None:
        path = lay_grid(config, grid, steps, *resolve_spacing(config, grid, spacing))
    elif spacing is not None or (sigmas is not None and timesteps is not None):
        raise RequestError("a spacing, a list of sigmas and a list of timesteps exclude each other; give one of them")
    elif sigmas is not None:
        path = GIVEN_SIGMAS[trained_as(config)](config, grid, falling("sigmas", sigmas))
    else:
        path = GIVEN_TIMESTEPS[trained_as(config)](config, grid, falling("timesteps", timesteps))
    if any(a.sigma <= b.sigma for (a, _), (b, _) in pairwise(path.strides)):
        named = spacing or ("given" if sigmas is not None or timesteps is not None else "of the scheduler config")
        raise RequestError(
            f"{len(path)} steps are too many for the spacing '{named}': two fall on one noise level; use fewer"
        )
    if not path.strides[0][0].alpha and prediction_type(config) == "epsilon":
        raise BundleError(
            "this model starts from pure noise (zero terminal SNR), in which epsilon says nothing about the picture;"
            " set rescale_betas_zero_snr to false, or export a v-prediction model"
        )
    return path


def falling(name: str, values: Iterable[float]) -> np.ndarray:
    """A caller's list as float64 (n,); RequestError unless it has numbers that are finite, not negative and fall."""
    try:
        numbers = np.array([float(scalar(value)) for value in items(values, LONGEST)])
    except (TypeError, ValueError, OverflowError):
        raise RequestError(f"{name} must be a list of numbers; for example {EXAMPLES[name]}") from None
    if not len(numbers):
        raise RequestError(f"the list of {name} is empty; give falling numbers, for example {EXAMPLES[name]}")
    if not np.isfinite(numbers).all() or (numbers < 0).any():
        raise RequestError(f"{name} must be finite and not negative; for example {EXAMPLES[name]}")
    rise = next((i for i, (a, b) in enumerate(pairwise(numbers)) if a <= b), None)
    if rise is not None:
        a, b = numbers[rise : rise + 2]
        raise RequestError(f"{name} must fall, and {b:g} follows {a:g}; for example {EXAMPLES[name]}")
    return numbers


def trained_as(config: dict[str, Any]) -> str:
    """What lays the noise levels of a config: "betas", "flow" or "edm"; from its class, as diffusers has it."""
    name = str(config.get("_class_name") or "")
    if name.startswith("EDM"):
        return "edm"
    flow = config.get("use_flow_sigmas") or config.get("prediction_type") == "flow_prediction"
    return "flow" if flow or name.startswith("FlowMatch") else "betas"


def resolve_spacing(config: dict[str, Any], grid: str, spacing: str | None) -> tuple[str, str | None]:
    """(timestep spacing, sigma schedule or None): what `spacing` names, and for the rest what the config says.

    As diffusers' `from_config` does, a key that the class behind the grid does not have is not inherited, and where the
    config is silent the default of that class holds. Flow and EDM models are laid alike on every grid.
    """
    kind = trained_as(config)
    silent = "leading" if grid in WHOLE_TIMESTEPS and kind == "betas" else "linspace"
    # the classes behind these three have a spacing of their own
    own = kind != "betas" or grid in ("singlestep", "lcm", "tcd")
    timestep_spacing = silent if own else config.get("timestep_spacing", silent)
    switched_on = [
        name for key, (name, grids) in SWITCHES.items() if config.get(key) and (grid in grids or kind == "flow")
    ]
    sigma_schedule = switched_on[0] if switched_on else None
    if kind == "edm":
        sigma_schedule = config.get("sigma_schedule", "karras")
        if sigma_schedule not in ("karras", "exponential"):
            raise BundleError(f"sigma_schedule '{sigma_schedule}' is not supported; export the model with 'karras'")
    named = [one_of("spacing", part.strip().lower(), SPACINGS) for part in spacing.split(",")] if spacing else []
    timestep_spacings = [name for name in named if name in TIMESTEP_SPACINGS]
    sigma_schedules = [name for name in named if name in SIGMA_SCHEDULES]
    if len(timestep_spacings) > 1 or len(sigma_schedules) > 1:
        raise RequestError(f"spacing '{spacing}' names two of a kind; name one of each at most: trailing,karras")
    if timestep_spacings and grid in ("lcm", "tcd"):
        raise RequestError(
            f"few-step samplers have timesteps of their own, not spacing '{spacing}'; leave it out or try karras"
        )
    if timestep_spacing not in TIMESTEP_SPACINGS and not timestep_spacings:
        raise BundleError(
            f"the scheduler config asks for timestep spacing '{timestep_spacing}', which this version does not know;"
            f" choose one with --spacing ({', '.join(SPACINGS)})"
        )
    return (timestep_spacings or [timestep_spacing])[0], (sigma_schedules or [sigma_schedule])[0]


def unfollowed(config: dict[str, Any], grid: str) -> list[str]:
    """A warning for every setting of the config that diffusers would follow on this grid and this version does not."""
    return [
        f"the model's scheduler config sets {key} to {config[key]!r}, which is not followed; the picture may differ"
        for key, grids, followed in UNFOLLOWED
        if grid in grids and config.get(key) not in followed
    ]


def prediction_type(config: dict[str, Any]) -> str:
    """What the network's output is, a key of `TO_X0`; BundleError for what this version cannot read."""
    kind, trained = config.get("prediction_type", "epsilon"), trained_as(config)
    if trained == "flow" and str(config.get("_class_name") or "").startswith("FlowMatch"):
        return "flow"
    if kind not in (EDM_PREDICTIONS if trained == "edm" else PREDICTIONS):
        raise BundleError(f"prediction type '{kind}' is not supported; export a model with one of {PREDICTIONS}")
    return EDM_PREDICTIONS[kind] if trained == "edm" else kind.replace("flow_prediction", "flow")


def _last_sigma(config: dict[str, Any], table: np.ndarray) -> float:
    return float(table[0]) if config.get("final_sigmas_type", "zero") == "sigma_min" else 0.0


def _unscaled(strides: tuple[tuple[Point, Point], ...], last: float) -> tuple[tuple[Point, Point], ...]:
    """The same, with the end as diffusers' Euler leaves it: not scaled back, alpha is 1 there."""
    return (*strides[:-1], (strides[-1][0], Point(0.0, 1.0, last)))


def _betas_grid(config: dict[str, Any], grid: str, steps: int, spacing: str, schedule: str | None) -> Path:
    return GRIDS[ON_SIGMAS.get(grid, grid) if schedule else grid](config, steps, spacing, schedule)


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
    end = Point(0.0, 1.0, 0.0) if config.get("set_alpha_to_one", True) else trained.at(0)
    starts = _whole_timesteps(config, steps, spacing)
    ends = (start - len(trained.alpha_bar) // steps for start in starts)
    strides = tuple((trained.at(a), trained.at(b) if b >= 0 else end) for a, b in zip(starts, ends, strict=True))
    return Path(strides, 1.0, training(config).level)


def _ddpm_grid(config: dict[str, Any], steps: int, spacing: str, schedule: str | None) -> Path:
    """diffusers DDPMScheduler (fixed_small variance)."""
    trained = training(config, finite_sigma=False)
    points = [trained.at(t) for t in _whole_timesteps(config, steps, spacing)]
    return Path(tuple(pairwise([*points, Point(0.0, 1.0, 0.0)])), 1.0, training(config).level)


def _betas_on_sigmas(config: dict[str, Any], grid: str, sigmas: np.ndarray) -> Path:
    """diffusers Euler's `set_timesteps(sigmas=...)`, which names the end as well; on every grid."""
    if len(sigmas) < 2:
        raise RequestError("one sigma is no path; give the end of it too, for example 14.6,0")
    trained = _told(config)
    points = [karras_point(t, s) for t, s in zip(trained.timestep_of(np.maximum(sigmas, 1e-10)), sigmas, strict=True)]
    spacing, _ = resolve_spacing(config, ON_SIGMAS.get(grid, grid), None)
    start = 1.0 if grid in MULTISTEP or spacing == "leading" else points[0].sigma
    orders = last_orders(config, grid, len(sigmas) - 1, float(sigmas[-1]), float(sigmas[-2]))
    return Path(tuple(pairwise(points)), start, trained.level, orders)


def _betas_on_timesteps(config: dict[str, Any], grid: str, timesteps: np.ndarray) -> Path:
    """diffusers' `set_timesteps(timesteps=...)`, which DDIM lacks: there each stride goes to the next one."""
    count = train_steps(config)
    if timesteps[0] > count - 1:
        raise RequestError(f"timestep {timesteps[0]:g} is out of range; the model was trained on 0 to {count - 1}")
    if grid in (*WHOLE_TIMESTEPS, *MULTISTEP) and (timesteps % 1).any():
        raise RequestError("this sampler takes whole timesteps; round them, or choose a sampler like euler")
    if grid in WHOLE_TIMESTEPS:
        trained = training({**FEW_STEP, **config} if grid in ("lcm", "tcd") else config, finite_sigma=False)
        stays = grid == "tcd" or not config.get("set_alpha_to_one", grid != "pndm") and grid in ("ddim", "pndm")
        points = [trained.at(int(t)) for t in timesteps]
        strides = tuple(pairwise([*points, trained.at(0) if stays else Point(0.0, 1.0, 0.0)]))
        return Path(strides, 1.0, training(config).level)
    trained = _told(config)
    if trained.continuous:
        raise RequestError("this model is told log sigma, not timesteps; give sigmas instead")
    table = trained.sigmas
    sigmas = np.interp(timesteps, np.arange(count), table)
    last = _last_sigma(config, table) if grid in ("euler", *MULTISTEP) else 0.0
    strides = chain(timesteps, sigmas, last)
    if last and grid not in MULTISTEP:
        strides = _unscaled(strides, last)
    spacing, _ = resolve_spacing(config, grid, None)
    start = 1.0 if grid in MULTISTEP or spacing == "leading" else strides[0][0].sigma
    return Path(strides, start, trained.level, last_orders(config, grid, len(sigmas), last, float(sigmas[-1])))


def _pndm_grid(config: dict[str, Any], steps: int, spacing: str, schedule: str | None) -> Path:
    """diffusers PNDMScheduler, which has no zero-terminal-SNR; the points as DDIM has them, the second one once."""
    ends = config.get("set_alpha_to_one", False)
    return _ddim_grid({**config, "rescale_betas_zero_snr": False, "set_alpha_to_one": ends}, steps, spacing, schedule)


def _few_step_grid(
    config: dict[str, Any], steps: int, spacing: str, schedule: str | None, to_zero: bool = True
) -> Path:
    """diffusers LCMScheduler and (not `to_zero`) TCDScheduler: some of the steps that the model was distilled on."""
    config = {**FEW_STEP, **config}
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
    end = Point(0.0, 1.0, 0.0) if to_zero else trained.at(0)
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
GIVEN_SIGMAS: dict[str, Callable[[dict[str, Any], str, np.ndarray], Path]] = {
    "betas": _betas_on_sigmas,
    "flow": flow.on_sigmas,
    "edm": edm.on_sigmas,
}
GIVEN_TIMESTEPS: dict[str, Callable[[dict[str, Any], str, np.ndarray], Path]] = {
    "betas": _betas_on_timesteps,
    "flow": flow.on_timesteps,
    "edm": edm.on_timesteps,
}
