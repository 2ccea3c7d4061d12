"""A ControlNet (Zhang et al. 2023) that paints along the edges of a picture."""

from pathlib import Path

import numpy as np
import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from PIL import Image
from torch import Tensor, nn

from pleinair.pictures.preparing import canny
from recipe.addons.data import Lessons, drawn_for, noise_like, partly_untold
from recipe.addons.settings import Addons
from recipe.diffusion import NOISE_STEPS, kept_shares, stratified_times
from recipe.settings import Settings
from recipe.training import Training, autocast, train

UNTOLD = 0.3  # of the captions: what the words leave open, the edges must say
SEEN_THROUGH = (16, 32, 64, 96)  # channels of the layers that make a condition as small as latents
SHARED = ("block_out_channels", "layers_per_block", "norm_num_groups", "cross_attention_dim", "attention_head_dim")
HEAVIEST = 100.0  # of the weights of an error
EMA = 0.995


def edges_of(pictures: Tensor) -> Tensor:
    """The edges of pictures [n, 3, side, side] from -1 to 1, white on black, from 0 to 1."""
    as_bytes = ((pictures + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
    found = np.stack([np.asarray(canny(Image.fromarray(each))) for each in as_bytes])
    return (torch.from_numpy(found).permute(0, 3, 1, 2).float() / 255).to(pictures.device)


class Controlled:
    """The frozen network, with what a ControlNet says of edges added to it."""

    def __init__(self, network: nn.Module, control: ControlNetModel, edges: Tensor) -> None:
        self._network = network
        self._control = control
        self._edges = edges

    def __call__(self, noisy: Tensor, times: Tensor, texts: Tensor) -> object:
        said = self._control(noisy, times, texts, controlnet_cond=self._edges)
        added = {
            "down_block_additional_residuals": said.down_block_res_samples,
            "mid_block_additional_residual": said.mid_block_res_sample,
        }
        return self._network(noisy, times, texts, **added)


def build_control(unet: UNet2DConditionModel) -> ControlNetModel:
    """An untrained one: half the denoiser, but for what attends to the text, and layers that say nothing yet."""
    own = unet.config
    control = ControlNetModel(
        down_block_types=("DownBlock2D",) * len(own.block_out_channels),
        mid_block_type="UNetMidBlock2D",
        conditioning_embedding_out_channels=SEEN_THROUGH,
        **{name: own[name] for name in SHARED},
    )
    wanted = control.state_dict()
    control.load_state_dict({name: part for name, part in unet.state_dict().items() if name in wanted}, strict=False)
    nn.init.kaiming_normal_(control.controlnet_cond_embedding.conv_out.weight)  # zeros learn late behind other zeros
    return control


def noisy_times(times: Tensor) -> Tensor:
    """Noise levels moved towards the highest, where it is settled what lies where: half lie in the upper quarter."""
    left = 1 - (times + 0.5) / NOISE_STEPS
    return ((1 - left.square()) * NOISE_STEPS).long()


def picture_loss(
    network: Controlled, clean: Tensor, noise: Tensor, times: Tensor, texts: Tensor, cap: float = HEAVIEST
) -> Tensor:
    """The squared error of the picture behind the noise that is found, not of the noise.

    That of the noise hardly depends on a picture of which next to nothing is left, and teaches nothing about it.
    """
    share = kept_shares().to(clean.device)[times]
    signal, spread = share.sqrt()[:, None, None, None], (1 - share).sqrt()[:, None, None, None]
    noisy = (signal * clean + spread * noise).contiguous(memory_format=torch.channels_last)
    error = (network(noisy, times, texts).sample.float() - noise).pow(2).mean((1, 2, 3))
    return (error * ((1 - share) / share).clamp(max=cap)).mean()


def train_edges(work: Path, folder: Path, lessons: Lessons, settings: Settings, addons: Addons) -> None:
    """Train the ControlNet, which begins as a copy of half the denoiser, on the scenes' edges, and save it."""
    torch.manual_seed(0)
    unet = lessons.model.unet
    control = build_control(unet).to(settings.device, memory_format=torch.channels_last)

    def loss(step: int) -> Tensor:
        drawn = drawn_for(step, addons.edges_batch, lessons)
        texts, noise = partly_untold(drawn, UNTOLD, lessons), noise_like(drawn)
        times = noisy_times(stratified_times(len(drawn.ids), drawn.generator))
        edges = edges_of(lessons.pictures(drawn.size, drawn.scenes))
        with autocast(settings):
            return picture_loss(Controlled(unet, control, edges), drawn.clean, noise, times, texts)

    averaged = train(Training("edges", control, loss, addons.edges_steps, addons.edges_rate, EMA), work)
    averaged.half().save_pretrained(folder)
