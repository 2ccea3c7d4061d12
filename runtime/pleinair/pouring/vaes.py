"""The VAE of a model: in its file, in a file of its own, or TAESD, which may lie in two."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pleinair.checks import one_line, shown_path
from pleinair.errors import ExportError, RequestError
from pleinair.pouring import names
from pleinair.pouring.checkpoints import Checkpoint
from pleinair.pouring.names import Named, Rules
from pleinair.sources import architectures
from pleinair.sources.configs import plausible_vae
from pleinair.sources.describing import autoencoder_of
from pleinair.sources.families import TINY_VAE, VAE, Component
from pleinair.sources.folder import STEMS, Source, read_config
from pleinair.sources.pickled import check_pickle
from pleinair.sources.weight_files import DOWNLOAD, weight_files

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
SCALE, MOMENTS = "scaling_factor", ("shift_factor", "latents_mean", "latents_std")  # of a config, about latents
HALVES = {"decoder": "1.weight", "encoder": "0.weight"}  # of TAESD as published -> a tensor of its file


@dataclass(frozen=True)
class Vae:
    """The weights of a VAE, the part of a model that it is, and what its own config.json says of latents."""

    weights: Named
    part: Component
    latents: Mapping[str, Any] = field(default_factory=dict)


def find_vae(checkpoint: Checkpoint, prefixes: tuple[str, ...] = PREFIXES) -> Vae | None:
    """The VAE in a file; None where there is none."""
    for prefix in prefixes:
        for layout in LAYOUTS:
            if prefix + layout.mark in checkpoint:
                return Vae(Named(checkpoint, layout.rules, prefix), layout.part)
    return None


def open_vae(path: Path, pickles: bool = False) -> Vae:
    """A VAE in a file of its own or of a whole model, or in a folder of either; raises RequestError and ExportError."""
    folder = path / VAE.folder if (path / VAE.folder).is_dir() else path
    files = weight_files(folder, STEMS[VAE.library], pickles)[1] if path.is_dir() else [path]
    for file in files:
        if not file.is_file():
            raise RequestError(f"no file '{shown_path(file)}'; check the path after --vae")
        check_pickle(file, pickles)
    found = find_vae(open_halves(files), (*PREFIXES, ""))
    if found is None:
        raise ExportError(f"'{one_line(path.name, 80)}' has no VAE; give another file with --vae")
    return replace(found, latents=latents_of(folder / "config.json")) if path.is_dir() else found


def latents_of(file: Path) -> dict[str, Any]:
    """What a VAE's config.json says of latents, where there is one; raises ExportError for what no VAE has."""
    if not file.exists():
        return {}
    config = read_config(file)
    wrong = next((what for what, fine in plausible_vae(config).items() if not fine), None)
    if wrong:
        raise ExportError(f"'{shown_path(file)}' has impossible {wrong}; {DOWNLOAD}")
    said = {SCALE: config[SCALE]} if SCALE in config else {}
    return said | {key: config.get(key) for key in MOMENTS}


def note_on_scale(vae: Vae, config: Mapping[str, Any]) -> str:
    """What is said of the latents of another VAE than a model's own, whose `config` it has then."""
    whose = "its config.json says" if SCALE in vae.latents else "those of the model's own are"
    return f"the latents of its other VAE are scaled by {autoencoder_of(config, vae.part.kind).scale:g}, as {whose}"


def open_halves(files: Sequence[Path]) -> Checkpoint:
    """Files, and with one of TAESD's two the other that lies beside it; raises ExportError where that is missing."""
    checkpoint, file = Checkpoint(files), files[0]
    half = half_of(file)
    if half is None or HALVES[half] not in checkpoint:
        return checkpoint
    halves = called_as_halves(file)
    absent = next((each.name for each in halves if not each.is_file()), None)
    if absent:
        raise ExportError(f"'{one_line(absent, 80)}', the other half of TAESD, is not beside it; put it there")
    return Checkpoint(halves, [f"{each}." for each in HALVES])


def half_of(file: Path) -> str | None:
    """Which of TAESD's two files one is called."""
    return next((half for half in HALVES if half in file.name), None)


def called_as_halves(file: Path) -> list[Path]:
    """TAESD's two files, where one is called as one of them, whether the other is there or not; else the file alone."""
    half = half_of(file)
    return [file.with_name(file.name.replace(half, each)) for each in HALVES] if half else [file]


def config_of(part: Component, model: str) -> Mapping[str, Any]:
    """The config of a VAE in a model of ARCHITECTURES, whose own may be of another class."""
    own = architectures.STAND_INS.get(model, {}).get(part.folder, VAE.kind)
    return architectures.ARCHITECTURES[model][part.folder] if part.kind == own else USUAL[part.kind]


def with_vae(model: Source, vae: Vae) -> Source:
    """A model with another VAE; of the class that it has it is described as its own is."""
    if model.family.part(VAE.folder).kind == vae.part.kind:
        return replace(model, configs=model.configs | {VAE.folder: model.configs[VAE.folder] | vae.latents})
    parts = tuple(vae.part if part.folder == VAE.folder else part for part in model.family.parts)
    config = {"_class_name": vae.part.kind, **USUAL[vae.part.kind], **vae.latents}
    return replace(
        model,
        family=replace(model.family, parts=parts),
        index=model.index | {VAE.folder: [vae.part.library, vae.part.kind]},
        configs=model.configs | {VAE.folder: config},
    )
