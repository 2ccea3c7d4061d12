"""Trains the decoder further while the latents stay as they are, so that it can be done beside the denoiser."""

from datetime import datetime
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from recipe.pacing import Training, autocast, averaged_weights, run_training
from recipe.renders import as_tensor, pictures_of
from recipe.settings import Settings
from recipe.sheets import save_pairs
from recipe.vae import SCALING_FACTOR, load_vae, psnr, reconstruct, reconstruction_loss

RATE = 7e-4
# What the denoiser makes is never quite what the encoder would make.
NOISE = 0.03


def painter_of(vae: AutoencoderKL) -> nn.Sequential:
    """The part of the autoencoder behind the latents."""
    return nn.Sequential(vae.post_quant_conv, vae.decoder)


def train_decoder(work: Path, settings: Settings, minutes: float, until: datetime | None) -> None:
    """Train on cached latents and their pictures."""
    torch.manual_seed(0)
    latents = np.load(work / "latents.npy", mmap_mode="r")
    pictures = pictures_of(work, "train", settings)
    judged = as_tensor(pictures_of(work, "held-out", settings)[:64]).to(settings.device)
    vae = load_vae(work, settings)
    painter = painter_of(vae).requires_grad_(True)

    def loss(step: int) -> Tensor:
        generator = np.random.default_rng(step)
        chosen = np.sort(generator.integers(0, len(latents), settings.vae_batch))
        noise = NOISE * generator.standard_normal(latents[chosen].shape, dtype=np.float32)
        known = torch.from_numpy((latents[chosen] + noise) / SCALING_FACTOR).to(settings.device)
        with autocast(settings):
            made = painter(known.contiguous(memory_format=torch.channels_last))
        return reconstruction_loss(made.float(), as_tensor(pictures[chosen]).to(settings.device))

    def show(averaged: nn.Sequential) -> str:
        vae.post_quant_conv, vae.decoder = averaged
        made = reconstruct(vae, judged)
        save_pairs(judged, made, work / "decoder.png")
        return f"{psnr(made, judged):.2f} dB on held-out renders"

    training = Training("decoder", painter, loss, RATE, minutes, 0.998, until=until, show=show)
    training.seconds_between_shows = 240
    run_training(training, work, settings)


def finish_decoder(work: Path, settings: Settings) -> None:
    """Put the averaged decoder into the autoencoder."""
    vae = load_vae(work, settings)
    painter_of(vae).load_state_dict(averaged_weights(work, "decoder"))
    vae.save_pretrained(work / "vae")
