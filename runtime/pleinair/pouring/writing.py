"""One graph of a bundle, written: the bytes that ship, and the parameters of a model in the holes between them."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from pleinair.bundle.manifest import Placed
from pleinair.bundle.verifying import FileInfo
from pleinair.checks import one_line
from pleinair.errors import ExportError
from pleinair.pouring.forms import formed
from pleinair.pouring.names import Named
from pleinair.pouring.topologies import Hole, Topology, plain
from pleinair.sources.families import Component

STEP = 1 << 24  # bytes that are written before whoever waits is told
WEIGHT = ".weight"
SUFFIXES = {"f16": "_fp16", "onnx_int8": "_int8"}  # of an ONNX initializer's name, by its form


@dataclass(frozen=True)
class EmptyGraph:
    """One graph of a bundle in one format, whose weights are to come."""

    part: Component
    graph: str
    form: str
    topology: Topology

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(map(self.topology.size, self.topology.files))


def pour_graph(empty: EmptyGraph, weights: Named, folder: Path, written: dict[str, FileInfo]) -> Iterator[int]:
    """Write the files of a graph from first byte to last, yielding how many; enters their sizes and hashes."""
    folder.mkdir(exist_ok=True)
    for name in empty.topology.files:
        digest, size, since = hashlib.sha256(), 0, 0
        with (folder / name).open("wb") as stream, ThreadPoolExecutor(1) as other:
            put = partial(written_and_hashed, stream, digest)
            before = other.submit(put, b"")
            for piece in pieces(empty, name, weights):  # one is made while the one before is written
                before.result()
                before = other.submit(put, piece)
                size += len(piece)
                since += len(piece)
                if since >= STEP:
                    yield since
                    since = 0
            before.result()
        yield since
        written[f"{empty.graph}/{name}"] = FileInfo(size, digest.hexdigest())


def written_and_hashed(stream: BinaryIO, digest: Any, piece: bytes | memoryview) -> None:
    stream.write(piece)
    digest.update(piece)


def pieces(empty: EmptyGraph, name: str, weights: Named) -> Iterator[memoryview]:
    """A whole file, a few megabytes at a time."""
    shapes = empty.topology.shapes
    for part in empty.topology.files[name]:
        if not isinstance(part, Hole):
            yield memoryview(part)
            continue
        stored = weights[plain(part.key)]
        stored = stored._replace(raw=stored.raw.reshape(*shapes[part.key]))
        try:
            for piece in formed(stored, part.form, part.transposed):
                yield memoryview(np.ascontiguousarray(piece)).cast("B")
        except ExportError as error:
            words = f"{one_line(plain(part.key), 80)} of its {empty.part.folder} {error}"
            raise ExportError(words, option=error.option) from None


def places(empty: EmptyGraph) -> dict[str, Placed]:
    """Layer path -> where its weight lies in a graph, for adapters; the names are those that export gives."""
    found = {}
    (graph, parts), *_ = empty.topology.files.items()
    text = b"".join(part for part in parts if not isinstance(part, Hole)) if empty.form == "openvino" else b""
    for hole in empty.topology.holes:
        if not hole.key.endswith(WEIGHT) or len(empty.topology.shapes[hole.key]) < 2 or hole.form.endswith("scale"):
            continue
        name = f"self.model.{hole.key}" if text else f"model.{hole.key}{SUFFIXES.get(hole.form, '')}"
        if not text or f'"{name}"'.encode() in text:
            found[hole.key.removesuffix(WEIGHT)] = Placed(name, hole.transposed)
    return found
