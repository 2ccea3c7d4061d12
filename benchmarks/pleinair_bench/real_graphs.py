"""Graphs of real size, poured on this machine with random weights, which cost as much time as trained ones.

Their topologies, and what a bundle says of them, are those of `pleinair pour`. Filled, they are bundles in the cache
folder, `bench-models/MODEL-WEIGHTS`. bundle.json lists every graph of the model, and is written anew with each one.
"""

import errno
import hashlib
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from pleinair.bundle.manifest import MANIFEST, Manifest, Origin
from pleinair.bundle.opening import Bundle, open_bundle, read_manifest
from pleinair.bundle.staging import sync
from pleinair.bundle.verifying import FileInfo
from pleinair.errors import BundleError, RequestError, ResourceError
from pleinair.pouring.names import Named
from pleinair.pouring.opened import Opened
from pleinair.pouring.pour import FORMATS, WEIGHTS, Written, files_of, write_small
from pleinair.pouring.topologies import KEY, Topology, agrees, file_of, open_topologies, plain, read_index
from pleinair.pouring.writing import Plan, write
from pleinair.sources.architectures import ARCHITECTURES, family
from pleinair.sources.describing import Made, painter_manifest
from pleinair.sources.families import Part
from pleinair.sources.folder import Source
from pleinair.system.locks import only_one
from pleinair.version import __version__
from pleinair_bench.random_models import random_model
from pleinair_bench.random_weights import NUMBERS, RandomCheckpoint

CACHE = "PLEINAIR_CACHE"  # an environment variable: the folder to use in place of the system's
FOLDER = "bench-models"  # below the cache folder; nothing else is ever removed
SPARE = 64 << 20  # bytes of disk left free
UNFILLED = "0" * 64  # in the place of the SHA-256 of a file that nobody has asked for yet
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
        return opened(self.row["models"][0], *self.key[1:])[self.of]

    @property
    def plan(self) -> Plan:
        """What is poured."""
        return Plan(part_of(self.model, self.graph), self.graph, self.format, self.topology)

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


def namesake(model: str, part: Part, graph: str, weights: str, form: str) -> str | None:
    """The model after which a topology is named that fits this one's; networks of the loop share none."""
    rows = rows_of(graph, weights, form)
    if any(model in row["models"] for row in rows):
        return model
    if part == family(model).denoiser:
        return None
    config = ARCHITECTURES[model][part.folder]
    return next(
        (
            of
            for row in rows
            for of, topology in opened(row["models"][0], graph, weights, form).items()
            if part_of(of, graph).kind == part.kind and agrees(config, topology.config)
        ),
        None,
    )


def part_of(model: str, graph: str) -> Part:
    return next(part for part in family(model).parts if graph in part.graphs)


@cache
def rows_of(graph: str, weights: str, form: str) -> list[dict[str, Any]]:
    """What the index says of a kind of graph."""
    return [row for row in read_index()["topologies"] if tuple(row[part] for part in KEY) == (graph, weights, form)]


@cache
def opened(first: str, graph: str, weights: str, form: str) -> dict[str, Topology]:
    """The topologies of a file by model, of which this is the first."""
    return open_topologies(next(row for row in rows_of(graph, weights, form) if row["models"][0] == first))


def find(model: str, graph: str, weights: str, form: str) -> RealGraph:
    """One of those that ship; RequestError, naming those there are, for any other."""
    for each in available():
        if each.key == (model, graph, weights, form):
            return each
    known = ", ".join("/".join(each.key) for each in available())
    raise RequestError(f"no graph {model}/{graph}/{weights}/{form}; choose from: {known}")


def cache_folder(cache: str | Path | None = None) -> Path:
    """Where filled graphs lie: `cache`, else $PLEINAIR_CACHE, else the system's folder for caches of this user."""
    if cache or os.environ.get(CACHE):
        return Path(cache or os.environ[CACHE]).expanduser() / FOLDER
    try:
        home = Path.home()
    except RuntimeError:
        raise ResourceError(f"there is no home folder to keep a cache in; set {CACHE} to a folder") from None
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "pleinair" / "Cache"
    elif sys.platform == "darwin":
        base = home / "Library" / "Caches" / "pleinair"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "pleinair"
    return base / FOLDER


def filled(model: str, graph: str, weights: str, form: str, cache: str | Path | None = None) -> Bundle:
    """The bundle in which this graph can be opened, after filling it where it is not there yet.

    Its manifest lists all graphs of the model in both formats; those that nobody asked for are not on disk. Raises
    RequestError for a graph that does not ship, ResourceError where the disk is full or cannot be written.
    """
    wanted = find(model, graph, weights, form)
    for _ in filling(wanted, cache):
        pass
    return open_bundle(bundle_folder(wanted, cache))


def filling(graph: RealGraph, cache: str | Path | None = None) -> Iterator[int]:
    """Fill one graph, yielding after every few megabytes how many bytes of `graph.size` there are.

    bundle.json tells of a file when it is whole: closed or failed earlier, this leaves none behind.
    """
    folder = bundle_folder(graph, cache)
    lock, busy = folder.with_name(f".{folder.name}.lock"), f"another process is filling '{folder}'; wait for it"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        if not is_filled(graph, folder):
            with only_one(lock, busy):
                yield from fill(graph, folder)
        yield graph.size
    except OSError as error:
        raise unwritable(folder, error) from error


def fill(graph: RealGraph, folder: Path) -> Iterator[int]:
    manifest = manifest_in(folder, graph) or prepared(folder, graph)
    check_room(folder, graph.size)
    done, files = 0, {}
    yield done
    try:
        for size in write(graph.plan, graph.random, folder / graph.graph, files):
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


def cached(cache: str | Path | None = None) -> int:
    """Bytes that filled graphs take now."""
    return sum(file.stat().st_size for file in cache_folder(cache).rglob("*") if file.is_file())


def clean(cache: str | Path | None = None) -> int:
    """Remove all filled graphs; returns how many bytes that gave back. Nothing else in the cache folder is touched."""
    folder = cache_folder(cache)
    size = cached(cache)
    try:
        if folder.exists():
            shutil.rmtree(folder)
    except OSError as error:
        raise ResourceError(
            f"cannot remove '{folder}' ({error.strerror or error}); close programs that use it, or remove it yourself"
        ) from error
    return size - cached(cache)


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
        written.enter(each.plan, graph.weights)
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
    weights = {folder: each.random for each in graphs if (folder := each.plan.part.folder) in readers}
    return Opened(source, weights, dict.fromkeys(readers.values()), {})


def origin(graph: RealGraph, graphs: list[RealGraph]) -> Origin:
    tools = {name: version for each in graphs for name, version in each.row["tools"].items()}
    made = {"pleinair": __version__, "numpy": np.__version__} | tools
    return Origin("random numbers", revision(graph.model, graph.weights), None, "pleinair bench", made)


def save(manifest: Manifest, folder: Path) -> None:
    part = folder / f".{MANIFEST}"
    part.write_text(manifest.to_json(), encoding="utf-8")
    part.replace(folder / MANIFEST)


def check_room(folder: Path, needed: int) -> None:
    """Raise ResourceError when the disk has fewer than `needed` bytes free, and some to spare."""
    free = shutil.disk_usage(folder).free
    if free < needed + SPARE:
        raise ResourceError(
            f"'{folder}' needs {needed / 1e9:.2f} GB and {free / 1e9:.2f} GB are free; free some disk space, or set"
            f" {CACHE} to a folder on another disk"
        )


def unwritable(folder: Path, error: OSError) -> ResourceError:
    """The error for a cache that cannot be written."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT if hasattr(errno, "EDQUOT") else errno.ENOSPC)
    remedy = "free some disk space, or set" if full else "set"
    return ResourceError(
        f"cannot write '{folder}' ({error.strerror or error}); {remedy} {CACHE} to a folder on another disk"
    )
