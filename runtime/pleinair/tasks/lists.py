"""Lists of prompts: a file or a stream, one prompt a line, painted once however often the list is run.

A line is a prompt, or a JSON object of generate's options: {"prompt": "a boat", "seed": 7, "output": "boat.webp"}.
Before a line is painted, its seeds and file names are written to a ledger beside the pictures. A picture is done when
its file is there, because files are whole or absent; so a list that was interrupted goes on where it stopped, with the
same seeds.
"""

import hashlib
import io
import json
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from pleinair.bundle.opening import Bundle
from pleinair.checks import one_line, one_of
from pleinair.errors import Cancelled, PleinairError, RequestError, ResourceError
from pleinair.files.output import PICTURES, check_folder, check_free, folded, free_names, numbered, slug, write
from pleinair.library.given import with_refiner
from pleinair.pipeline import Pipeline
from pleinair.request.keywords import asked
from pleinair.request.options import OPTIONS, PARAMETERS
from pleinair.request.request import resolve
from pleinair.request.value_types import SEED_LIMIT
from pleinair.results import Frame, Result
from pleinair.system.files import read_file
from pleinair.system.locks import only_one

LARGEST = 1 << 26  # bytes of a list, and of a ledger
LONGEST = 1 << 20  # bytes of a line
LONGEST_ENTRY = 1 << 22  # bytes of a line of the ledger: ten thousand seeds and file names
SHOWN = 400  # characters of the reason why a line is not painted
DEVICES = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])\s*(\..*)?", re.I
)  # what Windows takes for one
KEYS = ("output", *(name for name, option in OPTIONS.items() if option.type.json))  # of a line
LEDGER = ".pictures.jsonl"


@dataclass(frozen=True)
class Line:
    """One line, understood: what to paint and where to (None: a name made of line, prompt and seed)."""

    number: int
    prompt: str
    negative: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    output: Path | None = None
    seeds: tuple[int, ...] = field(default=(), compare=False)  # of this run; random ones are never the same


@dataclass(frozen=True)
class BadLine:
    """One line that cannot be painted, and why; the reason is one sentence with its remedy."""

    line: int
    reason: str


class Unwritable(ResourceError):
    """A picture that could not be written, after which the disk has no room for the next one either."""


@dataclass(frozen=True)
class Painted:
    """One picture of a line; `result` is None for one that an earlier run made."""

    line: int
    file: Path
    seed: int
    result: Result | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Entry:
    """What the ledger holds of a line: its key, its seeds, and the file of each in the folder of the pictures."""

    key: str
    seeds: tuple[int, ...]
    files: tuple[str, ...]


def read(source: Path | BinaryIO, bundle: Bundle, common: dict[str, Any] | None = None) -> Iterator[Line | BadLine]:
    """Read a list line by line, as far as it is asked for; empty lines and those that begin with # are skipped.

    `common` options hold where a line says nothing. Raises ResourceError for a file that cannot be read.
    """
    if isinstance(source, Path):
        remedy = "check the path, or pipe it into `--prompts -`"
        source = io.BytesIO(read_file(source, LARGEST, ResourceError, remedy))
    for number, raw in enumerate(_lines(source), 1):
        try:
            text = _text(raw, number)
            if text and not text.startswith("#"):
                yield _line(text, number, bundle, common or {})
        except (PleinairError, MemoryError) as error:
            yield _bad(number, error)


def run(
    lines: Iterable[Line | BadLine],
    pipe: Pipeline,
    folder: Path,
    *,
    ledger: Path | None = None,
    overwrite: bool = False,
    watch: Callable[[Iterator[Frame]], Iterable[Frame]] = iter,
    save: Callable[[Result, list[Path], bool], list[Path]] = write,
) -> Iterator[Painted | BadLine]:
    """Paint the lines one after the other into `folder`, and report each picture as soon as its file is whole.

    What is done by the `ledger` (in `folder`; `pictures.jsonl` without it) is reported and not painted again, unless
    `overwrite`. A line that fails is reported and the others are painted; a picture that cannot be written ends the
    list. `watch` is handed each job's frames, `save` writes a result. Raises ResourceError, also where another process
    paints the same list.
    """
    check_folder(folder)
    file = ledger or folder / LEDGER.lstrip(".")
    taken: dict[str, int] = {}
    met: Counter[str] = Counter()
    with ExitStack() as held:
        try:
            held.enter_context(only_one(file.with_name(f".{file.name}.lock"), _busy(folder)))
        except OSError as error:
            raise ResourceError(f"cannot write in '{folder}' ({error.strerror or error}); choose another -o") from None
        book = Ledger(file)
        for line in lines:
            if isinstance(line, BadLine):
                yield line
                continue
            key = _key(line, pipe.bundle)
            met[key] += 1
            key = f"{key}-{met[key]}"
            try:
                entry = None if overwrite else book.entry(key, line)
                entry = entry or _entry(line, key, folder, overwrite, taken)
                _check_files(line, entry, folder, overwrite, taken)
            except PleinairError as error:
                yield _bad(line.number, error)
                continue
            book.add(entry, line)
            try:
                yield from _paint(line, entry, pipe, folder, overwrite, watch, save)
            except (Unwritable, Cancelled):
                raise
            except (PleinairError, MemoryError) as error:
                yield _bad(line.number, error)


def _busy(folder: Path) -> str:
    return f"this list is being painted into '{one_line(folder, SHOWN)}' already; wait for that, or choose another -o"


def _bad(line: int, error: Exception) -> BadLine:
    if isinstance(error, MemoryError):
        return BadLine(line, "out of memory; choose a smaller size or batch, or a model with int8 weights")
    return BadLine(line, one_line(error, SHOWN))


def ledger_of(source: Path | None, folder: Path) -> Path:
    """Where the ledger of a list lies: beside the pictures, named after the list (stdin for None)."""
    return folder / f"{source.stem if source else 'stdin'}{LEDGER}"


class Ledger:
    """A JSONL file of entries, read once and appended to; one that its line cannot have been given is not believed."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._entries: dict[str, Entry] = {}
        self._owners: dict[str, str] = {}  # file -> key
        remedy = "move it away, or choose another -o"
        if file.is_symlink():
            raise ResourceError(f"'{one_line(file, SHOWN)}' is a link, and a ledger is a file; {remedy}")
        raw = read_file(file, LARGEST, ResourceError, remedy) if file.exists() else b""
        self._torn = bool(raw) and not raw.endswith(b"\n")  # by a kill or a full disk
        for line in io.BytesIO(raw):
            if len(line) <= LONGEST_ENTRY and (entry := _read_entry(line)):
                self._keep(entry)

    def entry(self, key: str, line: Line) -> Entry | None:
        """The entry of a line, where there is one and it fits the line."""
        entry = self._entries.get(key)
        return entry if entry and _fits(entry, line) else None

    def add(self, entry: Entry, line: Line) -> None:
        """Write an entry down for good before it is carried out."""
        if self._entries.get(entry.key) == entry:
            return
        told = {
            "key": entry.key,
            "line": line.number,
            "prompt": line.prompt[:SHOWN],
            "seeds": entry.seeds,
            "files": entry.files,
        }
        written = json.dumps(told, ensure_ascii=False).encode() + b"\n"
        try:
            with self.file.open("ab") as stream:
                stream.write(b"\n" * self._torn + written)
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise ResourceError(
                f"cannot write '{self.file}' ({error.strerror or error}); free space or choose another -o"
            ) from None
        self._torn = False
        self._keep(entry)

    def _keep(self, entry: Entry) -> None:
        """Take an entry in; a file belongs to the entry that named it last."""
        for name in entry.files:
            before = self._owners.get(name, entry.key)
            if before != entry.key:
                self._entries.pop(before, None)
            self._owners[name] = entry.key
        self._entries[entry.key] = entry


def _read_entry(line: bytes) -> Entry | None:
    """A line of the ledger; None for one that is torn or foreign."""
    try:
        raw = json.loads(line)
    except (ValueError, RecursionError):
        return None
    key, seeds, files = (raw.get(name) if isinstance(raw, dict) else None for name in ("key", "seeds", "files"))
    if not isinstance(key, str) or not isinstance(seeds, list) or not isinstance(files, list):
        return None
    fine = all(type(seed) is int and 0 <= seed < SEED_LIMIT for seed in seeds)
    fine = fine and all(isinstance(name, str) for name in files) and len(seeds) == len(files) == len(set(files))
    return Entry(key, tuple(seeds), tuple(files)) if fine else None


def _fits(entry: Entry, line: Line) -> bool:
    """Whether a line can have been given such an entry: its own seeds, and names that `_entry` or `write` chooses."""
    named = line.options.get("seed") is not None
    if len(entry.seeds) != len(line.seeds) or (named and entry.seeds != line.seeds):
        return False
    if line.output is not None:
        bases = [re.escape(file.with_suffix("").as_posix()) for file in numbered(line.output, len(line.seeds))]
        suffix = re.escape(line.output.suffix)
    else:
        bases = [f"[0-9]{{4,}}-{re.escape(slug(line.prompt))}-{seed}" for seed in entry.seeds]
        suffix = re.escape(".png")
    return all(re.fullmatch(f"{base}(-[0-9]+)?{suffix}", name) for base, name in zip(bases, entry.files, strict=True))


def _entry(line: Line, key: str, folder: Path, overwrite: bool, taken: dict[str, int]) -> Entry:
    if line.output is None:
        names = (folder / f"{line.number:04}-{slug(line.prompt)}-{seed}.png" for seed in line.seeds)
        files = free_names(names, overwrite, taken)
    else:
        files = [folder / file for file in numbered(line.output, len(line.seeds))]
        for file in files:
            check_free(file, overwrite)
    return Entry(key, line.seeds, tuple(file.relative_to(folder).as_posix() for file in files))


def _check_files(line: Line, entry: Entry, folder: Path, overwrite: bool, taken: dict[str, int]) -> None:
    """RequestError or ResourceError where an entry's files lie elsewhere, are another line's, or are not pictures."""
    files = [folder / name for name in entry.files]
    if files[0].suffix.lower() not in PICTURES:
        raise RequestError(f"output '{line.output}' is no picture file; let it end in .png, .jpg or .webp")
    if files[0].parent != folder:
        check_folder(files[0].parent)
        if not Path(os.path.realpath(files[0].parent)).is_relative_to(os.path.realpath(folder)):
            raise RequestError(f"output '{line.output}' leads out of the folder of the list; leave the path out")
    for file in files:
        owner = taken.setdefault(folded(file), line.number)
        if owner != line.number:
            raise RequestError(f"output '{file.name}' is that of line {owner} already; name one of them differently")
        if overwrite or not file.is_file():
            check_free(file, overwrite)


def _paint(
    line: Line,
    entry: Entry,
    pipe: Pipeline,
    folder: Path,
    overwrite: bool,
    watch: Callable[[Iterator[Frame]], Iterable[Frame]],
    save: Callable[[Result, list[Path], bool], list[Path]],
) -> Iterator[Painted]:
    """The pictures of an entry whose files are not there, after those that are."""
    left: list[tuple[int, Path]] = []
    for seed, name in zip(entry.seeds, entry.files, strict=True):
        if overwrite or not (folder / name).is_file():
            left.append((seed, folder / name))
        else:
            yield Painted(line.number, folder / name, seed)
    if not left:
        return
    options = {name: value for name, value in line.options.items() if name != "count"}
    waiting = (file for _, file in left)
    for frame in watch(pipe.stream(line.prompt, line.negative, **options | {"seed": [seed for seed, _ in left]})):
        if frame.result:
            try:
                written = save(frame.result, [next(waiting) for _ in frame.seeds], overwrite)
            except ResourceError as error:
                raise Unwritable(str(error)) from None
            for seed, file in zip(frame.seeds, written, strict=True):
                yield Painted(line.number, file, seed, frame.result)


def _key(line: Line, bundle: Bundle) -> str:
    """What a line asks of this model, whatever its place in the list."""
    options = {name: value for name, value in line.options.items() if OPTIONS[name].type.json}
    wish = [bundle.manifest.name, line.prompt, line.negative, options, str(line.output)]
    return hashlib.sha256(json.dumps(wish, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _lines(stream: BinaryIO) -> Iterator[bytes | None]:
    """Lines without their end; None for one beyond LONGEST, which is never held in memory."""
    while raw := stream.readline(LONGEST + 1):
        if len(raw) <= LONGEST or raw.endswith(b"\n"):
            yield raw
            continue
        for _ in range(LARGEST // LONGEST):
            if not (rest := stream.readline(LONGEST)) or rest.endswith(b"\n"):
                break
        else:
            raise ResourceError(f"a line has more than {LARGEST:,} bytes; put one prompt on each line")
        yield None


def _text(raw: bytes | None, line: int) -> str:
    if raw is None:
        raise RequestError(f"the line is longer than {LONGEST:,} bytes; put one prompt on each line")
    try:
        text = raw.decode("utf-8").removeprefix("\ufeff" if line == 1 else "").strip()
    except UnicodeDecodeError:
        raise RequestError("the line is not UTF-8; save the list as UTF-8") from None
    if "\0" in text:
        raise RequestError("the line has a NUL character in it; save the list as UTF-8 text")
    return text


def _line(text: str, number: int, bundle: Bundle, common: dict[str, Any]) -> Line:
    """A line, understood; RequestError where it makes no sense."""
    given = _object(text) if text.startswith("{") else {"prompt": text}
    for name in given:
        one_of("option", name, KEYS)
    given = {name: value for name, value in given.items() if value is not None}
    prompt, negative, output = (given.pop(name, None) for name in (*PARAMETERS, "output"))
    for name, value in {"prompt": prompt, "output": output}.items():
        if value is not None and not isinstance(value, str):
            raise RequestError(f"{name} must be text, not {json.dumps(value)[:40]}; put it in quotes")
    if not (prompt or "").strip():
        raise RequestError('the line has no prompt; write {"prompt": "a boat"}')
    usual = {name: value for name, value in common.items() if name not in PARAMETERS}
    options = with_refiner(asked(usual) | asked(given))
    negative = common.get("negative") if negative is None else negative
    seeds = resolve(bundle, prompt, negative, **options).seeds
    return Line(number, prompt, negative, options, _output(output), seeds)


def _object(text: str) -> dict[str, Any]:
    try:
        return json.loads(text, object_pairs_hook=_once)
    except RequestError:
        raise
    except (ValueError, RecursionError) as error:
        why = f" ({error.msg} at column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        raise RequestError(f'the line is no JSON object{why}; write {{"prompt": "a boat", "seed": 7}}') from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = Counter(name for name, _ in pairs)
    twice = [name for name, times in names.items() if times > 1]
    if twice:
        raise RequestError(f"the line names '{twice[0][:40]}' twice; leave one of them out")
    return dict(pairs)


def _output(name: str | None) -> Path | None:
    """A line's own file name: one in the folder that was asked for, on every system that the list may be taken to."""
    if name is None:
        return None
    parts = name.split("/")
    if any(part in ("", ".", "..") or DEVICES.fullmatch(part) for part in parts) or "\\" in name or ":" in name:
        raise RequestError(f"output '{name[:40]}' must be a file name in the folder of the list; leave the path out")
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name):
        raise RequestError("output has characters that no file name should have; leave them out")
    return Path(name)


def binary(stream: Any) -> BinaryIO:
    """The bytes of a text stream such as sys.stdin; ResourceError where there is none."""
    if stream is None:
        raise ResourceError("there is no standard input to read a list from; name a file with --prompts")
    return getattr(stream, "buffer", None) or io.BytesIO(stream.read().encode("utf-8"))
