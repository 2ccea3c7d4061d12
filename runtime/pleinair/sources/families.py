"""Families of models as rows: the classes that a diffusers pipeline is made of, and the graphs that each becomes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

PROJECTED = "CLIPTextModelWithProjection"
T5_KIND = "T5EncoderModel"
DENOISERS = ("unet", "transformer")  # folders


@dataclass(frozen=True)
class Part:
    """A component of a pipeline: its folder, its class and the library of that, its graphs by name with their kinds.

    Text encoders have a `tokenizer`, which is a folder too, and the output that is `pooled` for the denoiser, if any.
    `lengths` are the numbers of tokens that one may read at once whose config does not say. A folder may lack what is
    `optional`.
    """

    folder: str
    library: str
    kind: str
    graphs: dict[str, str]
    tokenizer: str | None = None
    pooled: str | None = None
    lengths: tuple[int, ...] = ()
    optional: bool = False


@dataclass(frozen=True)
class Family:
    """Diffusers pipeline classes of equal parts.

    `behind` are the sets of channels that its denoiser may be shown behind the latents. A prompt is read from the
    output `skipped` layers before a text encoder's last, which lacks the final norm. `zeros` is what
    model_index.json's "force_zeros_for_empty_prompt" means where it is silent. `guidance` is how strictly to follow
    the prompt unless told. `groups` are the text encoders whose tokens are told: one group's side by side, one group's
    behind the other's; all side by side where there are none. `absent` are the optional parts that a folder lacks.
    """

    pipelines: tuple[str, ...]
    parts: tuple[Part, ...]
    behind: tuple[tuple[str, ...], ...] = ((), ("mask", "masked_image"))
    skipped: int = 0
    zeros: bool = False
    guidance: float = 7.5
    groups: tuple[tuple[str, ...], ...] = ()
    absent: tuple[Part, ...] = ()

    def part(self, folder: str) -> Part:
        return next(part for part in self.parts if part.folder == folder)

    @property
    def readers(self) -> tuple[Part, ...]:
        """The text encoders."""
        return tuple(part for part in self.parts if part.tokenizer is not None)

    @property
    def pools(self) -> bool:
        """Whether the denoiser is told a pooled output."""
        return any(part.pooled for part in self.parts)

    @property
    def denoiser(self) -> Part:
        """The network of the loop."""
        return next(part for part in self.parts if part.folder in DENOISERS)

    def found_in(self, index: Mapping[str, Any]) -> "Family":
        """This family as a folder has it, by its model_index.json."""

        def is_there(part: Part) -> bool:
            entry = index.get(part.folder)
            return not part.optional or (isinstance(entry, list) and any(entry))

        parts = tuple(filter(is_there, self.parts))
        return replace(self, parts=parts, absent=tuple(part for part in self.parts if part not in parts))


TEXT = Part("text_encoder", "transformers", "CLIPTextModel", {"text_encoder": "text_encoder"}, "tokenizer")
PROJECTED_TEXT = Part(
    "text_encoder_2",
    "transformers",
    PROJECTED,
    {"text_encoder_2": "projected_text_encoder"},
    "tokenizer_2",
    pooled="text_embeds",
)
UNET = Part("unet", "diffusers", "UNet2DConditionModel", {"unet": "unet"})
VAE = Part("vae", "diffusers", "AutoencoderKL", {"vae_encoder": "vae_encoder", "vae_decoder": "vae_decoder"})

STABLE_DIFFUSION = Family(
    pipelines=(
        "StableDiffusionPipeline",
        "StableDiffusionImg2ImgPipeline",
        "StableDiffusionInpaintPipeline",
        "LatentConsistencyModelPipeline",
    ),
    parts=(TEXT, UNET, VAE),
)
PIX2PIX = replace(STABLE_DIFFUSION, pipelines=("StableDiffusionInstructPix2PixPipeline",), behind=(("image",),))
SDXL = Family(
    pipelines=("StableDiffusionXLPipeline", "StableDiffusionXLImg2ImgPipeline", "StableDiffusionXLInpaintPipeline"),
    parts=(TEXT, PROJECTED_TEXT, UNET, VAE),
    skipped=1,
    zeros=True,
    guidance=5.0,
)

SD3 = Family(
    pipelines=("StableDiffusion3Pipeline",),
    parts=(
        replace(TEXT, kind=PROJECTED, graphs={"text_encoder": "projected_text_encoder"}, pooled="text_embeds"),
        PROJECTED_TEXT,
        Part(
            "text_encoder_3",
            "transformers",
            T5_KIND,
            {"text_encoder_3": "t5_encoder"},
            "tokenizer_3",
            lengths=(256,),
            optional=True,
        ),
        Part("transformer", "diffusers", "SD3Transformer2DModel", {"transformer": "transformer"}),
        VAE,
    ),
    behind=((),),
    skipped=1,
    groups=(("text_encoder", "text_encoder_2"), ("text_encoder_3",)),
)
FLUX = Family(
    pipelines=("FluxPipeline",),
    parts=(
        replace(TEXT, pooled="pooler_output"),
        Part(
            "text_encoder_2",
            "transformers",
            T5_KIND,
            {"text_encoder_2": "t5_encoder"},
            "tokenizer_2",
            lengths=(256, 512),
        ),
        Part("transformer", "diffusers", "FluxTransformer2DModel", {"transformer": "transformer"}),
        VAE,
    ),
    behind=((),),
    groups=(("text_encoder_2",),),
)

ROWS = (STABLE_DIFFUSION, PIX2PIX, SDXL, SD3, FLUX)
FAMILIES = {pipeline: family for family in ROWS for pipeline in family.pipelines}
SUPPORTED = "Stable Diffusion 1.x, 2.x, XL and 3, and FLUX.1"
