"""Families of models as rows: the classes that a diffusers pipeline is made of, and the graphs that each becomes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pleinair.sources import instructions

PROJECTED = "CLIPTextModelWithProjection"
T5_KIND, GEMMA_KIND = "T5EncoderModel", "Gemma2Model"
DENOISERS = ("unet", "transformer")  # folders
CLIP_TOKENS = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
T5_TOKENS = {"eos_token": "</s>", "pad_token": "<pad>"}
GEMMA_TOKENS = {"bos_token": "<bos>", "pad_token": "<pad>"}


@dataclass(frozen=True)
class Component:
    """A component of a pipeline: its folder, its class and the library of that, its graphs by name with their kinds.

    Text encoders have a `tokenizer`, which is a folder too, and the output that is `pooled` for the denoiser, if any.
    `lengths` are the numbers of tokens that one may read whose config does not say; it reads a text as a whole, and the
    rest is left out. What one that is `masked` reads is in lower case, and neither it nor the denoiser reads what fills
    a text up. It is told an `instruction` before each text, if any. Its config says at `width_key` how many numbers it
    tells of a token, and at `pooled_key` how many it pools them into. `special` are the tokens that
    begin, end and fill a text unless its tokenizer's config names others; `pieces` tells a tokenizer of SentencePiece,
    which is in its tokenizer.json alone. A denoiser is `presumed` to predict this where no scheduler config says.
    """

    folder: str
    library: str
    kind: str
    graphs: dict[str, str]
    tokenizer: str | None = None
    pooled: str | None = None
    lengths: tuple[int, ...] = ()
    masked: bool = False
    instruction: str = ""
    width_key: str = "hidden_size"
    pooled_key: str = "hidden_size"
    special: Mapping[str, str] = field(default_factory=CLIP_TOKENS.copy)
    pieces: bool = False
    presumed: str | None = None


@dataclass(frozen=True)
class Family:
    """Diffusers pipeline classes of equal parts.

    `behind` are the sets of channels that its denoiser may be shown behind the latents. A prompt is read from the
    output `skipped` layers before a text encoder's last, which lacks the final norm. `zeros` is what
    model_index.json's "force_zeros_for_empty_prompt" means where it is silent. `guidance` is how strictly to follow
    the prompt unless told. `groups` are the text encoders whose tokens are told: one group's side by side, one group's
    behind the other's; all side by side where there are none. `absent` are text encoders whose tokens are zeros.
    """

    pipelines: tuple[str, ...]
    parts: tuple[Component, ...]
    behind: tuple[tuple[str, ...], ...] = ((), ("mask", "masked_image"))
    skipped: int = 0
    zeros: bool = False
    guidance: float = 7.5
    groups: tuple[tuple[str, ...], ...] = ()
    absent: tuple[Component, ...] = ()

    def part(self, folder: str) -> Component:
        """The component of a folder; StopIteration for one that the family lacks."""
        return next(part for part in self.parts if part.folder == folder)

    @property
    def readers(self) -> tuple[Component, ...]:
        """The text encoders."""
        return tuple(part for part in self.parts if part.tokenizer is not None)

    @property
    def pooling(self) -> tuple[Component, ...]:
        """The text encoders whose pooled output the denoiser is told."""
        return tuple(part for part in self.parts if part.pooled)

    @property
    def denoiser(self) -> Component:
        """The network of the loop."""
        return next(part for part in self.parts if part.folder in DENOISERS)


CLIP_TEXT = Component("text_encoder", "transformers", "CLIPTextModel", {"text_encoder": "text_encoder"}, "tokenizer")
PROJECTING_TEXT = replace(
    CLIP_TEXT, kind=PROJECTED, graphs={"text_encoder": "projected_text_encoder"}, pooled_key="projection_dim"
)
PROJECTED_TEXT = Component(
    "text_encoder_2",
    "transformers",
    PROJECTED,
    {"text_encoder_2": "projected_text_encoder"},
    "tokenizer_2",
    pooled="text_embeds",
    pooled_key="projection_dim",
)
T5 = Component(
    "text_encoder",
    "transformers",
    T5_KIND,
    {"text_encoder": "t5_encoder"},
    "tokenizer",
    width_key="d_model",
    special=T5_TOKENS,
    pieces=True,
)
T5_SECOND = replace(
    T5, folder="text_encoder_2", graphs={"text_encoder_2": "t5_encoder"}, tokenizer="tokenizer_2", lengths=(256, 512)
)
T5_THIRD = replace(
    T5, folder="text_encoder_3", graphs={"text_encoder_3": "t5_encoder"}, tokenizer="tokenizer_3", lengths=(256,)
)
T5_MASKED = replace(T5, graphs={"text_encoder": "masked_t5_encoder"}, lengths=(300,), masked=True)
GEMMA = Component(
    "text_encoder",
    "transformers",
    GEMMA_KIND,
    {"text_encoder": "gemma_encoder"},
    "tokenizer",
    lengths=(300,),
    masked=True,
    instruction=instructions.SANA,
    special=GEMMA_TOKENS,
    pieces=True,
)
UNET = Component("unet", "diffusers", "UNet2DConditionModel", {"unet": "unet"}, presumed="epsilon")
VAE = Component("vae", "diffusers", "AutoencoderKL", {"vae_encoder": "vae_encoder", "vae_decoder": "vae_decoder"})
TINY_VAE = replace(
    VAE, kind="AutoencoderTiny", graphs={"vae_encoder": "tiny_vae_encoder", "vae_decoder": "tiny_vae_decoder"}
)
DEEP_VAE = replace(VAE, kind="AutoencoderDC", graphs={"vae_encoder": "tiny_vae_encoder", "vae_decoder": "vae_decoder"})
PIXART = Component("transformer", "diffusers", "PixArtTransformer2DModel", {"transformer": "transformer"})
STAND_INS = {  # class of a part, and one that a pipeline may have in its place -> that part
    (CLIP_TEXT.kind, PROJECTED): PROJECTING_TEXT,
    (VAE.kind, "AutoencoderTiny"): TINY_VAE,
    (PIXART.kind, "Transformer2DModel"): replace(PIXART, kind="Transformer2DModel"),  # as it was published
}

STABLE_DIFFUSION = Family(
    pipelines=(
        "StableDiffusionPipeline",
        "StableDiffusionImg2ImgPipeline",
        "StableDiffusionInpaintPipeline",
        "LatentConsistencyModelPipeline",
    ),
    parts=(CLIP_TEXT, UNET, VAE),
)
PIX2PIX = replace(STABLE_DIFFUSION, pipelines=("StableDiffusionInstructPix2PixPipeline",), behind=(("image",),))
SDXL = Family(
    pipelines=("StableDiffusionXLPipeline", "StableDiffusionXLImg2ImgPipeline"),
    parts=(CLIP_TEXT, PROJECTED_TEXT, UNET, VAE),
    skipped=1,
    zeros=True,
    guidance=5.0,
)
SDXL_INPAINT = replace(SDXL, pipelines=("StableDiffusionXLInpaintPipeline",), guidance=7.5)
SDXL_PIX2PIX = replace(SDXL, pipelines=("StableDiffusionXLInstructPix2PixPipeline",), behind=(("image",),))
SDXL_REFINER = replace(
    SDXL,
    pipelines=("StableDiffusionXLImg2ImgPipeline", "StableDiffusionXLInpaintPipeline"),
    parts=(PROJECTED_TEXT, UNET, VAE),
)

SD3 = Family(
    pipelines=("StableDiffusion3Pipeline",),
    parts=(
        replace(PROJECTING_TEXT, pooled="text_embeds"),
        PROJECTED_TEXT,
        T5_THIRD,
        Component("transformer", "diffusers", "SD3Transformer2DModel", {"transformer": "transformer"}),
        VAE,
    ),
    behind=((),),
    skipped=1,
    groups=(("text_encoder", "text_encoder_2"), ("text_encoder_3",)),
)
SD3_WITHOUT_T5 = replace(SD3, parts=tuple(part for part in SD3.parts if part != T5_THIRD), absent=(T5_THIRD,))
FLUX = Family(
    pipelines=("FluxPipeline",),
    parts=(
        replace(CLIP_TEXT, pooled="pooler_output"),
        T5_SECOND,
        Component("transformer", "diffusers", "FluxTransformer2DModel", {"transformer": "transformer"}),
        VAE,
    ),
    behind=((),),
    groups=(("text_encoder_2",),),
)

PIXART_SIGMA = Family(
    pipelines=("PixArtSigmaPipeline",),
    parts=(T5_MASKED, PIXART, VAE),
    behind=((),),
    groups=(("text_encoder",),),
)
SANA_SPRINT = Family(
    pipelines=("SanaSprintPipeline",),
    parts=(
        GEMMA,
        Component("transformer", "diffusers", "SanaTransformer2DModel", {"transformer": "transformer"}),
        DEEP_VAE,
    ),
    behind=((),),
    groups=(("text_encoder",),),
)

ROWS = (  # of those that fit a folder, the first is its own
    STABLE_DIFFUSION,
    PIX2PIX,
    SDXL,
    SDXL_INPAINT,
    SDXL_PIX2PIX,
    SDXL_REFINER,
    SD3,
    SD3_WITHOUT_T5,
    FLUX,
    PIXART_SIGMA,
    SANA_SPRINT,
)
FAMILIES: dict[str, Family] = {}  # pipeline class -> the first of its rows
for row in ROWS:
    for pipeline in row.pipelines:
        FAMILIES.setdefault(pipeline, row)
ADDED = re.compile(  # in names of pipelines that are made of the same parts
    "ControlNet(?:Union|XS)?|PAG|KDiffusion|Adapter|Panorama|SAG|AttendAndExcite|ModelEditing|Paradigms|DiffEdit|Semantic"
    "|Safe|Legacy"
)
STEERING = re.compile(r"(?:controlnet|adapter)\w*")  # folders of what such pipelines have besides
SUPPORTED = "Stable Diffusion 1.x, 2.x, XL and 3, FLUX.1, PixArt-Sigma and Sana-Sprint"


def as_plain(index: Mapping[str, Any]) -> dict[str, Any]:
    """A model_index.json with the class of the pipeline that is made of the same parts and adds nothing to them.

    What is added steers that pipeline (a ControlNet, PAG, k-diffusion's samplers), and is not needed to paint.
    """
    kind = index.get("_class_name")
    if not isinstance(kind, str) or kind in FAMILIES:
        return dict(index)
    without = ADDED.sub("", kind).replace("Inpainting", "Inpaint")
    known = (each for each in (without, re.sub("Img2Img|Inpaint", "", without)) if each in FAMILIES)
    return {**index, "_class_name": next(known, kind)}


def left_out(index: Mapping[str, Any]) -> list[str]:
    """The components of a model_index.json that steer a pipeline, and are no part of any family."""
    return [name for name in index if STEERING.fullmatch(name) and class_in(index, name)]


def family_of(index: Mapping[str, Any]) -> Family | None:
    """The row of a model_index.json, by its pipeline class and the components that are there; None for no such class.

    Where no row has all its components there, it is the first of the class, so that what is missing can be named.
    """
    kind = index.get("_class_name")
    if not isinstance(kind, str) or kind not in FAMILIES:
        return None
    fitting = (row for row in ROWS if kind in row.pipelines and all(class_in(index, part.folder) for part in row.parts))
    family = next(fitting, FAMILIES[kind])
    parts = tuple(_as_found(part, class_in(index, part.folder)) for part in family.parts)
    return family if parts == family.parts else replace(family, parts=parts)


def class_in(index: Mapping[str, Any], folder: str) -> str | None:
    """The class that a model_index.json gives for a component; None for one that is absent."""
    entry = index.get(folder)
    found = entry[1] if isinstance(entry, list) and len(entry) == 2 else None
    return found if isinstance(found, str) else None


def _as_found(part: Component, kind: str | None) -> Component:
    return part if part.pooled else STAND_INS.get((part.kind, kind), part)
