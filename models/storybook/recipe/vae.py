"""The autoencoder: built near the identity, trained for sharp flat pictures, folded to unit latents."""

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from diffusers.models.downsampling import Downsample2D
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn
from torch.nn import functional as F

from recipe.sets import as_tensor, generator_for, pictures_of, random_below
from recipe.settings import Settings
from recipe.sheets import save_pairs
from recipe.training import Training, autocast, train

SCALING_FACTOR = 0.18215
KL_WEIGHT = 2e-4
LATENT_NOISE = -5.0
NORM_GROUPS = 8
CARRIER = 2.0
EMA = 0.998
CROPS_A_SIDE = 4
BATCH_ENCODED = 32
PICTURES_FOR_STATISTICS = 512
PICTURES_JUDGED = 128
PICTURES_SHOWN = 24
PICTURES_PER_WRITE = 256


def build_vae(settings: Settings) -> AutoencoderKL:
    """An untrained autoencoder that already passes a blurred picture through."""
    levels = len(settings.vae_channels)
    vae = AutoencoderKL(
        block_out_channels=settings.vae_channels,
        layers_per_block=settings.vae_layers,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        latent_channels=4,
        # A norm over all channels together would tie every pixel's colour to the whole picture's.
        norm_num_groups=NORM_GROUPS,
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


def carry_brightness(norm: nn.GroupNorm, conv: nn.Conv2d) -> None:
    """Give each group of a norm two opposite constants, beside which it neither centres nor scales the picture away."""
    channels = norm.num_channels // norm.num_groups
    conv.bias[0::channels] += CARRIER
    conv.bias[1::channels] -= CARRIER
    norm.weight.fill_(CARRIER * (2 / channels) ** 0.5)


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
                # Not zero as well: two biases that are added up and begin alike would stay the same numbers for ever.
                module.conv_shortcut.bias.fill_(0.01)
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
    carry_brightness(vae.encoder.conv_norm_out, vae.encoder.mid_block.resnets[-1].conv2)
    carry_brightness(vae.decoder.conv_norm_out, vae.decoder.up_blocks[-1].resnets[-1].conv2)
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
    return error.abs().mean() + 3 * error.pow(2).mean() + 0.5 * edges(error) + 0.5 * F.avg_pool2d(error, 4).abs().mean()


def edges(error: Tensor) -> Tensor:
    """How much neighbouring pixels differ in their error."""
    return (error[..., 1:] - error[..., :-1]).abs().mean() + (error[..., 1:, :] - error[..., :-1, :]).abs().mean()


def vae_loss(vae: nn.Module, pictures: Tensor) -> Tensor:
    """How badly pictures come back, and how far their latents are from a unit normal."""
    posterior = vae.encode(pictures).latent_dist
    made = vae.decode(posterior.sample()).sample
    divergence = 0.5 * (posterior.mean.pow(2) + posterior.var - 1 - posterior.logvar).mean()
    return reconstruction_loss(made.float(), pictures) + KL_WEIGHT * divergence.float()


def half_size(pictures: Tensor) -> Tensor:
    """The pictures at half their width and height."""
    return F.avg_pool2d(pictures, 2).contiguous(memory_format=torch.channels_last)


def whole(pictures: Tensor, generator: torch.Generator, count: int) -> Tensor:
    """Random pictures."""
    return as_tensor(pictures[random_below(len(pictures), count, generator)])


def crops(pictures: Tensor, generator: torch.Generator, count: int) -> Tensor:
    """Random windows of random pictures, small ones because they are the cheapest pixels."""
    side = pictures.shape[1]
    size = side // CROPS_A_SIDE
    index = random_below(len(pictures), count, generator)
    top, left = (random_below(side - size + 1, count, generator) for _ in range(2))
    along = torch.arange(size, device=generator.device)
    rows, columns = top[:, None] + along, left[:, None] + along  # [count, size]
    return as_tensor(pictures[index[:, None, None], rows[:, :, None], columns[:, None, :]])  # [count, 3, size, size]


def batch_of(pictures: Tensor, step: int, count: int) -> Tensor:
    """Windows, whole pictures and halved ones by turns, equally many pixels: norms see other statistics in each."""
    generator = generator_for(step, pictures.device)
    if step % 4 == 0:
        return whole(pictures, generator, count)
    if step % 4 == 2:
        return half_size(whole(pictures, generator, count * 4))
    return crops(pictures, generator, count * CROPS_A_SIDE**2)


@torch.no_grad()
def reconstruct(vae: AutoencoderKL, pictures: Tensor) -> Tensor:
    """The pictures after their way through the latents."""
    made = [vae.decode(vae.encode(part).latent_dist.mode()).sample for part in pictures.split(BATCH_ENCODED)]
    return torch.cat(made).float().clamp(-1, 1)


def psnr(made: Tensor, wanted: Tensor) -> float:
    """The mean peak signal-to-noise ratio in decibels."""
    return (10 * torch.log10(4 / (made - wanted).pow(2).mean((1, 2, 3)))).mean().item()


def judge_vae(vae: AutoencoderKL, work: Path, settings: Settings, sheet: str) -> str:
    """Write a sheet of held-out renders beside what comes back, and tell how near that is in both sizes."""
    judged = as_tensor(pictures_of(work, "held-out", settings)[:PICTURES_JUDGED]).to(settings.device)
    small = half_size(judged)
    made = reconstruct(vae, judged)
    save_pairs(judged[:PICTURES_SHOWN], made[:PICTURES_SHOWN], work / sheet)
    return f"{psnr(made, judged):.2f} dB on held-out renders, {psnr(reconstruct(vae, small), small):.2f} at half size"


def train_vae(work: Path, settings: Settings) -> None:
    """Train the autoencoder, fold the statistics of its latents into it, and save it."""
    torch.manual_seed(0)
    pictures = pictures_of(work, "train", settings)
    vae = build_vae(settings).to(settings.device, memory_format=torch.channels_last)

    def loss(step: int) -> Tensor:
        with autocast(settings):
            return vae_loss(vae, batch_of(pictures, step, settings.vae_batch))

    def show(averaged: AutoencoderKL) -> str:
        return judge_vae(averaged, work, settings, "vae.png")

    training = Training("vae", vae, loss, settings.vae_steps, settings.vae_rate, EMA, show=show)
    averaged = train(training, work)
    fold_statistics(averaged, encode(averaged, as_tensor(pictures[:PICTURES_FOR_STATISTICS]), settings))
    averaged.save_pretrained(work / "vae")


@torch.no_grad()
def encode(vae: AutoencoderKL, pictures: Tensor, settings: Settings) -> Tensor:
    """The latents of pictures, as the mean of their posterior."""
    latents = []
    for part in pictures.split(BATCH_ENCODED):
        with autocast(settings):
            latents.append(vae.encode(part.to(settings.device)).latent_dist.mode().float().cpu().contiguous())
    return torch.cat(latents)  # [n, 4, height / 8, width / 8]


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


def load_vae(work: Path, settings: Settings) -> AutoencoderKL:
    """The autoencoder as it was saved last."""
    vae = AutoencoderKL.from_pretrained(work / "vae").eval().requires_grad_(False)
    return vae.to(settings.device, memory_format=torch.channels_last)


def encode_pictures(work: Path, settings: Settings) -> None:
    """Keep the scaled latents of all training pictures, whole and at half their size, from where it was stopped."""
    pictures = pictures_of(work, "train", settings)
    vae = load_vae(work, settings)
    for name, side in (("small", settings.size // 16), ("large", settings.size // 8)):
        if (work / f"latents-{name}.npy").exists():
            continue
        partial, progress = work / f"latents-{name}.partial.npy", work / f"latents-{name}.progress"
        mode = "r+" if progress.exists() else "w+"
        latents = np.lib.format.open_memmap(partial, mode, np.float16, (len(pictures), 4, side, side))
        first = int(progress.read_text()) if progress.exists() else 0
        for start in range(first, len(pictures), PICTURES_PER_WRITE):
            part = as_tensor(pictures[start : start + PICTURES_PER_WRITE])
            part = part if name == "large" else half_size(part)
            latents[start : start + len(part)] = (encode(vae, part, settings) * SCALING_FACTOR).numpy()
            latents.flush()
            progress.write_text(str(start + len(part)))
        partial.replace(work / f"latents-{name}.npy")
        progress.unlink()
        print(f"latents: {len(pictures)} {name} ones", flush=True)
