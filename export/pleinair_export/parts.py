"""One component of a model: loaded, asked by torch, and written as graphs in every format."""

import shutil
from collections.abc import Callable, Generator
from pathlib import Path

import numpy as np
import torch

from pleinair.sources.families import PROJECTED, Component
from pleinair.sources.folder import Source
from pleinair.sources.lone_vaes import LoneVae
from pleinair.text.encoders import NORM
from pleinair_export.check import Converted
from pleinair_export.graphs import Spec, answers
from pleinair_export.kinds import KINDS
from pleinair_export.loading import load
from pleinair_export.preview import write_rgb
from pleinair_export.progress import ExportProgress
from pleinair_export.text_graphs import final_norm
from pleinair_export.tracing import WRITE
from pleinair_export.trials import WORK, Context, Trial, trial_file, write_trial


def convert_part(
    model: Source | LoneVae, part: Component, context: Context, stage: Path, formats: tuple[str, ...], weights: str
) -> Generator[ExportProgress, None, dict[str, Converted]]:
    """Write the graphs of a component."""
    yield ExportProgress(part.folder, "load")
    module = load(model, part)
    made = {}
    for name, kind in part.graphs.items():
        made[name] = yield from convert_graph(KINDS[kind].spec(name, module, context), stage, formats, weights)
        shutil.copyfile(model.path / part.folder / "config.json", stage / name / "config.json")
    if part.kind in BESIDE:
        yield from BESIDE[part.kind](module, part, stage)
    return made


def convert_graph(
    spec: Spec, stage: Path, formats: tuple[str, ...], weights: str
) -> Generator[ExportProgress, None, Converted]:
    """Write one graph in every format, and what torch says to its cases."""
    folder = stage / spec.name
    folder.mkdir()
    trial = Trial([*spec.cases, *spec.unsteady], answers(spec), len(spec.cases))
    write_trial(trial_file(stage, spec.name), trial)
    files, placed = {}, {}
    for form in formats:
        yield ExportProgress(spec.name, f"{form}: convert")
        written = WRITE[form](spec, folder, weights)
        files[form] = tuple(f"{spec.name}/{file}" for file in written.files)
        for path, place in written.placed.items():
            placed.setdefault(path, {})[form] = place
    return Converted(spec.inputs, spec.outputs, files, placed)


def write_norm(module: torch.nn.Module, part: Component, stage: Path) -> Generator[ExportProgress, None, None]:
    """Beside a text encoder's graph, the norm that its hidden states are without."""
    for graph in part.graphs:
        np.save(stage / graph / NORM, final_norm(module))
    yield from ()


def write_preview(module: torch.nn.Module, part: Component, stage: Path) -> Generator[ExportProgress, None, None]:
    """What shows latents without the VAE."""
    yield ExportProgress("preview", "fit")
    write_rgb(module, stage / WORK)


# What is left beside the graphs of a component of this class
BESIDE: dict[str, Callable[[torch.nn.Module, Component, Path], Generator[ExportProgress, None, None]]] = {
    "CLIPTextModel": write_norm,
    PROJECTED: write_norm,
    "AutoencoderKL": write_preview,
    "AutoencoderTiny": write_preview,
    "AutoencoderDC": write_preview,
}
