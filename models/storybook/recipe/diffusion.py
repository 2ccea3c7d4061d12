"""The denoiser: trained on cached latents of halved pictures first, and then of whole ones."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from PIL import Image
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from recipe.prompts import SHOWN
from recipe.sets import generator_for, latents_of, notes_of, random_below
from recipe.settings import Settings
from recipe.sheets import save_sheet
from recipe.text import embed, load_text
from recipe.tokens import token_ids
from recipe.training import Training, autocast, averaged_weights, train
from recipe.vae import load_vae

NOISE_STEPS = 1000
FIRST_BETA, LAST_BETA = 0.00085, 0.012
SNR_CAP = 5.0
DROPPED = 0.1
HEAD_WIDTH = 32
NORM_GROUPS = 16
HELD_BACK = 512
JUDGING_SEED = 1_000_000_000
GUIDANCE = 4.0
STEPS = 12
IMAGES_AT_ONCE = 8


def build_unet(settings: Settings) -> UNet2DConditionModel:
    """An untrained denoiser."""
    down = tuple("CrossAttnDownBlock2D" if attends else "DownBlock2D" for attends in settings.unet_attention)
    up = tuple("CrossAttnUpBlock2D" if attends else "UpBlock2D" for attends in reversed(settings.unet_attention))
    unet = UNet2DConditionModel(
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
        norm_num_groups=NORM_GROUPS,
    )
    if settings.device == "cpu":
        # The fused attention's backward pass is slow on CPUs.
        unet.set_attn_processor(AttnProcessor())
    return unet.to(settings.device, memory_format=torch.channels_last)


def scheduler(settings: Settings) -> DPMSolverMultistepScheduler:
    """The noise schedule the model is trained for, with a solver for few steps."""
    return DPMSolverMultistepScheduler(
        num_train_timesteps=NOISE_STEPS,
        beta_start=FIRST_BETA,
        beta_end=LAST_BETA,
        beta_schedule="scaled_linear",
        prediction_type=settings.prediction,
        steps_offset=1,
    )


def kept_shares() -> Tensor:
    """How much of the picture's variance is left at each noise level."""
    return torch.cumprod(1 - torch.linspace(FIRST_BETA**0.5, LAST_BETA**0.5, NOISE_STEPS) ** 2, 0)  # [1000]


def stratified_times(count: int, generator: torch.Generator) -> Tensor:
    """One noise level from every part of the schedule."""
    device = generator.device
    spread = (torch.arange(count, device=device) + torch.rand(count, generator=generator, device=device)) / count
    return (spread * NOISE_STEPS).long().clamp(max=NOISE_STEPS - 1)  # [count]


def denoising_loss(
    unet: Callable[..., Tensor], clean: Tensor, noise: Tensor, times: Tensor, texts: Tensor, prediction: str
) -> Tensor:
    """The squared error of what the network finds, weighted so that hardly noisy pictures count no more than others.

    Salimans & Ho (2022): velocity, whose error is (SNR + 1) times the picture's; Hang et al. (2023): the cap of 5.
    """
    share = kept_shares().to(clean.device)[times]  # [n]
    signal, spread = share.sqrt()[:, None, None, None], (1 - share).sqrt()[:, None, None, None]
    noisy = (signal * clean + spread * noise).contiguous(memory_format=torch.channels_last)
    answer = unet(noisy, times, texts).sample.float()
    ratio = share / (1 - share)
    if prediction == "epsilon":
        return ((answer - noise).pow(2).mean((1, 2, 3)) * ratio.clamp(max=SNR_CAP) / ratio).mean()
    velocity = signal * noise - spread * clean
    error = (answer - velocity).pow(2).mean((1, 2, 3))  # [n]
    return (error * (ratio + 1).clamp(max=SNR_CAP + 1) / (ratio + 1)).mean()


def pipeline(
    unet: UNet2DConditionModel,
    vae: AutoencoderKL,
    encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    settings: Settings,
) -> StableDiffusionPipeline:
    """Everything together, ready to make pictures."""
    made = StableDiffusionPipeline(
        unet=unet,
        vae=vae,
        text_encoder=encoder,
        tokenizer=tokenizer,
        scheduler=scheduler(settings),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    made.set_progress_bar_config(disable=True)
    return made


def images_for(
    made: StableDiffusionPipeline,
    prompts: list[str],
    first_seed: int,
    guidance: float = GUIDANCE,
    steps: int = STEPS,
    size: int | None = None,
) -> list[Image.Image]:
    """One picture per prompt, each from a seed of its own."""
    images = []
    for start in range(0, len(prompts), IMAGES_AT_ONCE):
        part = prompts[start : start + IMAGES_AT_ONCE]
        seeds = [torch.Generator().manual_seed(first_seed + start + index) for index in range(len(part))]
        how = {"num_inference_steps": steps, "guidance_scale": guidance, "height": size, "width": size}
        images += made(part, generator=seeds, **how).images
    return images


def number_captions(work: Path, tokenizer: CLIPTokenizer) -> None:
    """Keep the token numbers of all captions."""
    if not (work / "ids.npy").exists():
        _, captions = notes_of(work, "train")
        ids = torch.stack([token_ids(tokenizer, several) for several in captions])
        np.save(work / "ids.npy", ids.numpy())  # [pictures, captions, 77]


def train_unet(work: Path, settings: Settings, name: str) -> None:
    """Train to find the picture in noisy latents by its caption: on "small" ones, or from there on "large" ones.

    Among the large ones every fourth batch is of small ones, so that these are painted as well afterwards.
    """
    torch.manual_seed(0)
    encoder, tokenizer = load_text(work, settings)
    number_captions(work, tokenizer)
    turns = ("small",) if name == "small" else ("large", "large", "large", "small")
    latents = {size: latents_of(work, size, settings) for size in set(turns)}  # [pictures, 4, side, side]
    counts = {"small": settings.small_batch, "large": settings.large_batch}
    pictures, device = len(latents[name]), latents[name].device
    ids = torch.from_numpy(np.load(work / "ids.npy", mmap_mode="c")).to(device)  # [pictures, captions, 77]
    nothing = token_ids(tokenizer, [""]).to(device)  # [1, 77]
    unet = build_unet(settings)
    if name == "large":
        unet.load_state_dict(averaged_weights(work, "unet-small"))

    def batch_loss(
        network: UNet2DConditionModel, size: str, step: int, first: int, last: int, dropped: float
    ) -> Tensor:
        generator, count = generator_for(step, device), counts[size]
        chosen = random_below(last, count, generator, first)
        variant = random_below(ids.shape[1], count, generator)
        untold = torch.rand(count, 1, generator=generator, device=device) < dropped
        tokens = torch.where(untold, nothing, ids[chosen, variant])
        clean = latents[size][chosen].float()
        noise = torch.randn(clean.shape, generator=generator, device=device)
        times = stratified_times(count, generator)
        with autocast(settings):
            return denoising_loss(network, clean, noise, times, embed(encoder, tokens), settings.prediction)

    held_back = min(HELD_BACK, pictures // 4)

    def loss(step: int) -> Tensor:
        return batch_loss(unet, turns[step % len(turns)], step, held_back, pictures, DROPPED)

    @torch.no_grad()
    def show(averaged: UNet2DConditionModel) -> str:
        batches = max(1, held_back // counts[name])
        losses = [batch_loss(averaged, name, JUDGING_SEED + batch, 0, held_back, 0.0) for batch in range(batches)]
        made = pipeline(averaged, load_vae(work, settings), encoder, tokenizer, settings)
        side = latents[name].shape[-1] * 8
        prompts = list(SHOWN[: settings.shown])
        save_sheet(images_for(made, prompts, 0, size=side), prompts, work / f"unet-{name}.png", 4)
        return f"loss {torch.stack(losses).mean():.4f} on pictures held back"

    steps = getattr(settings, f"{name}_steps")
    rate = settings.unet_rate if name == "small" else settings.unet_rate / 2
    train(Training(f"unet-{name}", unet, loss, steps, rate, settings.ema, show=show), work)
