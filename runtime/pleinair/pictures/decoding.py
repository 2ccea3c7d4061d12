"""From latents to pictures: decoded as a job wants them, and enlarged between its passes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL.Image import Image

from pleinair.bundle.lone_parts import Autoencoder
from pleinair.engines.engine import Graph
from pleinair.engines.graphs import Asking
from pleinair.pictures.reading import fitted
from pleinair.pictures.seamless import seamless_decode, wrap_margins
from pleinair.pictures.vae import decode, encode, prepare_encoder, tile_shape, to_pil, to_pixels


@dataclass(frozen=True)
class Decoding:
    """How a job's latents become pictures, one at a time: on graphs that `open` gives by name.

    Borders meet along `axes` ("x", "y", "xy"; "" for none), `tile` is the side of the VAE's tiles in pixels. `check` is
    called before each run of a network, and may raise.
    """

    open: Callable[[str], Graph]
    vae: Autoencoder
    axes: str
    tile: int | None
    check: Callable[[], None]

    def prepare(self, shape: tuple[int, ...]) -> None:
        """Load and compile the decoder for latents of this shape (B, C, h, w)."""
        down, across = wrap_margins(self.axes) if self.axes else (0, 0)
        tile = tile_shape(shape[2] + 2 * down, shape[3] + 2 * across, self.vae, self.tile)
        self.open(self.vae.decoder).prepare({"latent_sample": (1, shape[1], *tile)})

    def pixels(self, x: np.ndarray) -> np.ndarray:
        """Latents (B, C, h, w) -> pictures (B, H, W, 3) in 0..1."""
        return self._decoded(x, Asking(self.open(self.vae.decoder), self.check))

    def preview(self, x0: np.ndarray) -> list[Image]:
        """What latents (B, C, h, w) look like, whoever wants to stop meanwhile."""
        return to_pil(self._decoded(x0, self.open(self.vae.decoder)))

    def prepare_again(self, width: int, height: int) -> None:
        """Load and compile the encoder for pictures of this size in pixels."""
        prepare_encoder(self.open(self.vae.encoder), height, width, self.vae, self.tile)

    def again(self, pixels: np.ndarray, width: int, height: int) -> np.ndarray:
        """Pictures (B, H, W, 3) at another size, as latents (B, C, h, w)."""
        larger = to_pixels([fitted(one, width, height, "stretch") for one in to_pil(pixels)])
        return encode(Asking(self.open(self.vae.encoder), self.check), larger, self.vae, self.tile)

    def _decoded(self, x: np.ndarray, decoder: Graph) -> np.ndarray:
        if not self.axes:
            return np.concatenate([decode(decoder, one[None], self.vae, self.tile) for one in x])
        return np.concatenate([seamless_decode(decoder, one[None], self.vae, self.axes, self.tile) for one in x])
