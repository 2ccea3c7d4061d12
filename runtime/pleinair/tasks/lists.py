"""Lists of prompts: a file or a stream, one picture job a line, painted once however often the list is run.

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
from pleinair.pipeline import Pipeline
from pleinair.request.request import SEED_LIMIT, Options, resolve
from pleinair.results import Frame, Result
from pleinair.system.files import read_file
from pleinair.system.locks import only_one

LARGEST = 1 << 26  # bytes of a list, and of a ledger
LONGEST = 1 << 20  # bytes of a line
LONGEST_PLAN = 1 << 22  # bytes of a line of the ledger: ten thousand seeds and file names
SHOWN = 400  # characters of the reason why a line is not painted
DEVICES = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])\s*(\..*)?", re.I
)  # what Windows takes for one
OWN = ("prompt", "negative", "output", "size")  # keys beside generate's options
NOT_IN_LISTS = ("stop",)
LEDGER = ".pictures.jsonl"


@dataclass(frozen=True)
class Job:
    """One line, understood: what to paint and where to (None: a name made of line, prompt and seed)."""

    line: int
    prompt: str
    negative: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    output: Path | None = None
    seeds: tuple[int, ...] = field(
        default=(), compare=False
    )  # as they are for this run; random ones are never the same


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
class Plan:
    """What the ledger holds of a line: its key, its seeds, and the file of each in the folder of the pictures."""

    key: str
    seeds: tuple[int, ...]
    files: tuple[str, ...]


def read(source: Path | BinaryIO, bundle: Bundle, common: dict[str, Any] | None = None) -> Iterator[Job | BadLine]:
    """Read a list line by line, as far as it is asked for; empty lines and those that begin with # are skipped.

    `common` options hold where a line says nothing. Raises ResourceError for a file that cannot be read.
    """
    if isinstance(source, Path):
        remedy = "check the path, or pipe it into `--prompts -`"
        source = io.BytesIO(read_file(source, LARGEST, ResourceError, remedy))
    for line, raw in enumerate(_lines(source), 1):
        try:
            text = _text(raw, line)
            if text and not text.startswith("#"):
                yield _job(text, line, bundle, common or {})
        except (PleinairError, MemoryError) as error:
            yield _bad(line, error)


def run(
    jobs: Iterable[Job | BadLine],
    pipe: Pipeline,
    folder: Path,
    *,
    ledger: Path | None = None,
    overwrite: bool = False,
    watch: Callable[[Iterator[Frame]], Iterable[Frame]] = iter,
    save: Callable[[Result, list[Path], bool], list[Path]] = write,
) -> Iterator[Painted | BadLine]:
    """Paint the jobs one after the other into `folder`, and report each picture as soon as its file is whole.

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
        for job in jobs:
            if isinstance(job, BadLine):
                yield job
                continue
            key = _key(job, pipe.bundle)
            met[key] += 1
            key = f"{key}-{met[key]}"
            try:
                plan = None if overwrite else book.plan(key, job)
                plan = plan or _plan(job, key, folder, overwrite, taken)
                _check_files(job, plan, folder, overwrite, taken)
            except PleinairError as error:
                yield _bad(job.line, error)
                continue
            book.add(plan, job)
            try:
                yield from _paint(job, plan, pipe, folder, overwrite, watch, save)
            except (Unwritable, Cancelled):
                raise
            except (PleinairError, MemoryError) as error:
                yield _bad(job.line, error)


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
    """A JSONL file of plans, read once and appended to; a plan that its line cannot have been given is not believed."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._plans: dict[str, Plan] = {}
        self._owners: dict[str, str] = {}  # file -> key
        remedy = "move it away, or choose another -o"
        if file.is_symlink():
            raise ResourceError(f"'{one_line(file, SHOWN)}' is a link, and a ledger is a file; {remedy}")
        raw = read_file(file, LARGEST, ResourceError, remedy) if file.exists() else b""
        self._torn = bool(raw) and not raw.endswith(b"\n")  # by a kill or a full disk
        for line in io.BytesIO(raw):
            if len(line) <= LONGEST_PLAN and (plan := _read_plan(line)):
                self._keep(plan)

    def plan(self, key: str, job: Job) -> Plan | None:
        """The plan of a line, where there is one and it fits the line."""
        plan = self._plans.get(key)
        return plan if plan and _fits(plan, job) else None

    def add(self, plan: Plan, job: Job) -> None:
        """Write a plan down for good before it is carried out."""
        if self._plans.get(plan.key) == plan:
            return
        told = {
            "key": plan.key,
            "line": job.line,
            "prompt": job.prompt[:SHOWN],
            "seeds": plan.seeds,
            "files": plan.files,
        }
        entry = json.dumps(told, ensure_ascii=False).encode() + b"\n"
        try:
            with self.file.open("ab") as stream:
                stream.write(b"\n" * self._torn + entry)
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise ResourceError(
                f"cannot write '{self.file}' ({error.strerror or error}); free space or choose another -o"
            ) from None
        self._torn = False
        self._keep(plan)

    def _keep(self, plan: Plan) -> None:
        """Take a plan in; a file belongs to the plan that named it last."""
        for name in plan.files:
            before = self._owners.get(name, plan.key)
            if before != plan.key:
                self._plans.pop(before, None)
            self._owners[name] = plan.key
        self._plans[plan.key] = plan


def _read_plan(line: bytes) -> Plan | None:
    """A line of the ledger; None for one that is torn or foreign."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    key, seeds, files = (entry.get(name) if isinstance(entry, dict) else None for name in ("key", "seeds", "files"))
    if not isinstance(key, str) or not isinstance(seeds, list) or not isinstance(files, list):
        return None
    fine = all(type(seed) is int and 0 <= seed < SEED_LIMIT for seed in seeds)
    fine = fine and all(isinstance(name, str) for name in files) and len(seeds) == len(files) == len(set(files))
    return Plan(key, tuple(seeds), tuple(files)) if fine else None


def _fits(plan: Plan, job: Job) -> bool:
    """Whether a line can have been given such a plan: its own seeds, and names that `_plan` or `write` chooses."""
    named = job.options.get("seed") is not None
    if len(plan.seeds) != len(job.seeds) or (named and plan.seeds != job.seeds):
        return False
    if job.output is not None:
        bases = [re.escape(file.with_suffix("").as_posix()) for file in numbered(job.output, len(job.seeds))]
        suffix = re.escape(job.output.suffix)
    else:
        bases = [f"[0-9]{{4,}}-{re.escape(slug(job.prompt))}-{seed}" for seed in plan.seeds]
        suffix = re.escape(".png")
    return all(re.fullmatch(f"{base}(-[0-9]+)?{suffix}", name) for base, name in zip(bases, plan.files, strict=True))


def _plan(job: Job, key: str, folder: Path, overwrite: bool, taken: dict[str, int]) -> Plan:
    if job.output is None:
        names = (folder / f"{job.line:04}-{slug(job.prompt)}-{seed}.png" for seed in job.seeds)
        files = free_names(names, overwrite, taken)
    else:
        files = [folder / file for file in numbered(job.output, len(job.seeds))]
        for file in files:
            check_free(file, overwrite)
    return Plan(key, job.seeds, tuple(file.relative_to(folder).as_posix() for file in files))


def _check_files(job: Job, plan: Plan, folder: Path, overwrite: bool, taken: dict[str, int]) -> None:
    """RequestError or ResourceError where a plan's files lie elsewhere, are another line's, or are not pictures."""
    files = [folder / name for name in plan.files]
    if files[0].suffix.lower() not in PICTURES:
        raise RequestError(f"output '{job.output}' is no picture file; let it end in .png, .jpg or .webp")
    if files[0].parent != folder:
        check_folder(files[0].parent)
        if not Path(os.path.realpath(files[0].parent)).is_relative_to(os.path.realpath(folder)):
            raise RequestError(f"output '{job.output}' leads out of the folder of the list; leave the path out")
    for file in files:
        owner = taken.setdefault(folded(file), job.line)
        if owner != job.line:
            raise RequestError(f"output '{file.name}' is that of line {owner} already; name one of them differently")
        if overwrite or not file.is_file():
            check_free(file, overwrite)


def _paint(
    job: Job,
    plan: Plan,
    pipe: Pipeline,
    folder: Path,
    overwrite: bool,
    watch: Callable[[Iterator[Frame]], Iterable[Frame]],
    save: Callable[[Result, list[Path], bool], list[Path]],
) -> Iterator[Painted]:
    """The pictures of a plan whose files are not there, after those that are."""
    left: list[tuple[int, Path]] = []
    for seed, name in zip(plan.seeds, plan.files, strict=True):
        if overwrite or not (folder / name).is_file():
            left.append((seed, folder / name))
        else:
            yield Painted(job.line, folder / name, seed)
    if not left:
        return
    options = {name: value for name, value in job.options.items() if name != "count"}
    waiting = (file for _, file in left)
    for frame in watch(pipe.stream(job.prompt, job.negative, **options | {"seed": [seed for seed, _ in left]})):
        if frame.result:
            try:
                written = save(frame.result, [next(waiting) for _ in frame.seeds], overwrite)
            except ResourceError as error:
                raise Unwritable(str(error)) from None
            for seed, file in zip(frame.seeds, written, strict=True):
                yield Painted(job.line, file, seed, frame.result)


def _key(job: Job, bundle: Bundle) -> str:
    """What a line asks of this model, whatever its place in the list."""
    options = {name: value for name, value in job.options.items() if name not in NOT_IN_LISTS}
    asked = [bundle.manifest.name, job.prompt, job.negative, options, str(job.output)]
    return hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()[:16]


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


def _job(text: str, line: int, bundle: Bundle, common: dict[str, Any]) -> Job:
    """A line's job; RequestError where it makes no sense."""
    given = _object(text) if text.startswith("{") else {"prompt": text}
    known = [*OWN, *(name for name in Options.__annotations__ if name not in NOT_IN_LISTS)]
    for name in given:
        one_of("option", name, known)
    given = {name: value for name, value in given.items() if value is not None}
    own = {name: given.pop(name) for name in OWN if name in given}
    for name, value in own.items():
        if not isinstance(value, str):
            raise RequestError(f"{name} must be text, not {json.dumps(value)[:40]}; put it in quotes")
    if not own.get("prompt", "").strip():
        raise RequestError('the line has no prompt; write {"prompt": "a boat"}')
    if "size" in own:
        given |= _sides(own["size"])
    usual = {name: value for name, value in common.items() if name not in OWN and value is not None}
    options = usual | given
    negative = own.get("negative", common.get("negative") or "")
    seeds = resolve(bundle, own["prompt"], negative, **options).seeds
    return Job(line, own["prompt"], negative, options, _output(own.get("output")), seeds)


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


def _sides(size: str) -> dict[str, int]:
    width, _, height = size.lower().partition("x")
    if not (width.isascii() and width.isdigit() and height.isascii() and height.isdigit() and len(size) < 20):
        raise RequestError(f"size '{size[:40]}' is not WIDTHxHEIGHT; write for example 512x512")
    return {"width": int(width), "height": int(height)}


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
