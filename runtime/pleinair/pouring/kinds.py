"""What a single file is, told from the names and the shapes of its tensors alone.

The marks of a component are those of diffusers' names below its folder's ("unet."), so that they hold for every
numbering of blocks and for files in diffusers' own names.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from pleinair.errors import ExportError
from pleinair.pouring.checkpoints import Shape
from pleinair.pouring.scales import WIDER
from pleinair.sources.families import SUPPORTED

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
EULER = {"_class_name": "EulerDiscreteScheduler", "timestep_spacing": "leading", **BETAS}
ANCESTRAL = {"_class_name": "EulerAncestralDiscreteScheduler", **BETAS}
LCM = {**BETAS, "_class_name": "LCMScheduler", "original_inference_steps": 50, "set_alpha_to_one": True}
EDM = {  # of Playground 2.5
    "_class_name": "EDMDPMSolverMultistepScheduler",
    "sigma_min": 0.002,
    "sigma_max": 80.0,
    "sigma_data": 0.5,
    "algorithm_type": "dpmsolver++",
    "solver_order": 2,
    "solver_type": "midpoint",
    "rho": 7.0,
    "final_sigmas_type": "zero",
    "lower_order_final": True,
    "euler_at_final": False,
}
ONE_STEP = {"_class_name": "EulerDiscreteScheduler", "timestep_spacing": "trailing", **BETAS}  # of SDXS
EDM_V = {"_class_name": "EDMEulerScheduler", "sigma_min": 0.002, "sigma_max": 120.0, "sigma_data": 1.0}  # of CosXL


@dataclass(frozen=True)
class Mark:
    """A tensor that is there, whose side at `axis` is `size`; or that is not there. A name may hold a "*"."""

    name: str
    axis: int = 0
    size: int | None = None
    absent: bool = False

    def seen(self, shapes: Mapping[str, Shape]) -> bool:
        names: Iterable[str] = [self.name] if self.name in shapes else ()
        if "*" in self.name:
            names = (name for name in shapes if fnmatchcase(name, self.name))
        return any(self.size is None or shapes[name][self.axis : self.axis + 1] == (self.size,) for name in names) != (
            self.absent
        )


@dataclass(frozen=True)
class FileKind:
    """What a file with all these marks is; one that is no model has a `remedy`.

    `model` is of ARCHITECTURES, `pipeline` the class at diffusers. `asked`: its files do not say what it predicts.
    """

    name: str
    marks: tuple[Mark, ...]
    model: str = ""
    pipeline: str = "StableDiffusionPipeline"
    unet: Mapping[str, Any] = field(default_factory=dict)  # what its UNet's config has otherwise than the model's
    vae: Mapping[str, Any] = field(default_factory=dict)  # the same of its VAE's
    index: Mapping[str, Any] = field(default_factory=dict)  # what its model_index.json says besides its components
    scheduler: Mapping[str, Any] | None = None  # where it is not PNDM's, or DDIM's for velocities
    predicts: str = "epsilon"
    defaults: Mapping[str, Any] = field(default_factory=dict)  # of painting, where its scheduler does not say them
    asked: bool = False
    pads: Mapping[str, str] = field(default_factory=dict)  # by tokenizer folder, where it is not the end of the text
    remedy: str = ""


BASE_SIZE = {"sample_size": 64}  # of latents; the models of SD 2 that predict velocities have 96
OTHER = f"choose a model of {SUPPORTED}"
FOLDER = "export its diffusers folder with PyTorch: pleinair export FOLDER OUT"
OF_MODEL = "give the model that it was made for"
WHOLE = "choose a file of the whole model"
BESIDE = "pour it by itself, and paint with it, with --control of generate"
AS_WORD = "paint with it, with --embedding of generate"
UNET_ALONE = "give it to the model that it was made for: pleinair pour MODEL OUT --unet FILE"
INPAINT, EDIT = "StableDiffusionInpaintPipeline", "StableDiffusionInstructPix2PixPipeline"
XL_PIPELINE, XL_INPAINT = "StableDiffusionXLPipeline", "StableDiffusionXLInpaintPipeline"
XL_EDIT, REFINING = "StableDiffusionXLInstructPix2PixPipeline", "StableDiffusionXLImg2ImgPipeline"
PADS_2, PADS_XL = {"tokenizer": "!"}, {"tokenizer_2": "!"}
GUIDED = {"time_cond_proj_dim": 256}

TOLD_SIZES = "unet.add_embedding.linear_1.weight"
BASE, REFINER = (Mark(TOLD_SIZES, 1, width) for width in (2816, 2560))
SD1, SD2 = (Mark("unet.down_blocks.*.attn2.to_k.weight", 1, width) for width in (768, 1024))
FOUR, FIVE, SEVEN, EIGHT, NINE = (Mark("unet.conv_in.weight", 1, channels) for channels in (4, 5, 7, 8, 9))
PAINTS, PAINTS_NOT = Mark("unet.conv_in.weight"), Mark("unet.conv_in.weight", absent=True)
UNREAD = Mark("text_encoder*", absent=True)
ADAPTERS = ("*lora_*", "*.lora_A.*", "*.hada_w*", "*.lokr_w*", "*.oft_*", "*dora_scale*")
PACKED = ("*.quant_state.*", "*.absmax", "*.quant_map", "*.qweight", "*.wscales")
TINY = ("*decoder.layers.0.weight", "first_stage_model.decoder.1.weight", "vae.decoder.1.weight")  # of TAESD
TOLD = Mark("unet.time_embedding.cond_proj.weight", 1, 256)
SHALLOW = Mark("unet.down_blocks.0.resnets.1.conv1.weight", absent=True)
THREE_LEVELS = Mark("unet.down_blocks.3.*", absent=True)
NO_MIDDLE = Mark("unet.mid_block.*", absent=True)
UNATTENDED = Mark("unet.mid_block.attentions.*", absent=True)
DEEP = Mark("unet.up_blocks.1.attentions.0.transformer_blocks.1.*")
VELOCITY = Mark("edm_vpred.sigma_max")
LOW = Mark("unet.down_blocks.0.attentions.*", absent=True)


def xl(name: str, *marks: Mark, model: str = "sdxl", pipeline: str = XL_PIPELINE, **more: Any) -> FileKind:
    """A kind of Stable Diffusion XL."""
    return FileKind(name, (BASE, *marks), model, pipeline, **{"scheduler": EULER, "pads": PADS_XL, **more})


KINDS = (  # the first whose marks are all seen: what is more particular stands before what it could be taken for
    *(FileKind("an adapter (LoRA), not a model", (Mark(name), PAINTS_NOT), remedy=OF_MODEL) for name in ADAPTERS),
    *(
        FileKind("a ControlNet, not a model", (Mark(name),), remedy=BESIDE)
        for name in ("control_model.*", "controlnet_cond_embedding.*")
    ),
    *(
        FileKind("FLUX", (Mark(name),), remedy=FOLDER)
        for name in ("*double_blocks.0.img_attn.*", "*single_transformer_blocks.0.*")
    ),
    FileKind("Stable Diffusion 3", (Mark("*joint_blocks.0.context_block.*"),), remedy=FOLDER),
    FileKind("Stable Diffusion 3", (Mark("*pos_embed.proj.weight"), Mark("*.attn.add_k_proj.weight")), remedy=FOLDER),
    FileKind("Stable Video Diffusion", (Mark("*.time_stack.*"),), remedy=OTHER),
    FileKind("a motion module (AnimateDiff)", (Mark("*motion_modules.*"),), remedy=OF_MODEL),
    FileKind("an IP-Adapter", (Mark("*ip_adapter.*"),), remedy=OF_MODEL),
    FileKind("PixArt", (Mark("*adaln_single.linear.weight"),), remedy=FOLDER),
    FileKind("a textual inversion, not a model", (Mark("emb_params"),), remedy=AS_WORD),
    FileKind("a textual inversion, not a model", (Mark("clip_g"),), remedy=AS_WORD),
    FileKind("an upscaler", (Mark("conv_first.weight"),), remedy="export it with PyTorch: pleinair export FILE OUT"),
    FileKind("a text encoder alone", (Mark("text_model.encoder.layers.0.*"),), remedy=WHOLE),
    *(FileKind("a model of packed 4-bit or 8-bit weights", (Mark(name),), remedy=WIDER) for name in PACKED),
    FileKind("Stable Diffusion unCLIP", (SD2, Mark(TOLD_SIZES)), remedy=OTHER),
    FileKind("Stable Diffusion unCLIP", (Mark("noise_augmentor.*"),), remedy=OTHER),
    FileKind("Stable Diffusion 2 with depth", (SD2, FIVE), remedy=OTHER),
    FileKind("the x4 upscaler of Stable Diffusion", (SD2, SEVEN), remedy=OTHER),
    FileKind("a UNet without a text encoder", (PAINTS, UNREAD), remedy=UNET_ALONE),
    xl("Playground 2.5", Mark("edm_mean"), Mark("edm_std"), vae={"scaling_factor": 0.5}, scheduler=EDM),
    xl("SSD-1B", UNATTENDED, DEEP, model="ssd-1b"),
    xl("Vega", UNATTENDED, model="vega"),
    xl("Stable Diffusion XL for inpainting", NINE, pipeline=XL_INPAINT, unet={"in_channels": 9}),
    xl(
        "CosXL for editing",
        EIGHT,
        VELOCITY,
        pipeline=XL_EDIT,
        unet={"in_channels": 8},
        index={"is_cosxl_edit": True},
        scheduler=EDM_V,
        predicts="v_prediction",
    ),
    xl("Stable Diffusion XL for editing", EIGHT, pipeline=XL_EDIT, unet={"in_channels": 8}),
    xl("CosXL", VELOCITY, scheduler=EDM_V, predicts="v_prediction"),
    xl("Stable Diffusion XL that takes the guidance (LCM)", TOLD, unet=GUIDED, scheduler=LCM),
    xl("Stable Diffusion XL"),
    FileKind("the refiner of Stable Diffusion XL", (REFINER,), "sdxl-refiner", REFINING, scheduler=EULER, pads=PADS_XL),
    *(
        FileKind(
            "a small Stable Diffusion 2 (SDXS)",
            (SD2, SHALLOW, THREE_LEVELS, Mark(name)),
            "sdxs",
            scheduler=ONE_STEP,
            defaults={"steps": 1},
            pads=PADS_2,
        )
        for name in TINY
    ),
    FileKind("a small Stable Diffusion 2 (BK-SDM tiny)", (SD2, SHALLOW, THREE_LEVELS), "sdxs", pads=PADS_2),
    FileKind("a small Stable Diffusion 2 (BK-SDM)", (SD2, SHALLOW), remedy=FOLDER),
    FileKind(
        "Stable Diffusion 2 for editing",
        (SD2, EIGHT),
        "sd21",
        EDIT,
        {"in_channels": 8, **BASE_SIZE},
        scheduler=ANCESTRAL,
        pads=PADS_2,
    ),  # fmt: skip
    FileKind(
        "Stable Diffusion 2 for inpainting", (SD2, NINE), "sd21", INPAINT, {"in_channels": 9, **BASE_SIZE}, pads=PADS_2
    ),  # fmt: skip
    FileKind("Stable Diffusion 2", (SD2, FOUR), "sd21", asked=True, pads=PADS_2),
    FileKind("a small Stable Diffusion 1 (SDXS)", (SD1, SHALLOW, LOW), remedy=FOLDER),
    FileKind("a small Stable Diffusion 1 (BK-SDM tiny)", (SD1, SHALLOW, THREE_LEVELS), "bk-sdm-tiny"),
    FileKind("a small Stable Diffusion 1 (BK-SDM small)", (SD1, SHALLOW, NO_MIDDLE), "bk-sdm-small"),
    FileKind("a small Stable Diffusion 1 (BK-SDM base)", (SD1, SHALLOW), "bk-sdm-base"),
    FileKind("instruct-pix2pix", (SD1, EIGHT), "sd15", EDIT, {"in_channels": 8}, scheduler=ANCESTRAL),
    FileKind("Stable Diffusion 1 for inpainting", (SD1, NINE), "sd15", INPAINT, {"in_channels": 9}),
    FileKind(
        "a latent consistency model", (SD1, TOLD), "sd15", "LatentConsistencyModelPipeline", GUIDED, scheduler=LCM
    ),
    FileKind("Stable Diffusion 1", (SD1, FOUR), "sd15"),
    FileKind("a model without its UNet", (Mark("text_encoder*"), PAINTS_NOT), remedy=WHOLE),
    *(
        FileKind("a VAE, not a model", (Mark(name), PAINTS_NOT), remedy="give it with --vae")
        for name in ("*encoder.conv_in.weight", "*coder.layers.0.weight")
    ),
    *(
        FileKind("a UNet alone", (Mark(name), PAINTS_NOT), remedy=UNET_ALONE)
        for name in ("*down_blocks.0.*", "*input_blocks.0.0.weight")
    ),
)


def kind_of(shapes: Mapping[str, Shape], shown: str, fine: str = "") -> FileKind:
    """What a file of these tensors is; ExportError for what is not known, and has a remedy that is not `fine`."""
    kind = next((kind for kind in KINDS if all(mark.seen(shapes) for mark in kind.marks)), None)
    if kind is None:
        raise ExportError(f"'{shown}' is not a model that its weights' names and sizes identify; {OTHER}")
    if kind.remedy not in ("", fine):
        raise ExportError(f"'{shown}' is {kind.name}, which cannot be poured; {kind.remedy}")
    return kind
