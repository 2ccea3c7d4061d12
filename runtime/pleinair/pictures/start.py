"""A picture to paint over: what the walk starts from, what it leaves alone, and how the result is put back."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pleinair.bundle.lone_parts import Autoencoder
from pleinair.engines.engine import Graph
from pleinair.pictures import masks
from pleinair.pictures.reading import fitted
from pleinair.pictures.vae import drawn, encoder_answer, prepare_encoder, scaled, to_pil, to_pixels
from pleinair.sampling.noise import NoiseSource, stacked
from pleinair.sampling.path import Point


@dataclass(frozen=True)
class Ground:
    """A picture of the size that is painted, and where the result belongs."""

    picture: np.ndarray  # (1, H, W, 3) in 0..1
    mask: Image.Image | None  # of the same size, white where it is repainted
    original: Image.Image  # what unmasked pixels are put back from
    soft: Image.Image | None  # the blurred mask of that size
    box: tuple[int, int, int, int] | None  # the region of `original` that is painted; None for all of it
    size: tuple[int, int] | None = None  # what is kept of the result, from its top left; None for all of it

    def finished(self, pixels: np.ndarray) -> np.ndarray:
        """Painted pixels (B, H, W, 3) -> whole pictures, with what is not masked as it was."""
        if self.soft is not None:
            pixels = to_pixels([masks.paste(self.original, one, self.box, self.soft) for one in to_pil(pixels)])
        width, height = self.size or (pixels.shape[2], pixels.shape[1])
        return pixels[:, :height, :width]


def lay(
    image: Image.Image,
    mask: Image.Image | None,
    width: int,
    height: int,
    *,
    outpaint: tuple[int, int, int, int] | None,
    only_masked: bool,
    padding: int,
    fill: str,
    mask_blur: float,
    restore: bool,
) -> Ground:
    """Fit a picture and its mask (white: repaint) to the size that is painted, alike for every picture of a job."""
    size = None
    if outpaint:
        left, top, right, bottom = outpaint
        size = image.width + left + right, image.height + top + bottom  # what is painted may be a little larger
        image, mask = masks.outpainted(image, left, top, right + width - size[0], bottom + height - size[1])
    if mask is None:
        return Ground(to_pixels([fitted(image, width, height)]), None, image, None, None)
    box = masks.masked_region(mask, padding, width, height) if only_masked else None
    if box is None:
        image, mask = fitted(image, width, height), fitted(mask, width, height)
    painted, hole = masks.filled(image, mask, fill), mask
    if box:
        painted, hole = (each.crop(box).resize((width, height), Image.Resampling.LANCZOS) for each in (painted, mask))
    soft = masks.blurred(mask, mask_blur) if restore or box else None
    return Ground(to_pixels([painted]), hole, image, soft, box, size)


@dataclass(frozen=True)
class Start:
    """Clean latents of a picture, the noise that hides them, and where they stay hidden."""

    latents: np.ndarray  # (B, C, h, w)
    noise: np.ndarray  # (B, C, h, w), of unit variance
    mask: np.ndarray | None = None  # (1, 1, h, w), 1 is repainted
    behind: np.ndarray | None = None  # (B, k, h, w): what the network is shown behind the latents

    def at(self, point: Point) -> np.ndarray:
        """The picture at a noise level."""
        return point.alpha * self.latents + point.sigma * self.noise

    def blended(self, x: np.ndarray, point: Point | None) -> np.ndarray:
        """x with the picture outside the mask, at a noise level or clean; a network that is shown it needs no help."""
        if self.mask is None or self.behind is not None:
            return x
        return self.mask * x + (1 - self.mask) * (self.latents if point is None else self.at(point))


class EncodedOnce:
    """A VAE's encoder, which `opened` returns, that is asked once for pictures that are equal."""

    def __init__(self, opened: Callable[[], Graph], vae: Autoencoder, tile: int | None = None) -> None:
        self.vae = vae
        self._opened = opened
        self._tile = tile
        self._answers: dict[bytes, np.ndarray] = {}

    def prepare(self, height: int, width: int) -> None:
        """Load and compile the encoder for pictures of this size in pixels, unless it has been asked already."""
        if not self._answers:
            prepare_encoder(self._opened(), height, width, self.vae, self._tile)

    def latents(self, picture: np.ndarray, generators: list[NoiseSource]) -> np.ndarray:
        """A picture (1, H, W, 3) drawn from each generator: (B, C, h, w), at the scale of the loop."""
        answer = self._answer(picture)
        return scaled(np.concatenate([drawn(answer, each, self.vae) for each in generators]), self.vae)

    def mean(self, picture: np.ndarray) -> np.ndarray:
        """The mean of a picture's latents (1, C, h, w), as the VAE has them."""
        return drawn(self._answer(picture), None, self.vae)

    def scaled_mean(self, picture: np.ndarray) -> np.ndarray:
        """The mean of a picture's latents (1, C, h, w), at the scale of the loop."""
        return scaled(self.mean(picture), self.vae)

    def _answer(self, picture: np.ndarray) -> np.ndarray:
        key = hashlib.sha256(np.ascontiguousarray(picture)).digest()
        if key not in self._answers:
            self._answers[key] = encoder_answer(self._opened(), picture, self.vae, self._tile)
        return self._answers[key]


def start(
    ground: Ground,
    encoder: EncodedOnce,
    shape: tuple[int, int, int],
    generators: list[NoiseSource],
    encoding: list[NoiseSource],
    *,
    strength: float,
    channels: tuple[str, ...] = (),
) -> Start:
    """Encode a picture, drawing noise in the order of diffusers' img2img, inpaint and InstructPix2Pix pipelines.

    `shape` (C, h, w) is that of one picture's latents. `encoding` is what the autoencoder's noise is drawn from: the
    generators, unless their first draw is special. `channels` is what the network is shown behind the latents, as in
    the manifest's Denoiser.
    """
    count = len(generators)
    edited = {("image",): encoder.mean, ("scaled_image",): encoder.scaled_mean}.get(channels)
    if edited:
        noise = stacked(generators, shape)
        return Start(np.zeros_like(noise), noise, behind=np.repeat(edited(ground.picture), count, 0))
    # diffusers does not encode what is repainted whole by a network made for it: no noise is drawn
    unseen = bool(channels) and ground.mask is not None and strength == 1
    latents = np.zeros((count, *shape), np.float32) if unseen else encoder.latents(ground.picture, encoding)
    noise = stacked(generators, shape)
    if ground.mask is None:
        return Start(latents, noise)
    small = masks.latent_mask(ground.mask, *shape[1:])
    if not channels:
        if encoder.vae.kind == "gaussian":
            stacked(encoding, shape)  # diffusers encodes the masked picture for every UNet, which costs a draw
        return Start(latents, noise, small)
    marked = masks.repainted(ground.mask)[:, :, None]
    hidden = encoder.latents(np.where(marked, np.float32(0.5), ground.picture), encoding)  # mid gray: the VAE's zero
    return Start(latents, noise, small, np.concatenate([np.repeat(small, count, 0), hidden], 1))
