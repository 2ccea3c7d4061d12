"""A sampler as its scheduler config and its caller want it: the solver that walks."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from pleinair.checks import number, one_of
from pleinair.errors import RequestError
from pleinair.sampling.coordinates import Denoise, Draw, Keep, Solver, State, untouched
from pleinair.sampling.names import meant
from pleinair.sampling.path import Path
from pleinair.sampling.samplers import OFF, RANGES, SAMPLERS
from pleinair.sampling.wishes import Wish

OF_ITS_CLASS = (  # what a config says about a solver counts for the sampler it means; another one is what its name says
    "solver_order",
    "algorithm_type",
    "predict_x0",
    "disable_corrector",
    "predictor_order",
    "corrector_order",
)


def make_solver(
    sampler: str,
    config: dict[str, Any],
    *,
    eta: float | None = OFF["eta"],
    s_churn: float = OFF["s_churn"],
    s_noise: float = OFF["s_noise"],
) -> Solver:
    """The sampler as the scheduler config says and as asked: solver(denoise, x, path, draw, keep) -> Iterator[State].

    `eta` is the share of new noise (tcd: gamma), 0 to 1; `s_churn` and `s_noise` are Karras et al. 2022's. Raises
    RequestError for an option that the sampler does not have, BundleError for a config that cannot be followed.
    """
    one_of("sampler", sampler, SAMPLERS)
    found = SAMPLERS[sampler]
    for name, value in {"eta": eta, "s_churn": s_churn, "s_noise": s_noise}.items():
        if value == OFF[name]:
            continue
        if name not in found.options:
            having = ", ".join(other for other, info in SAMPLERS.items() if name in info.options)
            raise RequestError(f"sampler '{sampler}' has no {name}; leave it out or choose one of {having}")
        number(name, value, *RANGES[name])
    if meant(config) != sampler:
        config = {key: value for key, value in config.items() if key not in OF_ITS_CLASS}
    solver = found.build(Wish(config, eta, s_churn))
    return solver if s_noise == OFF["s_noise"] else _louder(solver, s_noise)


def _louder(solver: Solver, factor: float) -> Solver:
    """The solver with all the noise that it draws on its way multiplied by `factor`."""

    def walked(denoise: Denoise, x: np.ndarray, path: Path, draw: Draw, keep: Keep = untouched) -> Iterator[State]:
        return solver(denoise, x, path, lambda: factor * draw(), keep)

    return walked
