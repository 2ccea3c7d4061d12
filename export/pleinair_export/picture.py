"""A whole picture: what a finished bundle paints on each engine, beside the same flow with torch for an engine."""

from collections.abc import Callable, Iterator
from functools import lru_cache
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
from pleinair_export.quiet import quiet
from pleinair_export.tokenizer import PROMPTS

STEPS = 3


class TorchGraph:
    """A graph that torch runs; `load` gives its module, and may give up another's memory for it."""

    def __init__(self, info: GraphInfo, wrap: Callable, load: Callable[[], torch.nn.Module]) -> None:
        self._info, self._wrap, self._load = info, wrap, load

    def prepare(self, shapes: Shapes) -> None:
        pass

    def __call__(self, **inputs: np.ndarray) -> Arrays:
        with torch.no_grad():
            outputs = self._wrap(self._load())(*(torch.from_numpy(inputs[name]) for name in self._info.inputs))
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
        return TorchGraph(bundle.manifest.graphs[graph], FORWARD[graph], self._owners[graph])


def compare(
    stage: Path,
    formats: tuple[str, ...],
    weights: str,
    owners: dict[str, Callable[[], torch.nn.Module]],
    size: tuple[int, int],
) -> Iterator[str]:
    """Paint on torch, then on the engine of each format; yields what is about to happen, and how near each came.

    `owners` has, for every graph, what loads the module it was traced from; `size` is the height and width at which
    pictures are compared. One of the default size is painted in any case. Raises QualityError for a picture below its
    gate, or for none.
    """
    bundle = open_bundle(stage)
    usual = bundle.manifest.defaults.height, bundle.manifest.defaults.width
    yield "torch: paint"
    expected = paint(Pipeline(bundle, TorchEngine(owners)), size)
    for form in formats:
        yield f"{form}: paint"
        try:
            pipe = Pipeline(bundle, engine_named(form), precision="f32")
            pictures = {shape: paint(pipe, shape) for shape in {usual, size}}
        except (BundleError, EngineError) as error:
            raise QualityError(
                f"the bundle cannot paint on {form} ({one_line(error, 160)}); nothing was written: {remedy(weights)}"
            ) from error
        found, gate = psnr(expected, pictures[size]), GATES[weights].picture_db
        if found < gate:
            raise QualityError(
                f"a picture ({form}, {weights}) is {found:.1f} dB from torch's and the gate is {gate:.0f} dB;"
                f" nothing was written: {remedy(weights)}"
            )
        yield f"{form}: accepted  {found:.1f} dB"


def paint(pipe: Pipeline, size: tuple[int, int]) -> np.ndarray:
    """A picture (1, height, width, 3) in few steps."""
    height, width = size
    with quiet():
        made = pipe.generate(PROMPTS[0], seed=1, steps=STEPS, width=width, height=height, **ground(pipe.bundle, size))
    return made.pixels


def ground(bundle: Bundle, size: tuple[int, int]) -> dict[str, Any]:
    """For a model made to paint over pictures, one of gradients and a mask over its left half."""
    if not bundle.manifest.denoiser.channels:
        return {}
    height, width = size
    mask = Image.new("L", (width, height))
    mask.paste(255, (0, 0, width // 2, height))
    return {"image": Image.radial_gradient("L").resize((width, height)).convert("RGB"), "mask": mask}


def one_at_a_time(load: Callable[[str], torch.nn.Module]) -> Callable[[str], torch.nn.Module]:
    """`load` that keeps what it loaded last, and nothing else."""
    return lru_cache(maxsize=1)(load)
