"""What the add-ons learn from: rendered scenes, and the finished model from its diffusers folder."""

from dataclasses import dataclass
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
    """Rendered scenes as bytes [n, side, side, 3], their captions as token numbers [n, captions, 77], and the model."""

    renders: Tensor
    ids: Tensor
    model: StableDiffusionPipeline
    nothing: Tensor  # [1, 77], the token numbers of no words

    def text(self, ids: Tensor) -> Tensor:
        """What the text encoder says of captions [n, 77]."""
        return embed(self.model.text_encoder, ids)

    def scaled_latents(self, pictures: Tensor, settings: Settings) -> Tensor:
        """The latents that the denoiser sees, of pictures [n, 3, side, side]."""
        vae = self.model.vae
        return (encode(vae, pictures, settings) * vae.config.scaling_factor).to(settings.device)


@dataclass(frozen=True)
class Drawn:
    """What is drawn at random for one step: pictures [n, 3, side, side] from -1 to 1, and captions [n, 77]."""

    pictures: Tensor
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
    ids = torch.stack([token_ids(model.tokenizer, several) for several in captions])
    nothing = token_ids(model.tokenizer, [""])
    return Lessons(pictures_of(work, "addons", settings), ids.to(settings.device), model, nothing.to(settings.device))


def drawn_for(step: int, count: int, lessons: Lessons) -> Drawn:
    """A step's pictures: `count` small ones, or every fourth time a quarter as many large ones."""
    size, device = SIZES[step % len(SIZES)], lessons.ids.device
    generator, count = generator_for(step, device), count if size == "small" else max(1, count // 4)
    chosen = random_below(len(lessons.ids), count, generator)
    variant = random_below(lessons.ids.shape[1], count, generator)
    pictures = as_tensor(lessons.renders[chosen])
    return Drawn(half_size(pictures) if size == "small" else pictures, lessons.ids[chosen, variant], generator)
