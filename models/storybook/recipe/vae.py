"""The autoencoder: built near the identity, trained for sharp flat pictures, folded to unit latents."""

import time
from datetime import datetime
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from diffusers.models.downsampling import Downsample2D
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn
from torch.nn import functional as F

from recipe.pacing import Training, autocast, averaged_weights, in_workers, run_training, worker_rank
from recipe.renders import as_tensor, pictures_of
from recipe.settings import Settings
from recipe.sheets import save_pairs

SCALING_FACTOR = 0.18215
KL_WEIGHT = 2e-4
LATENT_NOISE = -5.0
BATCH_ENCODED = 32
PICTURES_FOR_STATISTICS = 2048
PICTURES_JUDGED = 256
PICTURES_PER_WRITE = 512


def build_vae(settings: Settings) -> AutoencoderKL:
    """An untrained autoencoder that already passes a blurred picture through."""
    levels = len(settings.vae_channels)
    vae = AutoencoderKL(
        block_out_channels=settings.vae_channels,
        layers_per_block=settings.vae_layers,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        latent_channels=4,
        # One group keeps the mean colour; a group per channel would remove it.
        norm_num_groups=1,
        sample_size=settings.size,
        mid_block_add_attention=False,
        scaling_factor=SCALING_FACTOR,
    )
    return start_near_identity(vae)


def pass_channels_through(conv: nn.Conv2d, scale: float) -> None:
    """Make a 3x3 convolution mostly a rotation of its channels."""
    conv.weight.mul_(0.2)
    rotation = nn.init.orthogonal_(torch.empty(conv.weight.shape[:2]))
    conv.weight[:, :, 1, 1] += rotation * scale
    conv.bias.zero_()


@torch.no_grad()
def start_near_identity(vae: AutoencoderKL) -> AutoencoderKL:
    """Average when sampling down, interpolate when sampling up, and keep residual branches small."""
    kernel = torch.tensor([1.0, 2.0, 1.0])
    bilinear = kernel[:, None] * kernel[None] / 16
    for module in vae.modules():
        if isinstance(module, ResnetBlock2D):
            module.conv2.weight.mul_(0.1)
            module.conv2.bias.zero_()
            if module.conv_shortcut is not None:
                nn.init.orthogonal_(module.conv_shortcut.weight)
                module.conv_shortcut.bias.zero_()
        elif isinstance(module, Downsample2D | Upsample2D):
            conv = module.conv
            same = torch.eye(conv.weight.shape[0])[:, :, None, None]
            conv.weight.mul_(0.1)
            conv.bias.zero_()
            if isinstance(module, Downsample2D):
                conv.weight[:, :, :2, :2] += same * 0.25
            else:
                conv.weight += same * bilinear
    for conv in (vae.encoder.conv_in, vae.decoder.conv_in):
        pass_channels_through(conv, (conv.weight.shape[0] / conv.weight.shape[1]) ** 0.5)
    last = vae.encoder.conv_out
    last.weight[:4, :, 1, 1] += nn.init.orthogonal_(torch.empty(4, last.weight.shape[1]))
    last.weight[4:] = 0
    last.bias.zero_()
    last.bias[4:] = LATENT_NOISE
    for conv in (vae.quant_conv, vae.post_quant_conv):
        conv.weight.copy_(torch.eye(conv.weight.shape[0])[:, :, None, None])
        conv.bias.zero_()
    return vae


def reconstruction_loss(made: Tensor, wanted: Tensor) -> Tensor:
    """Absolute and squared error, error of the edges and error of the blurred picture."""
    error = made - wanted  # [n, 3, height, width]
    edges = (error[..., 1:] - error[..., :-1]).abs().mean() + (error[..., 1:, :] - error[..., :-1, :]).abs().mean()
    blurred = F.avg_pool2d(error, 4).abs().mean()
    return error.abs().mean() + 3 * error.pow(2).mean() + 0.5 * edges + 0.5 * blurred


def vae_loss(vae: nn.Module, pictures: Tensor) -> Tensor:
    """How badly pictures come back, and how far their latents are from a unit normal."""
    posterior = vae.encode(pictures).latent_dist
    made = vae.decode(posterior.sample()).sample
    divergence = 0.5 * (posterior.mean.pow(2) + posterior.var - 1 - posterior.logvar).mean()
    return reconstruction_loss(made.float(), pictures) + KL_WEIGHT * divergence.float()


def crops(pictures: np.ndarray, generator: np.random.Generator, count: int, size: int) -> Tensor:
    """Random windows of random pictures."""
    whole = pictures.shape[1]
    windows = []
    for index in generator.integers(0, len(pictures), count):
        top, left = generator.integers(0, whole - size + 1, 2)
        windows.append(pictures[index, top : top + size, left : left + size])
    return as_tensor(np.stack(windows))  # [count, 3, size, size]


@torch.no_grad()
def reconstruct(vae: AutoencoderKL, pictures: Tensor) -> Tensor:
    """The pictures after their way through the latents."""
    made = [vae.decode(vae.encode(part).latent_dist.mode()).sample for part in pictures.split(BATCH_ENCODED)]
    return torch.cat(made).float().clamp(-1, 1)


def psnr(made: Tensor, wanted: Tensor) -> float:
    """The mean peak signal-to-noise ratio in decibels."""
    return (10 * torch.log10(4 / (made - wanted).pow(2).mean((1, 2, 3)))).mean().item()


@torch.no_grad()
def encode(vae: AutoencoderKL, pictures: np.ndarray, settings: Settings) -> Tensor:
    """The latents of pictures, as the mean of their posterior."""
    latents = []
    for start in range(0, len(pictures), BATCH_ENCODED):
        part = as_tensor(pictures[start : start + BATCH_ENCODED]).to(settings.device)
        with autocast(settings):
            latents.append(vae.encode(part).latent_dist.mode().float().cpu().contiguous())
    return torch.cat(latents)  # [n, 4, size / 8, size / 8]


@torch.no_grad()
def fold_statistics(vae: AutoencoderKL, latents: Tensor) -> None:
    """Give every latent channel mean 0 and deviation 1 / scaling factor, inside the 1x1 convolutions."""
    mean = latents.mean((0, 2, 3)).to(vae.device)  # [4]
    scale = latents.std((0, 2, 3)).to(vae.device) * SCALING_FACTOR
    inward, outward = vae.quant_conv, vae.post_quant_conv
    inward.weight[:4] /= scale[:, None, None, None]
    inward.bias[:4] = (inward.bias[:4] - mean) / scale
    inward.bias[4:] -= 2 * scale.log()
    outward.bias += outward.weight[:, :, 0, 0] @ mean
    outward.weight *= scale[None, :, None, None]


def train_vae(work: Path, settings: Settings, minutes: float, until: datetime | None) -> None:
    """Train on crops and whole pictures by turns."""
    torch.manual_seed(0)
    pictures = pictures_of(work, "train", settings)
    judged = as_tensor(pictures_of(work, "held-out", settings)[:64]).to(settings.device)
    vae = build_vae(settings).to(settings.device, memory_format=torch.channels_last)
    rank, workers = worker_rank()

    def loss(step: int) -> Tensor:
        generator = np.random.default_rng(step * workers + rank)
        # Whole pictures by turns, because their norms see other statistics than those of crops.
        if step % 2:
            part = crops(pictures, generator, settings.vae_batch, settings.size)
        else:
            part = crops(pictures, generator, settings.vae_batch * 4, settings.vae_crop)
        with autocast(settings):
            return vae_loss(vae, part.to(settings.device))

    def show(averaged: AutoencoderKL) -> str:
        made = reconstruct(averaged, judged)
        save_pairs(judged, made, work / "vae.png")
        return f"{psnr(made, judged):.2f} dB on held-out renders"

    training = Training("vae", vae, loss, settings.vae_rate, minutes, 0.998, until=until, show=show)
    training.seconds_between_shows = 180
    run_training(training, work, settings)


def load_vae(work: Path, settings: Settings) -> AutoencoderKL:
    """The finished autoencoder."""
    vae = AutoencoderKL.from_pretrained(work / "vae").eval().requires_grad_(False)
    return vae.to(settings.device, memory_format=torch.channels_last)


def finish_vae(work: Path, settings: Settings) -> None:
    """Fold the statistics of the latents into the averaged autoencoder, save and measure it."""
    vae = build_vae(settings).eval()
    vae.load_state_dict(averaged_weights(work, "vae"))
    vae.to(settings.device, memory_format=torch.channels_last)
    pictures = pictures_of(work, "train", settings)
    fold_statistics(vae, encode(vae, pictures[:PICTURES_FOR_STATISTICS], settings))
    vae.save_pretrained(work / "vae")
    judged = as_tensor(pictures_of(work, "held-out", settings)[:PICTURES_JUDGED]).to(settings.device)
    print(f"vae: {psnr(reconstruct(vae, judged), judged):.2f} dB on {len(judged)} held-out renders", flush=True)


def encode_share(work: Path, settings: Settings) -> None:
    """Encode this worker's share of the training pictures."""
    rank, workers = worker_rank()
    pictures = pictures_of(work, "train", settings)
    latents = np.lib.format.open_memmap(work / "latents.partial.npy", "r+")
    first, last = (len(pictures) * part // workers for part in (rank, rank + 1))
    vae = load_vae(work, settings)
    for start in range(first, last, PICTURES_PER_WRITE):
        stop = min(last, start + PICTURES_PER_WRITE)
        latents[start:stop] = (encode(vae, pictures[start:stop], settings) * SCALING_FACTOR).numpy()
    latents.flush()


def encode_pictures(work: Path, settings: Settings) -> None:
    """Keep the scaled latents of all training pictures."""
    started = time.time()
    shape = (len(pictures_of(work, "train", settings)), 4, settings.size // 8, settings.size // 8)
    partial = work / "latents.partial.npy"
    np.lib.format.open_memmap(partial, "w+", np.float32, shape).flush()
    in_workers(encode_share, work, settings)
    partial.replace(work / "latents.npy")
    print(f"vae: encoded {shape[0]} pictures in {time.time() - started:.0f} s", flush=True)
