"""Maps to colours of latents that are known."""

import numpy as np
import pytest

from pleinair.pictures.vae import rough
from pleinair.sources.architectures import VAE, VAE_SDXL
from pleinair.sources.latent_spaces import known_rgb

UNET = "UNet2DConditionModel"
SIXTEEN = dict(VAE) | {"latent_channels": 16}
SD3 = SIXTEEN | {"scaling_factor": 1.5305, "shift_factor": 0.0609}
FLUX = SIXTEEN | {"scaling_factor": 0.3611, "shift_factor": 0.1159}


@pytest.mark.parametrize(
    "config, network",
    [
        (VAE, UNET),
        (VAE_SDXL, UNET),
        (VAE_SDXL, "PixArtTransformer2DModel"),
        (SD3, "SD3Transformer2DModel"),
        (FLUX, "FluxTransformer2DModel"),
    ],
)
def test_a_known_space_shows_nothing_as_gray_and_its_brightest_latents_as_bright(config, network):
    rgb = known_rgb(config, "AutoencoderKL", network)
    channels = config["latent_channels"]
    assert np.shape(rgb) == (channels + 1, 3)
    towards_white = np.array(rgb)[:channels].sum(1)[None, :, None, None] * np.ones((1, 1, 2, 2))
    shown = (rough(times * towards_white, rgb, 8)[0] for times in (0, 1, -1))
    gray, light, dark = (np.asarray(each).mean() for each in shown)
    assert abs(gray - 127.5) < 1 and dark < gray < light


@pytest.mark.parametrize(
    "change, kind, network",
    [
        ({"scaling_factor": 0.5}, "AutoencoderKL", UNET),
        ({"shift_factor": 0.1}, "AutoencoderKL", UNET),
        ({"latent_channels": 16}, "AutoencoderKL", UNET),
        ({"block_out_channels": (32, 64)}, "AutoencoderKL", UNET),
        ({"latents_mean": [0.0] * 4, "latents_std": [1.0] * 4}, "AutoencoderKL", UNET),
        ({}, "AutoencoderTiny", UNET),
        ({}, "AutoencoderKL", "FluxTransformer2DModel"),
    ],
)
def test_other_latents_are_not_taken_for_known_ones(change, kind, network):
    assert known_rgb(dict(VAE) | change, kind, network) is None
