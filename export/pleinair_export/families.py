"""What each family of pipelines consists of, as data: a new family is a row here and, at most, a Spec in graphs.py."""

from dataclasses import dataclass
from typing import Any

from pleinair.errors import BundleError
from pleinair.sampling import default_sampler


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

SAMPLER, STEPS, GUIDANCE = "dpmpp_2m", 20, 7.5  # the sampler where the published one is not among ours
FEW_STEPS = {  # scheduler class of a distilled model -> its steps and guidance: most of the guidance is trained in
    "LCMScheduler": (4, 1.5),
    "TCDScheduler": (4, 1.0),
}


def generation(unet: dict[str, Any]) -> str:
    """ "sd1" or "sd2" from the UNet's config: SD 2 projects with linear layers and reads a text of width 1024."""
    second = unet.get("use_linear_projection") or unet.get("cross_attention_dim", 0) == 1024
    return "sd2" if second else "sd1"


def tasks(unet: dict[str, Any], latents: int) -> tuple[str, ...]:
    """What a UNet can do: any repaints under a mask, and one that reads the mask itself does only that."""
    return ("text2image", "image2image", "inpaint") if unet.get("in_channels", 4) == latents else ("inpaint",)


def habits(scheduler: dict[str, Any]) -> tuple[str, int, float]:
    """(sampler, steps, guidance) to paint with unless told, for the scheduler config a model was published with."""
    try:
        sampler = default_sampler(scheduler)
    except BundleError:
        sampler = SAMPLER
    return sampler, *FEW_STEPS.get(str(scheduler.get("_class_name")), (STEPS, GUIDANCE))
