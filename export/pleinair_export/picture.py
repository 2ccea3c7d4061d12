"""A whole picture: what a finished bundle paints on each engine, beside the same flow with torch for an engine."""

from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from pleinair.bundle.manifest import GraphInfo
from pleinair.bundle.opening import Bundle, open_bundle
from pleinair.checks import one_line
from pleinair.engines.engine import Graph, Shapes, engine_named
from pleinair.engines.fake import FakeEngine
from pleinair.errors import BundleError, EngineError, QualityError
from pleinair.pipeline import Pipeline
from pleinair_export.check import GATES, psnr, remedy
from pleinair_export.graphs import FORWARD, Arrays
from pleinair_export.loading import load
from pleinair_export.quiet import quiet
from pleinair_export.source import Source
from pleinair_export.tokenizer import PROMPTS

STEPS = 3


class TorchGraph:
    """A graph that torch runs; `load` gives the module it was traced from, and may give up another's memory for it."""

    def __init__(self, info: GraphInfo, load: Callable[[], torch.nn.Module]) -> None:
        self._info, self._load = info, load

    def prepare(self, shapes: Shapes) -> None:
        pass

    def __call__(self, **inputs: np.ndarray) -> Arrays:
        with torch.no_grad():
            outputs = self._load()(*(torch.from_numpy(inputs[name]) for name in self._info.inputs))
        return {name: value.numpy() for name, value in zip(self._info.outputs, outputs, strict=True)}

    def unload(self) -> None:
        pass


class TorchEngine(FakeEngine):
    """An engine whose graphs torch runs; `owners` has, for every graph, what loads the module it was traced from."""

    name = "torch"

    def __init__(self, owners: dict[str, Callable[[], torch.nn.Module]]) -> None:
        self.version = torch.__version__
        self._owners = owners

    def open_graph(self, bundle: Bundle, graph: str, **how: Any) -> Graph:
        return TorchGraph(bundle.manifest.graphs[graph], self._owners[graph])


def owners(model: Source) -> dict[str, Callable[[], torch.nn.Module]]:
    """For every graph, what loads the module it was traced from, which lets go of the component before."""

    @lru_cache(maxsize=1)
    def component(folder: str) -> torch.nn.Module:
        return load(model, model.family.part(folder))

    def wrapped(folder: str, kind: str) -> torch.nn.Module:
        return FORWARD[kind](component(folder))

    return {
        graph: partial(wrapped, part.folder, kind) for part in model.family.parts for graph, kind in part.graphs.items()
    }


def paint_by_torch(model: Source, stage: Path, size: tuple[int, int]) -> np.ndarray:
    """The picture (1, height, width, 3) that the bundle is to paint."""
    return paint(Pipeline(open_bundle(stage), TorchEngine(owners(model))), size)


def paint_by_engine(stage: Path, form: str, weights: str, size: tuple[int, int]) -> np.ndarray:
    """The same picture painted on the engine of a format, after one of the default size.

    Raises QualityError where there is none.
    """
    bundle = open_bundle(stage)
    usual = bundle.manifest.defaults.height, bundle.manifest.defaults.width
    try:
        pipe = Pipeline(bundle, engine_named(form), precision="f32")
        return [paint(pipe, shape) for shape in dict.fromkeys((usual, size))][-1]
    except (BundleError, EngineError) as error:
        raise QualityError(
            f"the bundle cannot paint on {form} ({one_line(error, 160)}); nothing was written: {remedy(weights)}"
        ) from error


def require(form: str, weights: str, expected: np.ndarray, found: np.ndarray) -> float:
    """How near a picture is to torch's, in dB; raises QualityError for one below its gate."""
    near, gate = psnr(expected, found), GATES[weights].picture_db
    if near < gate:
        raise QualityError(
            f"a picture ({form}, {weights}) is {near:.1f} dB from torch's and the gate is {gate:.0f} dB;"
            f" nothing was written: {remedy(weights)}"
        )
    return near


def paint(pipe: Pipeline, size: tuple[int, int]) -> np.ndarray:
    """A picture (1, height, width, 3) in few steps."""
    height, width = size
    with quiet():
        made = pipe.generate(PROMPTS[0], seed=1, steps=STEPS, width=width, height=height, **ground(pipe.bundle, size))
    return made.pixels


def ground(bundle: Bundle, size: tuple[int, int]) -> dict[str, Any]:
    """For a model made to paint over pictures, one of gradients and, where it takes one, a mask over its left half."""
    behind = bundle.manifest.denoiser.channels
    if not behind:
        return {}
    height, width = size
    given = {"image": Image.radial_gradient("L").resize((width, height)).convert("RGB")}
    if "mask" in behind:
        given["mask"] = Image.new("L", (width, height))
        given["mask"].paste(255, (0, 0, width // 2, height))
    return given
