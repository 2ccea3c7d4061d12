"""Latents <-> arrays <-> pictures."""

import numpy as np
from PIL import Image

from pleinair.bundle import Latents
from pleinair.engines import Graph


def decode(decoder: Graph, latents: np.ndarray, info: Latents) -> np.ndarray:
    """Latents (B, 4, h, w) -> float32 pictures (B, H, W, 3) in 0..1."""
    sample = decoder(latent_sample=(latents / info.scale + info.shift).astype(np.float32))["sample"]
    return np.clip(sample.transpose(0, 2, 3, 1) / 2 + 0.5, 0, 1)


def to_pil(pictures: np.ndarray) -> list[Image.Image]:
    """Float pictures (B, H, W, 3) in 0..1 -> 8-bit RGB, rounded as diffusers does."""
    return [Image.fromarray(picture) for picture in (pictures * 255).round().astype(np.uint8)]
