"""A model fetched from a hub: listed, chosen from, brought file by file, compared, and put in place when all is there.

Imported only where something is to be fetched: it needs huggingface_hub.
"""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from pleinair.bundle.manifest import MANIFEST
from pleinair.checks import one_line, shown_path
from pleinair.engines.engine import ENGINES, installed, usual_format
from pleinair.errors import BundleError, NetworkError, RequestError, ResourceError
from pleinair.library import choosing, hub
from pleinair.library.fetching import PARTS, bring, brought, tidy, unwritable
from pleinair.library.listing import UNFINISHED, size_on_disk
from pleinair.library.pourable import WEIGHTS, pourable_component, pourable_files
from pleinair.library.repository import Repository, leads_down, present
from pleinair.sources.hub_ids import hub_id
from pleinair.sources.origins import ORIGIN, Pulled, read_origin, write_origin
from pleinair.system.home import downloads_folder, models_folder
from pleinair.system.locks import only_one

SPARE = 10_000_000  # bytes beside the files
POURABLE = {choosing.FOLDER: pourable_files, choosing.COMPONENT: pourable_component}
LISTED = (MANIFEST, choosing.INDEX, choosing.CONFIG_FILE)  # one of these is in a repository


@dataclass(frozen=True)
class Brought:
    """A model that is here: its folder, its kind (one of `choosing`'s), bytes; `before` where it was here already.

    `model` is where what paints lies, or is to be made of `folder`.
    """

    folder: Path
    model: Path
    kind: str
    origin: Pulled
    size: int
    before: bool = False


@dataclass(frozen=True)
class Step:
    """Bytes that are here, `done` of `total`, and the file that they belong to; the last step has the result."""

    file: str
    done: int
    total: int
    result: Brought | None = None


def pull(
    id: str,
    *,
    to: Path | None = None,
    revision: str | None = None,
    file: str | None = None,
    kinds: tuple[str, ...] = choosing.KINDS,
    formats: tuple[str, ...] | None = None,
    weights: str | None = None,
    only_download: bool = False,
    allow_pickle: bool = False,
) -> Iterator[Step]:
    """Fetch a model of the Hugging Face hub, step by step; what was interrupted goes on where it ended.

    `to` is the folder of the model, by default one among the models; safetensors, of which a model is to be made there,
    come to the downloads, or with `only_download` to `to` itself. `revision` is a branch, tag or commit; `file` one
    .safetensors file, instead of a model of one of `kinds`. What diffusers saves that cannot be poured into `formats`
    with `weights` is refused before these come, unless with `only_download`; weights that are pickles, unless with
    `allow_pickle`. Raises RequestError, NetworkError,
    ResourceError, and BundleError or ExportError for a repository that holds no such model.
    """
    name = hub_id(id)
    if name is None:
        raise RequestError(f"'{one_line(id, 80)}' is not a name on the hub; write OWNER/NAME")
    if file is not None and not leads_down(file):
        raise RequestError(f"'{one_line(file, 80)}' is not a file of a repository; write --file NAME.safetensors")
    how = Wanted(file, formats or (usual_format(),), weights, allow_pickle)
    model, source = model_folder(name, to, file), source_folder(name, to if only_download else None, file)
    wanted = wanted_kinds(kinds, file, weights)
    places = {kind: source if kind in choosing.SOURCES else model for kind in wanted}
    made = {} if only_download else {choosing.BUNDLE: model}  # by an earlier call, of what it had fetched
    found = at_hand(made | places, model, name, revision, file) if hub.offline() else None
    if found is None:
        repository = looked_up(name, revision, file)
        kind = choosing.FILE if file else suiting(repository, list(places), how)
        found = at_hand(made | {kind: places[kind]}, model, name, repository.commit, file)
    if made and (found is None or found.kind in choosing.SOURCES):
        check_free(model)
    if found:
        yield Step("", found.size, found.size, found)
        return
    check_free(places[kind])
    try:
        names_of = partial(chosen, repository, kind, how, only_download)
        yield from whole_model(repository, kind, places[kind], model, names_of)
    except OSError as error:
        raise unwritable(places[kind], error) from error


def looked_up(id: str, revision: str | None, file: str | None) -> Repository:
    """A repository as the hub lists it, or offline as its cache on this machine has it."""
    if hub.offline():
        return hub.cached(id, revision, *([file] if file else LISTED))
    return hub.listed(id, revision)


@dataclass(frozen=True)
class Wanted:
    """What is to be made: of one `file`, in `formats`, with `weights` where that is said, of pickles if need be."""

    file: str | None
    formats: tuple[str, ...]
    weights: str | None
    pickles: bool


def suiting(repository: Repository, kinds: list[str], wanted: Wanted) -> str:
    """The kind of a repository that is taken: safetensors that can be poured before graphs of other tools.

    Those are often of 32 bits, and what they can do is told only when they are here.
    """
    usual = choosing.kind_of(repository, kinds)
    beside = next((kind for kind in choosing.kinds_of(repository) if kind in POURABLE and kind in kinds), None)
    if usual not in choosing.GRAPHS or beside is None:
        return usual
    with TemporaryDirectory() as folder:
        stage = Path(folder)
        (stage / PARTS).mkdir()
        try:
            chosen(repository, beside, wanted, False, partial(brought, repository, stage))
        except (BundleError, NetworkError):
            return usual
    return beside


def chosen(repository: Repository, kind: str, wanted: Wanted, only_download: bool, read: choosing.Read) -> list[str]:
    """The files that a model needs; what is to be poured must have graphs that ship."""
    if wanted.file:
        return choosing.of_file(repository, wanted.file, wanted.pickles)
    if kind in POURABLE and not only_download:
        return POURABLE[kind](repository, wanted.formats, wanted.weights or WEIGHTS, read, wanted.pickles)
    return choosing.files_of(repository, kind, read, wanted.weights, wanted.pickles)


def whole_model(
    repository: Repository, kind: str, folder: Path, model: Path, names_of: Callable[[choosing.Read], list[str]]
) -> Iterator[Step]:
    """Bring every file that a model needs, and make `folder` of them."""
    origin = Pulled(repository.id, repository.commit)
    with staged(folder, origin) as stage:
        read = partial(brought, repository, stage)
        try:
            names = names_of(read)
        except BundleError:  # nothing but small files has come for it
            if size_on_disk(stage) < SPARE:
                shutil.rmtree(stage)
            raise
        check_room(repository, names, stage)
        done, total = 0, sum(repository.files[name].size for name in names)
        for name in names:
            for have in bring(repository, name, stage):
                yield Step(name, done + have, total)
            done += repository.files[name].size
        tidy(stage, {*names})
        write_origin(stage, origin)
    yield Step("", total, total, Brought(folder, model, kind, origin, total))


def wanted_kinds(kinds: tuple[str, ...], file: str | None, weights: str | None) -> list[str]:
    """The kinds in their order, graphs for an engine that is not installed last; of one file, its own.

    Graphs have the weights that they have: where some are asked for, they stand behind what can be stored with these.
    """
    if file:
        return [choosing.FILE]
    ready = {info.format for engine, info in ENGINES.items() if installed(engine)}
    later = {kind for kind in choosing.GRAPHS if weights is not None or kind not in ready}
    return sorted(kinds, key=later.__contains__)


def model_folder(id: str, to: Path | None, file: str | None) -> Path:
    """Where what paints goes: to `to`, or among the models."""
    return new_folder(to) if to else models_folder() / named(id.partition("/")[2], file)


def source_folder(id: str, to: Path | None, file: str | None) -> Path:
    """Where goes what a model is to be made of: to `to`, or among the downloads."""
    owner, _, name = id.partition("/")
    return new_folder(to) if to else downloads_folder() / owner / named(name, file)


def named(name: str, file: str | None) -> str:
    """A repository's name, with that of the one file that is taken of it."""
    return f"{name}--{PurePosixPath(file).stem}" if file else name


def new_folder(to: Path) -> Path:
    """`--to` as the path of a folder that can be made; RequestError for one that has no name."""
    folder = Path(os.path.abspath(to))  # noqa: PTH100 (links in it stay as they are)
    if not folder.name:
        raise RequestError(f"'{to}' cannot be made into a folder; give --to the name of a new folder")
    return folder


def at_hand(places: dict[str, Path], model: Path, id: str, revision: str | None, file: str | None) -> Brought | None:
    """What is here of a model from an earlier call, at this commit, or at any where `revision` is None."""
    for kind, folder in places.items():
        found = read_origin(folder)
        if found and found.id == id and revision in (None, found.revision) and has(folder, kind, file):
            return Brought(folder, model, kind, found, size_on_disk(folder), before=True)
    return None


def has(folder: Path, kind: str, file: str | None) -> bool:
    """Whether a folder holds a model of a kind."""
    return (folder / (file or "")).is_file() if kind == choosing.FILE else any(folder.glob(choosing.LANDMARKS[kind]))


def check_free(folder: Path) -> None:
    """Raise ResourceError for a folder that holds anything, which stays as it is, or that cannot be made."""
    try:
        with contextlib.suppress(FileNotFoundError):
            folder.lstat()  # a name that no folder can have fails here, before gigabytes have come
        empty = folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir())
        if empty or not os.path.lexists(folder):
            there = next(each for each in folder.parents if each.is_dir())
            with TemporaryDirectory(prefix=UNFINISHED, dir=there):
                return
    except OSError as error:
        raise unwritable(folder, error) from error
    found = read_origin(folder)
    what = f"holds {found.id} at {found.revision[:12]}" if found else "exists"
    raise ResourceError(
        f"'{shown_path(folder)}' {what} and is left alone; choose another --to, or remove it (pleinair models rm)"
    )


@contextlib.contextmanager
def staged(folder: Path, origin: Pulled) -> Iterator[Path]:
    """A hidden folder beside `folder`, which becomes `folder` when the body ends, and is gone on with when it fails."""
    made = [parent for parent in folder.parents if not parent.exists()]
    mark = hashlib.sha256(f"{origin.id} {folder.name}".encode()).hexdigest()[:16]
    stage = folder.with_name(UNFINISHED + mark)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        busy = f"'{origin.id}' is being fetched by another pleinair; wait for it, or choose another --to"
        with only_one(stage.with_suffix(".lock"), busy):
            (stage / PARTS).mkdir(parents=True, exist_ok=True)
            write_origin(stage, origin)
            try:
                yield stage
                if folder.is_dir():  # an empty one
                    folder.rmdir()
                stage.rename(folder)
            finally:
                forget_empty(stage)
    finally:
        for parent in made:
            with contextlib.suppress(OSError):
                parent.rmdir()


def forget_empty(stage: Path) -> None:
    """Remove a stage in which nothing has arrived."""
    if stage.is_dir() and size_on_disk(stage) == present(stage / ORIGIN):
        shutil.rmtree(stage, ignore_errors=True)


def check_room(repository: Repository, names: list[str], stage: Path) -> None:
    """Raise ResourceError where the disk has no room for what is still to come."""
    missing = sum(repository.files[name].size for name in names) - size_on_disk(stage) + SPARE
    free = shutil.disk_usage(stage).free
    if free < missing:
        raise ResourceError(
            f"'{repository.id}' needs another {missing / 1e9:.1f} GB in '{shown_path(stage.parent)}' and"
            f" {free / 1e9:.1f} GB are free; free some disk space, or choose another disk with --to"
        )
