"""What each family of pipelines consists of, as data: a new family is a row here and, at most, a Spec in graphs.py."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pleinair.sampling.names import pytorch_class
from pleinair_export.quiet import quiet


@dataclass(frozen=True)
class Family:
    """Diffusers pipeline classes of equal parts: component folder -> the class it must have, and its graphs."""

    pipelines: tuple[str, ...]
    components: dict[str, tuple[str, tuple[str, ...]]]
    tokenizers: tuple[str, ...]


STABLE_DIFFUSION = Family(
    pipelines=("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline"),
    components={
        "text_encoder": ("CLIPTextModel", ("text_encoder",)),
        "unet": ("UNet2DConditionModel", ("unet",)),
        "vae": ("AutoencoderKL", ("vae_encoder", "vae_decoder")),
    },
    tokenizers=("tokenizer",),
)

FAMILIES = {pipeline: family for family in (STABLE_DIFFUSION,) for pipeline in family.pipelines}

STEPS, GUIDANCE = 20, 7.5
FEW_STEPS = {  # scheduler class of a distilled model -> its steps and guidance: most of the guidance is trained in
    "LCMScheduler": (4, 1.5),
    "TCDScheduler": (4, 1.0),
}

# Key -> whether a value is one that diffusers' pipelines write over, and what with. They compare as written here.
OVERWRITTEN: dict[str, tuple[Callable[[Any], bool], Any]] = {
    "steps_offset": (lambda value: value != 1, 1),
    "clip_sample": (lambda value: value is True, False),
    "skip_prk_steps": (lambda value: value is False, True),
}
WITHOUT_PACKAGES = {"DPMSolverSDEScheduler": {"steps_offset": 0}}  # diffusers hides it where torchsde is absent
OVERWRITES = {  # pipeline class -> the keys that its constructor sees to; those of other families leave them alone
    "StableDiffusionPipeline": ("steps_offset", "clip_sample"),
    "StableDiffusionImg2ImgPipeline": ("steps_offset", "clip_sample"),
    "StableDiffusionInpaintPipeline": ("steps_offset", "skip_prk_steps"),
}


def generation(unet: dict[str, Any]) -> str:
    """ "sd1" or "sd2" from the UNet's config: SD 2 projects with linear layers and reads a text of width 1024."""
    second = unet.get("use_linear_projection") or unet.get("cross_attention_dim", 0) == 1024
    return "sd2" if second else "sd1"


def tasks(unet: dict[str, Any], latents: int) -> tuple[str, ...]:
    """What a UNet can do: any repaints under a mask, and one that reads the mask itself does only that."""
    return ("text2image", "image2image", "inpaint") if unet.get("in_channels", 4) == latents else ("inpaint",)


def habits(scheduler: dict[str, Any], sampler: str) -> tuple[str, int, float]:
    """(sampler, steps, guidance) to paint with unless told, for the scheduler config a model was published with."""
    return sampler, *FEW_STEPS.get(str(scheduler.get("_class_name")), (STEPS, GUIDANCE))


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
    said = {**class_defaults(kind), **config}
    wrong = {key: OVERWRITTEN[key] for key in OVERWRITES.get(pipeline, ()) if key in said}
    return {
        **config,
        "_class_name": kind,
        **{key: right for key, (is_wrong, right) in wrong.items() if is_wrong(said[key])},
    }


def class_defaults(kind: str) -> dict[str, Any]:
    """What a scheduler class of diffusers takes where its config is silent; nothing for other names."""
    if kind in WITHOUT_PACKAGES:
        return WITHOUT_PACKAGES[kind]
    with quiet():
        from diffusers import schedulers

        found = getattr(schedulers, kind, None) if kind.endswith("Scheduler") else None
        parameters = inspect.signature(found.__init__).parameters if inspect.isclass(found) else {}
    return {name: each.default for name, each in parameters.items() if each.default is not inspect.Parameter.empty}
