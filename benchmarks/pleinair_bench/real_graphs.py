"""Graphs of real size, poured on this machine with random weights, which cost as much time as trained ones.

Their topologies are those of `pleinair pour`. Filled, they are bundles in the cache folder,
`bench-models/NAME-PRECISION`, whose hashes are known beforehand: benchmarks/write_filled.py writes them to filled.json.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pleinair.bundle.manifest import MANIFEST, Defaults, GraphInfo, Manifest, Origin
from pleinair.bundle.opening import Bundle, default_path, open_bundle
from pleinair.bundle.verifying import FileInfo, file_info
from pleinair.errors import BundleError, RequestError, ResourceError
from pleinair.pouring.pour import Plan, pieces
from pleinair.pouring.topologies import kept_for
from pleinair.sources.architectures import ARCHITECTURES, family
from pleinair.sources.describing import Described, Made, Tokens, painter_manifest
from pleinair_bench.fill import RandomWeights

CACHE = "PLEINAIR_CACHE"  # an environment variable: the folder to use in place of the system's
FOLDER = "bench-models"  # below the cache folder; nothing else is ever removed
FILLED = Path(__file__).with_name("filled.json")
PART = ".part"  # what a file is called until it is whole
STALE_S = 3600  # a part that nobody has written to for so long belongs to a process that was killed
SPARE = 64 << 20  # bytes of disk left free
SCHEDULER = "scheduler/scheduler_config.json"
TOKENIZER = "tokenizer/tokenizer.json"
TOKENS = 77


@dataclass(frozen=True)
class RealGraph:
    """One graph ("unet") of a model ("sd15"), with weights stored as `precision`, in one format.

    Its topology is that of the model `of`. `files`: those it is filled to, below the bundle's folder, the graph itself
    first.
    """

    name: str
    component: str
    precision: str
    format: str
    of: str
    files: dict[str, FileInfo]

    @property
    def key(self) -> tuple[str, str, str, str]:
        return self.name, self.component, self.precision, self.format

    @property
    def size(self) -> int:
        """Bytes that it takes when filled."""
        return sum(info.size for info in self.files.values())

    @property
    def plan(self) -> Plan:
        """What is poured."""
        part = next(part for part in family(self.name).parts if self.component in part.graphs)
        for model, topology in kept_for(self.component, self.precision, self.format):
            if model == self.of:
                return Plan(part, self.component, self.format, topology)
        raise BundleError(f"no topology of '{self.of}' ships for {'/'.join(self.key)}; install pleinair again")


def available() -> list[RealGraph]:
    """All that can be filled."""
    return [
        RealGraph(**{**row, "files": {file: FileInfo(**info) for file, info in row["files"].items()}})
        for row in read_filled()
    ]


def find(name: str, component: str, precision: str, form: str) -> RealGraph:
    """One of those that ship; RequestError, naming those there are, for any other."""
    for graph in available():
        if graph.key == (name, component, precision, form):
            return graph
    known = ", ".join("/".join(graph.key) for graph in available())
    raise RequestError(f"no graph {name}/{component}/{precision}/{form}; choose from: {known}")


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


def filled(name: str, component: str, precision: str, form: str, cache: str | Path | None = None) -> Bundle:
    """The bundle in which this graph can be opened, after filling it where it is not there yet.

    Its manifest lists all graphs of the model in both formats; those that nobody asked for are not on disk. Raises
    RequestError for a graph that does not ship, ResourceError where the disk is full or cannot be written.
    """
    graph = find(name, component, precision, form)
    for _ in filling(graph, cache):
        pass
    return open_bundle(bundle_folder(graph, cache))


def filling(graph: RealGraph, cache: str | Path | None = None) -> Iterator[int]:
    """Fill one graph, yielding after every few megabytes how many bytes of `graph.size` there are.

    A file appears under its name when it is whole: closed, failed or killed earlier, this leaves none behind.
    """
    folder = bundle_folder(graph, cache)
    try:
        prepare(graph, folder)
        wanted = absent(graph, folder)
        check_room(folder, sum(graph.files[file].size for file in wanted))
        done = graph.size - sum(graph.files[file].size for file in wanted)
        yield done
        for size in write(graph, folder, wanted) if wanted else ():
            done += size
            yield done
    except OSError as error:
        raise unwritable(folder, error) from error


def size_on_disk(name: str, component: str, precision: str, form: str) -> int:
    """Bytes that this graph takes when filled."""
    return find(name, component, precision, form).size


def still_needed(graphs: list[RealGraph], cache: str | Path | None = None) -> int:
    """Bytes of these graphs that are not on disk yet."""
    missing = {
        (bundle_folder(graph, cache), file): graph.files[file].size
        for graph in graphs
        for file in absent(graph, bundle_folder(graph, cache))
    }
    return sum(missing.values())


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
    return cache_folder(cache) / f"{graph.name}-{graph.precision}"


def absent(graph: RealGraph, folder: Path) -> list[str]:
    """Those of its files that are not there in full, the graph itself last: where it is, all of it is."""
    return [
        file
        for file, info in reversed(graph.files.items())
        if not (folder / file).is_file() or (folder / file).stat().st_size != info.size
    ]


def prepare(graph: RealGraph, folder: Path) -> None:
    """Everything of a bundle but its graphs; graphs that another version of pleinair has filled are removed first."""
    manifest = make_manifest(graph.name, graph.precision).to_json()
    remove_parts(folder)
    if (folder / MANIFEST).is_file():  # it is written before any graph
        if (folder / MANIFEST).read_text(encoding="utf-8") == manifest:
            return
        shutil.rmtree(folder)
    for file in (TOKENIZER, SCHEDULER):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        with whole(folder / file) as part:
            shutil.copyfile(default_path() / file, part)
    with whole(folder / MANIFEST) as part:
        part.write_text(manifest, encoding="utf-8")


def remove_parts(folder: Path) -> None:
    """What killed processes have left."""
    for part in folder.rglob(f"*{PART}"):
        if time.time() - part.stat().st_mtime > STALE_S:
            part.unlink(missing_ok=True)


def write(graph: RealGraph, folder: Path, wanted: list[str]) -> Iterator[int]:
    """Fill these files, yielding how many bytes were written; BundleError where they are not those that were meant."""
    plan = graph.plan
    weights = RandomWeights(plan.topology.shapes)
    for file in wanted:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        with whole(folder / file) as part, part.open("xb") as stream:
            sha = hashlib.sha256()
            for piece in pieces(plan, Path(file).name, weights):
                stream.write(piece)
                sha.update(piece)
                yield len(piece)
            if sha.hexdigest() != graph.files[file].sha256:
                raise BundleError(f"'{file}' came out different from what was meant; install pleinair again")
            stream.flush()
            os.fsync(stream.fileno())  # or the system would go on writing while the graph is being timed


@contextlib.contextmanager
def whole(file: Path) -> Iterator[Path]:
    """Where to write a file that takes its own name when the body ends and vanishes when it fails."""
    part = file.with_name(f".{file.name}.{os.getpid()}{PART}")
    part.unlink(missing_ok=True)  # of a killed process that had this number
    try:
        yield part
        try:
            part.replace(file)
        except PermissionError:  # Windows, where another process has filled it too and has it open
            if not file.is_file() or file.stat().st_size != part.stat().st_size:
                raise
    finally:
        part.unlink(missing_ok=True)


def check_room(folder: Path, needed: int) -> None:
    """Raise ResourceError when the disk has fewer than `needed` bytes free, and some to spare."""
    free = shutil.disk_usage(folder).free
    if needed and free < needed + SPARE:
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


def make_manifest(name: str, precision: str) -> Manifest:
    """bundle.json of a filled model: a whole one, with storybook's tokenizer and scheduler, so that it paints noise."""
    model = Described(family(name), {}, ARCHITECTURES[name])
    mine = [each for each in available() if (each.name, each.precision) == (name, precision)]
    story = open_bundle(None).manifest.text_encoders[0]
    tokens = Tokens(TOKENS, story.bos_id, story.eos_id, story.pad_id)
    height, width = (model.factor * side for side in model.size)
    graphs, tools = {}, {}
    for each in {each.component: each for each in mine}.values():
        topology = each.plan.topology
        files = {other.format: tuple(other.files) for other in mine if other.component == each.component}
        graphs[each.component] = GraphInfo(files, precision, "fp32", dict(topology.inputs), dict(topology.outputs), {})
        tools |= topology.tools
    made = Made(
        name=f"{name}-{precision}",
        graphs=graphs,
        files={file: info for each in mine for file, info in each.files.items()}
        | {file: file_info(default_path() / file) for file in (TOKENIZER, SCHEDULER)},
        origin=Origin("random numbers", None, None, "pleinair bench", tools),
        defaults=Defaults(width, height, "dpmpp_2m", 20, 7.5),
        tokens={part.tokenizer: tokens for part in model.family.readers},
    )
    return painter_manifest(model, made)


def read_filled() -> list[dict]:
    """filled.json: a row for each graph, with its files' sizes and hashes."""
    try:
        return json.loads(FILLED.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError(f"cannot read '{FILLED}' ({error}); install pleinair again") from error
