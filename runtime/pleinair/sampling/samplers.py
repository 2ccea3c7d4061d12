"""The samplers a caller may choose from: the table, their names elsewhere, and how a scheduler config sets them up."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial
from typing import Any, NamedTuple

from pleinair.checks import number, one_line, one_of, shown
from pleinair.errors import BundleError, RequestError
from pleinair.sampling.coordinates import (
    TO_X0,
    Denoise,
    Noise,
    State,
    ancestral,
    deterministic,
    everything,
    langevin,
    move,
)
from pleinair.sampling.path import training
from pleinair.sampling.path_betas import FEW_STEP, prediction_type
from pleinair.sampling.solvers import (
    Walk,
    adams,
    bashforth,
    consistency,
    deis,
    dpm,
    dpmpp_sde,
    heun,
    midway,
    multistep,
    pndm,
    restart,
    sa_solver,
    singlestep,
    straying,
    unipc,
)

__all__ = [
    "SAMPLERS",
    "TO_X0",
    "Denoise",
    "Noise",
    "Sampler",
    "State",
    "Walk",
    "ancestral",
    "default_sampler",
    "move",
    "named",
    "pytorch_class",
    "unknown_class",
    "walker",
]

OFF = {"eta": None, "s_churn": 0.0, "s_noise": 1.0}  # what a sampler's options are where nothing is asked for
RANGES = {"eta": (0.0, 1.0), "s_churn": (0.0, 1e3), "s_noise": (0.0, 10.0)}
CHURN = ("s_churn", "s_noise")
FRESH = ("eta", "s_noise")
LONGEST = 80  # characters of a sampler's name


@dataclass(frozen=True)
class Wish:
    """How a sampler is to be set up: what its scheduler config says and what the caller asked for."""

    config: dict[str, Any] = field(default_factory=dict)
    eta: float | None = None
    churn: float = 0.0

    def order(self, default: int) -> int:
        """solver_order, 1 to 3; BundleError for others."""
        order = self.config.get("solver_order", default)
        if order not in (1, 2, 3):
            raise BundleError(f"the scheduler config's solver_order is {order!r}, not 1, 2 or 3; choose a --sampler")
        return order

    def share(self, default: float) -> float:
        """How much noise is renewed, where nothing was asked for: `default`."""
        return default if self.eta is None else self.eta

    @property
    def midpoint(self) -> bool:
        return self.config.get("solver_type") != "heun"

    @property
    def on_noise(self) -> bool:
        """Whether DPM-Solver is to extrapolate eps, as its first version did, rather than x0."""
        return self.config.get("algorithm_type") in ("dpmsolver", "sde-dpmsolver")


class Sampler(NamedTuple):
    """A sampler, the grid its path is laid on, and what users of other tools know it as."""

    build: Callable[[Wish], Walk]
    grid: str
    order: int
    evaluations: int  # network calls a step
    stochastic: bool
    diffusers: str
    a1111: str
    options: tuple[str, ...] = ()  # of eta, s_churn, s_noise

    @property
    def walk(self) -> Walk:
        """The sampler as it is without a scheduler config and options."""
        return self.build(Wish())


def _plain(walk: Walk) -> Callable[[Wish], Walk]:
    return lambda wish: walk


def _euler(wish: Wish) -> Walk:
    flow = str(wish.config.get("_class_name")).startswith("FlowMatch")
    return multistep(
        fresh=everything if flow and wish.config.get("stochastic_sampling") else deterministic, churn=wish.churn
    )


def _renewing(default: float) -> Callable[[Wish], Walk]:
    """First order with `default` or the asked-for share of ancestral noise: DDIM, Euler a."""
    return lambda wish: multistep(fresh=partial(ancestral, eta=wish.share(default)))


def _ddpm(wish: Wish) -> Walk:
    """`fixed_large` adds the noise of the whole forward stride, more than was taken away."""
    if wish.config.get("variance_type") != "fixed_large":
        return multistep(fresh=ancestral)
    return multistep(fresh=ancestral, added=lambda a, b: math.sqrt(1 - (a.alpha / b.alpha) ** 2) if a.t else 0.0)


def _heun(wish: Wish) -> Walk:
    return heun("flow" if prediction_type(wish.config) == "flow" else "epsilon", wish.churn)


def _dpm(order: int, sde: bool) -> Callable[[Wish], Walk]:
    def build(wish: Wish) -> Walk:
        memory = wish.order(order)
        if wish.on_noise and sde:
            if memory == 3:
                raise BundleError("the third order of sde-dpmsolver does not exist; choose --sampler dpmpp_3m_sde")
            return straying(dpm(-1.0, wish.midpoint), memory)
        if wish.on_noise:
            return multistep(dpm(-1.0, wish.midpoint), memory=memory, of="epsilon")
        eta = wish.share(1.0) if sde else 0.0
        return multistep(dpm(1 + eta, wish.midpoint), partial(langevin, eta=eta), memory)

    return build


def _singlestep(wish: Wish) -> Walk:
    if wish.on_noise:
        return singlestep(-1.0, wish.midpoint, of="epsilon")
    if str(wish.config.get("algorithm_type")).startswith("sde"):
        return singlestep(2.0, wish.midpoint, fresh=langevin)
    return singlestep(1.0, wish.midpoint)


def _unipc(wish: Wish) -> Walk:
    of = None if wish.config.get("predict_x0", True) else "epsilon"
    skipped = wish.config.get("disable_corrector") or ()
    return unipc(wish.order(2), of, wish.config.get("solver_type") == "bh1", skipped)


def _sa_solver(wish: Wish) -> Walk:
    orders = [wish.config.get(key, 2) for key in ("predictor_order", "corrector_order")]
    if any(order not in (1, 2, 3, 4) for order in orders):
        raise BundleError(f"the scheduler config's SA-Solver orders are {orders}, not 1 to 4; choose a --sampler")
    of = "epsilon" if wish.config.get("algorithm_type") == "noise_prediction" else None
    return sa_solver(*orders, tau=wish.share(1.0), of=of)


def _pndm(wish: Wish) -> Walk:
    kind = prediction_type(wish.config)
    trained = training({**wish.config, "rescale_betas_zero_snr": False})
    kind = kind if kind in ("v_prediction", "flow") else "epsilon"
    return pndm(kind, trained.at, wish.config.get("skip_prk_steps", True) is False)


def _lcm(wish: Wish) -> Walk:
    return consistency(float(wish.config.get("timestep_scaling", 10.0)))


def _tcd(wish: Wish) -> Walk:
    """Down to (1 - gamma) t along the ODE, up to t by new noise (Zheng et al. 2024; diffusers TCDScheduler)."""
    gamma = wish.share(0.3)
    trained = training({**FEW_STEP, **wish.config}, finite_sigma=False)

    def fresh(a: Any, b: Any) -> float:
        lower = trained.at(math.floor((1 - gamma) * b.t)).alpha
        return math.sqrt(max(1 - (b.alpha / lower) ** 2, 0.0)) if b.t else 0.0

    return multistep(fresh=fresh)


_MULTISTEP = "DPMSolverMultistepScheduler"
_DPM_CLASSES = (_MULTISTEP, "EDMDPMSolverMultistepScheduler")
SAMPLERS: dict[str, Sampler] = {
    "ddim": Sampler(_renewing(0.0), "ddim", 1, 1, False, "DDIMScheduler", "DDIM", FRESH),
    "ddpm": Sampler(_ddpm, "ddpm", 1, 1, True, "DDPMScheduler", "DDPM", ("s_noise",)),
    "pndm": Sampler(_pndm, "pndm", 4, 1, False, "PNDMScheduler", "PLMS"),
    "euler": Sampler(_euler, "euler", 1, 1, False, "EulerDiscreteScheduler", "Euler", CHURN),
    "euler_a": Sampler(
        _renewing(1.0), "ancestral", 1, 1, True, "EulerAncestralDiscreteScheduler", "Euler a", FRESH
    ),
    "heun": Sampler(_heun, "k", 2, 2, False, "HeunDiscreteScheduler", "Heun", CHURN),
    "lms": Sampler(
        _plain(multistep(adams, memory=4, of="epsilon")), "k", 4, 1, False, "LMSDiscreteScheduler", "LMS"
    ),
    "dpm2": Sampler(
        lambda wish: midway(of="epsilon", churn=wish.churn),
        "kdpm", 2, 2, False, "KDPM2DiscreteScheduler", "DPM2", CHURN,
    ),
    "dpm2_a": Sampler(
        lambda wish: midway(partial(ancestral, eta=wish.share(1.0)), of="epsilon"),
        "kdpm", 2, 2, True, "KDPM2AncestralDiscreteScheduler", "DPM2 a", FRESH,
    ),
    "dpmpp_2s": Sampler(_singlestep, "singlestep", 2, 1, False, "DPMSolverSinglestepScheduler", "DPM++ 2S"),
    "dpmpp_2s_a": Sampler(
        lambda wish: midway(partial(ancestral, eta=wish.share(1.0))),
        "k", 2, 2, True, "", "DPM++ 2S a", FRESH,
    ),
    "dpmpp_sde": Sampler(
        lambda wish: dpmpp_sde(wish.share(1.0)),
        "k", 2, 2, True, "DPMSolverSDEScheduler", "DPM++ SDE", FRESH,
    ),
    "dpmpp_2m": Sampler(_dpm(2, sde=False), "dpm", 2, 1, False, _MULTISTEP, "DPM++ 2M"),
    "dpmpp_2m_sde": Sampler(_dpm(2, sde=True), "dpm", 2, 1, True, _MULTISTEP, "DPM++ 2M SDE", FRESH),
    "dpmpp_3m": Sampler(_dpm(3, sde=False), "dpm", 3, 1, False, _MULTISTEP, "DPM++ 3M"),
    "dpmpp_3m_sde": Sampler(_dpm(3, sde=True), "dpm", 3, 1, True, _MULTISTEP, "DPM++ 3M SDE", FRESH),
    "unipc": Sampler(_unipc, "unipc", 2, 1, False, "UniPCMultistepScheduler", "UniPC"),
    "deis": Sampler(
        lambda wish: multistep(deis, memory=wish.order(2), of="epsilon"),
        "deis", 2, 1, False, "DEISMultistepScheduler", "DEIS",
    ),
    "ipndm": Sampler(
        _plain(multistep(bashforth, memory=4, of="epsilon")), "k", 4, 1, False, "IPNDMScheduler", "IPNDM"
    ),
    "sa_solver": Sampler(_sa_solver, "sa", 2, 1, True, "SASolverScheduler", "SA Solver", FRESH),
    "lcm": Sampler(_lcm, "lcm", 1, 1, True, "LCMScheduler", "LCM"),
    "tcd": Sampler(_tcd, "tcd", 1, 1, True, "TCDScheduler", "TCD", ("eta",)),
    "restart": Sampler(_plain(restart), "k", 2, 2, True, "", "Restart", ("s_noise",)),
}  # fmt: skip

CLASSES = {
    **{sampler.diffusers: name for name, sampler in SAMPLERS.items() if sampler.diffusers not in ("", _MULTISTEP)},
    "DDIMParallelScheduler": "ddim",
    "DDPMParallelScheduler": "ddpm",
    "EDMEulerScheduler": "euler",
    "FlowMatchEulerDiscreteScheduler": "euler",
    "FlowMatchHeunDiscreteScheduler": "heun",
}
PORTS = ("Flax", "OneFlow")  # frameworks that diffusers' classes were ported to, the same but for this before the name
OF_ITS_CLASS = (  # what a config says about a solver counts for the sampler it means; another one is what its name says
    "solver_order",
    "algorithm_type",
    "predict_x0",
    "disable_corrector",
    "predictor_order",
    "corrector_order",
)
OTHER_NAMES = {  # as `_bare` writes them
    "plms": "pndm",
    "eulerancestral": "euler_a",
    "ddimtrailing": "ddim,trailing",
    "dpm2ancestral": "dpm2_a",
    "kdpm2": "dpm2",
    "kdpm2a": "dpm2_a",
    "dpmpp2sancestral": "dpmpp_2s_a",
    "unipcbh2": "unipc",
}
SUFFIXES = {  # as `_bare` writes them -> spacing; A1111's schedule types, and the k of InvokeAI
    "karras": "karras",
    "exponential": "exponential",
    "polyexponential": "polyexponential",
    "beta": "beta",
    "lu": "lu",
    "sgmuniform": "sgm_uniform",
    "ddimuniform": "ddim_uniform",
    "simple": "simple",
    "normal": "normal",
    "kloptimal": "kl_optimal",
    "alignyoursteps": "ays",
    "ays": "ays",
    "trailing": "trailing",
    "k": "karras",
}


def pytorch_class(name: str) -> str:
    """The name in PyTorch of a scheduler class, which ports to other frameworks write before it: FlaxDDIMScheduler."""
    for port in PORTS:
        plain = name.removeprefix(port)
        if plain in CLASSES or plain in _DPM_CLASSES:
            return plain
    return name


def default_sampler(config: dict[str, Any]) -> str:
    """The sampler that a diffusers scheduler config means; BundleError for a class that this version does not know."""
    name = _meant(config)
    if name is None:
        raise BundleError(
            f"the scheduler class {shown(config.get('_class_name'))} is not known; choose one with --sampler"
        )
    return name


def unknown_class(config: dict[str, Any], sampler: str) -> list[str]:
    """A warning where the config names a class that no sampler is like, so that `sampler` only stands in for it."""
    if config.get("_class_name") is None or _meant(config) is not None:
        return []
    return [
        f"the model's scheduler class {shown(config['_class_name'])} is not known; painted with '{sampler}' instead,"
        " the picture may differ"
    ]


def _meant(config: dict[str, Any]) -> str | None:
    kind = config.get("_class_name")
    if not isinstance(kind, str):
        return None
    kind = pytorch_class(kind)
    if kind in _DPM_CLASSES:
        third = "3m" if config.get("solver_order") == 3 else "2m"
        return f"dpmpp_{third}" + ("_sde" if str(config.get("algorithm_type")).startswith("sde") else "")
    return CLASSES.get(kind)


def walker(
    sampler: str, config: dict[str, Any], *, eta: float | None = None, s_churn: float = 0.0, s_noise: float = 1.0
) -> Walk:
    """The sampler as the scheduler config says and as asked: walk(denoise, x, path, noise) -> Iterator[State].

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
    if _meant(config) != sampler:
        config = {key: value for key, value in config.items() if key not in OF_ITS_CLASS}
    walk = found.build(Wish(config, eta, s_churn))
    if s_noise == 1.0:
        return walk
    return lambda denoise, x, path, noise: walk(denoise, x, path, lambda: s_noise * noise())


def named(name: str) -> tuple[str, str | None]:
    """(sampler, spacing or None) of a name from here, A1111, stable-diffusion.cpp, ComfyUI or InvokeAI, in any case.

    Raises RequestError with the nearest name.
    """
    known = {_bare(own): own for own in SAMPLERS} | {_bare(info.a1111): own for own, info in SAMPLERS.items()}
    known |= OTHER_NAMES
    bare = _bare(one_line(name, LONGEST))
    for suffix in ("", *sorted(SUFFIXES, key=len, reverse=True)):
        if bare.endswith(suffix) and (found := known.get(bare.removesuffix(suffix))):
            sampler, _, spacing = found.partition(",")
            return sampler, SUFFIXES.get(suffix) or spacing or None
    near = get_close_matches(bare, [own + suffix for own in known for suffix in ("", *SUFFIXES)], n=1)
    hint = f"did you mean '{named(near[0])[0]}'? " if near else ""
    raise RequestError(f"unknown sampler '{one_line(name, LONGEST)}'; {hint}choose from {', '.join(SAMPLERS)}")


def _bare(name: str) -> str:
    return re.sub(r"[\s_-]", "", name.lower()).replace("+", "p")
