"""Finishes the decoder for the latents as they are: sharp edges, and a critic that tells its pictures from renders."""

from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from recipe.sets import as_tensor, generator_for, latents_of, pictures_of, random_below
from recipe.settings import Settings
from recipe.training import Training, autocast, train
from recipe.vae import SCALING_FACTOR, edges, half_size, judge_vae, load_vae

RATE = 5e-4
EMA = 0.998
# What the denoiser makes is never quite what the encoder would make.
NOISE = 0.03
EDGE_SCALES = (1, 2, 4)
CRITIC_WIDTH = 24
CRITIC_FROM = 0.2  # the critic first looks on for this share of the steps
CRITIC_SHARE = 0.15


def build_critic() -> nn.Sequential:
    """A small network that says of every patch of about 22 pixels how much it looks like a render (PatchGAN)."""
    width = CRITIC_WIDTH
    return nn.Sequential(
        nn.Conv2d(3, width, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(width, 2 * width, 4, 2, 1),
        nn.GroupNorm(4, 2 * width),
        nn.LeakyReLU(0.2),
        nn.Conv2d(2 * width, 4 * width, 3, 1, 1),
        nn.GroupNorm(4, 4 * width),
        nn.LeakyReLU(0.2),
        nn.Conv2d(4 * width, 1, 3, 1, 1),
    )


def painter_of(vae: AutoencoderKL) -> nn.Sequential:
    """The part of the autoencoder behind the latents."""
    return nn.Sequential(vae.post_quant_conv, vae.decoder)


def sharpness_loss(made: Tensor, wanted: Tensor) -> Tensor:
    """Absolute and squared error, and the errors of edges on several scales."""
    error = made - wanted
    on_scales = sum(edges(F.avg_pool2d(error, scale)) for scale in EDGE_SCALES)
    return error.abs().mean() + 3 * error.pow(2).mean() + 0.5 * on_scales


def critic_loss(critic: nn.Module, made: Tensor, wanted: Tensor) -> Tensor:
    """Renders should score above 1 and what was made below -1 (hinge)."""
    return F.relu(1 - critic(wanted)).mean() + F.relu(1 + critic(made.detach())).mean()


def balance(main: Tensor, other: Tensor, made: Tensor) -> Tensor:
    """How much stronger one loss pulls at what was made than another (VQGAN's adaptive weight)."""
    pulls = [torch.autograd.grad(loss, made, retain_graph=True)[0].norm() for loss in (main, other)]
    return pulls[0] / (pulls[1] + 1e-6)


def latents_and_pictures(latents: dict[str, Tensor], pictures: Tensor, count: int, step: int) -> tuple[Tensor, Tensor]:
    """Cached latents, a little noisy, with their pictures: whole and halved ones by turns, equally many pixels."""
    generator = generator_for(step, pictures.device)
    name, count = ("small", 4 * count) if step % 2 else ("large", count)
    chosen = random_below(len(pictures), count, generator)
    known = latents[name][chosen].float()
    known += NOISE * torch.randn(known.shape, generator=generator, device=known.device)
    known = (known / SCALING_FACTOR).contiguous(memory_format=torch.channels_last)
    wanted = as_tensor(pictures[chosen])
    return known, half_size(wanted) if name == "small" else wanted


def train_decoder(work: Path, settings: Settings) -> None:
    """Train decoder and critic against each other, and put the averaged decoder into the autoencoder."""
    torch.manual_seed(0)
    vae = load_vae(work, settings)
    painter, critic = painter_of(vae).requires_grad_(True), build_critic()
    both = nn.ModuleDict({"painter": painter, "critic": critic}).to(settings.device, memory_format=torch.channels_last)

    pictures = pictures_of(work, "train", settings)
    latents = {name: latents_of(work, name, settings) for name in ("small", "large")}

    def loss(step: int) -> Tensor:
        known, wanted = latents_and_pictures(latents, pictures, settings.decoder_batch, step)
        with autocast(settings):
            made = painter(known).float()
            total = sharpness_loss(made, wanted)
            if step >= CRITIC_FROM * settings.decoder_steps:
                # To the painter the critic's weights are constants.
                frozen = {name: weight.detach() for name, weight in critic.named_parameters()}
                fooled = -functional_call(critic, frozen, made).mean()
                total = total + CRITIC_SHARE * balance(total, fooled, made) * fooled
            return total + critic_loss(critic, made, wanted)

    def show(averaged: nn.ModuleDict) -> str:
        vae.post_quant_conv, vae.decoder = averaged["painter"]
        return judge_vae(vae, work, settings, "decoder.png")

    averaged = train(Training("decoder", both, loss, settings.decoder_steps, RATE, EMA, show=show), work)
    vae.post_quant_conv, vae.decoder = averaged["painter"]
    vae.save_pretrained(work / "vae")
