"""The picture that a bundle is to paint: its own flow, with torch for an engine."""

from collections.abc import Callable, Generator
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch

from pleinair.bundle.manifest import GraphInfo
from pleinair.bundle.opening import Bundle, open_bundle
from pleinair.engines.engine import Graph, Opening, Shapes
from pleinair.engines.fake import FakeEngine
from pleinair.pipeline import Pipeline
from pleinair.sources.folder import Source
from pleinair_export.kinds import KINDS
from pleinair_export.loading import load
from pleinair_export.picture import paint
from pleinair_export.progress import ExportProgress
from pleinair_export.trials import Arrays


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


class TorchEngine(FakeEngine):
    """An engine whose graphs torch runs; `owners` has, for every graph, what loads the module it was traced from."""

    name = "torch"

    def __init__(self, owners: dict[str, Callable[[], torch.nn.Module]]) -> None:
        self.version = torch.__version__
        self._owners = owners

    def open_graph(self, bundle: Bundle, graph: str, how: Opening) -> Graph:
        return TorchGraph(bundle.manifest.graphs[graph], self._owners[graph])


def owners(model: Source) -> dict[str, Callable[[], torch.nn.Module]]:
    """For every graph, what loads the module it was traced from, which lets go of the component before."""

    @lru_cache(maxsize=1)
    def component(folder: str) -> torch.nn.Module:
        return load(model, model.family.part(folder))

    def wrapped(folder: str, kind: str) -> torch.nn.Module:
        return KINDS[kind].module(component(folder))

    return {
        graph: partial(wrapped, part.folder, kind) for part in model.family.parts for graph, kind in part.graphs.items()
    }


def paint_by_torch(model: Source, stage: Path, size: tuple[int, int]) -> Generator[ExportProgress, None, np.ndarray]:
    """The picture (1, height, width, 3) that the bundle is to paint."""
    yield ExportProgress("picture", "torch: paint")
    return paint(Pipeline(open_bundle(stage), TorchEngine(owners(model))), size)
