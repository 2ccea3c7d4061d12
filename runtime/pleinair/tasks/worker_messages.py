"""What processes that paint side by side are told, and what they say: pickled, through pipes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL.Image import Image

from pleinair.errors import RequestError
from pleinair.results import Frame, Result


@dataclass(frozen=True)
class WorkerSetup:
    """How a worker opens the model (a bundle's folder, keyword arguments of `load`), and the logical CPUs it keeps to.

    Without CPUs it runs wherever the system lets it. `engine_reason` is the pipeline's whose work it does.
    """

    bundle: Path
    how: dict[str, Any]
    cpus: tuple[int, ...] = ()
    engine_reason: str | None = None


@dataclass(frozen=True)
class WorkerJob:
    """Pictures to paint in one network call: options without seeds, and a file for each seed.

    `line` is the line of the list that they belong to, and `memory` the bytes that a process is predicted to hold for
    them, 0 where nobody asks.
    """

    line: int
    prompt: str
    negative: str | None
    options: dict[str, Any]
    seeds: tuple[int, ...]
    files: tuple[Path, ...]
    save: Callable[[Result, list[Path]], list[Path]] = field(repr=False)
    memory: float = 0


@dataclass(frozen=True)
class StepDone:
    """A step of a job."""

    step: int
    steps: int


@dataclass(frozen=True)
class JobPainted:
    """A job whose files are whole; its result has no pixels any more. `peak_mb` is the most its process has held."""

    files: tuple[Path, ...]
    result: Result
    peak_mb: float


@dataclass(frozen=True)
class JobFailed:
    """A job that was not painted, or whose files could not be written."""

    error: Exception
    writing: bool = False


def jobs_of(
    line: int,
    prompts: tuple[str, str | None],
    options: dict[str, Any],
    pictures: Sequence[tuple[int, Path]],
    save: Callable[[Result, list[Path]], list[Path]],
    memory: float,
) -> Iterator[WorkerJob]:
    """A job for each batch of a line's pictures, (seed, file) each."""
    size = options.get("batch") or 1
    options = {name: value for name, value in options.items() if name not in ("count", "seed", "stop")}
    for first in range(0, len(pictures), size):
        seeds, files = zip(*pictures[first : first + size], strict=True)
        yield WorkerJob(line, *prompts, options, seeds, files, save, memory)


def frame_of(job: WorkerJob, answer: StepDone | JobPainted) -> Frame:
    """What a worker says, as whoever watches a job is told it; previews stay in the worker."""
    result = answer.result if isinstance(answer, JobPainted) else None
    step, steps = (0, 0) if result else (answer.step, answer.steps)
    return Frame(step, steps, job.seeds, _no_preview, _no_preview, result)


def _no_preview() -> list[Image]:
    raise RequestError("pictures that workers paint have no previews; leave workers out")
