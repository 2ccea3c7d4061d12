"""`pleinair generate --workers`: pictures of one prompt, by several processes; `lists` has those of many."""

from functools import partial
from pathlib import Path
from typing import Any

from pleinair.cli.progress import ProgressBar
from pleinair.errors import RequestError
from pleinair.files.output import ARRAYS, write_pictures
from pleinair.pipeline import Pipeline
from pleinair.request.request import Request
from pleinair.results import Result
from pleinair.tasks.apart import paint_apart
from pleinair.tasks.worker_count import planned_workers, read_workers


def check_workers(workers: str, film: Path | None, output: Path | None) -> None:
    """Raise RequestError for what is no number of workers, and for what they cannot make."""
    if read_workers(workers) == 1:
        return
    if film is not None:
        raise RequestError("--film needs the process that paints; leave --workers out, or --film")
    if output is not None and output.suffix.lower() == ARRAYS:
        raise RequestError("workers write a file for each picture, and a .npz holds all; choose .png, .jpg or .webp")


def painted_by_workers(
    workers: str,
    pipe: Pipeline,
    request: Request,
    prompt: str,
    options: dict[str, Any],
    files: list[Path],
    progress: ProgressBar,
    *,
    force: bool,
    metadata: bool,
) -> tuple[Result, list[Path], float] | None:
    """A request's result without pixels, the files written, and the MB that workers held; None where none are to."""
    batches = -(-len(request.seeds) // request.batch)
    setups = planned_workers(pipe, request, workers, progress.news, most=batches)
    if not setups:
        return None
    watch = partial(progress.frames, count=len(request.seeds))
    save = partial(write_pictures, overwrite=force, metadata=metadata)
    return paint_apart(pipe, request, prompt, options, files, setups, watch, save)
