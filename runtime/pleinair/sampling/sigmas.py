"""How noise levels are spread between the strongest and the weakest: sigma schedules, in Karras' sigma.

A schedule spreads a range of sigmas, or picks from the table of those a model was trained on (rising, as `levels`):

    diffusers               karras, exponential, beta, lu; on the range that the scheduler's own timesteps span
    k-diffusion             polyexponential; on the whole trained range, as all below
    ComfyUI and A1111       simple, normal, sgm_uniform, ddim_uniform, kl_optimal
    Align Your Steps        ays (Stable Diffusion 1), ays_sdxl: published tables, for the betas of Stable Diffusion only
"""

from collections.abc import Callable
from functools import cache, partial
from math import atan, gamma, log

import numpy as np

from pleinair.errors import RequestError

RHO = 7.0  # Karras et al. 2022, table 1
BETA_SHAPE = 0.6
ALIGNED = {  # Sabour et al. 2024, eleven levels each; ComfyUI's digits (diffusers and A1111 round them)
    "ays": (
        14.6146412293, 6.4745760956, 3.8636745985, 2.6946151520, 1.8841921177, 1.3943805092,
        0.9642583904, 0.6523686016, 0.3977456272, 0.1515232662, 0.0291671582,
    ),
    "ays_sdxl": (
        14.6146412293, 6.3184485287, 3.7681790315, 2.1811480769, 1.3405244945, 0.8620721141,
        0.5550693289, 0.3798540708, 0.2332364134, 0.1114188177, 0.0291671582,
    ),
}  # fmt: skip


@cache
def leggauss(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Points and weights (count,) of Gauss-Legendre quadrature over -1..1, worked out when first asked for."""
    return np.polynomial.legendre.leggauss(count)


def karras(low: float, high: float, steps: int, rho: float = RHO) -> np.ndarray:
    """`steps` falling sigmas from `high` to `low`, evenly spaced in sigma^(1/rho) (Karras et al. 2022, eq. 5)."""
    ramp = np.linspace(0, 1, steps)
    return (high ** (1 / rho) + ramp * (low ** (1 / rho) - high ** (1 / rho))) ** rho


def exponential(low: float, high: float, steps: int) -> np.ndarray:
    """`steps` falling sigmas from `high` to `low`, evenly in log sigma; Lu et al. 2022 with rho 1 is the same."""
    return np.exp(np.linspace(log(high), log(low), steps))


def polyexponential(low: float, high: float, steps: int) -> np.ndarray:
    """`steps` falling sigmas from `high` to `low`, evenly in log sigma (k-diffusion, with its usual rho of 1)."""
    return np.exp(np.linspace(1, 0, steps) * (log(high) - log(low)) + log(low))


def beta(low: float, high: float, steps: int) -> np.ndarray:
    """`steps` falling sigmas from `high` to `low`, dense at both ends like Beta(0.6, 0.6) (Lee et al. 2024)."""
    return low + (high - low) * np.array([beta_quantile(1 - share) for share in np.linspace(0, 1, steps)])


@cache  # a picture's paths ask for the same shares again
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
    points, weights = leggauss(40)
    top = x**BETA_SHAPE
    nodes = top / 2 * (points + 1)
    integrand = (1 - nodes ** (1 / BETA_SHAPE)) ** (BETA_SHAPE - 1)
    whole = gamma(BETA_SHAPE) ** 2 / gamma(2 * BETA_SHAPE)
    return float(top / 2 * (weights @ integrand) / BETA_SHAPE / whole)


def kl_optimal(low: float, high: float, steps: int) -> np.ndarray:
    """`steps` falling sigmas from `high` to `low`, evenly in arctan sigma (Sabour et al. 2024, theorem 3.1; ComfyUI).

    A1111 lays one more and stops at `low`, with that much noise left in the picture.
    """
    return np.tan(np.linspace(atan(high), atan(low), steps))


def aligned(table: tuple[float, ...], levels: np.ndarray, steps: int) -> np.ndarray:
    """The first `steps` of steps + 1 sigmas interpolated in log sigma from a published table (Align Your Steps).

    Ten steps are the table itself, whose last level is replaced by what the path ends in. A1111 keeps that last level
    and so lays ten steps at other sigmas than those published.
    """
    shares = np.linspace(0, 1, steps + 1)[:-1]
    return np.exp(np.interp(shares, np.linspace(0, 1, len(table)), np.log(table)))


def simple(levels: np.ndarray, steps: int) -> np.ndarray:
    """Every (N / steps)-th trained level, counted from the strongest (ComfyUI, A1111)."""
    return levels[[-(1 + int(i * (len(levels) / steps))) for i in range(steps)]]


def normal(levels: np.ndarray, steps: int) -> np.ndarray:
    """Evenly in t from the strongest trained level to the weakest (ComfyUI, A1111)."""
    return _between(levels, np.linspace(len(levels) - 1, 0, steps))


def sgm_uniform(levels: np.ndarray, steps: int) -> np.ndarray:
    """Evenly in t from the strongest level towards t = 0, which is left out (ComfyUI, A1111, Stability's sgm).

    diffusers' `trailing` is its rounded relative: each t differs by less than 1.5.
    """
    return _between(levels, np.linspace(len(levels) - 1, 0, steps + 1)[:-1])


def ddim_uniform(levels: np.ndarray, steps: int) -> np.ndarray:
    """t = 1 and up by N // steps (ComfyUI, A1111); they walk a step more where `steps` does not divide N."""
    rising = 1 + np.arange(steps) * (len(levels) // steps)
    return levels[np.minimum(rising, len(levels) - 1)][::-1]


def _between(levels: np.ndarray, timesteps: np.ndarray) -> np.ndarray:
    return np.exp(np.interp(timesteps, np.arange(len(levels)), np.log(levels)))


SIGMAS: dict[str, Callable[[float, float, int], np.ndarray]] = {  # low, high, steps -> falling sigmas (steps,)
    "karras": karras,
    "exponential": exponential,
    "beta": beta,
    "lu": exponential,
}
WHOLE_RANGE: dict[str, Callable[[float, float, int], np.ndarray]] = {
    "polyexponential": polyexponential,
    "kl_optimal": kl_optimal,
}
FROM_LEVELS: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "simple": simple,
    "normal": normal,
    "sgm_uniform": sgm_uniform,
    "ddim_uniform": ddim_uniform,
    **{name: partial(aligned, table) for name, table in ALIGNED.items()},
}
SIGMA_SCHEDULES = (*SIGMAS, *WHOLE_RANGE, *FROM_LEVELS)


def lay(schedule: str, low: float, high: float, steps: int, levels: np.ndarray) -> np.ndarray:
    """`steps` falling sigmas of a named schedule (steps,): between `low` and `high`, or among all rising `levels`.

    Raises RequestError for more steps than there are levels to pick from.
    """
    if schedule in SIGMAS:
        return SIGMAS[schedule](low, high, steps)
    if schedule in WHOLE_RANGE:
        return WHOLE_RANGE[schedule](float(levels[0]), float(levels[-1]), steps)
    if steps > len(levels):
        raise RequestError(f"{steps} steps are more than the {len(levels)} trained noise levels; use fewer")
    return FROM_LEVELS[schedule](levels, steps)
