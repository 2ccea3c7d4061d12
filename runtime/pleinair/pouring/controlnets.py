"""A ControlNet, opened: a folder of diffusers', or a file under its original names or diffusers'."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from pleinair.bundle.manifest import MANIFEST
from pleinair.bundle.opening import open_bundle
from pleinair.checks import one_line
from pleinair.errors import ExportError
from pleinair.pouring import names
from pleinair.pouring.checkpoints import Checkpoint
from pleinair.pouring.filling import PourProgress, files_of, fill_graphs, origin
from pleinair.pouring.names import Named
from pleinair.pouring.topologies import find
from pleinair.pouring.writing import EmptyGraph
from pleinair.sources.architectures import CONTROLNETS
from pleinair.sources.configs import check_numbers
from pleinair.sources.controlnets import (
    CONTROLNET,
    GRAPH,
    PLAIN,
    check_control_config,
    check_unlike,
    control_manifest,
    is_control,
)
from pleinair.sources.folder import STEMS, licence, read_config
from pleinair.sources.pickled import check_pickle, is_pickle
from pleinair.sources.settings import bundle_name
from pleinair.sources.small_files import write_json
from pleinair.sources.weight_files import read_header, weight_files

ORIGINAL = "control_model."  # begins the original names
SEEN = "controlnet_cond_embedding.conv_in.weight"  # a parameter that no other network has
TEXT = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight"
OF_TEXT = {config["cross_attention_dim"]: config for config in CONTROLNETS.values()}  # by the width of the text


@dataclass(frozen=True)
class ControlSource:
    """A ControlNet whose weights are on the disk; `sizes` counts parameters."""

    path: Path
    name: str
    config: dict[str, Any]
    weights: Named
    licence: str | None
    notes: tuple[str, ...] = ()

    @property
    def sizes(self) -> dict[str, int]:
        """By graph."""
        return {GRAPH: sum(map(prod, self.weights.shapes.values()))}

    def graphs_for(self, formats: tuple[str, ...], weights: str) -> list[EmptyGraph]:
        """The topologies that it fits; raises ExportError where there is none, or it has weights for no place."""
        made = [
            EmptyGraph(CONTROLNET, GRAPH, form, find(GRAPH, weights, form, self.weights.shapes, self.config))
            for form in formats
        ]
        left = sorted(set(self.weights) - {key for empty in made for key in empty.topology.shapes})
        if left:
            raise ExportError(
                f"it has a weight that no included graph uses ({one_line(left[0], 100)}); export it with PyTorch"
                " (pleinair export)"
            )
        return made


def holds_control(source: Path, pickles: bool = False) -> bool:
    """Whether a folder or a file is a ControlNet; a pickle is looked into where `pickles` are allowed.

    Raises ExportError for damage, and for what is only like one.
    """
    if source.is_dir():
        return is_control(source)
    if is_pickle(source):
        tensors = Checkpoint([source]).shapes if pickles else {}
    elif source.suffix.lower() == ".safetensors":
        tensors = read_header(source).tensors
    else:
        return False
    check_unlike(tensors, one_line(source.name, 80))
    return SEEN in tensors or any(name.startswith(ORIGINAL) for name in tensors)


def open_control(source: Path, pickles: bool = False) -> ControlSource:
    """A ControlNet's config and weights, which may be `pickles`; ExportError before anything large is read."""
    shown = one_line(source.name, 80)
    if source.is_dir():
        config = read_config(source / "config.json")
        check_numbers(source, GRAPH, config)
        check_control_config(config, shown)
        _, files = weight_files(source, STEMS[CONTROLNET.library], pickles)
        weights = Named(Checkpoint(files))
        return ControlSource(source, bundle_name(source.name), config, weights, licence(source / "README.md"))
    check_pickle(source, pickles)
    checkpoint = Checkpoint([source])
    original = any(name.startswith(ORIGINAL) for name in checkpoint)
    weights = Named(checkpoint, *((names.control, ORIGINAL) if original else ()))
    said = checkpoint.metadata.get("modelspec.license")
    config = config_of(weights, shown)
    notes = ("it is a ControlNet; give it to --control with a picture",)
    return ControlSource(source, bundle_name(source.stem), config, weights, said and one_line(said, 100), notes)


def config_of(weights: Named, shown: str) -> dict[str, Any]:
    """The config of a ControlNet in a file, which does not say it."""
    shape = weights.shapes.get(TEXT, ())
    config = OF_TEXT.get(shape[1] if len(shape) == 2 else 0)
    if config is None:
        raise ExportError(f"'{shown}' is a ControlNet of a size of its own; {PLAIN}, or give its diffusers folder")
    return {"_class_name": CONTROLNET.kind, **config}


def fill_control(
    found: ControlSource, empty_graphs: list[EmptyGraph], stage: Path, weights: str
) -> Iterator[PourProgress]:
    """Fill `stage` with all that a ControlNet's bundle holds."""
    written = yield from fill_graphs({CONTROLNET.folder: found.weights}, empty_graphs, stage, weights)
    write_json(stage / GRAPH / "config.json", found.config)
    files = files_of(stage, written.files)
    whence = origin(found.path, found.licence, None, empty_graphs, weights)
    manifest = control_manifest(found.name, found.config, written.graphs[GRAPH], files, whence, written.weights[GRAPH])
    (stage / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    open_bundle(stage)
