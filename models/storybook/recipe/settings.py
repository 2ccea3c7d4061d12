"""The presets: how large everything is and how long it is trained."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """All sizes and rates of one run."""

    size: int
    renders: int
    captions: int
    held_out_renders: int
    device: str
    workers: int
    bfloat16: bool
    vae_channels: tuple[int, ...]
    vae_layers: int
    vae_batch: int
    vae_crop: int
    vae_rate: float
    vae_minutes: float
    decoder_minutes: float
    text_width: int
    text_layers: int
    text_minutes: float
    classifier_minutes: float
    unet_channels: tuple[int, ...]
    unet_attention: tuple[bool, ...]
    unet_layers: int
    unet_batch: int
    unet_rate: float
    unet_minutes: float
    ema: float


PRESETS = {
    "cpu": Settings(
        size=128,
        renders=30_000,
        captions=4,
        held_out_renders=1_000,
        device="cpu",
        workers=2,
        bfloat16=True,
        vae_channels=(16, 32, 64, 64),
        vae_layers=1,
        vae_batch=4,
        vae_crop=64,
        vae_rate=1.5e-3,
        vae_minutes=42,
        decoder_minutes=35,
        text_width=128,
        text_layers=2,
        text_minutes=8,
        classifier_minutes=7,
        unet_channels=(48, 96, 128),
        unet_attention=(True, True, True),
        unet_layers=1,
        unet_batch=24,
        unet_rate=1e-3,
        unet_minutes=83,
        ema=0.998,
    ),
    "gpu": Settings(
        size=256,
        renders=60_000,
        captions=4,
        held_out_renders=1_000,
        device="cuda",
        workers=1,
        bfloat16=True,
        vae_channels=(64, 128, 256, 256),
        vae_layers=1,
        vae_batch=32,
        vae_crop=128,
        vae_rate=1e-3,
        vae_minutes=8,
        decoder_minutes=3,
        text_width=256,
        text_layers=3,
        text_minutes=1,
        classifier_minutes=2,
        unet_channels=(128, 256, 384),
        unet_attention=(True, True, True),
        unet_layers=2,
        unet_batch=128,
        unet_rate=6e-4,
        unet_minutes=15,
        ema=0.9995,
    ),
}
