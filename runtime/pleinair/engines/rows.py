"""Graphs for devices that take one row of a batch at a time."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

import numpy as np

from pleinair.bundle.manifest import GraphInfo, Port
from pleinair.engines.engine import Graph, Shapes


class RowByRow:
    """A graph that is called once for each row of a batch; what it answers is put together again.

    `say` is told where more than one call became of one. `added` are ports beside those of `info`, a row for each.
    """

    def __init__(
        self,
        graph: Graph,
        name: str,
        info: GraphInfo,
        device: str,
        say: Callable[[str], None],
        added: Iterable[str] = (),
    ) -> None:
        self._graph = graph
        self._say = partial(
            say, f"{device} takes one row at a time: '{name}' is called as with --batch 1 and --two-calls"
        )
        batch = batch_name(info)
        self._inputs, self._outputs = (
            {name for name, port in ports.items() if begins_with(port, batch)} for ports in (info.inputs, info.outputs)
        )
        self._inputs |= {*added}

    def prepare(self, shapes: Shapes) -> None:
        self._graph.prepare(
            {name: (1, *shape[1:]) if name in self._inputs else shape for name, shape in shapes.items()}
        )

    def __call__(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        rows = max((len(array) for name, array in inputs.items() if name in self._inputs), default=1)
        if rows == 1:
            return self._graph(**inputs)
        self._say()
        answers = [self._graph(**self._row(inputs, place)) for place in range(rows)]
        return {
            name: np.concatenate([answer[name] for answer in answers]) if name in self._outputs else first
            for name, first in answers[0].items()
        }

    def _row(self, inputs: dict[str, np.ndarray], place: int) -> dict[str, np.ndarray]:
        return {
            name: array[place : place + 1] if name in self._inputs and len(array) > 1 else array
            for name, array in inputs.items()
        }


class Fewer(NamedTuple):
    """A port that takes fewer rows than others: the shape that it would have with all, and how many there are for each.

    `rowless` are ports that take none, or one for all.
    """

    port: str
    whole: tuple[int, ...]
    times: int
    rowless: tuple[str, ...]


def port_of_fewer(info: GraphInfo, shapes: Shapes) -> Fewer | None:
    """The widest port of `info`, if it is to take fewer rows than another, for inputs of these shapes."""
    batch, port = batch_name(info), widest(info)
    rows = {name: shapes[name][0] for name, each in info.inputs.items() if name in shapes and begins_with(each, batch)}
    if port not in rows or rows[port] == max(rows.values()):
        return None
    whole = max(rows.values()), *shapes[port][1:]
    rowless = tuple(name for name in info.inputs if name != port and rows.get(name, 1) == 1)
    return Fewer(port, whole, whole[0] // rows[port], rowless)


def batch_name(info: GraphInfo) -> str | None:
    """The name of the dimension that counts rows: the first one of the input with most dimensions, if it has a name."""
    shape = info.inputs[widest(info)].shape
    first = shape[0] if shape else None
    return first if isinstance(first, str) else None


def widest(info: GraphInfo) -> str:
    """The input with most dimensions, of which the first."""
    return max(info.inputs, key=lambda name: len(info.inputs[name].shape))


def begins_with(port: Port, dimension: str | None) -> bool:
    return dimension is not None and port.shape[:1] == (dimension,)
