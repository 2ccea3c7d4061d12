"""Families of models as rows: the classes that a diffusers pipeline is made of, and the graphs that each becomes."""

from dataclasses import dataclass, replace

PROJECTED = "CLIPTextModelWithProjection"  # a text encoder whose pooled output is the denoiser's too


@dataclass(frozen=True)
class Part:
    """A component of a pipeline: its folder, its class and the library of that, its graphs by name with their kinds.

    Text encoders have a `tokenizer`, which is a folder too.
    """

    folder: str
    library: str
    kind: str
    graphs: dict[str, str]
    tokenizer: str | None = None


@dataclass(frozen=True)
class Family:
    """Diffusers pipeline classes of equal parts.

    `behind` are the sets of channels that its denoiser may be shown behind the latents. A prompt is read from the
    output `skipped` layers before a text encoder's last, which lacks the final norm. `zeros` is what
    model_index.json's "force_zeros_for_empty_prompt" means where it is silent. `guidance` is how strictly to follow
    the prompt unless told.
    """

    pipelines: tuple[str, ...]
    parts: tuple[Part, ...]
    behind: tuple[tuple[str, ...], ...] = ((), ("mask", "masked_image"))
    skipped: int = 0
    zeros: bool = False
    guidance: float = 7.5

    def part(self, folder: str) -> Part:
        return next(part for part in self.parts if part.folder == folder)

    @property
    def readers(self) -> tuple[Part, ...]:
        """The text encoders."""
        return tuple(part for part in self.parts if part.tokenizer is not None)

    @property
    def pools(self) -> bool:
        """Whether the denoiser is told a pooled output."""
        return any(part.kind == PROJECTED for part in self.parts)


TEXT = Part("text_encoder", "transformers", "CLIPTextModel", {"text_encoder": "text_encoder"}, "tokenizer")
PROJECTED_TEXT = Part(
    "text_encoder_2", "transformers", PROJECTED, {"text_encoder_2": "projected_text_encoder"}, "tokenizer_2"
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

FAMILIES = {pipeline: family for family in (STABLE_DIFFUSION, PIX2PIX, SDXL) for pipeline in family.pipelines}
SUPPORTED = "Stable Diffusion 1.x, 2.x and XL"
