"""What each family of pipelines consists of, as data: a new family is a row here and, at most, a Spec in graphs.py."""

from dataclasses import dataclass
from typing import Any

from pleinair.sampling import SAMPLERS


@dataclass(frozen=True)
class Family:
    """One diffusers pipeline class: component folder -> the class it must have, and the graphs made from it."""

    pipeline: str
    components: dict[str, tuple[str, tuple[str, ...]]]
    tokenizers: tuple[str, ...]


STABLE_DIFFUSION = Family(
    pipeline="StableDiffusionPipeline",
    components={
        "text_encoder": ("CLIPTextModel", ("text_encoder",)),
        "unet": ("UNet2DConditionModel", ("unet",)),
        "vae": ("AutoencoderKL", ("vae_encoder", "vae_decoder")),
    },
    tokenizers=("tokenizer",),
)

FAMILIES = {family.pipeline: family for family in (STABLE_DIFFUSION,)}

DEFAULT_SAMPLER = "dpmpp_2m"


def generation(unet: dict[str, Any]) -> str:
    """ "sd1" or "sd2" from the UNet's config: SD 2 projects with linear layers and reads a text of width 1024."""
    second = unet.get("use_linear_projection") or unet.get("cross_attention_dim", 0) == 1024
    return "sd2" if second else "sd1"


def sampler(scheduler: dict[str, Any]) -> str:
    """Our sampler for the scheduler config a model was published with, where we have it."""
    if scheduler.get("_class_name") == "DPMSolverMultistepScheduler":
        if scheduler.get("algorithm_type") == "sde-dpmsolver++":
            return "dpmpp_2m_sde"
        return "dpmpp_3m" if scheduler.get("solver_order") == 3 else "dpmpp_2m"
    kinds = {info.diffusers: name for name, info in SAMPLERS.items()}
    return kinds.get(scheduler.get("_class_name"), DEFAULT_SAMPLER)
