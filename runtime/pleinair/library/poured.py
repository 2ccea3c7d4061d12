"""What is poured because it was named as a model: once, to lie among the models and to be found again."""

import contextlib
import hashlib
import json
import os
from collections.abc import Generator, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from pleinair.bundle.manifest import MANIFEST
from pleinair.bundle.opening import open_bundle
from pleinair.bundle.shipped import shipped_bundle
from pleinair.bundle.typed import build
from pleinair.checks import one_line, quoted, shown_path
from pleinair.engines.engine import usual_format
from pleinair.errors import PleinairError, RequestError, ResourceError
from pleinair.library.weights import network_weights
from pleinair.pouring.checkpoints import Checkpoint
from pleinair.pouring.pour import PourProgress, looking, pour
from pleinair.pouring.vaes import called_as_halves
from pleinair.sources.controlnets import CONTROLNET, is_control
from pleinair.sources.families import VAE
from pleinair.sources.folder import LARGEST_TOKENIZER, STEMS, known_family, read_index
from pleinair.sources.hub_cache import snapshot_of, usual_name
from pleinair.sources.pickled import check_pickle
from pleinair.sources.settings import SETTINGS
from pleinair.sources.vae_folders import CONFIG_FILE, is_vae_folder
from pleinair.sources.weight_files import DOWNLOAD, weight_files
from pleinair.system.files import CONFIG, read_file, read_json
from pleinair.system.home import HOME, is_name, models_folder
from pleinair.system.on_disk import OnDisk

MARK = ".poured.json"  # in a bundle among the models: what it was poured of
STORED = (".safetensors", ".bin")  # files of weights; a single one counts as the first
READ = (".json", ".txt", ".model")  # of the other files of a folder
PIECE = 32  # numbers of a tensor in each of the pieces that tell it from others
FEWEST, APART = 3, 4 << 20  # pieces of any tensor, and bytes for which a large one has one more: each is a page to read
LONGEST = 180  # characters of a name that gets something behind it


@dataclass(frozen=True)
class SourceMark:
    """SHA-256 of where a source lay, of its files' sizes and times, and of what tells its content from any other's.

    `asked` is whether options were given, so that no other format can be added.
    """

    place: str
    state: str
    content: str
    asked: bool


def bundle_of(source: Path, engine: str | None) -> Generator[PourProgress, None, Path]:
    """The bundle of a file or a diffusers folder, with graphs for an engine; poured at first use, or when it changed.

    Yields what `pour` yields, nothing where the bundle is there. Raises what that raises, ending with the command to
    type where an option is missing, and RequestError where the source's name is no name of a model.
    """
    source = snapshot_of(source)
    try:
        return (yield from found_or_poured(source, {usual_format(engine)}))
    except PleinairError as error:
        if error.option is None:
            raise
        raise type(error)(f"{error}: {command(source)} {error.option}", option=error.option) from error


def found_or_poured(source: Path, formats: set[str]) -> Generator[PourProgress, None, Path]:
    with looking():
        before, how = found(source), {}
    if before and before.same:
        there = open_bundle(before.bundle, verify=False)
        if before.asked or formats <= set(there.formats):
            return before.bundle
        formats |= set(there.formats)
        how = {"weights": network_weights(there)}
    with looking():
        check_writable(models_folder(), source)
        bundle = before.bundle if before and not before.asked else new_place(source)
    yield from pour(source, bundle, formats=tuple(sorted(formats)), force=True, **how)
    mark(bundle, source)
    return bundle


def check_writable(folder: Path, source: Path) -> None:
    """Raise ResourceError where nothing can be written into a folder, or it cannot be made."""
    there = next(each for each in (folder, *folder.parents) if each.exists())
    if not os.access(there, os.W_OK):
        raise ResourceError(
            f"no model can be kept in '{shown_path(folder)}', which cannot be written; set {HOME} to a folder that"
            f" can, or say where the model is to be: {command(source)} OUT"
        )


def command(source: Path) -> str:
    """What to type to pour a source by hand."""
    return f"pleinair pour {quoted(source)}"


@dataclass(frozen=True)
class Before:
    """A bundle that was poured of a source: whether of what that is now, and whether with options."""

    bundle: Path
    same: bool
    asked: bool


def found(source: Path) -> Before | None:
    """The bundle among the models that was poured of a source: by its place, or where that is new, by its content."""
    marks = marked()
    if not marks:
        return None
    place, state = place_of(source), state_of(source)
    here = [(each, mark) for each, mark in marks.items() if mark.place == place]
    same = [each for each, mark in here if mark.state == state]
    if not here:
        content = content_of(source)
        same = [each for each, mark in marks.items() if mark.content == content]
    if same:
        return Before(same[0], True, marks[same[0]].asked)
    changed = (Before(each, False, mark.asked) for each, mark in here)
    return next(changed, None)


def marked() -> dict[Path, SourceMark]:
    """The bundles among the models that say what they were poured of; those without options stand before others."""
    files = [file for file in sorted(models_folder().glob(f"*/{MARK}")) if (file.parent / MANIFEST).is_file()]
    marks = {file.parent: told for file in files if (told := read_mark(file))}
    return dict(sorted(marks.items(), key=by_options))


def by_options(entry: tuple[Path, SourceMark]) -> bool:
    return entry[1].asked


def read_mark(file: Path) -> SourceMark | None:
    try:
        return build(SourceMark, read_json(file, CONFIG, RequestError, ""), MARK)
    except (PleinairError, ValueError):
        return None


def mark(bundle: Path, source: Path, asked: bool = False) -> None:
    """Note in a bundle, if it lies among the models, what it was poured of."""
    if bundle.resolve().parent != models_folder().resolve():
        return
    source = snapshot_of(source)
    told = SourceMark(place_of(source), state_of(source), content_of(source, pickles=True), asked)
    with contextlib.suppress(OSError):  # it would be poured again
        (bundle / MARK).write_text(json.dumps(asdict(told)), encoding="utf-8")


def new_place(source: Path) -> Path:
    """Where the bundle of a source is to lie: by its name, with something behind it where that is another model's."""
    name = usual_name(source)
    if not is_name(name):
        raise RequestError(
            f"no model can be called '{one_line(name, 80)}'; say where it is to be: {command(source)} OUT"
        )
    usual = models_folder() / name
    if shipped_bundle(name) is None and not os.path.lexists(usual):
        return usual
    return models_folder() / f"{name[:LONGEST]}-{content_of(source)[:8]}"


def files_of(source: Path) -> dict[str, Path]:
    """The files that a source is poured of, by name."""
    if source.is_file():
        files = [source, *(each for each in called_as_halves(source) if each != source)]
        return {f"{n or ''}{STORED[0]}": each for n, each in enumerate(files) if each.is_file()}
    if is_control(source):
        weights = weight_files(source, STEMS[CONTROLNET.library], pickles=True)[1]
        return {file.name: file for file in sorted([source / "config.json", *weights])}
    if is_vae_folder(source):
        config, weights = source / CONFIG_FILE, weight_files(source, STEMS[VAE.library], pickles=True)[1]
        return {each.name: each for each in (config, *weights)}
    family = known_family(source, read_index(source / "model_index.json"))
    folders = {"scheduler", *(part.folder for part in family.parts), *(part.tokenizer for part in family.readers)}
    files = [source / "model_index.json", source / SETTINGS]
    files += [file for folder in folders for file in (source / folder).glob("*") if file.suffix in READ]
    for part in family.parts:
        files += weight_files(source / part.folder, STEMS[part.library], pickles=True)[1]
    return {each.relative_to(source).as_posix(): each for each in sorted(files) if each.is_file()}


def place_of(source: Path) -> str:
    return digest([os.fsencode(source.resolve())])


def state_of(source: Path) -> str:
    facts = {name: file.stat() for name, file in files_of(source).items()}
    return digest(f"{name} {each.st_size} {each.st_mtime_ns}".encode() for name, each in facts.items())


def content_of(source: Path, pickles: bool = False) -> str:
    """What is the same wherever a source lies: a piece of every tensor, and the small files.

    Raises ExportError for pickles that are not allowed, before any is read.
    """
    files = files_of(source).items()
    for _, file in files:
        check_pickle(file, pickles)
    return digest(chain.from_iterable((name.encode(), *pieces(file, name.endswith(STORED))) for name, file in files))


def pieces(file: Path, is_weights: bool) -> Iterator[bytes]:
    """What tells a file from others: all of a small one; of weights, the names and some numbers of each tensor."""
    if not is_weights:
        yield read_file(file, LARGEST_TOKENIZER, RequestError, DOWNLOAD)
        return
    checkpoint = Checkpoint([file])
    yield json.dumps(checkpoint.metadata, sort_keys=True).encode()
    yield " ".join(sorted(checkpoint.others)).encode()
    for name in sorted(checkpoint):
        kind, raw = checkpoint.stored(name)
        yield f"{name} {kind} {raw.shape}".encode()
        yield from spread(raw.reshape(-1))


def spread(numbers: OnDisk) -> Iterator[bytes]:
    """Pieces of a tensor from its first number to its last, at least one for every so many bytes."""
    count = FEWEST + numbers.nbytes // APART
    for start in np.linspace(0, max(0, numbers.size - PIECE), count).astype(int):
        yield np.asarray(numbers[start : start + PIECE]).tobytes()


def digest(pieces: Iterable[bytes]) -> str:
    """SHA-256 of pieces, with their lengths."""
    made = hashlib.sha256()
    for piece in pieces:
        made.update(len(piece).to_bytes(8, "little") + piece)
    return made.hexdigest()
