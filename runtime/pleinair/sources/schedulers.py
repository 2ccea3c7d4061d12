"""What diffusers' pipelines do to a scheduler config, and how a model is painted with unless told."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pleinair.sampling.names import pytorch_class
from pleinair.sampling.scheduler_config import is_flow_match, trained_as
from pleinair.sources.describing import Described
from pleinair.sources.transformers import kind_of

STEPS = 20


@dataclass(frozen=True)
class Habits:
    """What a model is painted with unless told; `timesteps`, of those that walk no others, are as many as `steps`."""

    steps: int
    guidance: float
    timesteps: tuple[Any, ...] | None = None


FEW_STEPS = {  # by the scheduler class of distilled models: most of the guidance is trained in
    "LCMScheduler": Habits(steps=4, guidance=1.5),
    "TCDScheduler": Habits(steps=4, guidance=1.0),
}
CARD_GUIDANCE = {"EDMDPMSolverMultistepScheduler": 3.0}  # scheduler class of Playground v2.5, which its card says
EMBEDDED = Habits(steps=4, guidance=8.5)  # where the network itself is told the guidance
DISTILLED = {"epsilon": 4, "sample": 1}  # what is predicted by models that begin at the last timestep -> their steps
NO_GUIDANCE = 1.0


def is_not_one(value: Any) -> bool:
    return value != 1


def is_true(value: Any) -> bool:
    return value is True


def is_false(value: Any) -> bool:
    return value is False


@dataclass(frozen=True)
class Overwritten:
    """A key of a config that diffusers' pipelines write over, where its value is wrong: they compare as said here."""

    wrong: Callable[[Any], bool]
    by: Any


OVERWRITTEN = {
    "steps_offset": Overwritten(wrong=is_not_one, by=1),
    "clip_sample": Overwritten(wrong=is_true, by=False),
    "skip_prk_steps": Overwritten(wrong=is_false, by=True),
}
OFFSET = {"steps_offset": 0}
DEFAULTS: dict[str, dict[str, Any]] = {  # what a class of diffusers takes for OVERWRITTEN where its config is silent
    "CogVideoXDDIMScheduler": OFFSET | {"clip_sample": True},
    "CogVideoXDPMScheduler": OFFSET | {"clip_sample": True},
    "DDIMInverseScheduler": OFFSET | {"clip_sample": True},
    "DDIMParallelScheduler": OFFSET | {"clip_sample": True},
    "DDIMScheduler": OFFSET | {"clip_sample": True},
    "DDPMParallelScheduler": OFFSET | {"clip_sample": True},
    "DDPMScheduler": OFFSET | {"clip_sample": True},
    "DEISMultistepScheduler": OFFSET,
    "DPMSolverMultistepInverseScheduler": OFFSET,
    "DPMSolverMultistepScheduler": OFFSET,
    "DPMSolverSDEScheduler": OFFSET,
    "EulerAncestralDiscreteScheduler": OFFSET,
    "EulerDiscreteScheduler": OFFSET,
    "HeunDiscreteScheduler": OFFSET | {"clip_sample": False},
    "KDPM2AncestralDiscreteScheduler": OFFSET,
    "KDPM2DiscreteScheduler": OFFSET,
    "LCMScheduler": OFFSET | {"clip_sample": False},
    "LMSDiscreteScheduler": OFFSET,
    "PNDMScheduler": OFFSET | {"skip_prk_steps": False},
    "RePaintScheduler": {"clip_sample": True},
    "SASolverScheduler": OFFSET,
    "TCDScheduler": OFFSET | {"clip_sample": False},
    "UnCLIPScheduler": {"clip_sample": True},
    "UniPCMultistepScheduler": OFFSET,
}
OVERWRITES = {  # pipeline class -> the keys that its constructor sees to; those of other families leave them alone
    "StableDiffusionPipeline": ("steps_offset", "clip_sample"),
    "StableDiffusionImg2ImgPipeline": ("steps_offset", "clip_sample"),
    "StableDiffusionInpaintPipeline": ("steps_offset", "skip_prk_steps"),
}
SPACED = {"FluxPipeline": "trailing"}  # pipelines that lay FlowMatchEuler's sigmas themselves


def habits(model: Described, scheduler: dict[str, Any]) -> Habits:
    """The habits of a model that was published with a scheduler config."""
    return HABITS[model.family.denoiser.folder](model, scheduler)


def unet_habits(model: Described, scheduler: dict[str, Any]) -> Habits:
    """Those of a model with a UNet.

    Models distilled to a few steps tell themselves: by the class of their scheduler, by a list of timesteps in its
    config, or by beginning at the last timestep without zero signal there (Turbo, Lightning).
    """
    few = DISTILLED.get(scheduler.get("prediction_type", "epsilon"))
    begins_last = scheduler.get("timestep_spacing") == "trailing" and not scheduler.get("rescale_betas_zero_snr")
    listed, embedded = scheduler.get("timesteps"), model.rules.guidance(model) == "embedded"
    if isinstance(listed, list) and listed:
        return Habits(len(listed), EMBEDDED.guidance if embedded else NO_GUIDANCE, tuple(listed))
    if embedded:
        return EMBEDDED
    if scheduler.get("_class_name") in FEW_STEPS:
        return FEW_STEPS[scheduler["_class_name"]]
    if few and begins_last and trained_as(scheduler) == "betas":
        return Habits(few, NO_GUIDANCE)
    return Habits(STEPS, CARD_GUIDANCE.get(scheduler.get("_class_name"), model.family.guidance))


def transformer_habits(model: Described, scheduler: dict[str, Any]) -> Habits:
    """Those of its pipeline in diffusers."""
    return Habits(*kind_of(model).defaults(model.network, scheduler))


HABITS = {"unet": unet_habits, "transformer": transformer_habits}  # folder of the network of the loop -> its habits


def as_walked(config: dict[str, Any], pipeline: str, entry: Any) -> dict[str, Any]:
    """The scheduler config that diffusers' `pipeline` walks by.

    Its class is that of model_index.json, `entry`, whatever the config says; and what the constructor of the pipeline
    writes over the config, or over the class's own default where the config is silent, is written here.
    """
    named = entry[1] if isinstance(entry, list) and len(entry) == 2 and isinstance(entry[1], str) else None
    kind = named or config.get("_class_name")
    if not isinstance(kind, str):
        return config
    kind = pytorch_class(kind)
    if is_flow_match(kind):  # which has no timestep spacing of its own
        laid = {"timestep_spacing": SPACED[pipeline]} if pipeline in SPACED else {}
        config = {key: value for key, value in config.items() if key != "timestep_spacing"} | laid
    said = {**DEFAULTS.get(kind, {}), **config}
    seen = {key: OVERWRITTEN[key] for key in OVERWRITES.get(pipeline, ()) if key in said}
    right = {key: each.by for key, each in seen.items() if each.wrong(said[key])}
    return {**config, "_class_name": kind, **right}
