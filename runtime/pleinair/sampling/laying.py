"""From a diffusers scheduler config to the path of noise levels that a solver walks, whatever the model was trained as.

`path_betas`, `path_flow` and `path_edm` lay paths of their kind: on a grid, on given sigmas, on given timesteps.
"""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np

from pleinair.checks import items, scalar
from pleinair.errors import BundleError, RequestError
from pleinair.sampling import path_betas, path_edm, path_flow
from pleinair.sampling.path import Path
from pleinair.sampling.predictions import prediction_type
from pleinair.sampling.scheduler_config import trained_as
from pleinair.sampling.spacings import resolve_spacing

PATHS = {"betas": path_betas, "flow": path_flow, "edm": path_edm}
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
    patches: int | None = None,
) -> Path:
    """Lay `steps` strides on a grid as `config` says; `spacing` ("trailing", "trailing,karras") overrides it.

    `sigmas` (falling, the last is where the path ends) or `timesteps` (falling) take the place of steps and spacing, as
    in diffusers' `set_timesteps`. `patches` is how many a picture has, which the noise of some flow models follows.
    Raises RequestError for unknown spacings, for more steps than the spacing has distinct points and for lists that
    make no path; BundleError for a config that this version cannot follow.
    """
    kind = PATHS[trained_as(config)]
    if kind is path_flow and patches is not None:
        config = path_flow.settled(config, patches)
    if sigmas is None and timesteps is None:
        path = kind.grid_path(config, grid, steps, *resolve_spacing(config, grid, spacing))
    elif spacing is not None or (sigmas is not None and timesteps is not None):
        raise RequestError("a spacing, a list of sigmas and a list of timesteps exclude each other; give one of them")
    elif sigmas is not None:
        path = kind.on_sigmas(config, grid, falling("sigmas", sigmas))
    else:
        path = kind.on_timesteps(config, grid, falling("timesteps", timesteps))
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
