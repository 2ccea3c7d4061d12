"""Latents <-> arrays <-> pictures."""

import numpy as np
from PIL import Image

from pleinair.bundle.lone_parts import Autoencoder
from pleinair.checks import whole
from pleinair.engines.engine import Graph
from pleinair.engines.failures import check_finite
from pleinair.errors import BundleError, RequestError
from pleinair.pictures.tiles import tall_tile, tiled
from pleinair.sampling.noise import NoiseSource

LOGVAR = (-30.0, 20.0)  # the range diffusers' DiagonalGaussianDistribution cuts to
TILE = 768  # pixels a side: a tile of as many pixels decodes in about 6 GB with the VAE of Stable Diffusion 1
OVERLAP = 128  # pixels
SIDES = (64, 8192)
ROWS = 64  # of a picture, that are rounded at a time


def prepare_encoder(encoder: Graph, height: int, width: int, vae: Autoencoder, tile: int | None = None) -> None:
    """Load and compile the encoder for pictures of this size in pixels; `tile` as in `decode`."""
    sides = tile_shape(height // vae.downsample, width // vae.downsample, vae, tile)
    encoder.prepare({"sample": (1, 3, *(side * vae.downsample for side in sides))})


def encode(encoder: Graph, pictures: np.ndarray, vae: Autoencoder, tile: int | None = None) -> np.ndarray:
    """Pictures (B, H, W, 3) in 0..1 -> the mean of their latents (B, C, h, w) at the scale of the loop.

    `tile` as in `decode`.
    """
    answers = [encoder_answer(encoder, picture[None], vae, tile) for picture in pictures]
    return scaled(np.concatenate([drawn(each, None, vae) for each in answers]), vae)


def encoder_answer(encoder: Graph, picture: np.ndarray, vae: Autoencoder, tile: int | None = None) -> np.ndarray:
    """What the encoder says of a picture (1, H, W, 3): (1, 2 C, h, w), mean and log variance, or (1, C, h, w)."""
    height, width = picture.shape[1:3]
    if height % vae.downsample or width % vae.downsample:
        raise RequestError(
            f"a picture of {width}x{height} has no whole number of latents; fit it to a multiple of {vae.downsample}"
        )
    size, overlap = _tiling(height // vae.downsample, width // vae.downsample, vae, tile)

    def answer(x: np.ndarray) -> np.ndarray:
        numbers = encoder(sample=x)[vae.answer]
        _check_scale(numbers.shape, x.shape, vae)
        return numbers

    sample = 2 * picture.transpose(0, 3, 1, 2).astype(np.float32) - 1  # (1, 3, H, W)
    return tiled(answer, sample, size, overlap, unit_in=vae.downsample)


def drawn(answer: np.ndarray, generator: NoiseSource | None, vae: Autoencoder) -> np.ndarray:
    """Latents (1, C, h, w) as the VAE has them, drawn from an encoder's answer, or their mean without a generator.

    One draw of as many numbers, as diffusers' `latent_dist.sample(generator)` does.
    """
    if vae.kind == "plain":
        return answer
    z, logvar = np.split(answer, 2, axis=1)
    return z if generator is None else z + np.exp(0.5 * logvar.clip(*LOGVAR)) * generator.normal(z.shape[1:])


def scaled(z: np.ndarray, vae: Autoencoder) -> np.ndarray:
    """Latents (B, C, h, w) as the VAE has them -> at the scale of the loop."""
    if vae.mean is not None:
        return ((z - _each(vae.mean)) * (vae.scale / _each(vae.std))).astype(np.float32)
    return ((z - vae.shift) * vae.scale).astype(np.float32)


def unscaled(latents: np.ndarray, vae: Autoencoder) -> np.ndarray:
    """Latents (B, C, h, w) at the scale of the loop -> as the VAE has them."""
    if vae.mean is not None:
        return (latents * (_each(vae.std) / vae.scale) + _each(vae.mean)).astype(np.float32)
    return (latents / vae.scale + vae.shift).astype(np.float32)


def _each(numbers: tuple[float, ...]) -> np.ndarray:
    """A number for each channel, as (1, C, 1, 1)."""
    return np.array(numbers, np.float32)[None, :, None, None]


def decode(decoder: Graph, latents: np.ndarray, vae: Autoencoder, tile: int | None = None) -> np.ndarray:
    """Latents (B, C, h, w) -> float32 pictures (B, H, W, 3) in 0..1.

    What has more than `tile` x `tile` pixels (None: the VAE's own, or 768x768) is decoded in overlapping tiles of at
    most as many, which bounds the memory. They are near, not equal, to the whole where a VAE normalises over all it is
    given.
    """
    size, overlap = _tiling(*latents.shape[2:], vae, tile)

    def decoded(z: np.ndarray) -> np.ndarray:
        sample = decoder(latent_sample=z)["sample"]
        _check_scale(z.shape, sample.shape, vae)
        return sample

    sample = tiled(decoded, unscaled(latents, vae), size, overlap, unit_out=vae.downsample)
    check_finite(sample, "when decoding")  # clipped, infinity would be black or white
    return np.clip(sample.transpose(0, 2, 3, 1) / 2 + 0.5, 0, 1)


def _check_scale(small: tuple[int, ...], large: tuple[int, ...], vae: Autoencoder) -> None:
    """Raise BundleError unless pictures are `downsample` times as wide and high as their latents."""
    if large[2:] != tuple(side * vae.downsample for side in small[2:]):
        sides = [f"{shape[3]}x{shape[2]}" for shape in (large, small)]
        raise BundleError(
            f"the VAE makes {sides[1]} latents of {sides[0]} pixels, and bundle.json says that one covers"
            f" {vae.downsample}x{vae.downsample}; export the model again"
        )


def tile_shape(h: int, w: int, vae: Autoencoder, tile: int | None = None) -> tuple[int, int]:
    """The size in latents that `encode` and `decode` run the VAE at: (h, w) itself where they do not cut."""
    return _tiling(h, w, vae, tile)[0]


def _tiling(h: int, w: int, vae: Autoencoder, tile: int | None) -> tuple[tuple[int, int], int]:
    """The size of a tile and the overlap, in latents."""
    usual = vae.tile or TILE
    side = max(2, whole("tile", usual if tile is None else tile, *SIDES) // vae.downsample)
    overlap = max(1, min(OVERLAP // vae.downsample, side // 2))
    return tall_tile(h, w, side, overlap), overlap


def to_pixels(pictures: list[Image.Image]) -> np.ndarray:
    """RGB pictures of one size -> float32 (B, H, W, 3) in 0..1."""
    return np.stack([np.asarray(picture, np.float32) for picture in pictures]) / np.float32(255)


def to_pil(pictures: np.ndarray) -> list[Image.Image]:
    """Float pictures (B, H, W, 3) in 0..1 -> 8-bit RGB, rounded as diffusers does."""
    return [Image.fromarray(eight_bits(picture)) for picture in pictures]


def eight_bits(picture: np.ndarray) -> np.ndarray:
    """One of them as bytes (H, W, 3), made of some rows after the others: a large one has no room for three copies."""
    levels = np.empty(picture.shape, np.uint8)
    for top in range(0, len(picture), ROWS):
        levels[top : top + ROWS] = (picture[top : top + ROWS] * 255).round()
    return levels


def resized_latents(latents: np.ndarray, h: int, w: int) -> np.ndarray:
    """Latents (B, C, .., ..) at another size (B, C, h, w), bilinear, as A1111's "Latent" upscaler does it."""
    rows = [Image.fromarray(plane).resize((w, h), Image.Resampling.BILINEAR) for one in latents for plane in one]
    return np.stack([np.asarray(plane) for plane in rows]).reshape(*latents.shape[:2], h, w)


def rough(x0: np.ndarray, rgb: tuple[tuple[float, ...], ...] | None, downsample: int) -> list[Image.Image]:
    """What latents (B, C, h, w) will look like, by a bundle's linear map `rgb` and without the VAE, at full size.

    Raises BundleError for a bundle without that map.
    """
    if rgb is None:
        raise BundleError("this model has no map for quick previews; export it again, or preview through the VAE")
    *weights, bias = np.asarray(rgb, np.float32)  # (C, 3) and (3,)
    colours = np.tensordot(x0.astype(np.float32), np.stack(weights), (1, 0)) + bias  # (B, h, w, 3)
    size = (x0.shape[3] * downsample, x0.shape[2] * downsample)
    small = to_pil(np.nan_to_num(colours).clip(0, 1))
    return [picture.resize(size, Image.Resampling.BICUBIC) for picture in small]
