"""Graphs of real size: which there are, by the topologies that ship for `pleinair pour`."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any

from pleinair.errors import RequestError
from pleinair.pouring.names import Named
from pleinair.pouring.pour import FORMATS, WEIGHTS
from pleinair.pouring.topologies import KEY, Topology, agrees, open_topologies, plain, read_topologies
from pleinair.pouring.writing import EmptyGraph
from pleinair.sources.architectures import ARCHITECTURES, family
from pleinair.sources.families import Component
from pleinair_bench.random_models import random_model
from pleinair_bench.random_weights import RandomCheckpoint

TASK = "text2image"


@dataclass(frozen=True)
class RealGraph:
    """One graph ("unet") of a model ("sd15"), with weights stored in one way, in one format.

    `of` is the model that its topology is named after, which has the same component.
    """

    model: str
    graph: str
    weights: str
    format: str
    of: str

    @property
    def key(self) -> tuple[str, str, str, str]:
        return self.model, self.graph, self.weights, self.format

    @property
    def row(self) -> dict[str, Any]:
        """What the index says of its topology."""
        return next(row for row in rows_of(*self.key[1:]) if self.of in row["models"])

    @property
    def topology(self) -> Topology:
        return opened(self.of, *self.key[1:])

    @property
    def empty(self) -> EmptyGraph:
        """What is poured."""
        return EmptyGraph(part_of(self.model, self.graph), self.graph, self.format, self.topology)

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of the files that it is filled to, by name below the bundle's folder."""
        topology = self.topology
        return {f"{self.graph}/{name}": topology.size(name) for name in topology.files}

    @property
    def size(self) -> int:
        """Bytes that it takes when filled."""
        return sum(self.sizes.values())

    @property
    def random(self) -> Named:
        """What it is filled with."""
        return Named(RandomCheckpoint({plain(key): shape for key, shape in self.topology.shapes.items()}))


@cache
def available() -> tuple[RealGraph, ...]:
    """Those of models that paint a text alone, where every graph of a model ships."""
    found = [list(graphs_of(model, weights)) for model, weights in product(filter(paints, ARCHITECTURES), WEIGHTS)]
    return tuple(graph for graphs in found if is_whole(graphs) for graph in graphs)


def is_whole(graphs: list[RealGraph]) -> bool:
    """Whether these are all graphs of their model, each in one format at least."""
    names = {each.graph for each in graphs}
    return bool(graphs) and all(names >= set(part.graphs) for part in family(graphs[0].model).parts)


def paints(model: str) -> bool:
    """Whether a model of ARCHITECTURES makes a picture of a text, and is shown nothing beside it."""
    source = random_model(model)
    return TASK in source.rules.tasks(source) and source.network["in_channels"] == source.channels


def graphs_of(model: str, weights: str) -> Iterator[RealGraph]:
    for part in family(model).parts:
        for graph, form in product(part.graphs, FORMATS):
            if of := namesake(model, part, graph, weights, form):
                yield RealGraph(model, graph, weights, form, of)


def namesake(model: str, part: Component, graph: str, weights: str, form: str) -> str | None:
    """The model after which a topology is named that fits this one's; networks of the loop share none."""
    config = ARCHITECTURES[model][part.folder]
    others = [other for row in rows_of(graph, weights, form) for other in row["models"]]
    if model in others or part == family(model).denoiser:
        return model if model in others else None
    alike = (other for other in others if part_of(other, graph).kind == part.kind)
    return next((other for other in alike if agrees(config, opened(other, graph, weights, form).config)), None)


def part_of(model: str, graph: str) -> Component:
    return next(part for part in family(model).parts if graph in part.graphs)


@cache
def rows_of(graph: str, weights: str, form: str) -> list[dict[str, Any]]:
    """What the index says of a kind of graph."""
    return [
        row for row in read_topologies()["topologies"] if tuple(row[part] for part in KEY) == (graph, weights, form)
    ]


@cache
def opened(model: str, graph: str, weights: str, form: str) -> Topology:
    """The topology that is named after a model."""
    return open_topologies(next(row for row in rows_of(graph, weights, form) if model in row["models"]))[model]


def find(model: str, graph: str, weights: str, form: str) -> RealGraph:
    """One of those that ship; RequestError, naming those there are, for any other."""
    for each in available():
        if each.key == (model, graph, weights, form):
            return each
    known = ", ".join("/".join(each.key) for each in available())
    raise RequestError(f"no graph {model}/{graph}/{weights}/{form}; choose from: {known}")
