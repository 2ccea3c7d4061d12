"""A style as a LoRA: every scene as if drawn with chalk on a blackboard."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from recipe.addons.data import Lessons, drawn_for, noise_like, partly_untold
from recipe.addons.low_rank import Adapted, LowRank, save_adapter
from recipe.addons.settings import Addons
from recipe.diffusion import DROPPED, denoising_loss, stratified_times
from recipe.settings import Settings
from recipe.training import Training, autocast, train

BOARD = (0.11, 0.20, 0.17)
BINOMIAL = (1.0, 4.0, 6.0, 4.0, 1.0)
LINE_GAIN, LINE_FROM = 3.0, 0.12  # how fast a step in colour becomes a line, and from which on
DUST = 0.08  # chalk that is everywhere
FILLED = 0.35  # of a colour without any grey in it
EMA = 0.998


def chalk(pictures: Tensor) -> Tensor:
    """Pictures [n, 3, height, width] from -1 to 1, drawn with chalk: outlines, and colours faintly filled in."""
    colours = (pictures + 1) / 2
    brightest, darkest = colours.amax(1, keepdim=True), colours.amin(1, keepdim=True)
    cover = (DUST + FILLED * (brightest - darkest) + lines(colours)).clamp(0, 1)
    crayon = 0.35 + 0.65 * colours / brightest.clamp(min=0.2)
    board = torch.tensor(BOARD, device=pictures.device)[None, :, None, None]
    return (board * (1 - cover) + crayon * cover) * 2 - 1


def lines(colours: Tensor) -> Tensor:
    """Where colours change quickly [n, 1, height, width], from 0 to 1."""
    weights = torch.tensor(BINOMIAL, device=colours.device) / sum(BINOMIAL)
    blur = (weights[:, None] * weights).expand(3, 1, 5, 5)
    soft = F.conv2d(F.pad(colours, (2, 2, 2, 2), mode="replicate"), blur, groups=3)
    wide = F.pad(soft, (1, 1, 1, 1), mode="replicate")
    across = wide[:, :, 1:-1, 2:] - wide[:, :, 1:-1, :-2]
    down = wide[:, :, 2:, 1:-1] - wide[:, :, :-2, 1:-1]
    change = (across.pow(2) + down.pow(2)).sum(1, keepdim=True).sqrt()
    return (LINE_GAIN * change - LINE_FROM).clamp(0, 1)


def train_style(work: Path, file: Path, lessons: Lessons, settings: Settings, addons: Addons) -> None:
    """Train the LoRA on chalk drawings of the scenes, told their captions as the model was, and save it."""
    torch.manual_seed(0)
    adapter = LowRank(lessons.model.unet, addons.style_rank).to(settings.device)
    unet = Adapted(lessons.model.unet, adapter)

    drawings = replace(lessons, change=chalk)

    def loss(step: int) -> Tensor:
        drawn = drawn_for(step, addons.style_batch, drawings)
        texts, noise = partly_untold(drawn, DROPPED, drawings), noise_like(drawn)
        times = stratified_times(len(drawn.ids), drawn.generator)
        with autocast(settings):
            return denoising_loss(unet, drawn.clean, noise, times, texts, settings.prediction)

    averaged = train(Training("style", adapter, loss, addons.style_steps, addons.style_rate, EMA), work)
    save_adapter(averaged, file, **{"modelspec.title": "chalk", "modelspec.license": "apache-2.0"})
