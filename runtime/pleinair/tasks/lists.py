"""Lists of prompts: a file or a stream, one prompt a line, painted once however often the list is run.

A line is a prompt, or a JSON object of generate's options: {"prompt": "a boat", "seed": 7, "output": "boat.webp"}.
Before a line is painted, its seeds and file names are written to a ledger beside the pictures. A picture is done when
its file is there, because files are whole or absent; so a list that was interrupted goes on where it stopped, with the
same seeds.
"""

import hashlib
import json
import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pleinair.bundle.opening import Bundle
from pleinair.checks import one_line, shown_path
from pleinair.errors import Cancelled, PleinairError, RequestError, ResourceError
from pleinair.files.output import PICTURES, check_folder, check_free, folded, free_names, numbered, slug, write_pictures
from pleinair.pipeline import Pipeline
from pleinair.request.options import OPTIONS
from pleinair.request.request import Request, resolve
from pleinair.results import Frame, Result
from pleinair.system.locks import only_one
from pleinair.tasks.crews import at, crew
from pleinair.tasks.ledger import LEDGER, Entry, Ledger
from pleinair.tasks.lines import SHOWN, BadLine, Line, bad_line
from pleinair.tasks.worker_count import read_workers
from pleinair.tasks.worker_messages import JobFailed, JobPainted, frame_of, jobs_of
from pleinair.tasks.workers import Workers

if TYPE_CHECKING:
    from pleinair.tasks.ray_workers import RayWorkers


class Unwritable(ResourceError):
    """A picture that could not be written, after which the disk has no room for the next one either."""


@dataclass(frozen=True)
class Painted:
    """One picture of a line; `result` is None for one that an earlier run made."""

    line: int
    file: Path
    seed: int
    result: Result | None = field(default=None, repr=False)


def run(
    lines: Iterable[Line | BadLine],
    pipe: Pipeline,
    folder: Path,
    *,
    ledger: Path | None = None,
    overwrite: bool = False,
    watch: Callable[[Iterator[Frame]], Iterable[Frame]] = iter,
    save: Callable[[Result, list[Path], bool], list[Path]] = write_pictures,
    workers: int | str = 1,
    cluster: str | None = None,
    say: Callable[[str], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> Iterator[Painted | BadLine]:
    """Paint the lines one after the other into `folder`, and report each picture as soon as its file is whole.

    What is done by the `ledger` (in `folder`; `pictures.jsonl` without it) is reported and not painted again, unless
    `overwrite`. A line that fails is reported and the others are painted; a picture that cannot be written ends the
    list. `watch` is handed each job's frames, `save` writes a result. With several `workers` ("auto": as many as suit
    the machine), processes of their own paint lines side by side, and each batch of a line: reports come as pictures
    are done, their results have no pixels, frames no previews, `save` must be picklable, and `say` is told what is done
    otherwise than was asked for. Raises ResourceError, also where another process paints the same list or where memory
    does not suffice for the workers, and RequestError.
    """
    check_folder(folder)
    asked = read_workers(workers)
    file = ledger or folder / LEDGER.lstrip(".")

    with ExitStack() as held:
        try:
            held.enter_context(only_one(file.with_name(f".{file.name}.lock"), _busy(folder)))
        except OSError as error:
            raise ResourceError(
                f"cannot write in '{shown_path(folder)}' ({error.strerror or error}); choose another -o"
            ) from None
        held.enter_context(at(cluster))
        plan = _Plan(_Place(folder, overwrite), Ledger(file), pipe.bundle)
        lines, found = iter(lines), None
        for line in lines if asked != 1 or cluster is not None else ():
            if isinstance(line, BadLine):
                yield line
                continue
            try:
                request = _request(line, pipe.bundle)
                pipe.memory_needed(request)
            except (PleinairError, MemoryError) as error:
                yield bad_line(line.number, error)
                continue
            found, lines = crew(pipe, request, asked, cluster, say), chain([line], lines)
            break
        if found:
            yield from _paint_apart(lines, plan, pipe, found, watch, partial(save, overwrite=overwrite), stop)
            return

        def save_here(result: Result, files: list[Path]) -> list[Path]:
            return save(result, files, overwrite)

        for line in lines:
            files = plan.files(line)
            if isinstance(files, BadLine):
                yield files
                continue
            try:
                yield from _paint(line, files, pipe, watch, save_here)
            except (Unwritable, Cancelled):
                raise
            except (PleinairError, MemoryError) as error:
                yield bad_line(line.number, error)


def _busy(folder: Path) -> str:
    return f"this list is being painted into '{one_line(folder, SHOWN)}' already; wait for that, or choose another -o"


class _File(NamedTuple):
    """A picture of a line."""

    seed: int
    path: Path
    done: bool


@dataclass(frozen=True)
class _Place:
    """Where the pictures of a list lie, and the lines that their names belong to."""

    folder: Path
    overwrite: bool
    owners: dict[str, int] = field(default_factory=dict)  # by `folded` file

    def entry(self, line: Line, key: str) -> Entry:
        """The files that a line is given."""
        if line.output is None:
            names = (self.folder / f"{line.number:04}-{slug(line.prompt)}-{seed}.png" for seed in line.seeds)
            files = free_names(names, self.overwrite, self.owners)
        else:
            files = [self.folder / file for file in numbered(line.output, len(line.seeds))]
            for file in files:
                check_free(file, self.overwrite)
        return Entry(key, line.seeds, tuple(file.relative_to(self.folder).as_posix() for file in files))

    def check(self, line: Line, entry: Entry) -> None:
        """RequestError or ResourceError where files of an entry lie elsewhere, are another's, or are no pictures."""
        files = [self.folder / name for name in entry.files]
        if files[0].suffix.lower() not in PICTURES:
            raise RequestError(f"output '{line.output}' is not a picture file; end it with .png, .jpg or .webp")
        if files[0].parent != self.folder:
            check_folder(files[0].parent)
            if not Path(os.path.realpath(files[0].parent)).is_relative_to(os.path.realpath(self.folder)):
                raise RequestError(f"output '{line.output}' leads out of the folder of the list; leave the path out")
        for file in files:
            owner = self.owners.setdefault(folded(file), line.number)
            if owner != line.number:
                raise RequestError(
                    f"output '{file.name}' is that of line {owner} already; name one of them differently"
                )
            if not self.done(file):
                check_free(file, self.overwrite)

    def done(self, file: Path) -> bool:
        """Whether a picture is there to stay."""
        return not self.overwrite and file.is_file()

    def files(self, entry: Entry) -> list[_File]:
        """The pictures of an entry."""
        paths = [self.folder / name for name in entry.files]
        return [_File(seed, path, self.done(path)) for seed, path in zip(entry.seeds, paths, strict=True)]


@dataclass
class _Plan:
    """Which files the lines of a list get, by the ledger or anew."""

    place: _Place
    book: Ledger
    bundle: Bundle
    met: Counter[str] = field(default_factory=Counter)

    def files(self, line: Line | BadLine) -> list[_File] | BadLine:
        """The pictures of a line, written down before they are painted; a bad line where it can have none."""
        if isinstance(line, BadLine):
            return line
        key = _key(line, self.bundle)
        self.met[key] += 1
        key = f"{key}-{self.met[key]}"
        try:
            entry = (None if self.place.overwrite else self.book.entry(key, line)) or self.place.entry(line, key)
            self.place.check(line, entry)
        except PleinairError as error:
            return bad_line(line.number, error)
        self.book.add(entry, line)
        return self.place.files(entry)


def _paint(
    line: Line,
    files: list[_File],
    pipe: Pipeline,
    watch: Callable[[Iterator[Frame]], Iterable[Frame]],
    save: Callable[[Result, list[Path]], list[Path]],
) -> Iterator[Painted]:
    """The pictures of a line that are not there, after those that are."""
    yield from (Painted(line.number, each.path, each.seed) for each in files if each.done)
    left = [each for each in files if not each.done]
    if not left:
        return
    options = {name: value for name, value in line.options.items() if name != "count"}
    waiting = (each.path for each in left)
    for frame in watch(pipe.stream(line.prompt, line.negative, **options | {"seed": [each.seed for each in left]})):
        if frame.result:
            try:
                written = save(frame.result, [next(waiting) for _ in frame.seeds])
            except ResourceError as error:
                raise Unwritable(str(error)) from None
            for seed, file in zip(frame.seeds, written, strict=True):
                yield Painted(line.number, file, seed, frame.result)


def _paint_apart(
    lines: Iterator[Line | BadLine],
    plan: _Plan,
    pipe: Pipeline,
    crew: "Workers | RayWorkers",
    watch: Callable[[Iterator[Frame]], Iterable[Frame]],
    save: Callable[[Result, list[Path]], list[Path]],
    stop: Callable[[], bool] | None,
) -> Iterator[Painted | BadLine]:
    """The pictures of all lines, painted by workers."""
    failed, reports = set(), deque()

    def planned(line: Line | BadLine) -> Iterator[Any]:
        files = plan.files(line)
        if isinstance(files, BadLine):
            yield files
            return
        yield from (Painted(line.number, each.path, each.seed) for each in files if each.done)
        try:
            memory = crew.need(pipe, _request(line, pipe.bundle))
        except (PleinairError, MemoryError) as error:
            yield bad_line(line.number, error)
            return
        left = [(each.seed, each.path) for each in files if not each.done]
        yield from jobs_of(line.number, (line.prompt, line.negative), line.options, left, save, memory)

    def frames(workers: "Workers | RayWorkers") -> Iterator[Frame]:
        for found in workers.run(lines, planned, stop):
            if isinstance(found, Painted | BadLine):
                reports.append(found)
                continue
            job, answer = found
            if isinstance(answer, JobFailed):
                if answer.writing:
                    raise Unwritable(str(answer.error))
                if not isinstance(answer.error, PleinairError | MemoryError):
                    raise answer.error
                if job.line not in failed:
                    reports.append(bad_line(job.line, answer.error))
                failed.add(job.line)
                continue
            if isinstance(answer, JobPainted):
                painted = zip(job.seeds, answer.files, strict=True)
                reports.extend(Painted(job.line, file, seed, answer.result) for seed, file in painted)
            yield frame_of(job, answer)

    with crew as workers:
        for _ in watch(frames(workers)):
            while reports:
                yield reports.popleft()
        yield from reports


def _request(line: Line, bundle: Bundle) -> Request:
    return resolve(bundle, line.prompt, line.negative, **line.options)


def _key(line: Line, bundle: Bundle) -> str:
    """What a line asks of this model, whatever its place in the list."""
    options = {name: value for name, value in line.options.items() if OPTIONS[name].type.json}
    wish = [bundle.manifest.name, line.prompt, line.negative, options, str(line.output)]
    return hashlib.sha256(json.dumps(wish, sort_keys=True, default=str).encode()).hexdigest()[:16]
