"""The grids that paths are laid on: what each family of diffusers' schedulers does a little differently.

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

from typing import Any, NamedTuple

from pleinair.errors import BundleError

MULTISTEP = ("dpm", "unipc", "singlestep", "deis", "sa")  # grids of solvers that look back
WHOLE_TIMESTEPS = ("ddim", "ddpm", "pndm", "lcm", "tcd")  # grids whose points are trained ones, by their integer t
FEW_STEPS = ("lcm", "tcd")  # grids that choose from the steps a model was distilled on
EULER_LIKE = ("euler", "k", "kdpm", *MULTISTEP)  # grids whose diffusers class has sigma schedules of its own
THRESHOLDED = ("ddim", "ddpm", *FEW_STEPS, *MULTISTEP)  # grids whose diffusers class has `thresholding`
ON_SIGMAS = {  # these grids -> the one that lays arbitrary sigmas; DDIM is Euler there, DDPM is Euler a
    "ddim": "euler",
    "pndm": "k",
    "ddpm": "ancestral",
    "lcm": "ancestral",
    "tcd": "ancestral",
}


class Followed(NamedTuple):
    """Which values of a key of the scheduler config are followed, and the grids on which diffusers reads it."""

    key: str
    grids: tuple[str, ...]
    values: tuple[str | None, ...]


FOLLOWED = (
    Followed(key="tau_func", grids=("sa",), values=(None,)),
    Followed(key="solver_p", grids=("unipc",), values=(None,)),
    Followed(key="timestep_type", grids=(*WHOLE_TIMESTEPS, *MULTISTEP), values=(None, "discrete")),
    Followed(key="variance_type", grids=("ddpm",), values=(None, "fixed_small", "fixed_small_log", "fixed_large")),
)


def unfollowed(config: dict[str, Any], grid: str) -> list[str]:
    """A warning for every setting of the config that diffusers would follow on this grid and this version does not."""
    return [
        f"the model's scheduler config sets {key} to {config[key]!r}, which is not followed; the picture may differ"
        for key, grids, values in FOLLOWED
        if grid in grids and config.get(key) not in values
    ]


def last_orders(config: dict[str, Any], grid: str, steps: int, last: float, before: float) -> tuple[int, ...]:
    """`Path.last_orders` of a multistep solver whose last stride goes from sigma `before` to sigma `last`."""
    if grid not in MULTISTEP:
        return ()
    if grid == "singlestep":  # each stride's order says how far its group has come
        ours = config.get("_class_name") == "DPMSolverSinglestepScheduler"
        order = config.get("solver_order", 2) if ours else 2
        if order not in (1, 2, 3):
            raise BundleError(f"the scheduler config's solver_order is {order!r}, not 1, 2 or 3; choose a --sampler")
        orders = ([*range(1, order + 1)] * (steps // order + 1))[:steps]
        if not last or (config.get("lower_order_final", False) and steps % order == 0):
            orders[-1] = 1
        return tuple(reversed(orders))
    careful = config.get("lower_order_final", True) and (grid in ("unipc", "sa") or steps < 15)
    ends_low = not last or before <= last * (1 + 1e-6) or (grid == "dpm" and config.get("euler_at_final"))
    return (1, 2) if careful else (1,) if ends_low else ()  # a stride without length has no slope to extrapolate
