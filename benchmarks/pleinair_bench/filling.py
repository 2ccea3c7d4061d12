"""Graphs of real size, poured on this machine with random weights, which cost as much time as trained ones.

What a bundle says of them is what `pleinair pour` says. They lie in the cache folder, in `bench-models/MODEL-WEIGHTS`,
whose bundle.json lists every graph of the model and is written anew with each one that is filled.
"""

import hashlib
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from pleinair.bundle.manifest import MANIFEST, Manifest, Origin
from pleinair.bundle.opening import Bundle, open_bundle, read_manifest
from pleinair.bundle.staging import sync
from pleinair.bundle.verifying import FileInfo
from pleinair.errors import BundleError
from pleinair.pouring.opened import Opened
from pleinair.pouring.pour import Written, files_of, write_small
from pleinair.pouring.topologies import file_of
from pleinair.pouring.writing import pour_graph
from pleinair.sources.describing import Made, painter_manifest
from pleinair.sources.folder import Source
from pleinair.system.locks import only_one
from pleinair.version import __version__
from pleinair_bench.cache import cache_folder, check_room, unwritable
from pleinair_bench.random_models import random_model
from pleinair_bench.random_weights import NUMBERS
from pleinair_bench.real_graphs import RealGraph, find, graphs_of

UNFILLED = "0" * 64  # in the place of the SHA-256 of a file that nobody has asked for yet


def filled(model: str, graph: str, weights: str, form: str, cache: str | Path | None = None) -> Bundle:
    """The bundle in which this graph can be opened, after filling it where it is not there yet.

    Its manifest lists all graphs of the model in both formats; those that nobody asked for are not on disk. Raises
    RequestError for a graph that does not ship, ResourceError where the disk is full or cannot be written.
    """
    wanted = find(model, graph, weights, form)
    for _ in fill(wanted, cache):
        pass
    return open_bundle(bundle_folder(wanted, cache))


def fill(graph: RealGraph, cache: str | Path | None = None) -> Iterator[int]:
    """Fill one graph, yielding after every few megabytes how many bytes of `graph.size` there are.

    bundle.json tells of a file when it is whole: closed or failed earlier, this leaves none behind.
    """
    folder = bundle_folder(graph, cache)
    lock, busy = folder.with_name(f".{folder.name}.lock"), f"another process is filling '{folder}'; wait for it"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        if not is_filled(graph, folder):
            with only_one(lock, busy):
                yield from write_into(folder, graph)
        yield graph.size
    except OSError as error:
        raise unwritable(folder, error) from error


def write_into(folder: Path, graph: RealGraph) -> Iterator[int]:
    manifest = manifest_in(folder, graph) or prepared(folder, graph)
    check_room(folder, graph.size)
    done, files = 0, {}
    yield done
    try:
        for size in pour_graph(graph.empty, graph.random, folder / graph.graph, files):
            done += size
            yield done
        sync(folder / graph.graph)  # or the system would go on writing while the graph is being timed
        save(replace(manifest, files=manifest.files | files), folder)
    except BaseException:
        for file in graph.sizes:
            (folder / file).unlink(missing_ok=True)
        raise


def still_needed(graphs: Iterable[RealGraph], cache: str | Path | None = None) -> int:
    """Bytes of these graphs that are not on disk yet."""
    return sum(graph.size for graph in graphs if not is_filled(graph, bundle_folder(graph, cache)))


def bundle_folder(graph: RealGraph, cache: str | Path | None = None) -> Path:
    return cache_folder(cache) / f"{graph.model}-{graph.weights}"


def is_filled(graph: RealGraph, folder: Path) -> bool:
    """Whether its files are there in full, as this version of pleinair fills them."""
    manifest = manifest_in(folder, graph)
    return manifest is not None and all(
        manifest.files[file].sha256 != UNFILLED and (folder / file).is_file() and (folder / file).stat().st_size == size
        for file, size in graph.sizes.items()
    )


def manifest_in(folder: Path, graph: RealGraph) -> Manifest | None:
    """What lies there; None for nothing, and for what another version has filled."""
    try:
        manifest = read_manifest(folder)
    except BundleError:
        return None
    return manifest if manifest.origin and manifest.origin.revision == revision(graph.model, graph.weights) else None


@cache
def revision(model: str, weights: str) -> str:
    """The same for as long as the same bytes are filled."""
    digest = hashlib.sha256(f"{__version__} {NUMBERS}".encode())
    for graph in graphs_of(model, weights):
        digest.update(file_of(graph.row).read_bytes())
    return digest.hexdigest()


def prepared(folder: Path, graph: RealGraph) -> Manifest:
    """Write everything of a bundle but its graphs, in the place of what another version has filled."""
    if folder.exists():
        shutil.rmtree(folder)
    source, graphs = random_model(graph.model), list(graphs_of(graph.model, graph.weights))
    written = Written()
    for each in graphs:
        (folder / each.graph).mkdir(parents=True, exist_ok=True)
        written.enter(each.empty, graph.weights)
        written.files.update({file: FileInfo(size, UNFILLED) for file, size in each.sizes.items()})
    written.tokens |= write_small(readable(source, graphs), folder)
    made = Made(
        name=folder.name,
        graphs=written.graphs,
        files=files_of(folder, {}) | written.files,
        origin=origin(graph, graphs),
        defaults=source.defaults,
        tokens=written.tokens,
        weights=written.weights,
    )
    manifest = painter_manifest(source, made)
    save(manifest, folder)
    return manifest


def readable(source: Source, graphs: list[RealGraph]) -> Opened:
    """A model with the weights of its text encoders, and CLIP's own vocabulary."""
    readers = {part.folder: part.tokenizer for part in source.family.readers}
    weights = {folder: each.random for each in graphs if (folder := each.empty.part.folder) in readers}
    return Opened(source, weights, dict.fromkeys(readers.values()), {})


def origin(graph: RealGraph, graphs: list[RealGraph]) -> Origin:
    tools = {name: version for each in graphs for name, version in each.row["tools"].items()}
    made = {"pleinair": __version__, "numpy": np.__version__} | tools
    return Origin("random numbers", revision(graph.model, graph.weights), None, "pleinair bench", made)


def save(manifest: Manifest, folder: Path) -> None:
    part = folder / f".{MANIFEST}"
    part.write_text(manifest.to_json(), encoding="utf-8")
    part.replace(folder / MANIFEST)
