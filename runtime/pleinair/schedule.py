"""From a diffusers scheduler_config.json to a path of noise levels for the samplers to walk.

    x = alpha * image + sigma * noise        with alpha^2 + sigma^2 = 1

Each family of diffusers schedulers lays its points a little differently. Parity with them lives here, in a few grids:

    grid       laid like                   timesteps for n steps                        where the last stride ends
    k          Heun, LMS                   linspace(0, N-1, n), real-valued             sigma 0
    ancestral  EulerAncestral              the same                                     sigma 0
    euler      Euler                       the same                                     sigma 0, or the smallest trained
    kdpm       KDPM2, KDPM2Ancestral       the same; Karras' rounded                    sigma 0
    dpm        DPMSolverMultistep          linspace(0, N-1, n+1) rounded, last dropped  sigma 0, or the smallest trained
    unipc      UniPCMultistep              the same                                     sigma 0, or the smallest trained
    ddim       DDIM                        n integers                                   alpha_bar 1, or that of t = 0
    ddpm       DDPM                        n integers                                   alpha_bar 1
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import gamma, inf, log, sqrt
from typing import Any, NamedTuple

import numpy as np

from pleinair.checks import one_of
from pleinair.errors import BundleError, RequestError

TIMESTEP_SPACINGS = ("leading", "linspace", "trailing")
SIGMA_SCHEDULES = ("karras", "exponential", "beta", "lu")
SPACINGS = TIMESTEP_SPACINGS + SIGMA_SCHEDULES
PREDICTIONS = ("epsilon", "v_prediction", "sample")
MULTISTEP = ("dpm", "unipc")
EULER_LIKE = ("euler", "k", "kdpm", *MULTISTEP)
SWITCHES = {  # config key -> (the sigma schedule it turns on, the grids whose diffusers class has the key)
    "use_karras_sigmas": ("karras", EULER_LIKE),
    "use_exponential_sigmas": ("exponential", EULER_LIKE),
    "use_beta_sigmas": ("beta", EULER_LIKE),
    "use_lu_lambdas": ("lu", ("dpm",)),
}
UNFOLLOWED: tuple[tuple[str, tuple[str, ...], tuple], ...] = (  # config key, the grids it matters on, what is followed
    ("use_flow_sigmas", MULTISTEP, (None, False)),
    ("lambda_min_clipped", ("dpm",), (None, float("-inf"), "-inf", "-Infinity")),
    ("algorithm_type", ("dpm",), (None, "dpmsolver++", "sde-dpmsolver++")),
    ("solver_type", ("dpm",), (None, "midpoint", "bh1", "bh2", "logrho")),
    ("solver_type", ("unipc",), (None, "midpoint", "heun", "bh2", "logrho")),
    ("solver_order", ("unipc",), (None, 2)),
    ("predict_x0", ("unipc",), (None, True)),
    ("disable_corrector", ("unipc",), (None, [])),
    ("interpolation_type", ("euler",), (None, "linear")),
    ("timestep_type", ("euler",), (None, "discrete")),
    ("variance_type", ("ddpm",), (None, "fixed_small")),
    ("thresholding", ("ddim", "ddpm", *MULTISTEP), (None, False)),
)
BETA_SHAPE = 0.6
BETA_NODES, BETA_WEIGHTS = np.polynomial.legendre.leggauss(40)
RHO = 7.0  # Karras et al. 2022, table 1


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
    level: Callable[[float], Point]  # sigma (noise per unit of image) -> the point where the model met it in training
    last_orders: tuple[int, ...] = ()  # a multistep solver's highest order for the last stride, the one before it, ...

    def __len__(self) -> int:
        return len(self.strides)

    def order_for(self, left: int) -> int | None:
        """The highest order allowed when `left` strides remain; None for any."""
        return self.last_orders[left - 1] if left <= len(self.last_orders) else None


@dataclass(frozen=True)
class Training:
    """The noise levels a model was trained on, for t = 0 .. N-1."""

    alpha_bar: np.ndarray  # (N,)

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
        table = np.log(self.sigmas.astype(np.float32))  # (N,) rising
        wanted = np.log(np.maximum(sigmas, 1e-10))
        low = np.clip(np.searchsorted(table, wanted, side="right") - 1, 0, len(table) - 2)
        share = np.clip((table[low] - wanted) / (table[low] - table[low + 1]), 0, 1)
        return (1 - share) * low + share * (low + 1)

    def level(self, sigma: float) -> Point:
        """The point of a noise level between the trained ones."""
        return _point(float(self.timestep_of(sigma)), sigma)


def make_path(config: dict[str, Any], grid: str, steps: int, spacing: str | None = None) -> Path:
    """Lay `steps` strides on a grid as `config` says; `spacing` ("trailing", "trailing,karras") overrides it.

    Raises RequestError for unknown spacings and for more steps than the spacing has distinct points;
    BundleError for a config that this version cannot follow.
    """
    timestep_spacing, sigma_schedule = resolve_spacing(config, grid, spacing)
    if sigma_schedule:
        grid = {"ddim": "euler", "ddpm": "ancestral"}.get(grid, grid)  # on arbitrary sigmas they are Euler and Euler a
    path = GRIDS[grid](config, steps, timestep_spacing, sigma_schedule)
    if any(a.sigma <= b.sigma for (a, _), (b, _) in pairwise(path.strides)):
        raise RequestError(
            f"{steps} steps are too many for the spacing '{timestep_spacing}': two fall on one noise level; use fewer"
        )
    return path


def resolve_spacing(config: dict[str, Any], grid: str, spacing: str | None) -> tuple[str, str | None]:
    """(timestep spacing, sigma schedule or None): what `spacing` names, and for the rest what the config says.

    As diffusers' `from_config` does, a key that the class behind the grid does not have is not inherited, and where the
    config is silent the default of that class holds.
    """
    timestep_spacing = config.get("timestep_spacing", "leading" if grid in ("ddim", "ddpm") else "linspace")
    switched_on = [name for key, (name, grids) in SWITCHES.items() if config.get(key) and grid in grids]
    sigma_schedule = switched_on[0] if switched_on else None
    named = [one_of("spacing", part.strip().lower(), SPACINGS) for part in spacing.split(",")] if spacing else []
    timestep_spacings = [name for name in named if name in TIMESTEP_SPACINGS]
    sigma_schedules = [name for name in named if name in SIGMA_SCHEDULES]
    if len(timestep_spacings) > 1 or len(sigma_schedules) > 1:
        raise RequestError(f"spacing '{spacing}' names two of a kind; name one of each at most: trailing,karras")
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
    """What the network's output is: epsilon, v_prediction or sample; BundleError for anything else."""
    kind = config.get("prediction_type", "epsilon")
    if kind not in PREDICTIONS:
        raise BundleError(f"prediction type '{kind}' is not supported; export a model with one of {PREDICTIONS}")
    return kind


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
    alpha_bar = np.cumprod(1 - betas, dtype=np.float32)
    if config.get("rescale_betas_zero_snr"):
        alpha_bar = zero_terminal_snr(alpha_bar)
        if finite_sigma:
            alpha_bar[-1] = 2.0**-24
    return Training(alpha_bar.astype(np.float64))


def make_betas(config: dict[str, Any], kind: str) -> np.ndarray:
    """The variance that each of the N training steps adds (N,) float32; BundleError for an unknown `beta_schedule`."""
    if config.get("trained_betas") is not None:
        return np.asarray(config["trained_betas"], np.float32)
    count = train_steps(config)
    low, high = float(config.get("beta_start", 0.0001)), float(config.get("beta_end", 0.02))
    if kind == "linear":
        return np.linspace(low, high, count, dtype=np.float32)
    if kind == "scaled_linear" and low > 0 and high > 0:
        return np.linspace(low**0.5, high**0.5, count, dtype=np.float32) ** 2
    if kind == "squaredcos_cap_v2":
        bar = np.cos((np.arange(count + 1) / count + 0.008) / 1.008 * np.pi / 2) ** 2
        return np.minimum(1 - bar[1:] / bar[:-1], 0.999).astype(np.float32)
    raise BundleError(f"beta schedule '{kind}' is not supported; export the model with another scheduler config")


def train_steps(config: dict[str, Any]) -> int:
    """N, the number of timesteps the model was trained on."""
    count = config.get("num_train_timesteps", 1000)
    if not isinstance(count, int) or not 1 < count <= 100_000:
        raise BundleError(f"the scheduler config's num_train_timesteps is {count!r}; export the model again")
    return count


def zero_terminal_snr(alpha_bar: np.ndarray) -> np.ndarray:
    """Shift and scale sqrt(alpha_bar) (N,) so that the last level is pure noise (Lin et al. 2023, algorithm 1)."""
    root = np.sqrt(alpha_bar)
    root = (root - root[-1]) * (root[0] / (root[0] - root[-1]))
    return (root**2).astype(np.float32)


def karras(low: float, high: float, steps: int) -> np.ndarray:
    """`steps` falling sigmas from `high` to `low`, evenly spaced in sigma^(1/7) (Karras et al. 2022, eq. 5)."""
    ramp = np.linspace(0, 1, steps)
    return (high ** (1 / RHO) + ramp * (low ** (1 / RHO) - high ** (1 / RHO))) ** RHO


def exponential(low: float, high: float, steps: int) -> np.ndarray:
    """`steps` falling sigmas from `high` to `low`, evenly in log sigma; Lu et al. 2022 with rho 1 is the same."""
    return np.exp(np.linspace(log(high), log(low), steps))


def beta(low: float, high: float, steps: int) -> np.ndarray:
    """`steps` falling sigmas from `high` to `low`, dense at both ends like Beta(0.6, 0.6) (Lee et al. 2024)."""
    return low + (high - low) * np.array([beta_quantile(1 - share) for share in np.linspace(0, 1, steps)])


def beta_quantile(share: float) -> float:
    """The x in 0..1 below which Beta(0.6, 0.6) has `share` of its mass, to 1e-12: bisection on `beta_mass`."""
    if share > 0.5:
        return 1 - beta_quantile(1 - share)  # the density is symmetric
    low, high = 0.0, 0.5
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if beta_mass(middle) < share else (low, middle)
    return (low + high) / 2


def beta_mass(x: float) -> float:
    """The mass of Beta(0.6, 0.6) below x <= 1/2; t = w^(1/0.6) removes the pole at 0 from the integrand."""
    top = x**BETA_SHAPE
    nodes = top / 2 * (BETA_NODES + 1)
    integrand = (1 - nodes ** (1 / BETA_SHAPE)) ** (BETA_SHAPE - 1)
    whole = gamma(BETA_SHAPE) ** 2 / gamma(2 * BETA_SHAPE)
    return float(top / 2 * (BETA_WEIGHTS @ integrand) / BETA_SHAPE / whole)


SIGMAS: dict[str, Callable[[float, float, int], np.ndarray]] = {
    "karras": karras,
    "exponential": exponential,
    "beta": beta,
    "lu": exponential,
}


def _point(t: float, sigma: float) -> Point:
    """A point from t and Karras' sigma (noise per unit of image)."""
    sigma = float(sigma)  # a NumPy scalar would promote float32 latents
    alpha = 1 / sqrt(1 + sigma * sigma)
    return Point(float(t), alpha, sigma * alpha)


def _chain(timesteps: np.ndarray, sigmas: np.ndarray, last: float) -> tuple[tuple[Point, Point], ...]:
    points = [_point(t, s) for t, s in zip(timesteps, sigmas, strict=True)]
    return tuple(pairwise([*points, _point(0, last)]))


def _last_sigma(config: dict[str, Any], table: np.ndarray) -> float:
    return float(table[0]) if config.get("final_sigmas_type", "zero") == "sigma_min" else 0.0


def _timesteps(config: dict[str, Any], steps: int, spacing: str, extra: int) -> np.ndarray:
    """n falling timesteps (n,); `extra` is 1 where the scheduler lays n+1 points and drops the smallest."""
    count = train_steps(config)
    if spacing == "linspace":
        return np.linspace(0, count - 1, steps + extra)[::-1][:steps]
    if spacing == "leading":
        return (np.arange(steps + extra) * (count // (steps + extra)))[::-1][:steps] + config.get("steps_offset", 0)
    # float error can make arange one longer than asked
    return np.arange(count, 0, -count / steps).round()[:steps] - 1


def _k_grid(
    config: dict[str, Any], steps: int, spacing: str, schedule: str | None, whole: bool = False, ends: bool = False
) -> Path:
    """diffusers EulerAncestralDiscrete, Heun, LMS; `whole` rounds Karras' t, `ends` obeys final_sigmas_type."""
    trained = training(config)
    table = trained.sigmas
    timesteps = _timesteps(config, steps, spacing, extra=0)
    sigmas = np.interp(timesteps, np.arange(len(table)), table)
    if schedule:
        low, high = (config.get("sigma_min"), config.get("sigma_max")) if ends else (None, None)
        sigmas = SIGMAS[schedule](sigmas[-1] if low is None else low, sigmas[0] if high is None else high, steps)
        timesteps = trained.timestep_of(sigmas)
        if whole and schedule == "karras":
            timesteps = timesteps.round()
    strides = _chain(timesteps, sigmas, _last_sigma(config, table) if ends else 0.0)
    return Path(strides, 1.0 if spacing == "leading" else strides[0][0].sigma, trained.level)


def _dpm_grid(
    config: dict[str, Any], steps: int, spacing: str, schedule: str | None, always_careful: bool = False
) -> Path:
    """diffusers DPMSolverMultistep; `always_careful` (UniPC) lowers the last orders for any number of steps."""
    trained = training(config)
    table = trained.sigmas
    if schedule:
        sigmas = SIGMAS[schedule](table[0], table[-1], steps)
        timesteps = trained.timestep_of(sigmas)
        if schedule in ("karras", "lu") and config.get("beta_schedule") != "squaredcos_cap_v2":
            timesteps = timesteps.round()
        timesteps = np.trunc(timesteps)
    else:
        timesteps = np.trunc(_timesteps(config, steps, spacing, extra=1).round())
        sigmas = np.interp(timesteps, np.arange(len(table)), table)
    last = _last_sigma(config, table)
    careful = config.get("lower_order_final", True) and (always_careful or steps < 15)
    orders = (1, 2) if careful else (1,) if config.get("euler_at_final") or not last else ()
    return Path(_chain(timesteps, sigmas, last), 1.0, trained.level, orders)


def _ddim_grid(config: dict[str, Any], steps: int, spacing: str, schedule: str | None) -> Path:
    """diffusers DDIMScheduler: each stride goes N // n timesteps down, wherever the next one starts.

    Deviation, in DDPM too: `clip_sample`, assumed where a config is silent, is for pixels and never applied.
    """
    trained = training(config, finite_sigma=False)
    end = Point(0.0, 1.0, 0.0) if config.get("set_alpha_to_one", True) else trained.at(0)
    starts = _whole_timesteps(config, steps, spacing)
    ends = (start - len(trained.alpha_bar) // steps for start in starts)
    strides = tuple((trained.at(a), trained.at(b) if b >= 0 else end) for a, b in zip(starts, ends, strict=True))
    return Path(strides, 1.0, trained.level)


def _ddpm_grid(config: dict[str, Any], steps: int, spacing: str, schedule: str | None) -> Path:
    """diffusers DDPMScheduler (fixed_small variance)."""
    trained = training(config, finite_sigma=False)
    points = [trained.at(t) for t in _whole_timesteps(config, steps, spacing)]
    return Path(tuple(pairwise([*points, Point(0.0, 1.0, 0.0)])), 1.0, trained.level)


def _whole_timesteps(config: dict[str, Any], steps: int, spacing: str) -> list[int]:
    timesteps = [round(t) for t in _timesteps(config, steps, spacing, extra=0)]
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
    "unipc": partial(_dpm_grid, always_careful=True),
    "ddim": _ddim_grid,
    "ddpm": _ddpm_grid,
}
