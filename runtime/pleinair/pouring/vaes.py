"""The VAE of a model: in its file, in a file of its own, or TAESD, which may lie in two."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pleinair.checks import one_line, shown_path
from pleinair.errors import ExportError, RequestError
from pleinair.pouring import names
from pleinair.pouring.checkpoints import Checkpoint
from pleinair.pouring.names import Named, Rules
from pleinair.sources import architectures
from pleinair.sources.families import TINY_VAE, VAE, Component
from pleinair.sources.folder import Source

PREFIXES = ("first_stage_model.", "vae.")  # of its names in the file of a whole model


@dataclass(frozen=True)
class Layout:
    """How a VAE may be called in a file: a tensor that is there, what renames its tensors, and the part that it is."""

    mark: str
    rules: Rules
    part: Component


LAYOUTS = (
    Layout("decoder.mid.block_1.norm1.weight", names.vae, VAE),
    Layout("decoder.mid_block.resnets.0.norm1.weight", names.same, VAE),
    Layout("decoder.layers.0.weight", names.same, TINY_VAE),
    Layout("decoder.1.weight", names.tiny_vae, TINY_VAE),
)
USUAL: Mapping[str, Mapping[str, Any]] = {VAE.kind: architectures.VAE, TINY_VAE.kind: architectures.TAESD}
HALVES = {"decoder": "1.weight", "encoder": "0.weight"}  # of TAESD as published -> a tensor of its file


@dataclass(frozen=True)
class Vae:
    """The weights of a VAE, and the part of a model that it is."""

    weights: Named
    part: Component


def find_vae(checkpoint: Checkpoint, prefixes: tuple[str, ...] = PREFIXES) -> Vae | None:
    """The VAE in a file; None where there is none."""
    for prefix in prefixes:
        for layout in LAYOUTS:
            if prefix + layout.mark in checkpoint:
                return Vae(Named(checkpoint, layout.rules, prefix), layout.part)
    return None


def open_vae(file: Path) -> Vae:
    """A VAE in a file of its own, or out of a whole model; raises RequestError and ExportError."""
    if not file.is_file():
        raise RequestError(f"no file '{shown_path(file)}'; check the path after --vae")
    found = find_vae(open_halves(file), (*PREFIXES, ""))
    if found is None:
        raise ExportError(f"'{one_line(file.name, 80)}' holds no VAE; give another file with --vae")
    return found


def open_halves(file: Path) -> Checkpoint:
    """A file, and with one of TAESD's two the other that lies beside it; raises ExportError where that is missing."""
    checkpoint = Checkpoint([file])
    half = half_of(file)
    if half is None or HALVES[half] not in checkpoint:
        return checkpoint
    halves = [called(file, half, each) for each in HALVES]
    absent = next((each.name for each in halves if not each.is_file()), None)
    if absent:
        raise ExportError(f"'{one_line(absent, 80)}', the other half of TAESD, is not beside it; put it there")
    return Checkpoint(halves, [f"{each}." for each in HALVES])


def half_of(file: Path) -> str | None:
    """Which of TAESD's two files one is called."""
    return next((half for half in HALVES if half in file.name), None)


def called(file: Path, half: str, other: str) -> Path:
    return file.with_name(file.name.replace(half, other))


def config_of(part: Component, model: str) -> Mapping[str, Any]:
    """The config of a VAE in a model of ARCHITECTURES, whose own may be of another class."""
    own = architectures.STAND_INS.get(model, {}).get(part.folder, VAE.kind)
    return architectures.ARCHITECTURES[model][part.folder] if part.kind == own else USUAL[part.kind]


def with_vae(model: Source, vae: Vae) -> Source:
    """A model with another VAE; of the class that it has it is described as its own is."""
    if model.family.part(VAE.folder).kind == vae.part.kind:
        return model
    parts = tuple(vae.part if part.folder == VAE.folder else part for part in model.family.parts)
    config = {"_class_name": vae.part.kind, **USUAL[vae.part.kind]}
    return replace(
        model,
        family=replace(model.family, parts=parts),
        index=model.index | {VAE.folder: [vae.part.library, vae.part.kind]},
        configs=model.configs | {VAE.folder: config},
    )
