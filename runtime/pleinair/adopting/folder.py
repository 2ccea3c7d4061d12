"""A folder judged as a whole: whether it is one to adopt, and which graphs of the model it holds."""

import re
from collections.abc import Sequence
from pathlib import Path

from pleinair.adopting.layout import FoundGraph, find_graph, has
from pleinair.adopting.ports import EXPORT
from pleinair.bundle.manifest import MANIFEST
from pleinair.bundle.opening import LARGEST_MANIFEST
from pleinair.checks import quoted, shown_path
from pleinair.errors import BundleError, RequestError, ResourceError
from pleinair.sources.controlnets import is_control
from pleinair.sources.families import DENOISERS, Family
from pleinair.system.files import read_json
from pleinair.system.mistaken import mistaken_for_weights

INDEX = "model_index.json"
FORMATS = ("openvino", "onnx")  # the first is preferred
ENCODER, DECODER = "vae_encoder", "vae_decoder"
OWN_VAE = "pleinair_vae/"  # the folder that another VAE is copied to
COMMAND, POUR = "pleinair adopt", "pleinair pour"
NPU_MARK = "time_proj_constants.npy"  # beside the UNet of FastSD's LCM for NPUs

FoundGraphs = dict[str, FoundGraph]  # by name


def check_folder(root: Path, vae: Path | None, force: bool) -> None:
    """Raise RequestError, BundleError or ResourceError for what is no folder to adopt; with `force`, again."""
    absent = next((each for each in (root, vae) if each is not None and not each.is_dir()), None)
    if absent is not None:
        if absent.is_file():
            pour = f"to make a model of a checkpoint: {POUR} {quoted(absent)}"
            more = "give the folder of the whole model" if mistaken_for_weights(absent.name) else pour
            raise RequestError(f"'{shown_path(absent)}' is a file, and adopt takes a folder of graphs; {more}")
        raise RequestError(f"no folder '{shown_path(absent)}'; check the path")
    if vae is not None and not (vae / DECODER).is_dir():
        raise RequestError(f"'{shown_path(vae)}' has no {DECODER}; give --vae the folder that contains it")
    if is_control(root):
        raise RequestError(
            f"'{shown_path(root)}' holds a ControlNet's weights and no graphs; make a bundle of it with: {POUR}"
            f" {quoted(root)}"
        )
    if has(root, MANIFEST):
        check_adopted(root, force)
    elif has(root, NPU_MARK) or any(root.glob(f"*/{NPU_MARK}")):
        raise BundleError(
            f"'{shown_path(root)}' is FastSD's LCM for NPUs, whose UNet takes the timestep in another way; adopt its"
            " LCM-dreamshaper-v7-openvino instead"
        )


def is_vae_alone(root: Path) -> bool:
    """Whether a folder holds a VAE's graphs and none of a model."""
    parts = any((root / name).is_dir() for name in DENOISERS)
    return not has(root, INDEX) and (root / DECODER).is_dir() and not parts


def check_adopted(root: Path, force: bool) -> None:
    """Raise for a bundle, unless adopting has made it and is to do so again, or its bundle.json cannot be read."""
    if not force:
        raise ResourceError(
            f"'{shown_path(root)}' is a bundle already; give it to --model, or adopt it again with --force"
        )
    try:
        raw = read_json(root / MANIFEST, LARGEST_MANIFEST, BundleError, "")
    except BundleError:
        return
    origin = raw.get("origin")
    command = origin.get("command") if isinstance(origin, dict) else None
    if isinstance(command, str) and not command.startswith(COMMAND):
        raise ResourceError(
            f"'{shown_path(root)}' is a bundle that was exported, whose {MANIFEST} says more than adopting can tell;"
            " take that file away first"
        )


def find_graphs(
    root: Path, vae: Path | None, family: Family, formats: Sequence[str]
) -> tuple[dict[str, FoundGraphs], tuple[str, ...]]:
    """The model's graphs in each format that has all it needs, and warnings of formats that are damaged.

    Those of the VAE are taken from the folder `vae`, if given. Raises BundleError where no format can be used.
    """
    names = [name for part in family.parts for name in part.graphs]
    found: dict[str, FoundGraphs] = {}
    missing: dict[str, str] = {}
    damaged: dict[str, BundleError] = {}
    for form in formats:
        try:
            graphs = graphs_of(root, vae, names, form)
        except BundleError as error:
            damaged[form] = error
            continue
        lacking = [name for name in names if name not in graphs and name != ENCODER]
        if not lacking:
            found[form] = graphs
        elif graphs:
            missing[form] = lacking[0]
    if not found:
        raise next(iter(damaged.values()), BundleError(incomplete(root, formats, missing)))
    return found, tuple(f"the {form} graphs are left out: {error}" for form, error in damaged.items())


def graphs_of(root: Path, vae: Path | None, names: Sequence[str], form: str) -> FoundGraphs:
    """The graphs of one format that are there, by name."""
    graphs = {}
    for name in names:
        elsewhere = vae is not None and name in (ENCODER, DECODER)
        graph = find_graph(vae, name, form, OWN_VAE) if elsewhere else find_graph(root, name, form)
        graphs |= {name: graph} if graph is not None else {}
    return graphs


def incomplete(root: Path, formats: Sequence[str], missing: dict[str, str]) -> str:
    """The line for a folder without all graphs of its model in one format."""
    if missing:
        form, name = next(iter(missing.items()))
        return f"'{shown_path(root)}' has no {form} graph of its {name}; download it again with that, or {EXPORT}"
    kinds = " or ".join(formats)
    return (
        f"'{shown_path(root)}' holds no {kinds} graphs to adopt; if it is a diffusers folder: pleinair export FOLDER"
        " OUT"
    )


def plain_version(value: object) -> dict[str, str]:
    """The diffusers version that a folder names, for its origin; nothing for other values."""
    return {"diffusers": value} if isinstance(value, str) and re.fullmatch(r"[\w.+-]{1,40}", value) else {}
