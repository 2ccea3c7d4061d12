"""A ControlNet, opened: a folder of diffusers', or a file under its original names or diffusers'."""

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from pleinair.checks import one_line
from pleinair.errors import ExportError
from pleinair.pouring import names
from pleinair.pouring.checkpoints import Checkpoint
from pleinair.pouring.names import Named
from pleinair.sources.architectures import UNET_SD15, UNET_SD21, UNET_SDXL
from pleinair.sources.configs import check_numbers
from pleinair.sources.controlnets import CONTROLNET, GRAPH, PLAIN, check_config, check_unlike, is_control
from pleinair.sources.folder import STEMS, licence, read_config
from pleinair.sources.settings import bundle_name
from pleinair.sources.weight_files import read_header, weight_files

ORIGINAL = "control_model."  # begins the original names
SEEN = "controlnet_cond_embedding.conv_in.weight"  # a parameter that no other network has
TEXT = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight"
OF_TEXT = {768: UNET_SD15, 1024: UNET_SD21, 2048: UNET_SDXL}  # width of the text -> the UNet that it is for
OF_UNET = ("sample_size", "up_block_types")  # what a UNet's config has and a ControlNet's has not


@dataclass(frozen=True)
class ControlSource:
    """A ControlNet whose weights are on the disk; `sizes` counts parameters."""

    path: Path
    name: str
    config: dict[str, Any]
    weights: Named
    licence: str | None

    @property
    def sizes(self) -> dict[str, int]:
        """By graph."""
        return {GRAPH: sum(map(prod, self.weights.shapes.values()))}


def holds_control(source: Path) -> bool:
    """Whether a folder or a .safetensors file is a ControlNet; ExportError for damage, and what is only like one."""
    if source.is_dir():
        return is_control(source)
    if source.suffix.lower() != ".safetensors":
        return False
    tensors = read_header(source).tensors
    check_unlike(tensors, one_line(source.name, 80))
    return SEEN in tensors or any(name.startswith(ORIGINAL) for name in tensors)


def open_control(source: Path) -> ControlSource:
    """A ControlNet's config and weights; raises ExportError before anything large is read."""
    shown = one_line(source.name, 80)
    if source.is_dir():
        config = read_config(source / "config.json")
        check_numbers(source, GRAPH, config)
        check_config(config, shown)
        _, files = weight_files(source, STEMS[CONTROLNET.library])
        weights = Named(Checkpoint(files))
        return ControlSource(source, bundle_name(source.name), config, weights, licence(source / "README.md"))
    checkpoint = Checkpoint([source])
    original = any(name.startswith(ORIGINAL) for name in checkpoint)
    weights = Named(checkpoint, *((names.control, ORIGINAL) if original else ()))
    said = checkpoint.metadata.get("modelspec.license")
    return ControlSource(
        source, bundle_name(source.stem), config_of(weights, shown), weights, said and one_line(said, 100)
    )


def config_of(weights: Named, shown: str) -> dict[str, Any]:
    """The config of a ControlNet in a file, which does not say it."""
    shape = weights.shapes.get(TEXT, ())
    unet = OF_TEXT.get(shape[1] if len(shape) == 2 else 0)
    if unet is None:
        raise ExportError(f"'{shown}' is a ControlNet of a size of its own; {PLAIN}, or give its diffusers folder")
    return {"_class_name": CONTROLNET.kind, **{key: value for key, value in unet.items() if key not in OF_UNET}}
