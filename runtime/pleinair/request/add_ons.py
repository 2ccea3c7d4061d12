"""Options of models and files that take part beside the model: a refiner, an upscaler, VAEs, LoRAs, ControlNets."""

from dataclasses import dataclass
from pathlib import Path

from pleinair.request.controls import Control, ControlList
from pleinair.request.file_types import Folder
from pleinair.request.lora_types import Loras, LoraUse
from pleinair.request.option import MODELS, option
from pleinair.request.vae_names import VaeName
from pleinair.request.value_types import SHARE


@dataclass(frozen=True)
class Refining:
    """A second model that takes over where little noise is left."""

    bundle: Path = option(None, Folder(), "Bundle that paints the last steps, such as SDXL's refiner.", name="refiner")
    start: float = option(
        0.8,
        SHARE,
        "Share of the timesteps before the refiner takes over.",
        name="refiner_start",
        needs=("refiner",),
        recorded=True,
    )


@dataclass(frozen=True)
class Finish:
    """What becomes of finished pictures."""

    upscale: Path | None = option(None, Folder(), "Upscaler bundle for the finished picture.")


@dataclass(frozen=True)
class OtherVaes:
    """VAEs that are not the model's own: what its latents are scaled by comes with them."""

    vae: Path | None = option(
        None,
        VaeName(),
        "VAE to decode and encode with: a bundle, its name, or a file.",
        usual=MODELS,
        a1111="VAE",
    )
    preview_vae: Path | None = option(
        None, VaeName(), "VAE for previews of the steps; a small one is quick.", usual="the picture's"
    )


@dataclass(frozen=True)
class AddOns:
    """What changes the model for a job: LoRAs its weights, ControlNets, which hold to another picture, its answers."""

    loras: tuple[LoraUse, ...] = option(
        (), Loras(), "LoRA file, FILE or FILE:WEIGHT; may be repeated.", flag="--lora", a1111="Lora hashes"
    )
    controls: tuple[Control, ...] = option(
        (),
        ControlList(),
        "ControlNet and its picture: BUNDLE:IMAGE, and then :STRENGTH, :START:END, :canny or :guess; may be repeated.",
        flag="--control",
    )
