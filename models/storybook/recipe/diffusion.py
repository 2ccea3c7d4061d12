"""The denoiser: trained on cached latents with the frozen text encoder, by the clock."""

from datetime import datetime
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from PIL import Image
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from recipe.labels import COLOUR_COLUMNS
from recipe.pacing import Training, autocast, run_training, worker_rank
from recipe.prompts import SHOWN
from recipe.renders import labels_of_set
from recipe.scenes import RELIEFS
from recipe.settings import Settings
from recipe.sheets import save_sheet
from recipe.text import embed
from recipe.tokens import token_ids
from recipe.vae import load_vae

NOISE_STEPS = 1000
FIRST_BETA, LAST_BETA = 0.00085, 0.012
SNR_CAP = 5.0
DROPPED = 0.1
TWO_OBJECTS_MORE = 3.0
HILLS_MORE = 2.0
HEAD_WIDTH = 48
DECAY_FROM = 0.45
GUIDANCE = 4.0
STEPS = 20
IMAGES_AT_ONCE = 16


def build_unet(settings: Settings) -> UNet2DConditionModel:
    """An untrained denoiser."""
    down = tuple("CrossAttnDownBlock2D" if attends else "DownBlock2D" for attends in settings.unet_attention)
    up = tuple("CrossAttnUpBlock2D" if attends else "UpBlock2D" for attends in reversed(settings.unet_attention))
    return UNet2DConditionModel(
        sample_size=settings.size // 8,
        in_channels=4,
        out_channels=4,
        block_out_channels=settings.unet_channels,
        layers_per_block=settings.unet_layers,
        down_block_types=down,
        up_block_types=up,
        cross_attention_dim=settings.text_width,
        # The name says dimension, the meaning is the number of heads.
        attention_head_dim=tuple(max(1, channels // HEAD_WIDTH) for channels in settings.unet_channels),
        norm_num_groups=16,
    )


def scheduler() -> DPMSolverMultistepScheduler:
    """The noise schedule the model is trained for, with a solver for few steps."""
    return DPMSolverMultistepScheduler(
        num_train_timesteps=NOISE_STEPS,
        beta_start=FIRST_BETA,
        beta_end=LAST_BETA,
        beta_schedule="scaled_linear",
        prediction_type="epsilon",
        steps_offset=1,
    )


def stratified_times(count: int, generator: torch.Generator) -> Tensor:
    """One noise level from every part of the schedule."""
    spread = (torch.arange(count) + torch.rand(count, generator=generator)) / count * NOISE_STEPS
    return spread.long().clamp(max=NOISE_STEPS - 1)  # [count]


def weighted_error(predicted: Tensor, noise: Tensor, ratio: Tensor) -> Tensor:
    """The squared error, with less weight where there is hardly any noise."""
    error = (predicted - noise).pow(2).mean((1, 2, 3))  # [n]
    return (error * ratio.clamp(max=SNR_CAP) / ratio).mean()


def chances_of(labels: Tensor) -> Tensor:
    """How often each picture is shown: two objects are rare and hard, and hills are easily overlooked."""
    objects = (labels[:, COLOUR_COLUMNS] > 0).sum(1)  # [pictures]
    hill = labels[:, 2] == RELIEFS.index("hill")
    return torch.where(objects == 2, TWO_OBJECTS_MORE, 1.0) * torch.where(hill, HILLS_MORE, 1.0)


def pipeline(
    unet: UNet2DConditionModel, vae: AutoencoderKL, encoder: CLIPTextModel, tokenizer: CLIPTokenizer
) -> StableDiffusionPipeline:
    """Everything together, ready to make pictures."""
    made = StableDiffusionPipeline(
        unet=unet,
        vae=vae,
        text_encoder=encoder,
        tokenizer=tokenizer,
        scheduler=scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    made.set_progress_bar_config(disable=True)
    return made


def images_for(
    made: StableDiffusionPipeline, prompts: list[str], first_seed: int, guidance: float = GUIDANCE, steps: int = STEPS
) -> list[Image.Image]:
    """One picture per prompt, each from a seed of its own."""
    images = []
    for start in range(0, len(prompts), IMAGES_AT_ONCE):
        part = prompts[start : start + IMAGES_AT_ONCE]
        seeds = [torch.Generator().manual_seed(first_seed + start + index) for index in range(len(part))]
        images += made(part, num_inference_steps=steps, guidance_scale=guidance, generator=seeds).images
    return images


def load_text(work: Path, settings: Settings) -> tuple[CLIPTextModel, CLIPTokenizer]:
    """The frozen text encoder and its tokenizer."""
    encoder = CLIPTextModel.from_pretrained(work / "text_encoder").eval().requires_grad_(False)
    return encoder.to(settings.device), CLIPTokenizer.from_pretrained(work / "tokenizer")


def train_unet(work: Path, settings: Settings, minutes: float, until: datetime | None, init: Path | None) -> None:
    """Train to tell the noise in the latents of a picture from its caption."""
    torch.manual_seed(0)
    rank, workers = worker_rank()
    latents = torch.from_numpy(np.load(work / "latents.npy"))  # [pictures, 4, size / 8, size / 8]
    ids = torch.from_numpy(np.load(work / "ids.npy"))  # [pictures, captions, 77]
    chances = chances_of(labels_of_set(work, "train"))
    encoder, tokenizer = load_text(work, settings)
    nothing = token_ids(tokenizer, [""])[0]
    unet = UNet2DConditionModel.from_pretrained(init / "unet").float() if init else build_unet(settings)
    unet.to(settings.device, memory_format=torch.channels_last)
    if settings.device == "cpu":
        # The fused attention's backward pass is slow on CPUs.
        unet.set_attn_processor(AttnProcessor())
    betas = torch.linspace(FIRST_BETA**0.5, LAST_BETA**0.5, NOISE_STEPS) ** 2
    kept = torch.cumprod(1 - betas, 0)  # [1000]

    def loss(step: int) -> Tensor:
        generator = torch.Generator().manual_seed(step * workers + rank)
        count = settings.unet_batch
        chosen = torch.multinomial(chances, count, replacement=True, generator=generator)
        variant = torch.randint(ids.shape[1], (count,), generator=generator)
        tokens = ids[chosen, variant]
        tokens[torch.rand(count, generator=generator) < DROPPED] = nothing
        clean = latents[chosen]
        noise = torch.randn(clean.shape, generator=generator)
        times = stratified_times(count, generator)
        share = kept[times][:, None, None, None]
        noisy = (share.sqrt() * clean + (1 - share).sqrt() * noise).to(settings.device)
        noisy = noisy.contiguous(memory_format=torch.channels_last)
        with autocast(settings):
            predicted = unet(noisy, times.to(settings.device), embed(encoder, tokens)).sample
        ratio = kept[times] / (1 - kept[times])
        return weighted_error(predicted.float(), noise.to(settings.device), ratio.to(settings.device))

    def show(averaged: UNet2DConditionModel) -> str:
        made = pipeline(averaged, load_vae(work, settings), encoder, tokenizer)
        save_sheet(images_for(made, list(SHOWN), 0), list(SHOWN), work / "unet.png", 4)
        return "wrote unet.png"

    training = Training("unet", unet, loss, settings.unet_rate, minutes, settings.ema, DECAY_FROM, until, show)
    run_training(training, work, settings)
