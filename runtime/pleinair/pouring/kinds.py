"""What a single file is, told from the names and the shapes of its tensors alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from pleinair.errors import ExportError
from pleinair.pouring.checkpoints import Shape
from pleinair.sources.families import SUPPORTED

NETWORK = "model.diffusion_model."
FIRST = f"{NETWORK}input_blocks.0.0.weight"  # (320, channels, 3, 3)
MIDDLE = f"{NETWORK}middle_block.1.proj_in.weight"
CROSS = f"{NETWORK}input_blocks.2.1.transformer_blocks.0.attn2.to_k.weight"  # (320, width of the text)
OPEN_CLIP = "conditioner.embedders.{}.model.transformer.resblocks.9.mlp.c_proj.bias"
PREFIXES = {  # component -> what its tensors' names begin with in a single file
    "unet": (NETWORK,),
    "vae": ("first_stage_model.", "vae."),
    "text_encoder": ("cond_stage_model.transformer.", "cond_stage_model.model."),
}
OPEN = "cond_stage_model.model."  # has OpenCLIP's names
BETAS: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "set_alpha_to_one": False,
    "steps_offset": 1,
}
PNDM = {"_class_name": "PNDMScheduler", "skip_prk_steps": True, **BETAS}
DDIM = {"_class_name": "DDIMScheduler", "clip_sample": False, **BETAS}


@dataclass(frozen=True)
class Mark:
    """A tensor that is there, whose side at `axis` is `size`; or that is not there. A name may hold a "*"."""

    name: str
    axis: int = 0
    size: int | None = None
    absent: bool = False

    def seen(self, shapes: Mapping[str, Shape]) -> bool:
        if "*" in self.name:
            return any(fnmatchcase(name, self.name) for name in shapes) != self.absent
        shape = shapes.get(self.name)
        if shape is None or self.absent:
            return (shape is None) == self.absent
        return self.size is None or (len(shape) > self.axis and shape[self.axis] == self.size)


@dataclass(frozen=True)
class Kind:
    """What a file with all these marks is; one that cannot be poured has a `remedy`.

    `model` is of ARCHITECTURES, `pipeline` the class at diffusers. `asked`: its files do not say what it predicts.
    """

    name: str
    marks: tuple[Mark, ...]
    model: str = ""
    pipeline: str = "StableDiffusionPipeline"
    unet: Mapping[str, Any] | None = None  # what its UNet's config has otherwise than the model's
    asked: bool = False
    pad: str = "<|endoftext|>"
    remedy: str = ""


BASE_SIZE = {"sample_size": 64}  # of latents; the models of SD 2 that predict velocities have 96
EXPORT = "export its diffusers folder with PyTorch: pleinair export FOLDER OUT"
OTHER = f"choose a model of {SUPPORTED}"
SD1, SD2 = Mark(CROSS, 1, 768), Mark(CROSS, 1, 1024)
SMALL = Mark(MIDDLE, absent=True)
INPAINT, EDIT = "StableDiffusionInpaintPipeline", "StableDiffusionInstructPix2PixPipeline"
BASE, REFINER = Mark(OPEN_CLIP.format(1)), Mark(OPEN_CLIP.format(0))

KINDS = (  # the first whose marks are all seen: what is more particular stands before what it could be taken for
    *(
        Kind("an adapter (LoRA), not a model", (Mark(name),), remedy="give the model that it was made for")
        for name in ("*lora_*", "*.lora_A.*", "*.hada_w*", "*.lokr_w*", "*.oft_*", "*dora_scale*")
    ),
    Kind("a ControlNet, not a model", (Mark("control_model.*"),), remedy="give a model"),
    Kind("a ControlNet, not a model", (Mark("controlnet_cond_embedding.*"),), remedy="give a model"),
    Kind("a model of scaled 8-bit weights", (Mark("*scaled_fp8"),), remedy="choose the file of 16-bit weights"),
    Kind("Playground 2.5", (Mark("edm_mean"),), remedy=EXPORT),
    Kind("Stable Diffusion 3", (Mark("*joint_blocks.0.context_block.*"),), remedy=OTHER),
    Kind("FLUX", (Mark("*double_blocks.0.img_attn.*"),), remedy=OTHER),
    Kind("SSD-1B or Vega", (BASE, SMALL), remedy=EXPORT),
    Kind("Stable Diffusion XL for inpainting", (BASE, Mark(FIRST, 1, 9)), remedy=EXPORT),
    Kind("Stable Diffusion XL for editing", (BASE, Mark(FIRST, 1, 8)), remedy=EXPORT),
    Kind("Stable Diffusion XL", (BASE,), remedy=EXPORT),
    Kind("the refiner of Stable Diffusion XL", (REFINER,), remedy=OTHER),
    Kind("a small Stable Diffusion 2 (BK-SDM, SDXS)", (SD2, SMALL), remedy=EXPORT),
    Kind("Stable Diffusion 2 for editing", (SD2, Mark(FIRST, 1, 8)), remedy=EXPORT),
    Kind(
        "Stable Diffusion 2 for inpainting",
        (SD2, Mark(FIRST, 1, 9)),
        "sd21",
        INPAINT,
        {"in_channels": 9} | BASE_SIZE,
        pad="!",
    ),
    Kind("Stable Diffusion 2", (SD2, Mark(FIRST, 1, 4)), "sd21", asked=True, pad="!"),
    Kind("a small Stable Diffusion 1 (BK-SDM, tiny-sd, SDXS)", (SD1, SMALL), remedy=EXPORT),
    Kind("instruct-pix2pix", (SD1, Mark(FIRST, 1, 8)), "sd15", EDIT, {"in_channels": 8}),
    Kind("Stable Diffusion 1 for inpainting", (SD1, Mark(FIRST, 1, 9)), "sd15", INPAINT, {"in_channels": 9}),
    Kind("Stable Diffusion 1", (SD1, Mark(FIRST, 1, 4)), "sd15"),
    Kind(
        "a VAE, not a model", (Mark("*encoder.conv_in.weight"), Mark(FIRST, absent=True)), remedy="give it with --vae"
    ),
    Kind("a UNet alone", (Mark("down_blocks.0.*"),), remedy="put it into the diffusers folder of its model"),
    Kind("a UNet alone", (Mark("input_blocks.0.0.weight"),), remedy="put it into the diffusers folder of its model"),
)


def kind_of(shapes: Mapping[str, Shape], shown: str) -> Kind:
    """What a file of these tensors is; raises ExportError for what cannot be poured, and for what is not known."""
    kind = next((kind for kind in KINDS if all(mark.seen(shapes) for mark in kind.marks)), None)
    if kind is None:
        raise ExportError(f"'{shown}' is no model that is known by its weights' names and sizes; {OTHER}")
    if kind.remedy:
        raise ExportError(f"'{shown}' is {kind.name}, which cannot be poured; {kind.remedy}")
    return kind
