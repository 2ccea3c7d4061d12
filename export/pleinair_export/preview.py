"""A VAE's linear map from latents to colours, asked of torch."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from pleinair.pictures import colours
from pleinair.pictures.colours import Rgb
from pleinair.pictures.vae import scaled
from pleinair.sources.describing import autoencoder_of, vae_factor

FILE = "preview.json"


def write_rgb(vae: nn.Module, folder: Path) -> None:
    """Leave `fit_rgb` of a VAE in a folder, for `read_rgb`."""
    (folder / FILE).write_text(json.dumps(fit_rgb(vae)), encoding="utf-8")


def read_rgb(folder: Path) -> Rgb | None:
    found = json.loads((folder / FILE).read_text(encoding="utf-8"))
    return found and tuple(map(tuple, found))


def fit_rgb(vae: nn.Module) -> Rgb | None:
    """The map of a VAE; None where it encodes nothing finite."""
    return colours.fit_rgb(partial(encode, vae), vae_factor(vae.config))


def encode(vae: nn.Module, pictures: np.ndarray) -> np.ndarray:
    """Pictures (B, H, W, 3) in 0..1 -> the mean of their latents (B, c, h, w), scaled as the UNet sees them."""
    with torch.no_grad():
        answer = vae.encode(torch.from_numpy(pictures.transpose(0, 3, 1, 2) * 2 - 1))
    plain = next((answer[name] for name in ("latents", "latent") if name in answer), None)
    mean = answer.latent_dist.mean if plain is None else plain
    return scaled(mean.numpy(), autoencoder_of(vae.config, type(vae).__name__))
