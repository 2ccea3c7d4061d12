"""Pictures that repeat without a seam: latents treated as if their opposite borders touched.

`axes` says which do: "x" left and right (a panorama), "y" top and bottom, "xy" all of them (a texture).
"""

import numpy as np

from pleinair.bundle.lone_parts import Autoencoder
from pleinair.checks import one_of
from pleinair.engines.engine import Graph
from pleinair.pictures.vae import decode
from pleinair.sampling.coordinates import Denoise
from pleinair.sampling.path import Point

AXES = ("xy", "x", "y")
MARGIN = 8  # latents of the other side that the decoder sees around the picture


def wrapped(denoise: Denoise, axes: str) -> Denoise:
    """`denoise` on latents (B, C, h, w) shifted cyclically by a new offset at each noise level, and shifted back.

    The border that the network sees is elsewhere every time, so that no seam stays. Offsets follow from the timestep
    alone: a batch equals its singles, and a step repeated is the same step. Raises RequestError.
    """
    one_of("axes", axes, AXES)

    def around(x: np.ndarray, point: Point, step: int) -> np.ndarray:
        shift = shift_at(point, *x.shape[2:], axes)
        x0 = denoise(np.roll(x, shift, (2, 3)), point, step)
        return np.roll(x0, (-shift[0], -shift[1]), (2, 3))

    return around


def shift_at(point: Point, height: int, width: int, axes: str) -> tuple[int, int]:
    """By how many rows and columns latents of a size are shifted at a noise level; none where `axes` is empty."""
    generator = np.random.RandomState(int(point.t * 1024) & 0xFFFFFFFF)
    down, across = (int(generator.randint(size)) for size in (height, width))
    return down if "y" in axes else 0, across if "x" in axes else 0


def seamless_decode(
    decoder: Graph, latents: np.ndarray, vae: Autoencoder, axes: str, tile: int | None = None
) -> np.ndarray:
    """Latents (B, C, h, w) -> pictures (B, H, W, 3) in 0..1 whose opposite borders meet; `tile` as in `decode`."""
    down, across = wrap_margins(axes)
    padded = np.pad(latents, ((0, 0), (0, 0), (down, down), (across, across)), mode="wrap")
    pixels = decode(decoder, padded, vae, tile)
    top, left = down * vae.downsample, across * vae.downsample
    return pixels[:, top : pixels.shape[1] - top, left : pixels.shape[2] - left]


def wrap_margins(axes: str) -> tuple[int, int]:
    """By how many rows and columns `seamless_decode` makes latents larger on each side before it decodes them."""
    one_of("axes", axes, AXES)
    return MARGIN if "y" in axes else 0, MARGIN if "x" in axes else 0
