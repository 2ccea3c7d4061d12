"""A folder of what a program needs to paint: packages to import, a model, and their licences; nothing is installed."""

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pleinair
from pleinair.bundle.manifest import MANIFEST
from pleinair.bundle.opening import Bundle
from pleinair.bundle.shipped import STORYBOOK, default_path
from pleinair.bundle.staging import staged
from pleinair.embedding.parts import LIBRARIES, graphs_of_other_engines, needed
from pleinair.engines.engine import ENGINES
from pleinair.errors import EngineError

MODELS = "models"  # in the folder, for models other than storybook, which lies where `load()` looks


@dataclass(frozen=True)
class Part:
    """A package or a model as it lies in the folder; `licence` is what it says of itself, "" where that is nothing."""

    name: str
    version: str
    licence: str
    size: int  # bytes


@dataclass(frozen=True)
class Copy:
    """A file to be copied, and where it goes to in the folder."""

    source: Path
    place: str


def gather(out: Path, bundle: Bundle, engine: str, cpu_only: bool = False) -> list[Part]:
    """Write a folder that a program puts on its path to paint with one engine and one model; returns what is in it.

    Raises EngineError for a package that pip has not installed, BundleError for a model that is damaged, ResourceError
    where OUT exists or cannot be written.
    """
    copies = {Part(*facts, size_of(files)): files for facts, files in _parts(bundle, engine, cpu_only)}
    with staged(out, force=False, room=sum(part.size for part in copies)) as stage:
        for each in (each for files in copies.values() for each in files):
            place = stage.path / each.place
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(each.source, place)
    return list(copies)


def model_place(bundle: Bundle) -> str:
    """Where a model lies in the folder."""
    folder = bundle.path.resolve()
    return f"pleinair/{MODELS}/{STORYBOOK}" if folder == default_path().resolve() else f"{MODELS}/{folder.name}"


def size_of(files: Iterable[Copy]) -> int:
    """Bytes of all files."""
    return sum(each.source.stat().st_size for each in files)


def _parts(bundle: Bundle, engine: str, cpu_only: bool) -> Iterator[tuple[tuple[str, str, str], list[Copy]]]:
    """(name, version, licence) of each part, and its files."""
    for name in (*LIBRARIES, engine_package(engine)):
        found = installed_package(name)
        yield facts_of(found), [*_files(found, ENGINES[engine].requires if name not in LIBRARIES else name, cpu_only)]
    own = installed_package("pleinair")
    yield facts_of(own), [*_own_files(own)]
    manifest = bundle.manifest
    yield (manifest.name, "", manifest.origin.licence or ""), [*_model_files(bundle, ENGINES[engine].format)]


def _files(found: Distribution, kind: str, cpu_only: bool = False) -> Iterator[Copy]:
    """What is needed of the files that pip has installed."""
    for file in found.files or ():
        if needed(kind, file.as_posix(), cpu_only):
            yield Copy(Path(found.locate_file(file)), file.as_posix())


def _own_files(found: Distribution) -> Iterator[Copy]:
    """pleinair's: from where it was imported, which is a clone where it was installed with `-e`."""
    package = Path(pleinair.__file__).parent
    for file in sorted(package.rglob("*")):
        place = file.relative_to(package.parent).as_posix()
        if file.is_file() and needed("pleinair", place):
            yield Copy(file, place)
    yield from (each for each in _files(found, "pleinair") if ".dist-info/" in each.place)


def _model_files(bundle: Bundle, form: str) -> Iterator[Copy]:
    """A bundle's, but for graphs in other formats; its bundle.json stays, and so does the identity in records."""
    left_out, place = graphs_of_other_engines(bundle.manifest, form), model_place(bundle)
    yield Copy(bundle.path / MANIFEST, f"{place}/{MANIFEST}")
    for name in bundle.manifest.files:
        if name not in left_out:
            yield Copy(bundle.files.checked(name), f"{place}/{name}")


def engine_package(engine: str) -> str:
    """The package that brings an engine here: several can bring ONNX Runtime."""
    for name in ENGINES[engine].packages:
        try:
            return distribution(name).name
        except PackageNotFoundError:
            continue
    raise EngineError(f"no package of engine '{engine}' is installed; install one with: {ENGINES[engine].install}")


def installed_package(name: str) -> Distribution:
    """What pip knows of a package; EngineError where it knows nothing."""
    try:
        found = distribution(name)
    except PackageNotFoundError:
        raise EngineError(f"'{name}' is not installed; install it with: pip install {name}") from None
    if not found.files:
        raise EngineError(f"nothing says which files '{name}' has; install it with: pip install {name}")
    return found


def facts_of(found: Distribution) -> tuple[str, str, str]:
    """(name, version, licence) as a package says them."""
    said = found.metadata
    words = said["License-Expression"] or said["License"] or ""
    kinds = [each.rpartition(" :: ")[2] for each in said.get_all("Classifier", ()) if each.startswith("License ::")]
    return said["Name"], found.version, words if words and "\n" not in words else ", ".join(kinds)
