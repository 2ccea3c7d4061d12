"""Topologies of exported bundles, for tests of pouring: what a bundle is without the weights of its source."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pleinair.bundle.opening import open_bundle
from pleinair.pouring.checkpoints import Checkpoint, widened
from pleinair.pouring.topologies import INDEX, KEY, Topology, pack
from pleinair.sources.controlnets import CONTROLNET
from pleinair.sources.families import STABLE_DIFFUSION, Component
from pleinair.sources.folder import STEMS
from pleinair_bench.recognise import STORED, Recogniser, recognised, used


def parameters(folder: Path) -> dict[str, dict[str, np.ndarray]]:
    """The weights of a diffusers folder in float32, by component."""
    found = {}
    for part in STABLE_DIFFUSION.parts:
        stored = Checkpoint([folder / part.folder / f"{STEMS[part.library]}.safetensors"])
        found[part.folder] = {name: widened(*each).astype(np.float32) for name, each in stored.items()}
    return found


def write_shelf(shelf: Path, bundle: Path, source: Path) -> None:
    """The topologies of a bundle's graphs, which are known to be of the network of `source`."""
    weights = parameters(source)
    shelf.mkdir(parents=True, exist_ok=True)
    rows = [row for part in STABLE_DIFFUSION.parts for row in written(shelf, bundle, part, weights[part.folder])]
    (shelf / INDEX).write_text(json.dumps({"topologies": rows}))


def write_control_shelf(shelf: Path, bundle: Path, source: Path) -> None:
    """The topologies of a ControlNet's bundle."""
    stored = Checkpoint([source / f"{STEMS[CONTROLNET.library]}.safetensors"])
    numbers = {name: widened(*each).astype(np.float32) for name, each in stored.items()}
    shelf.mkdir()
    rows = list(written(shelf, bundle, CONTROLNET, numbers))
    (shelf / INDEX).write_text(json.dumps({"topologies": rows}))


def written(shelf: Path, bundle: Path, part: Component, numbers: dict[str, np.ndarray]) -> Iterator[dict]:
    """The rows of a component's topologies, whose files are written."""
    manifest = open_bundle(bundle).manifest
    for graph in part.graphs:
        info = manifest.graphs[graph]
        config = json.loads((bundle / graph / "config.json").read_text())
        own = {key: config[key] for key in ("attention_head_dim", "hidden_act") if key in config}
        for form, names in info.files.items():
            files = [bundle / name for name in names]
            parts = recognised(files, files, Recogniser((numbers, numbers), STORED[form, info.weights]).hole)
            told = {"own": own, "usual": {}}
            shapes = used(parts, {name: each.shape for name, each in numbers.items()})
            topology = Topology(parts, shapes, told, info.inputs, info.outputs)
            row = dict(zip(KEY, (graph, info.weights, form), strict=True))
            (shelf / ("-".join(["story", *row.values()]) + ".xz")).write_bytes(pack({"story": topology}))
            yield {"models": ["story"], **row, "tools": {"torch": "2.13"}}
