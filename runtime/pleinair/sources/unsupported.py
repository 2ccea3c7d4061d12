"""Models that are not bundles: those that can be poured, and what leads on from the others."""

import os
import re
from pathlib import Path

from pleinair.bundle.manifest import MANIFEST
from pleinair.bundle.opening import located
from pleinair.checks import one_line, quoted, shown_path
from pleinair.errors import BundleError
from pleinair.sources.controlnets import CONTROLNET, UNLIKE, kind_in
from pleinair.sources.families import DENOISERS, FAMILIES, SUPPORTED, as_plain
from pleinair.sources.graphs import foreign
from pleinair.sources.hub_cache import newest_snapshot, snapshot_of
from pleinair.sources.hub_ids import on_hub
from pleinair.sources.origins import read_origin
from pleinair.sources.vae_folders import is_vae_folder
from pleinair.system.files import CONFIG, read_json
from pleinair.system.home import models_folder
from pleinair.system.mistaken import mistaken_for_weights

SAFE = ".safetensors"
PICTURES = {".png", ".jpg", ".jpeg", ".webp"}
CHECKPOINTS = {".safetensors", ".ckpt", ".pt", ".pth", ".bin"}
EXPORT = "pleinair export FOLDER OUT"
ADDRESS = re.compile("https?:/")  # also as a path, which has one stroke for several


def source_of(model: str | Path) -> Path | None:
    """The file of weights or the diffusers folder that is given as a model; None for everything else."""
    try:
        path = snapshot_of(located(model))
        if path.is_file():
            return path if path.suffix.lower() in CHECKPOINTS else None
        if not path.is_dir() or (path / MANIFEST).exists() or foreign(path):
            return None
        if is_vae_folder(path):
            return path
        if not (path / "model_index.json").is_file():
            if kind_in(path) in (CONTROLNET.kind, *UNLIKE):
                return path
            files = checkpoints(path)
            return files[0] if len(files) == 1 else None
        return path if class_of(path) in FAMILIES else None
    except OSError:  # a name that is too long, a folder that may not be read: told by whoever opens it
        return None


def refuse_model(model: str | Path | None) -> None:
    """Raise BundleError with the way on for what people give as a model and is not a bundle; a bundle passes."""
    if model is None:
        return
    try:
        words = _leading_on(snapshot_of(located(model)), str(model))
    except OSError:  # a name that is too long, a folder that may not be read: told by whoever opens it
        return
    if words:
        raise BundleError(words)


def _leading_on(path: Path, given: str) -> str | None:
    if path.is_file():
        return _of_file(path)
    if not path.is_dir():
        return _of_name(given)
    return None if (path / MANIFEST).exists() else _of_folder(path)


def _of_file(path: Path) -> str:
    where = shown_path(path)
    if path.name == MANIFEST:
        return f"'{where}' is a file of a bundle; give the folder it is in"
    if path.suffix.lower() == ".safetensors":
        return f"'{where}' is a single file and not yet a bundle; make one of it with: pleinair pour {quoted(path)}"
    if path.suffix.lower() in CHECKPOINTS:
        return (
            f"'{where}' is a pickle and not yet a bundle; take the model's .safetensors file, or read its weights"
            f" alone: pleinair pour {quoted(path)} --allow-pickle"
        )
    if path.suffix.lower() in PICTURES:
        return (
            f"'{where}' is a picture, and a model is a folder; to see how it was made: pleinair metadata {quoted(path)}"
        )
    if found := mistaken_for_weights(path.name):
        return f"'{where}' is {found.what}; {found.remedy}"
    return f"'{where}' is a file, and a model is a folder; give a bundle, or make one with: {EXPORT}"


def _of_folder(path: Path) -> str | None:
    where = shown_path(path)
    inside = sorted(each.parent.name for each in path.glob(f"*/{MANIFEST}"))
    if inside:
        return f"'{where}' is not a bundle, but holds one; give {quoted(path / inside[0])}"
    if newest := newest_snapshot(path):
        return f"'{where}' is a hub's cache of a model; give one of its snapshots, the newest: {quoted(newest)}"
    if kind := foreign(path):
        return (
            f"'{where}' holds {kind} files of another tool and no {MANIFEST}; adopt it first:"
            f" pleinair adopt {quoted(path)}"
        )
    if (path / "model_index.json").is_file():
        return _of_diffusers(path)
    if any((path / each / "config.json").is_file() for each in DENOISERS):
        return f"'{where}' has no model_index.json, which says what model it is; download it with all its small files"
    files = checkpoints(path)
    if len(files) > 1:
        return f"'{where}' holds {len(files)} files of weights and no model; name one of them: {quoted(files[0])}"
    return _of_file(files[0]) if files else None


def checkpoints(path: Path) -> list[Path]:
    """The files of weights in a folder, hidden ones left out: safetensors, or where there are none, pickles."""
    files = sorted(each for each in path.glob("[!.]*") if each.suffix.lower() in CHECKPOINTS and each.is_file())
    return [each for each in files if each.suffix.lower() == SAFE] or files


def class_of(path: Path) -> str:
    """The class of pipeline that a diffusers folder names."""
    index = read_json(path / "model_index.json", CONFIG, BundleError, "check the folder")
    return one_line(as_plain(index).get("_class_name"), 60)


def _of_diffusers(path: Path) -> str:
    kind, where = class_of(path), shown_path(path)
    if kind in FAMILIES:
        return (
            f"'{where}' is a diffusers folder and not yet a bundle; make one of it with: pleinair pour {quoted(path)}"
        )
    return f"'{where}' is a model of the class {kind}, which is not supported; take a model of {SUPPORTED}"


def pulled_as(model: str | Path) -> str | None:
    """The name among the models of what has been fetched under this name of the hub, if it has been."""
    named = None if os.path.lexists(model) else on_hub(str(model))
    folder = named and models_folder() / named.name
    pulled = folder and read_origin(folder)
    return folder.name if pulled and pulled.id == named.id and (folder / MANIFEST).is_file() else None


def _of_name(model: str) -> str | None:
    named, where = on_hub(model), shown_path(model)
    if named is None and ADDRESS.match(model):
        return f"'{where}' is an address; download the file with a browser, then give its path"
    if named is None:
        return None
    return f"no model folder '{where}'; if it is a name on the Hugging Face hub, fetch it with: {named.command}"
