"""What a manifest may say of a VAE, whether it is on its own or a model's."""

import math

from pleinair.bundle.lone_parts import Autoencoder
from pleinair.bundle.manifest import Manifest
from pleinair.bundle.ports import ANSWERS, has_ports, painter_ports

MOST_CHANNELS = 256
TILES = (64, 8192)  # pixels along a side


def vae_values(manifest: Manifest) -> dict[str, bool]:
    """The places of a VAE on its own, and whether what stands there is possible."""
    latents = manifest.latents
    return {
        "latents: channels": 1 <= latents.channels <= MOST_CHANNELS,
        "latents: multiple": latents.multiple == manifest.vae.downsample,
        "latents: rgb": latents.rgb is None or maps_to_rgb(latents.rgb, latents.channels),
        "vaes": all(is_autoencoder(vae, latents.channels) for vae in manifest.vaes.values()),
        **{
            f"graphs: {name}": has_ports(manifest.graphs[name], *ports)
            for name, ports in painter_ports(manifest).items()
        },
    }


def is_autoencoder(vae: Autoencoder, channels: int) -> bool:
    """Numbers that latents can be scaled by."""
    listed = [numbers for numbers in (vae.mean, vae.std) if numbers is not None]
    return (
        1 <= vae.downsample <= 64
        and vae.kind in ANSWERS
        and all(map(math.isfinite, (vae.scale, vae.shift)))
        and vae.scale != 0
        and len(listed) in (0, 2)
        and all(len(numbers) == channels and all(map(math.isfinite, numbers)) for numbers in listed)
        and all(vae.std or (1,))
        and (vae.tile is None or TILES[0] <= vae.tile <= TILES[1])
    )


def maps_to_rgb(rgb: tuple[tuple[float, ...], ...], channels: int) -> bool:
    """A row of 3 finite numbers for each channel, and one more."""
    return len(rgb) == channels + 1 and all(len(row) == 3 and all(map(math.isfinite, row)) for row in rgb)
