"""The graphs of real models without their weights, filled on this machine with numbers that cost as much time.

They ship in topologies/ and are made by benchmarks/make_topologies.py. Filled, they are bundles in the cache folder,
`bench-models/NAME-PRECISION`, whose hashes are known beforehand.
"""

import contextlib
import errno
import hashlib
import json
import lzma
import os
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pleinair.bundle.format_1 import FEEDS
from pleinair.bundle.manifest import (
    FORMAT,
    MANIFEST,
    Autoencoder,
    Defaults,
    Denoiser,
    GraphInfo,
    Joined,
    Latents,
    Manifest,
    Origin,
    Port,
    TextEncoder,
)
from pleinair.bundle.opening import Bundle, default_path, open_bundle
from pleinair.bundle.verifying import FileInfo, file_info
from pleinair.errors import BundleError, RequestError, ResourceError
from pleinair_bench.fill import unpack

CACHE = "PLEINAIR_CACHE"  # an environment variable: the folder to use in place of the system's
FOLDER = "bench-models"  # below the cache folder; nothing else is ever removed
TOPOLOGIES = Path(__file__).parent / "topologies"
INDEX = TOPOLOGIES / "index.json"
PART = ".part"  # what a file is called until it is whole
STALE_S = 3600  # a part that nobody has written to for so long belongs to a process that was killed
SPARE = 64 << 20  # bytes of disk left free
SCHEDULER = "scheduler/scheduler_config.json"
TOKENIZER = "tokenizer/tokenizer.json"


@dataclass(frozen=True)
class Topology:
    """One graph ("unet") of a model ("sd15"), with weights stored as `precision`, in one format.

    `files`: those it is filled to, below the bundle's folder, the graph itself first.
    """

    name: str
    component: str
    precision: str
    format: str
    files: dict[str, FileInfo]

    @property
    def key(self) -> tuple[str, str, str, str]:
        return self.name, self.component, self.precision, self.format

    @property
    def size(self) -> int:
        """Bytes that it takes when filled."""
        return sum(info.size for info in self.files.values())

    @property
    def packed(self) -> Path:
        """The file that ships."""
        return TOPOLOGIES / ("-".join(self.key) + ".xz")


def available() -> list[Topology]:
    """All that ship."""
    return [
        Topology(**{**row, "files": {file: FileInfo(**info) for file, info in row["files"].items()}})
        for row in read_index()["topologies"]
    ]


def find(name: str, component: str, precision: str, form: str) -> Topology:
    """One of those that ship; RequestError, naming those there are, for any other."""
    for topology in available():
        if topology.key == (name, component, precision, form):
            return topology
    known = ", ".join("/".join(topology.key) for topology in available())
    raise RequestError(f"no topology {name}/{component}/{precision}/{form}; choose from: {known}")


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
    topology = find(name, component, precision, form)
    for _ in filling(topology, cache):
        pass
    return open_bundle(bundle_folder(topology, cache))


def filling(topology: Topology, cache: str | Path | None = None) -> Iterator[int]:
    """Fill one graph, yielding after every few megabytes how many bytes of `topology.size` there are.

    A file appears under its name when it is whole: closed, failed or killed earlier, this leaves none behind.
    """
    folder = bundle_folder(topology, cache)
    try:
        prepare(topology, folder)
        wanted = absent(topology, folder)
        check_room(folder, sum(topology.files[file].size for file in wanted))
        done = topology.size - sum(topology.files[file].size for file in wanted)
        yield done
        for size in write(topology, folder, wanted) if wanted else ():
            done += size
            yield done
    except OSError as error:
        raise unwritable(folder, error) from error


def size_on_disk(name: str, component: str, precision: str, form: str) -> int:
    """Bytes that this graph takes when filled."""
    return find(name, component, precision, form).size


def still_needed(topologies: list[Topology], cache: str | Path | None = None) -> int:
    """Bytes of these graphs that are not on disk yet."""
    missing = {
        (bundle_folder(topology, cache), file): topology.files[file].size
        for topology in topologies
        for file in absent(topology, bundle_folder(topology, cache))
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


def bundle_folder(topology: Topology, cache: str | Path | None = None) -> Path:
    return cache_folder(cache) / f"{topology.name}-{topology.precision}"


def absent(topology: Topology, folder: Path) -> list[str]:
    """Those of its files that are not there in full, the graph itself last: where it is, all of it is."""
    return [
        file
        for file, info in reversed(topology.files.items())
        if not (folder / file).is_file() or (folder / file).stat().st_size != info.size
    ]


def prepare(topology: Topology, folder: Path) -> None:
    """Everything of a bundle but its graphs; graphs that another version of pleinair has filled are removed first."""
    manifest = make_manifest(topology.name, topology.precision).to_json()
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


def write(topology: Topology, folder: Path, wanted: list[str]) -> Iterator[int]:
    """Fill these files, yielding how many bytes were written; BundleError where they are not those that were meant."""
    try:
        outlines = unpack(topology.packed.read_bytes())
    except (OSError, lzma.LZMAError, ValueError, TypeError) as error:
        raise BundleError(f"cannot read '{topology.packed}' ({error}); install pleinair again") from error
    for file in wanted:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        with whole(folder / file) as part, part.open("xb") as stream:
            sha = hashlib.sha256()
            for piece in outlines[Path(file).name].pieces():
                stream.write(piece)
                sha.update(piece)
                yield len(piece)
            if sha.hexdigest() != topology.files[file].sha256:
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
    index = read_index()
    model = index["models"][name]
    mine = [each for each in available() if (each.name, each.precision) == (name, precision)]
    latents = model["latents"]
    scaling = {key: latents[key] for key in ("downsample", "scale", "shift")}
    story = open_bundle(None).manifest.text_encoders[0]
    reader = TextEncoder("text_encoder", "tokenizer", 77, story.bos_id, story.eos_id, story.pad_id, story.output)
    graphs = {
        graph: GraphInfo(
            files={each.format: tuple(each.files) for each in mine if each.component == graph},
            weights=precision,
            activations="fp32",
            fidelity={},
            **{side: {port: Port(**info) for port, info in ports.items()} for side, ports in sides.items()},
        )
        for graph, sides in model["graphs"].items()
    }
    return Manifest(
        format=FORMAT,
        name=f"{name}-{precision}",
        family=model["family"],
        tasks=("text2image",),
        latents=Latents(latents["channels"], latents["downsample"]),
        vaes={"default": Autoencoder(decoder="vae_decoder", encoder=None, **scaling)},
        defaults=Defaults(model["width"], model["height"], "dpmpp_2m", 20, 7.5),
        text_encoders=(reader,),
        conditioning={"text": Joined((reader.graph,))},
        denoisers=(Denoiser("unet", FEEDS, "out_sample"),),
        scheduler=SCHEDULER,
        graphs=graphs,
        files={file: info for each in mine for file, info in each.files.items()}
        | {file: file_info(default_path() / file) for file in (TOKENIZER, SCHEDULER)},
        origin=Origin("random numbers", None, None, "pleinair bench", model["tools"]),
    )  # fmt: skip


def read_index() -> dict:
    """index.json: "models", what a bundle says of each, and "topologies", the files that each is filled to."""
    try:
        return json.loads(INDEX.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError(f"cannot read '{INDEX}' ({error}); install pleinair again") from error


def write_index(index: dict) -> None:
    INDEX.write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
