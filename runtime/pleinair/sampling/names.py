"""Samplers under the names that other tools have for them: diffusers' classes, A1111's labels, ComfyUI's and more."""

import re
from difflib import get_close_matches
from typing import Any

from pleinair.checks import one_line, shown_value
from pleinair.errors import BundleError, RequestError
from pleinair.sampling.samplers import SAMPLERS
from pleinair.sampling.spacings import SPACINGS

LONGEST = 80  # characters of a sampler's name
MULTISTEP_CLASSES = ("DPMSolverMultistepScheduler", "EDMDPMSolverMultistepScheduler")  # four samplers, by their config
CLASSES = {
    **{info.diffusers: own for own, info in SAMPLERS.items() if info.diffusers not in ("", *MULTISTEP_CLASSES)},
    "DDIMParallelScheduler": "ddim",
    "DDPMParallelScheduler": "ddpm",
    "EDMEulerScheduler": "euler",
    "FlowMatchEulerDiscreteScheduler": "euler",
    "FlowMatchHeunDiscreteScheduler": "heun",
    "SCMScheduler": "lcm",
}
PORTS = ("Flax", "OneFlow")  # frameworks that diffusers' classes were ported to, the same but for this before the name
OTHER_NAMES = {  # as `bare` writes them -> a sampler, or a sampler and its spacing
    "plms": "pndm",
    "eulerancestral": "euler_a",
    "ddimtrailing": "ddim,trailing",
    "dpm2ancestral": "dpm2_a",
    "kdpm2": "dpm2",
    "kdpm2a": "dpm2_a",
    "dpmpp2sancestral": "dpmpp_2s_a",
    "unipcbh2": "unipc",
}
SUFFIXES = {  # as `bare` writes them -> spacing; A1111's schedule types, and the k of InvokeAI
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

LABELS = {name: info.a1111 for name, info in SAMPLERS.items()}
SCHEDULE_TYPES = {name: name.replace("_", " ").capitalize() for name in SPACINGS} | {  # spacing -> what A1111 calls it
    "leading": "Automatic",
    "linspace": "Uniform",
    "trailing": "SGM Uniform",
    "sgm_uniform": "SGM Uniform",
    "ddim_uniform": "DDIM",
    "kl_optimal": "KL Optimal",
    "ays": "Align Your Steps",
}


def sampler_named(name: str) -> tuple[str, str | None]:
    """(sampler, spacing or None) of a name from here, A1111, stable-diffusion.cpp, ComfyUI or InvokeAI, in any case.

    Raises RequestError with the nearest name.
    """
    known = {bare(own): own for own in SAMPLERS} | {bare(label): own for own, label in LABELS.items()}
    known |= OTHER_NAMES
    wanted = bare(one_line(name, LONGEST))
    for suffix in ("", *sorted(SUFFIXES, key=len, reverse=True)):
        if wanted.endswith(suffix) and (found := known.get(wanted.removesuffix(suffix))):
            sampler, _, spacing = found.partition(",")
            return sampler, SUFFIXES.get(suffix) or spacing or None
    near = get_close_matches(wanted, [own + suffix for own in known for suffix in ("", *SUFFIXES)], n=1)
    hint = f"did you mean '{sampler_named(near[0])[0]}'? " if near else ""
    raise RequestError(f"unknown sampler '{one_line(name, LONGEST)}'; {hint}choose from {', '.join(SAMPLERS)}")


def bare(name: str) -> str:
    """A name without what its writers spell differently: "DPM++ 2M Karras" -> dpmpp2mkarras."""
    return re.sub(r"[\s_-]", "", name.lower()).replace("+", "p")


def pytorch_class(name: str) -> str:
    """The name in PyTorch of a scheduler class, which ports to other frameworks write before it: FlaxDDIMScheduler."""
    for port in PORTS:
        plain = name.removeprefix(port)
        if plain in CLASSES or plain in MULTISTEP_CLASSES:
            return plain
    return name


def default_sampler(config: dict[str, Any]) -> str:
    """The sampler that a diffusers scheduler config means; BundleError for a class that this version does not know."""
    name = meant(config)
    if name is None:
        raise BundleError(
            f"the scheduler class {shown_value(config.get('_class_name'))} is not known; choose one with --sampler"
        )
    return name


def unknown_class(config: dict[str, Any], sampler: str) -> list[str]:
    """A warning where the config names a class that no sampler is like, so that `sampler` only stands in for it."""
    if config.get("_class_name") is None or meant(config) is not None:
        return []
    return [
        f"the model's scheduler class {shown_value(config['_class_name'])} is not known; painted with '{sampler}'"
        " instead, the picture may differ"
    ]


def meant(config: dict[str, Any]) -> str | None:
    """The sampler that a config's class is like, if any."""
    kind = config.get("_class_name")
    if not isinstance(kind, str):
        return None
    kind = pytorch_class(kind)
    if kind in MULTISTEP_CLASSES:
        third = "3m" if config.get("solver_order") == 3 else "2m"
        return f"dpmpp_{third}" + ("_sde" if str(config.get("algorithm_type")).startswith("sde") else "")
    return CLASSES.get(kind)
