"""The presets: how large everything is and how many steps each part is trained."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Settings:
    """All sizes, counts and rates of one run."""

    size: int
    renders: int
    captions: int
    held_out_renders: int
    device: str
    bfloat16: bool
    text_width: int
    text_layers: int
    text_captions: int
    text_judged: int
    text_steps: int
    judge_steps: int
    vae_channels: tuple[int, ...]
    vae_layers: int
    vae_batch: int
    vae_rate: float
    vae_steps: int
    decoder_batch: int
    decoder_steps: int
    unet_channels: tuple[int, ...]
    unet_attention: tuple[bool, ...]
    unet_layers: int
    unet_rate: float
    small_batch: int
    small_steps: int
    large_batch: int
    large_steps: int
    ema: float
    shown: int
    prediction: str = "epsilon"


CPU = Settings(
    size=256,
    renders=30_000,
    captions=6,
    held_out_renders=1_000,
    device="cpu",
    bfloat16=False,
    text_width=128,
    text_layers=2,
    text_captions=60_000,
    text_judged=1_000,
    text_steps=6_000,
    judge_steps=3_000,
    vae_channels=(32, 48, 64, 80),
    vae_layers=1,
    vae_batch=1,
    vae_rate=6e-4,
    vae_steps=6_000,
    decoder_batch=1,
    decoder_steps=2_500,
    unet_channels=(64, 128, 192),
    unet_attention=(False, True, True),
    unet_layers=1,
    unet_rate=1e-3,
    small_batch=32,
    small_steps=20_000,
    large_batch=16,
    large_steps=4_000,
    ema=0.999,
    shown=16,
)
PRESETS = {
    "cpu": CPU,
    # The same networks, trained for longer: wider ones would make a bundle that starts too slowly on two cores.
    "gpu": replace(
        CPU,
        renders=60_000,
        device="cuda",
        bfloat16=True,
        vae_batch=8,
        vae_rate=1e-3,
        vae_steps=12_000,
        decoder_batch=8,
        small_batch=256,
        small_steps=6_400,
        large_batch=128,
        large_steps=13_700,
        ema=0.998,
    ),
    # Every part for one step: does it all hold together?
    "trial": replace(
        CPU,
        size=64,
        renders=12,
        captions=2,
        held_out_renders=8,
        text_width=32,
        text_layers=1,
        text_captions=500,
        text_judged=60,
        text_steps=1,
        judge_steps=1,
        vae_channels=(8, 16, 16, 16),
        vae_steps=3,
        decoder_steps=2,
        unet_channels=(16, 32, 32),
        small_batch=2,
        small_steps=1,
        large_batch=2,
        large_steps=1,
        ema=0.99,
        shown=1,
    ),
}
