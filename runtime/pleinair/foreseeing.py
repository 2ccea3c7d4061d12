"""What a pass will ask of its denoiser, known before the first step, so that some layers need not stay in memory."""

from collections.abc import Sequence

import numpy as np

from pleinair.denoising import looked_at, reusing
from pleinair.engines.edits import Edit, Tabulated
from pleinair.engines.failures import CPU
from pleinair.engines.memory import tabulated_bytes
from pleinair.engines.precision import F32
from pleinair.model import Model
from pleinair.network.control import Controls
from pleinair.network.denoiser import settled_inputs, settled_ports
from pleinair.network.guidance import Guided
from pleinair.request.planning import Pass
from pleinair.request.request import Request
from pleinair.sampling.coordinates import Solver
from pleinair.sampling.path import Point

LEAST = 16e6  # bytes of layers from which on it is worth to compile them alone, which takes a third of a second
EXACT = (("unet", "bf16"),)  # networks that say the same to the bit in other precisions than float32
MOST_STEPS = 200  # in each of which what layers answer takes some 0.15 % of what they do


def sparable(model: Model, stage: Pass, edits: Sequence[Edit]) -> float:
    """Bytes of the layers of a pass's denoiser that need not stay in memory; 0 where they are left in the graph.

    That is so where it is open already, does not run on the CPU, or has few of them, where steps are very many, and
    where its answers would be others in the last bits: transformers in bfloat16 fuse what these layers say.
    """
    graphs, manifest = model.graphs, model.bundle.manifest
    name = manifest.denoiser.graph
    here = graphs.device_of(name) == CPU and graphs.engine in manifest.graphs[name].files
    if not here or len(stage.path) > MOST_STEPS or graphs.is_open(name, edits):
        return 0.0
    precision, ports = graphs.precision_of(name), frozenset(settled_ports(manifest))
    if precision != F32 and (name, precision) not in EXACT:
        return 0.0
    found = tabulated_bytes(model.bundle, name, graphs.engine, precision, ports)
    return found if found >= LEAST else 0.0


def foreseen(
    model: Model,
    request: Request,
    stage: Pass,
    solver: Solver,
    denoise: Guided,
    controls: Controls | None,
    pictures: int,
) -> Tabulated:
    """The edit of a denoiser for the calls of a pass, which its solver tells by walking it without a network."""
    asked: list[tuple[Point, int]] = []

    def note(x: np.ndarray, point: Point, step: int) -> np.ndarray:
        asked.append((point, step))
        return np.zeros_like(x)

    blank = np.zeros((1, 1, 1, 1), np.float32)
    for _ in solver(
        reusing(looked_at(note, stage, None), request, stage, denoise, controls), blank, stage.path, blank.copy
    ):
        pass
    calls = (
        settled_inputs(model.bundle.manifest, point.t, told)
        for point, step in asked
        for told in denoise.calls(step, pictures)
    )
    return Tabulated.of(calls)
