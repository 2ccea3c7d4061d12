"""Graphs that go on elsewhere, or in more bits, where they have failed."""

from collections.abc import Callable
from typing import Any

import numpy as np

from pleinair.engines.engine import Graph, Shapes
from pleinair.engines.places import Placement
from pleinair.errors import PleinairError


class Moving:
    """A graph that is opened again wherever it is to run by now.

    `asked` tells where that is, `leave` is told where it failed, and settles where it goes on or raises the error.
    """

    def __init__(
        self,
        asked: Callable[[], Placement],
        open: Callable[[Placement], Graph],
        leave: Callable[[Placement, PleinairError], None],
    ) -> None:
        self._asked = asked
        self._open = open
        self._leave = leave
        self._place = asked()
        self._graph: Graph | None = open(self._place)

    def prepare(self, shapes: Shapes) -> None:
        self._until_it_can(lambda graph: graph.prepare(shapes))

    def __call__(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        return self._until_it_can(lambda graph: graph(**inputs))

    def _until_it_can(self, act: Callable[[Graph], Any]) -> Any:
        while True:
            if self._asked() != self._place:
                self._graph = None  # gives its memory back before another is opened
                self._place = self._asked()
                self._graph = self._open(self._place)
            try:
                return act(self._graph)
            except PleinairError as error:
                self._leave(self._place, error)


class WithinF16:
    """A graph that computes in f16, and raises EngineError where its answers have left the range of that."""

    def __init__(self, graph: Graph, error: Callable[[], PleinairError]) -> None:
        self._graph = graph
        self._error = error

    def prepare(self, shapes: Shapes) -> None:
        self._graph.prepare(shapes)

    def __call__(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        outputs = self._graph(**inputs)
        if not all(np.isfinite(array).all() for array in outputs.values()):
            raise self._error()
        return outputs
