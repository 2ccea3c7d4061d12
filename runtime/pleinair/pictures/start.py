"""A picture to paint over: what the walk starts from, what it leaves alone, and how the result is put back."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from pleinair.bundle.opening import Latents
from pleinair.engines.graphs import Graph
from pleinair.pictures import masks
from pleinair.pictures.reading import fitted
from pleinair.pictures.vae import encode, to_pil, to_pixels
from pleinair.request import request
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


def lay(canvas: request.Canvas, width: int, height: int) -> Ground:
    """Fit a canvas to the size that is painted, alike for every picture of a job."""
    image, mask, size = canvas.image, canvas.mask, None
    if canvas.outpaint:
        left, top, right, bottom = canvas.outpaint
        size = image.width + left + right, image.height + top + bottom  # what is painted may be a little larger
        image, mask = masks.outpainted(image, left, top, right + width - size[0], bottom + height - size[1])
    if mask is None:
        return Ground(to_pixels([fitted(image, width, height)]), None, image, None, None)
    box = masks.masked_region(mask, canvas.padding, width, height) if canvas.only_masked else None
    if box is None:
        image, mask = fitted(image, width, height), fitted(mask, width, height)
    painted, hole = masks.filled(image, mask, canvas.fill), mask
    if box:
        painted, hole = (each.crop(box).resize((width, height), Image.Resampling.LANCZOS) for each in (painted, mask))
    soft = masks.blurred(mask, canvas.mask_blur) if canvas.restore or box else None
    return Ground(to_pixels([painted]), hole, image, soft, box, size)


@dataclass(frozen=True)
class Start:
    """Clean latents of a picture, the noise that hides them, and where they stay hidden."""

    latents: np.ndarray  # (B, C, h, w)
    noise: np.ndarray  # (B, C, h, w), of unit variance
    mask: np.ndarray | None = None  # (1, 1, h, w), 1 is repainted
    seen: np.ndarray | None = None  # (B, 1 + C, h, w): what an inpainting UNet is shown beside x

    def at(self, point: Point) -> np.ndarray:
        """The picture at a noise level."""
        return point.alpha * self.latents + point.sigma * self.noise

    def kept(self, x: np.ndarray, point: Point | None) -> np.ndarray:
        """x with the picture outside the mask, at a noise level or clean; an inpainting UNet needs no such help."""
        if self.mask is None or self.seen is not None:
            return x
        return self.mask * x + (1 - self.mask) * (self.latents if point is None else self.at(point))


def start(
    ground: Ground,
    encoder: Graph,
    info: Latents,
    generators: list[NoiseSource],
    encoding: list[NoiseSource],
    *,
    strength: float,
    inpainting: bool,
    tile: int | None = None,
) -> Start:
    """Encode a picture, drawing noise in the order of diffusers' img2img and inpaint pipelines.

    `encoding` is what the autoencoder's noise is drawn from: the generators, unless their first draw is special.
    `inpainting`: the UNet takes the mask and the masked picture as further channels.
    """
    count = len(generators)
    shape = (info.channels, ground.picture.shape[1] // info.downsample, ground.picture.shape[2] // info.downsample)

    def encoded(picture: np.ndarray) -> np.ndarray:
        return encode(encoder, np.repeat(picture, count, 0), info, encoding, tile=tile)

    unseen = (
        inpainting and ground.mask is not None and strength == 1
    )  # diffusers does not encode it then: no noise is drawn
    latents = np.zeros((count, *shape), np.float32) if unseen else encoded(ground.picture)
    noise = stacked(generators, shape)
    if ground.mask is None:
        return Start(latents, noise)
    small = masks.latent_mask(ground.mask, *shape[1:])
    if not inpainting:
        stacked(encoding, shape)  # diffusers encodes the masked picture for every UNet, which costs a draw
        return Start(latents, noise, small)
    marked = masks.repainted(ground.mask)[:, :, None]
    hidden = encoded(np.where(marked, np.float32(0.5), ground.picture))  # mid gray is the VAE's zero
    return Start(latents, noise, small, np.concatenate([np.repeat(small, count, 0), hidden], 1))
