"""The pictures of one prompt, painted by several workers."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from pleinair.files.output import write_pictures
from pleinair.pipeline import Pipeline
from pleinair.request.request import Request
from pleinair.results import Frame, Result, Timings, merged
from pleinair.tasks.worker_messages import JobFailed, JobPainted, frame_of, jobs_of
from pleinair.tasks.workers import Workers

if TYPE_CHECKING:
    from pleinair.tasks.ray_workers import RayWorkers


def paint_apart(
    pipe: Pipeline,
    request: Request,
    prompt: str,
    options: dict[str, Any],
    files: Sequence[Path],
    crew: "Workers | RayWorkers",
    watch: Callable[[Iterator[Frame]], Iterable[Frame]] = iter,
    save: Callable[[Result, list[Path]], list[Path]] = write_pictures,
) -> tuple[Result, list[Path], float]:
    """Paint a request's pictures into a file each, by workers; it was made of this `prompt` and these `options`.

    Returns its result without pixels, the files as they were written, and the MB of 2^20 bytes that the workers have
    held at most, all together. The seconds of the stages are those of all workers. Raises what painting it raises;
    pictures that are done by then stay.
    """
    started = perf_counter()
    pictures = list(zip(request.seeds, files, strict=True))
    memory = crew.need(pipe, request)
    more = {name: value for name, value in options.items() if name != "negative"}
    done: dict[tuple[Path, ...], JobPainted] = {}
    with crew as workers:

        def frames() -> Iterator[Frame]:
            found = workers.run([None], lambda _: jobs, request.stop)
            for job, answer in found:
                if isinstance(answer, JobFailed):
                    raise answer.error
                if isinstance(answer, JobPainted):
                    done[job.files] = answer
                yield frame_of(job, answer)

        jobs = list(jobs_of(0, (prompt, options.get("negative")), more, pictures, save, memory))
        for _ in watch(frames()):
            pass
        answers = [done[job.files] for job in jobs]
        result = merged([answer.result for answer in answers])
        timings = summed([answer.result.timings for answer in answers], perf_counter() - started)
        written = [file for answer in answers for file in answer.files]
        return replace(result, timings=timings), written, sum(workers.peaks_mb.values())


def summed(each: Sequence[Timings], total: float) -> Timings:
    """The seconds of several jobs as one that took `total`."""
    stages = {name: sum(getattr(one, name) for one in each) for name in ("load", "text", "encode", "decode")}
    return Timings(**stages, steps=[seconds for one in each for seconds in one.steps], total=total)
