"""A ControlNet (Zhang et al. 2023) that paints along the edges of a picture."""

from pathlib import Path

import numpy as np
import torch
from diffusers import ControlNetModel
from PIL import Image
from torch import Tensor

from pleinair.pictures.preparing import canny
from recipe.addons.data import Lessons, drawn_for
from recipe.addons.settings import Addons
from recipe.diffusion import denoising_loss, stratified_times
from recipe.settings import Settings
from recipe.training import Training, autocast, train

UNTOLD = 0.3  # of the captions: what the words leave open, the edges must say
SEEN_THROUGH = (16, 32, 64, 96)  # channels of the layers that make a condition as small as latents
EMA = 0.998


def edges_of(pictures: Tensor) -> Tensor:
    """The edges of pictures [n, 3, side, side] from -1 to 1, white on black, from 0 to 1."""
    as_bytes = ((pictures + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
    found = np.stack([np.asarray(canny(Image.fromarray(each))) for each in as_bytes])
    return (torch.from_numpy(found).permute(0, 3, 1, 2).float() / 255).to(pictures.device)


class Controlled:
    """The frozen network, with what a ControlNet says of edges added to it."""

    def __init__(self, network: torch.nn.Module, control: ControlNetModel, edges: Tensor) -> None:
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


def train_edges(work: Path, folder: Path, lessons: Lessons, settings: Settings, addons: Addons) -> None:
    """Train the ControlNet, which begins as a copy of half the denoiser, on the scenes' edges, and save it."""
    torch.manual_seed(0)
    unet = lessons.model.unet
    control = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=SEEN_THROUGH)
    control.requires_grad_(True).to(settings.device, memory_format=torch.channels_last)
    if settings.device == "cpu":
        control.set_attn_processor(next(iter(unet.attn_processors.values())))

    def loss(step: int) -> Tensor:
        drawn = drawn_for(step, addons.edges_batch, lessons)
        clean, count, device = lessons.scaled_latents(drawn.pictures, settings), len(drawn.ids), drawn.ids.device
        untold = torch.rand(count, 1, generator=drawn.generator, device=device) < UNTOLD
        texts = lessons.text(torch.where(untold, lessons.nothing, drawn.ids))
        noise = torch.randn(clean.shape, generator=drawn.generator, device=device)
        times = stratified_times(count, drawn.generator)
        network = Controlled(unet, control, edges_of(drawn.pictures).to(device))
        with autocast(settings):
            return denoising_loss(network, clean, noise, times, texts, settings.prediction)

    averaged = train(Training("edges", control, loss, addons.edges_steps, addons.edges_rate, EMA), work)
    averaged.half().save_pretrained(folder)
