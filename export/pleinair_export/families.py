"""What each family of pipelines consists of, as data; a new family is a new row and, at most, a new Spec in graphs.py."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """One diffusers pipeline class: component folder -> the class it must have, and the graphs made from it, in order."""

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

SAMPLERS = {
    "DDIMScheduler": "ddim",
    "EulerDiscreteScheduler": "euler",
    "EulerAncestralDiscreteScheduler": "euler_a",
    "DPMSolverMultistepScheduler": "dpmpp_2m",
}
DEFAULT_SAMPLER = "dpmpp_2m"


def generation(unet: dict) -> str:
    """"sd1" or "sd2" from the UNet's config: SD 2 projects with linear layers and reads a text of width 1024."""
    second = unet.get("use_linear_projection") or unet.get("cross_attention_dim", 0) == 1024
    return "sd2" if second else "sd1"


def sampler(scheduler: dict) -> str:
    """The sampler that stands for the scheduler class a model was published with."""
    return SAMPLERS.get(scheduler.get("_class_name", ""), DEFAULT_SAMPLER)
