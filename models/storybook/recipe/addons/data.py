"""What the add-ons learn from: rendered scenes, and the finished model from its diffusers folder."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor

from recipe.addons.settings import Addons
from recipe.renders import render_set
from recipe.sets import as_tensor, generator_for, notes_of, pictures_of, random_below
from recipe.settings import Settings
from recipe.text import embed
from recipe.tokens import token_ids
from recipe.vae import encode, half_size

ADDONS_SEED = 50_000_000
SIZES = ("small", "small", "small", "large")  # by turns: a large picture takes four times as long


@dataclass(frozen=True)
class Lessons:
    """Rendered scenes, their captions as token numbers [n, captions, 77], and the model."""

    renders: Tensor  # bytes [n, side, side, 3]
    ids: Tensor
    model: StableDiffusionPipeline
    nothing: Tensor  # [1, 77], the token numbers of no words
    settings: Settings
    change: Callable[[Tensor], Tensor] = torch.clone  # of pictures [n, 3, height, width] from -1 to 1
    encoded: dict[str, dict[int, Tensor]] = field(default_factory=lambda: {size: {} for size in SIZES}, init=False)

    def text(self, ids: Tensor) -> Tensor:
        """What the text encoder says of captions [n, 77]."""
        return embed(self.model.text_encoder, ids)

    def pictures(self, size: str, chosen: Tensor) -> Tensor:
        """The changed scenes of these numbers [n, 3, side, side], "large" or at half their size."""
        pictures = as_tensor(self.renders[chosen])
        return self.change(half_size(pictures) if size == "small" else pictures)

    def latents(self, size: str, chosen: Tensor) -> Tensor:
        """The latents that the denoiser sees of these scenes, each of them encoded once."""
        known, scenes = self.encoded[size], chosen.tolist()
        if fresh := sorted({*scenes} - {*known}):
            pictures, vae = self.pictures(size, torch.tensor(fresh, device=chosen.device)), self.model.vae
            found = (encode(vae, pictures, self.settings) * vae.config.scaling_factor).to(self.settings.device)
            known.update(zip(fresh, found, strict=True))
        return torch.stack([known[scene] for scene in scenes])


@dataclass(frozen=True)
class Drawn:
    """What is drawn at random for one step: numbers of scenes [n] in one size, their latents, and captions [n, 77]."""

    size: str
    scenes: Tensor
    clean: Tensor
    ids: Tensor
    generator: torch.Generator


def lessons(work: Path, source: Path, settings: Settings, addons: Addons) -> Lessons:
    """Render the scenes, unless they are there, and open the model."""
    render_set(work, "addons", addons.pictures, ADDONS_SEED, settings)
    model = StableDiffusionPipeline.from_pretrained(source, torch_dtype=torch.float32, safety_checker=None)
    for part in (model.unet, model.vae, model.text_encoder):
        part.eval().requires_grad_(False).to(settings.device)
    for part in (model.unet, model.vae):
        part.to(memory_format=torch.channels_last)
    if settings.device == "cpu":
        # The fused attention's backward pass is slow on CPUs.
        model.unet.set_attn_processor(AttnProcessor())
    _, captions = notes_of(work, "addons")
    ids = torch.stack([token_ids(model.tokenizer, several) for several in captions]).to(settings.device)
    nothing = token_ids(model.tokenizer, [""]).to(settings.device)
    return Lessons(pictures_of(work, "addons", settings), ids, model, nothing, settings)


def drawn_for(step: int, count: int, lessons: Lessons) -> Drawn:
    """A step's scenes: `count` small ones, or every fourth time a quarter as many large ones."""
    size, device = SIZES[step % len(SIZES)], lessons.ids.device
    generator, count = generator_for(step, device), count if size == "small" else max(1, count // 4)
    chosen = random_below(len(lessons.ids), count, generator)
    variant = random_below(lessons.ids.shape[1], count, generator)
    return Drawn(size, chosen, lessons.latents(size, chosen), lessons.ids[chosen, variant], generator)


def partly_untold(drawn: Drawn, share: float, lessons: Lessons) -> Tensor:
    """What the text encoder says of the captions, a share of which is left out."""
    untold = torch.rand(len(drawn.ids), 1, generator=drawn.generator, device=drawn.ids.device) < share
    return lessons.text(torch.where(untold, lessons.nothing, drawn.ids))


def noise_like(drawn: Drawn) -> Tensor:
    """Noise for a step's latents."""
    return torch.randn(drawn.clean.shape, generator=drawn.generator, device=drawn.clean.device)
