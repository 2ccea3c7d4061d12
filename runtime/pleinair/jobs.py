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
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any, BinaryIO, Union, get_args, get_origin, get_type_hints

from pleinair.bundle import Bundle
from pleinair.checks import one_of
from pleinair.errors import EngineError, PleinairError, RequestError, ResourceError
from pleinair.output import PICTURES, check_folder, free_name, planned_files, slug, write
from pleinair.pipeline import Frame, Pipeline, Result
from pleinair.request import Options, resolve

LONGEST = 1 << 20  # bytes of a line
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


@dataclass(frozen=True)
class BadLine:
    """One line that cannot be painted, and why; the reason is one sentence with its remedy."""

    line: int
    reason: str


@dataclass(frozen=True)
class Painted:
    """One picture of a line; `result` is None for one that an earlier run made."""

    line: int
    file: Path
    seed: int
    result: Result | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Plan:
    """What the ledger holds of a line: its key, its seeds, and the file of each in the folder of the ledger."""

    key: str
    line: int
    prompt: str
    seeds: tuple[int, ...]
    files: tuple[str, ...]


def read(source: Path | BinaryIO, bundle: Bundle, common: dict[str, Any] | None = None) -> Iterator[Job | BadLine]:
    """Read a list line by line, as far as it is asked for; empty lines and those that begin with # are skipped.

    `common` options hold where a line says nothing. Raises ResourceError for a file that cannot be read.
    """
    if isinstance(source, Path):
        try:
            stream = source.open("rb")
        except OSError as error:
            raise ResourceError(f"cannot read '{source}' ({error.strerror or error}); check the path") from None
        with stream:
            yield from read(stream, bundle, common)
        return
    for line, raw in enumerate(_lines(source), 1):
        try:
            text = _text(raw, line)
            if text and not text.startswith("#"):
                yield _job(text, line, bundle, common or {})
        except PleinairError as error:
            yield BadLine(line, str(error))


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
    `overwrite`. A line that fails is reported and the others are painted; a full disk and a damaged model end the list.
    `watch` is handed each job's frames, `save` writes a result.
    """
    check_folder(folder)
    book = Ledger(ledger or folder / LEDGER.lstrip("."))
    met: Counter[str] = Counter()
    for job in jobs:
        if isinstance(job, BadLine):
            yield job
            continue
        key = _key(job, pipe.bundle)
        met[key] += 1
        key = f"{key}-{met[key]}"
        plan = None if overwrite else book.plans.get(key)
        if plan is None:
            try:
                plan = _plan(job, key, pipe.bundle, folder, overwrite)
            except (RequestError, ResourceError) as error:
                yield BadLine(job.line, str(error))
                continue
            book.add(plan)
        try:
            yield from _paint(job, plan, pipe, folder, overwrite, watch, save)
        except (RequestError, EngineError) as error:
            yield BadLine(job.line, str(error))
        except MemoryError:
            yield BadLine(job.line, "out of memory; choose a smaller size or batch, or a model with int8 weights")


def ledger_of(source: Path | None, folder: Path) -> Path:
    """Where the ledger of a list lies: beside the pictures, named after the list (stdin for None)."""
    return folder / f"{source.stem if source else 'stdin'}{LEDGER}"


class Ledger:
    """A JSONL file of plans, read once and appended to."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.plans: dict[str, Plan] = {}
        self._torn = False  # the last line was cut off by a kill or a full disk
        try:
            raw = file.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            raise ResourceError(f"cannot read '{file}' ({error.strerror or error}); check the path") from None
        self._torn = bool(raw) and not raw.endswith(b"\n")
        for line in raw.splitlines():
            try:
                entry = json.loads(line)
                plan = Plan(
                    str(entry["key"]),
                    int(entry["line"]),
                    str(entry["prompt"]),
                    tuple(map(int, entry["seeds"])),
                    tuple(map(str, entry["files"])),
                )
            except (ValueError, TypeError, KeyError, RecursionError):
                continue
            if len(plan.seeds) == len(plan.files):
                self.plans[plan.key] = plan

    def add(self, plan: Plan) -> None:
        """Write a plan down for good before it is carried out."""
        entry = json.dumps(vars(plan), ensure_ascii=False).encode() + b"\n"
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
        self.plans[plan.key] = plan


def _plan(job: Job, key: str, bundle: Bundle, folder: Path, overwrite: bool) -> Plan:
    seeds = resolve(bundle, job.prompt, job.negative, **job.options).seeds
    if job.output is not None:
        files = planned_files(folder / job.output, job.prompt, seeds, overwrite)
    else:
        files = [folder / f"{job.line:04}-{slug(job.prompt)}-{seed}.png" for seed in seeds]
        files = files if overwrite else [free_name(file) for file in files]
    if files[0].suffix.lower() not in PICTURES:
        raise RequestError(f"output '{job.output}' is no picture file; let it end in .png, .jpg or .webp")
    return Plan(key, job.line, job.prompt, seeds, tuple(str(file.relative_to(folder)) for file in files))


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
        if overwrite or not (folder / name).exists():
            left.append((seed, folder / name))
        else:
            yield Painted(job.line, folder / name, seed)
    if not left:
        return
    options = {name: value for name, value in job.options.items() if name != "count"}
    waiting = (file for _, file in left)
    for frame in watch(pipe.stream(job.prompt, job.negative, **options | {"seed": [seed for seed, _ in left]})):
        if frame.result:
            written = save(frame.result, [next(waiting) for _ in frame.seeds], overwrite)
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
        if len(raw) > LONGEST and not raw.endswith(b"\n"):
            while (rest := stream.readline(LONGEST)) and not rest.endswith(b"\n"):
                pass
            yield None
        else:
            yield raw


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
    for name, value in given.items():
        if isinstance(value, bool) and bool not in _kinds(name):
            raise RequestError(f"{name} must not be {json.dumps(value)}; give a value, or leave it out")
    if "size" in own:
        given |= _sides(own["size"])
    usual = {name: value for name, value in common.items() if name not in OWN and value is not None}
    options = usual | given
    job = Job(
        line, own["prompt"], own.get("negative", common.get("negative") or ""), options, _output(own.get("output"))
    )
    resolve(bundle, job.prompt, job.negative, **options)
    return job


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


def _kinds(option: str) -> tuple[Any, ...]:
    hint = get_type_hints(Options)[option]
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _sides(size: str) -> dict[str, int]:
    width, _, height = size.lower().partition("x")
    if not (width.isascii() and width.isdigit() and height.isascii() and height.isdigit() and len(size) < 20):
        raise RequestError(f"size '{size[:40]}' is not WIDTHxHEIGHT; write for example 512x512")
    return {"width": int(width), "height": int(height)}


def _output(name: str | None) -> Path | None:
    """A line's own file name, which may not leave the folder that was asked for."""
    if name is None:
        return None
    path = Path(name)
    if path.is_absolute() or ".." in path.parts or path.drive or not path.name:
        raise RequestError(f"output '{name[:40]}' must be a file name in the folder of the list; leave the path out")
    return path


def binary(stream: Any) -> BinaryIO:
    """The bytes of a text stream such as sys.stdin."""
    return getattr(stream, "buffer", None) or io.BytesIO(stream.read().encode("utf-8"))
