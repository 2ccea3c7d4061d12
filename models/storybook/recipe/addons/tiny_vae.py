"""A small autoencoder for the same latents (TAESD, Ollin Boer Bohan 2023): rougher pictures in a tenth of the time."""

from pathlib import Path

import torch
from diffusers import AutoencoderTiny
from torch import Tensor
from torch.nn import functional as F

from recipe.addons.data import Lessons, drawn_for, noise_like
from recipe.addons.settings import Addons
from recipe.decoder import NOISE, sharpness_loss
from recipe.settings import Settings
from recipe.training import Training, autocast, train

ENCODER_BLOCKS, DECODER_BLOCKS = (1, 1, 1, 1), (2, 2, 2, 1)
EMA = 0.998


def build_tiny(addons: Addons) -> AutoencoderTiny:
    """An untrained one; it takes and makes the latents that the denoiser sees."""
    levels = len(ENCODER_BLOCKS)
    return AutoencoderTiny(
        encoder_block_out_channels=(addons.tiny_channels,) * levels,
        decoder_block_out_channels=(addons.tiny_channels,) * levels,
        num_encoder_blocks=ENCODER_BLOCKS,
        num_decoder_blocks=DECODER_BLOCKS,
        latent_channels=4,
        scaling_factor=1.0,
    )


def train_tiny(work: Path, folder: Path, lessons: Lessons, settings: Settings, addons: Addons) -> None:
    """Train the encoder to find the autoencoder's latents and the decoder to paint them, and save both."""
    torch.manual_seed(0)
    tiny = build_tiny(addons).to(settings.device, memory_format=torch.channels_last)

    def loss(step: int) -> Tensor:
        drawn = drawn_for(step, 4 * addons.tiny_batch, lessons)
        pictures = lessons.pictures(drawn.size, drawn.scenes)
        with autocast(settings):
            found = tiny.encode(pictures).latents.float()
            made = tiny.decode(drawn.clean + NOISE * noise_like(drawn)).sample.float()
        return sharpness_loss(made, pictures) + F.mse_loss(found, drawn.clean)

    averaged = train(Training("tiny-vae", tiny, loss, addons.tiny_steps, addons.tiny_rate, EMA), work)
    averaged.half().save_pretrained(folder)
