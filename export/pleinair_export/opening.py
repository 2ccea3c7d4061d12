"""What is exported, opened: a folder, a model in one file, or what helps models."""

from collections.abc import Iterator
from pathlib import Path

from pleinair.errors import RequestError
from pleinair.pouring.controlnets import ControlSource, holds_control, open_control
from pleinair.request.lora_types import GivenLora
from pleinair.sources.families import left_out
from pleinair.sources.folder import Source, open_source
from pleinair.sources.hub_cache import snapshot_of
from pleinair.sources.lone_vaes import LoneVae, open_lone_vae
from pleinair.sources.vae_folders import is_vae_folder
from pleinair_export.loras import said_of_loras, with_loras
from pleinair_export.single_file import is_model, open_single_file
from pleinair_export.upscaler import UpscalerSource, open_upscaler

Exported = Source | UpscalerSource | LoneVae | ControlSource


def opened(source: Path, sampler: str | None, prediction: str | None, configs: Path) -> Exported:
    """What is exported: a folder, a model in one file, whose configs are written to a folder, or what helps models."""
    if source.is_file() and is_model(source):
        return open_single_file(source, prediction, sampler, configs)
    if prediction is not None:
        raise RequestError("--prediction is for a model in one file; leave it out")
    control = holds_control(source)
    lone = not control and source.is_dir() and is_vae_folder(snapshot_of(source))
    if source.is_dir() and not (control or lone):
        return open_source(source, sampler)
    if sampler is not None:
        raise RequestError("an upscaler, a VAE or a ControlNet paints nothing; leave --sampler out")
    if control:
        return open_control(source)
    return open_lone_vae(source) if lone else open_upscaler(source)


def merged_with(model: Exported, loras: list[GivenLora]) -> Exported:
    """The model with LoRAs to be merged into it; RequestError for what no LoRA is for."""
    if loras and not isinstance(model, Source):
        raise RequestError("LoRAs are for models that paint; leave --lora out")
    return with_loras(model, loras) if loras else model


def said_of(model: Source) -> Iterator[str]:
    """What is told before anything is loaded; raises RequestError for a LoRA that is not for the model."""
    yield from (f"its {name} is left out" for name in left_out(model.index))
    yield from said_of_loras(model)
