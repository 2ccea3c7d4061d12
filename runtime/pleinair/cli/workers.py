"""`pleinair generate --workers`: pictures of one prompt, by several processes; `lists` has those of many prompts."""

from functools import partial
from pathlib import Path
from typing import Any

from pleinair.cli.progress import ProgressBar
from pleinair.cluster.joining import check_address
from pleinair.errors import RequestError
from pleinair.files.output import ARRAYS, write_pictures
from pleinair.pipeline import Pipeline
from pleinair.request.request import Request
from pleinair.results import Result
from pleinair.tasks.apart import paint_apart
from pleinair.tasks.crews import at, crew
from pleinair.tasks.worker_count import read_workers


def check_workers(workers: str, cluster: str | None, film: Path | None, output: Path | None) -> None:
    """Raise RequestError for what is no number of workers or no cluster, and for what they cannot make."""
    if cluster is not None:
        check_address(cluster)
    if read_workers(workers) == 1 and cluster is None:
        return
    if film is not None:
        raise RequestError("--film works only in one process; leave --workers and --ray out, or --film")
    if output is not None and output.suffix.lower() == ARRAYS:
        raise RequestError("workers write a file for each picture, and a .npz holds all; choose .png, .jpg or .webp")


def painted_by_workers(
    workers: str,
    cluster: str | None,
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
    with at(cluster):
        found = crew(pipe, request, workers, cluster, progress.news, most=batches)
        if not found:
            return None
        watch = partial(progress.frames, count=len(request.seeds))
        save = partial(write_pictures, overwrite=force, metadata=metadata)
        return paint_apart(pipe, request, prompt, options, files, found, watch, save)
