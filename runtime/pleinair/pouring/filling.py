"""What is poured, whatever it is: graphs with weights in them, and what a bundle says of these."""

import platform
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from pleinair.bundle.manifest import GraphInfo, Origin, Placed
from pleinair.bundle.verifying import FileInfo, file_info
from pleinair.checks import one_line, quoted
from pleinair.pouring.names import Named
from pleinair.pouring.writing import EmptyGraph, places, pour_graph
from pleinair.sources.describing import Tokens
from pleinair.sources.origins import read_origin
from pleinair.version import __version__


@dataclass(frozen=True)
class PourProgress:
    """What is done next, and how many bytes of `total` are written; `note` where it is something to know."""

    words: str
    done: int
    total: int
    note: bool = False


@dataclass
class Written:
    """What is on the disk so far: graphs, where the weights lie in these, the files with their hashes, tokenizers."""

    graphs: dict[str, GraphInfo] = field(default_factory=dict)
    weights: dict[str, dict[str, dict[str, Placed]]] = field(default_factory=dict)
    files: dict[str, FileInfo] = field(default_factory=dict)
    tokens: dict[str, Tokens] = field(default_factory=dict)

    def enter(self, empty: EmptyGraph, weights: str) -> None:
        """Note a graph that is written."""
        topology, graph = empty.topology, empty.graph
        before = self.graphs[graph].files if graph in self.graphs else {}
        files = before | {empty.form: tuple(f"{graph}/{name}" for name in topology.files)}
        self.graphs[graph] = GraphInfo(
            files, weights, "fp32", dict(topology.inputs), dict(topology.outputs), fidelity={}
        )
        for path, place in places(empty).items():
            self.weights.setdefault(graph, {}).setdefault(path, {})[empty.form] = place


def fill_graphs(
    parts: Mapping[str, Named], empty_graphs: list[EmptyGraph], stage: Path, weights: str
) -> Generator[PourProgress, None, Written]:
    """Write graphs below `stage`, one after the other, with the weights of their components."""
    written = Written()
    done, total = 0, sum(empty.size for empty in empty_graphs)
    for empty in empty_graphs:
        yield PourProgress(f"{empty.graph} {empty.form}", done, total)
        for size in pour_graph(empty, parts[empty.part.folder], stage / empty.graph, written.files):
            done += size
            yield PourProgress(f"{empty.graph} {empty.form}", done, total)
        written.enter(empty, weights)
    return written


def files_of(stage: Path, written: Mapping[str, FileInfo]) -> dict[str, FileInfo]:
    """Every file of a bundle; those that were written here are not read again."""
    names = (path.relative_to(stage).as_posix() for path in sorted(stage.rglob("*")) if path.is_file())
    return {name: written.get(name) or file_info(stage / name) for name in names}


def origin(
    path: Path, licence: str | None, trigger: str | None, empty_graphs: list[EmptyGraph], weights: str
) -> Origin:
    """Where a bundle came from: names and versions, no paths."""
    formats = {empty.form for empty in empty_graphs}
    form = "both" if len(formats) > 1 else formats.pop()
    pulled = read_origin(path if path.is_dir() else path.parent)
    source = pulled.id if pulled else one_line(path.name, 200)
    made = {"python": platform.python_version(), "pleinair": __version__, "numpy": np.__version__}
    tools = {name: version for empty in empty_graphs for name, version in empty.topology.tools.items()}
    return Origin(
        source,
        pulled.revision if pulled else None,
        licence,
        f"pleinair pour {quoted(PurePosixPath(source))} --format {form} --weights {weights}",
        made | tools,
        trigger,
    )
