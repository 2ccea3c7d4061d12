"""The samplers a caller may choose from: how each is set up, and the table of them.

A builder is named after its sampler. Adding a sampler is a builder and a row, and a loop in `solvers` or
`runge_kutta` if it is new.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import floor, sqrt

from pleinair.checks import Range
from pleinair.errors import BundleError
from pleinair.sampling import extrapolation, runge_kutta, solvers
from pleinair.sampling.coordinates import Solver, ancestral, deterministic, everything, langevin
from pleinair.sampling.path import Point
from pleinair.sampling.predictions import prediction_type
from pleinair.sampling.scheduler_config import is_flow_match
from pleinair.sampling.trained import DISTILLED_BETAS, training
from pleinair.sampling.wishes import Wish

OFF = {"eta": None, "s_churn": 0.0, "s_noise": 1.0}  # what a sampler's options are where nothing is asked for
RANGES = {"eta": Range(0.0, 1.0), "s_churn": Range(0.0, 1e3), "s_noise": Range(0.0, 10.0)}
CHURN = ("s_churn", "s_noise")
FRESH = ("eta", "s_noise")


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """A sampler, the grid its path is laid on, and what users of other tools know it as."""

    build: Callable[[Wish], Solver]
    grid: str
    order: int
    evaluations: int = 1  # network calls a step
    stochastic: bool = False
    diffusers: str = ""  # the class it is like
    a1111: str
    options: tuple[str, ...] = ()  # of eta, s_churn, s_noise


def ddim(wish: Wish) -> Solver:
    return solvers.multistep(fresh=partial(ancestral, eta=wish.share(0.0)))


def ddpm(wish: Wish) -> Solver:
    """`fixed_large` adds the noise of the whole forward stride, more than was taken away."""
    large = wish.config.get("variance_type") == "fixed_large"
    return solvers.multistep(fresh=ancestral, added=_forward_noise if large else None)


def _forward_noise(a: Point, b: Point) -> float:
    return sqrt(1 - (a.alpha / b.alpha) ** 2) if a.t else 0.0


def pndm(wish: Wish) -> Solver:
    kind = prediction_type(wish.config)
    return solvers.pndm(
        of=kind if kind in ("v_prediction", "flow") else "epsilon",
        at=training({**wish.config, "rescale_betas_zero_snr": False}).at,
        warm_up=wish.config.get("skip_prk_steps", True) is False,
    )


def euler(wish: Wish) -> Solver:
    stochastic = is_flow_match(wish.config.get("_class_name")) and wish.config.get("stochastic_sampling")
    return solvers.multistep(fresh=everything if stochastic else deterministic, churn=wish.churn)


def euler_a(wish: Wish) -> Solver:
    return solvers.multistep(fresh=partial(ancestral, eta=wish.share(1.0)))


def heun(wish: Wish) -> Solver:
    return runge_kutta.heun(of="flow" if prediction_type(wish.config) == "flow" else "epsilon", churn=wish.churn)


def lms(wish: Wish) -> Solver:
    return solvers.multistep(extrapolation.adams, memory=4, of="epsilon")


def dpm2(wish: Wish) -> Solver:
    return runge_kutta.midway(of="epsilon", churn=wish.churn)


def dpm2_a(wish: Wish) -> Solver:
    return runge_kutta.midway(fresh=partial(ancestral, eta=wish.share(1.0)), of="epsilon")


def dpmpp_2s(wish: Wish) -> Solver:
    if wish.on_noise:
        return solvers.singlestep(extrapolation.grouped(-1.0, wish.midpoint), of="epsilon")
    if str(wish.config.get("algorithm_type")).startswith("sde"):
        return solvers.singlestep(extrapolation.grouped(2.0, wish.midpoint), fresh=langevin)
    return solvers.singlestep(extrapolation.grouped(1.0, wish.midpoint))


def dpmpp_2s_a(wish: Wish) -> Solver:
    return runge_kutta.midway(fresh=partial(ancestral, eta=wish.share(1.0)))


def dpmpp_sde(wish: Wish) -> Solver:
    return runge_kutta.dpmpp_sde(wish.share(1.0))


def dpmpp_2m(wish: Wish) -> Solver:
    return _dpmpp_multistep(wish, order=2)


def dpmpp_2m_sde(wish: Wish) -> Solver:
    return _dpmpp_multistep_sde(wish, order=2)


def dpmpp_3m(wish: Wish) -> Solver:
    return _dpmpp_multistep(wish, order=3)


def dpmpp_3m_sde(wish: Wish) -> Solver:
    return _dpmpp_multistep_sde(wish, order=3)


def _dpmpp_multistep(wish: Wish, order: int) -> Solver:
    memory = wish.order(order)
    if wish.on_noise:
        return solvers.multistep(extrapolation.dpm(-1.0, wish.midpoint), memory=memory, of="epsilon")
    return solvers.multistep(extrapolation.dpm(1.0, wish.midpoint), memory=memory)


def _dpmpp_multistep_sde(wish: Wish, order: int) -> Solver:
    memory = wish.order(order)
    if wish.on_noise:
        if memory == 3:
            raise BundleError("the third order of sde-dpmsolver does not exist; choose --sampler dpmpp_3m_sde")
        return solvers.straying(extrapolation.dpm(-1.0, wish.midpoint), memory)
    eta = wish.share(1.0)
    return solvers.multistep(extrapolation.dpm(1 + eta, wish.midpoint), partial(langevin, eta=eta), memory)


def unipc(wish: Wish) -> Solver:
    return solvers.unipc(
        order=wish.order(2),
        of="sample" if wish.config.get("predict_x0", True) else "epsilon",
        plain=wish.config.get("solver_type") == "bh1",
        uncorrected=wish.config.get("disable_corrector") or (),
    )


def deis(wish: Wish) -> Solver:
    return solvers.multistep(extrapolation.deis, memory=wish.order(2), of="epsilon")


def ipndm(wish: Wish) -> Solver:
    return solvers.multistep(extrapolation.bashforth, memory=4, of="epsilon")


def sa_solver(wish: Wish) -> Solver:
    orders = [wish.config.get(key, 2) for key in ("predictor_order", "corrector_order")]
    if any(order not in (1, 2, 3, 4) for order in orders):
        raise BundleError(f"the scheduler config's SA-Solver orders are {orders}, not 1 to 4; choose a --sampler")
    of = "epsilon" if wish.config.get("algorithm_type") == "noise_prediction" else "sample"
    return solvers.sa_solver(*orders, tau=wish.share(1.0), of=of)


def lcm(wish: Wish) -> Solver:
    return solvers.consistency(float(wish.config.get("timestep_scaling", 10.0)))


def tcd(wish: Wish) -> Solver:
    """Down to (1 - gamma) t along the ODE, up to t by new noise (Zheng et al. 2024; diffusers TCDScheduler)."""
    gamma = wish.share(0.3)
    trained = training({**DISTILLED_BETAS, **wish.config}, finite_sigma=False)

    def fresh(a: Point, b: Point) -> float:
        lower = trained.at(floor((1 - gamma) * b.t)).alpha
        return sqrt(max(1 - (b.alpha / lower) ** 2, 0.0)) if b.t else 0.0

    return solvers.multistep(fresh=fresh)


def restart(wish: Wish) -> Solver:
    return runge_kutta.restart


SAMPLERS: dict[str, Sampler] = {
    "ddim": Sampler(build=ddim, grid="ddim", order=1, diffusers="DDIMScheduler", a1111="DDIM", options=FRESH),
    "ddpm": Sampler(
        build=ddpm, grid="ddpm", order=1, stochastic=True, diffusers="DDPMScheduler", a1111="DDPM", options=("s_noise",)
    ),
    "pndm": Sampler(build=pndm, grid="pndm", order=4, diffusers="PNDMScheduler", a1111="PLMS"),
    "euler": Sampler(
        build=euler, grid="euler", order=1, diffusers="EulerDiscreteScheduler", a1111="Euler", options=CHURN
    ),
    "euler_a": Sampler(
        build=euler_a,
        grid="ancestral",
        order=1,
        stochastic=True,
        diffusers="EulerAncestralDiscreteScheduler",
        a1111="Euler a",
        options=FRESH,
    ),
    "heun": Sampler(
        build=heun, grid="k", order=2, evaluations=2, diffusers="HeunDiscreteScheduler", a1111="Heun", options=CHURN
    ),
    "lms": Sampler(build=lms, grid="k", order=4, diffusers="LMSDiscreteScheduler", a1111="LMS"),
    "dpm2": Sampler(
        build=dpm2, grid="kdpm", order=2, evaluations=2, diffusers="KDPM2DiscreteScheduler", a1111="DPM2", options=CHURN
    ),
    "dpm2_a": Sampler(
        build=dpm2_a,
        grid="kdpm",
        order=2,
        evaluations=2,
        stochastic=True,
        diffusers="KDPM2AncestralDiscreteScheduler",
        a1111="DPM2 a",
        options=FRESH,
    ),
    "dpmpp_2s": Sampler(
        build=dpmpp_2s, grid="singlestep", order=2, diffusers="DPMSolverSinglestepScheduler", a1111="DPM++ 2S"
    ),
    "dpmpp_2s_a": Sampler(
        build=dpmpp_2s_a, grid="k", order=2, evaluations=2, stochastic=True, a1111="DPM++ 2S a", options=FRESH
    ),
    "dpmpp_sde": Sampler(
        build=dpmpp_sde,
        grid="k",
        order=2,
        evaluations=2,
        stochastic=True,
        diffusers="DPMSolverSDEScheduler",
        a1111="DPM++ SDE",
        options=FRESH,
    ),
    "dpmpp_2m": Sampler(build=dpmpp_2m, grid="dpm", order=2, diffusers="DPMSolverMultistepScheduler", a1111="DPM++ 2M"),
    "dpmpp_2m_sde": Sampler(
        build=dpmpp_2m_sde,
        grid="dpm",
        order=2,
        stochastic=True,
        diffusers="DPMSolverMultistepScheduler",
        a1111="DPM++ 2M SDE",
        options=FRESH,
    ),
    "dpmpp_3m": Sampler(build=dpmpp_3m, grid="dpm", order=3, diffusers="DPMSolverMultistepScheduler", a1111="DPM++ 3M"),
    "dpmpp_3m_sde": Sampler(
        build=dpmpp_3m_sde,
        grid="dpm",
        order=3,
        stochastic=True,
        diffusers="DPMSolverMultistepScheduler",
        a1111="DPM++ 3M SDE",
        options=FRESH,
    ),
    "unipc": Sampler(build=unipc, grid="unipc", order=2, diffusers="UniPCMultistepScheduler", a1111="UniPC"),
    "deis": Sampler(build=deis, grid="deis", order=2, diffusers="DEISMultistepScheduler", a1111="DEIS"),
    "ipndm": Sampler(build=ipndm, grid="k", order=4, diffusers="IPNDMScheduler", a1111="IPNDM"),
    "sa_solver": Sampler(
        build=sa_solver,
        grid="sa",
        order=2,
        stochastic=True,
        diffusers="SASolverScheduler",
        a1111="SA Solver",
        options=FRESH,
    ),
    "lcm": Sampler(build=lcm, grid="lcm", order=1, stochastic=True, diffusers="LCMScheduler", a1111="LCM"),
    "tcd": Sampler(
        build=tcd, grid="tcd", order=1, stochastic=True, diffusers="TCDScheduler", a1111="TCD", options=("eta",)
    ),
    "restart": Sampler(
        build=restart, grid="k", order=2, evaluations=2, stochastic=True, a1111="Restart", options=("s_noise",)
    ),
}
