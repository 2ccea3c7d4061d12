"""Latents that are known: what they look like, so that steps can be shown of models whose VAE nobody has asked.

A space is told by its VAE's size, by what its config says of latents, and by the network that walks in it: Stable
Diffusion 1 and 2 share one, Stable Diffusion XL and PixArt-Sigma another, and each of 3 and FLUX has its own. The
numbers are InvokeAI's (invokeai/app/util/step_callback.py, Apache-2.0); there colours are -1..1.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isclose
from typing import Any

from pleinair.pictures.colours import Rgb

NEAR = 1e-4  # of a scale and a shift, which configs round
LEVELS = [128, 256, 512, 512]  # of the VAEs of all these models; a small one of the same scale was trained for itself


@dataclass(frozen=True)
class LatentSpace:
    """The latents of a VAE by scale and shift, the classes of networks that walk in it, and each channel's colour."""

    scale: float
    shift: float
    networks: tuple[str, ...]
    colours: Rgb  # a row of 3 for each channel; colours are -1..1


SPACES = (
    LatentSpace(
        scale=0.18215,
        shift=0.0,
        networks=("UNet2DConditionModel",),
        colours=(
            (0.3444, 0.1385, 0.0670),
            (0.1247, 0.4027, 0.1494),
            (-0.3192, 0.2513, 0.2103),
            (-0.1307, -0.1874, -0.7445),
        ),
    ),
    LatentSpace(
        scale=0.13025,
        shift=0.0,
        networks=("UNet2DConditionModel", "PixArtTransformer2DModel", "Transformer2DModel"),
        colours=(
            (0.3816, 0.4930, 0.5320),
            (-0.3753, 0.1631, 0.1739),
            (0.1770, 0.3588, -0.2048),
            (-0.4350, -0.2644, -0.4289),
        ),
    ),
    LatentSpace(
        scale=1.5305,
        shift=0.0609,
        networks=("SD3Transformer2DModel",),
        colours=(
            (-0.05241, 0.03252, 0.07490),
            (-0.05806, 0.00760, 0.05730),
            (0.16145, 0.01270, -0.03769),
            (0.14419, 0.08460, 0.15942),
            (0.04894, 0.00565, -0.06687),
            (0.05187, 0.19222, 0.06261),
            (0.15394, 0.04818, 0.07103),
            (-0.08602, 0.09013, 0.10894),
            (-0.12398, -0.06767, 0.00337),
            (-0.04397, 0.07825, 0.02259),
            (0.03101, 0.06383, 0.07754),
            (-0.01315, 0.08554, -0.08772),
            (0.06464, 0.05915, 0.13263),
            (-0.07864, -0.02262, -0.12761),
            (-0.09924, -0.08011, -0.06264),
            (-0.03392, -0.08040, -0.06079),
        ),
    ),
    LatentSpace(
        scale=0.3611,
        shift=0.1159,
        networks=("FluxTransformer2DModel",),
        colours=(
            (-0.0412, 0.0149, 0.0521),
            (0.0056, 0.0291, 0.0768),
            (0.0342, -0.0681, -0.0427),
            (-0.0258, 0.0092, 0.0463),
            (0.0863, 0.0784, 0.0547),
            (-0.0017, 0.0402, 0.0158),
            (0.0501, 0.1058, 0.1152),
            (-0.0209, -0.0218, -0.0329),
            (-0.0314, 0.0083, 0.0896),
            (0.0851, 0.0665, -0.0472),
            (-0.0534, 0.0238, -0.0024),
            (0.0452, -0.0026, 0.0048),
            (0.0892, 0.0831, 0.0881),
            (-0.1117, -0.0304, -0.0789),
            (0.0027, -0.0479, -0.0043),
            (-0.1146, -0.0827, -0.0598),
        ),
    ),
)


def known_rgb(vae: Mapping[str, Any], kind: str, network: str) -> Rgb | None:
    """The map of latents to colours in 0..1, as the manifest's Latents has it, of a VAE of the diffusers class `kind`.

    `vae` is its config, `network` the class of what walks in its latents. None where these are not known.
    """
    scale, shift = vae.get("scaling_factor"), vae.get("shift_factor") or 0.0
    large = kind == "AutoencoderKL" and list(vae.get("block_out_channels") or ()) == LEVELS
    if not large or scale is None or vae.get("latents_mean"):
        return None
    channels = vae.get("latent_channels", 4)
    for space in SPACES:
        same = isclose(scale, space.scale, abs_tol=NEAR) and isclose(shift, space.shift, abs_tol=NEAR)
        if same and network in space.networks and channels == len(space.colours):
            return (*(tuple(round(each / 2, 5) for each in row) for row in space.colours), (0.5, 0.5, 0.5))
    return None
