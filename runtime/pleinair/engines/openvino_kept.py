"""Graphs that OpenVINO has compiled for the CPU, kept on the disk without their weights, which stay in the bundle.

OpenVINO's own cache writes each graph with its weights: as large as the model, and once more for every size of picture.
What is left without them are a few megabytes, and a start opens it in half the time or less.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pleinair.bundle.opening import Bundle
from pleinair.engines.engine import Shapes
from pleinair.engines.int8.cpu import cpu_flags
from pleinair.engines.telemetry import without_telemetry
from pleinair.system import compiled
from pleinair.system.giving_back import given_back
from pleinair.system.machine import cpu_name
from pleinair.version import __version__

with without_telemetry():
    import openvino as ov

WITHOUT_WEIGHTS = {"CACHE_MODE": "OPTIMIZE_SIZE"}


@dataclass(frozen=True)
class KeptGraph:
    """A compiled graph, and what was learnt of it when it was read: see `OpenVINOGraph`."""

    model: ov.CompiledModel
    outputs: list[str]
    tokens: int | None
    formed: dict[str, Any] | None
    rewritten: Mapping[str, int]


@dataclass(frozen=True)
class KeptPlace:
    """Where one graph of a bundle is kept as it was compiled for some shapes, with some settings, on this CPU."""

    bundle: Bundle
    graph: str
    weights: Path
    shapes: Shapes
    settings: Mapping[str, Any]
    int8: str
    fold: bool

    @property
    def facts(self) -> dict[str, Any]:
        """All that what is compiled depends on, and the model's name."""
        manifest = self.bundle.manifest
        files = [manifest.files[name].sha256 for name in manifest.graphs[self.graph].files["openvino"]]
        return {
            "model": manifest.name,
            "graph": self.graph,
            "files": files,
            "engine": f"openvino {ov.get_version()}",
            "pleinair": __version__,
            "device": cpu_name(),
            "instruction_sets": cpu_flags(),
            "forced": os.environ.get("ONEDNN_MAX_CPU_ISA", ""),
            "shapes": {name: list(shape) for name, shape in sorted(self.shapes.items())},
            "int8": self.int8,
            "fold": self.fold,
            "settings": {name: str(value) for name, value in sorted(self.settings.items())},
        }

    @property
    def file(self) -> str:
        """The name of its file."""
        return hashlib.sha256(json.dumps(self.facts).encode()).hexdigest()[:40] + compiled.SUFFIX

    def opened(self, core: ov.Core) -> KeptGraph | None:
        """What is kept; None where nothing is, or it is damaged."""
        entry = compiled.read_compiled(self.file)
        if entry is None:
            return None
        try:
            with given_back(self.weights):
                blob = ov.Tensor(np.frombuffer(bytearray(entry.content), np.uint8))
                told = {**self.settings, **WITHOUT_WEIGHTS, "WEIGHTS_PATH": str(self.weights)}
                model = core.import_model(blob, "CPU", told)
            known = entry.facts["known"]
            return KeptGraph(model, known["outputs"], known["tokens"], known["formed"], known["rewritten"])
        except (RuntimeError, KeyError, TypeError):
            compiled.forget_compiled(self.file)
            return None

    def keep(self, found: KeptGraph) -> None:
        """Write a compiled graph down; one that cannot be written is not kept."""
        known = {"outputs": found.outputs, "tokens": found.tokens, "formed": found.formed, "rewritten": found.rewritten}
        compiled.write_compiled(self.file, {**self.facts, "known": known}, found.model.export_model().getvalue())
