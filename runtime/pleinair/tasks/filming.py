"""How a job's noise becomes its pictures, filmed: an animation or a strip beside each of them."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from PIL import Image

from pleinair.errors import Cancelled, PleinairError, ResourceError
from pleinair.files import film
from pleinair.results import Frame

HOLD = 2.0  # seconds that the last picture of a film stays
MOST = 60  # frames of a film of one picture


def recorded(
    frames: Iterable[Frame],
    files: Sequence[Path],
    *,
    overwrite: bool = False,
    metadata: bool = True,
    written: list[tuple[int, Path]] | None = None,
    warnings: list[str] | None = None,
    failed: list[PleinairError] | None = None,
) -> Iterator[Frame]:
    """Pass a job's frames through, and film how each of its pictures comes out of the noise.

    `files` are those of `planned_films`: a .png or .jpg becomes a strip of all frames, any other suffix an animation
    (.apng for one in PNG) that holds its last picture. Of more than MOST steps, evenly chosen ones are shown. A film is
    written when its picture is done and that frame has been passed on, so that no film can cost a picture; leaving the
    loop earlier writes nothing. With `metadata` it holds the record of its picture, and how many `frames` show it.
    `written` takes the seed and file of each film, `warnings` what its file has no room for, and `failed` the error of
    each film that could not be made, which is raised without it.
    """
    waiting = iter(files)
    seen: list[list[Image.Image]] = []
    for frame in frames:
        yield frame
        if frame.result is None:
            if filmed(frame.step, frame.steps):
                with sparing(failed):
                    seen.append(frame.preview())
            continue
        seen = seen[: MOST - 1] + [frame.result.images]
        settings = {**frame.result.settings, "film": {"frames": len(seen)}} if metadata else None
        here = islice(waiting, len(frame.seeds))
        for pictures, file, seed in zip(zip(*seen, strict=True), here, frame.seeds, strict=True):
            with sparing(failed):
                made = _written(pictures, file, overwrite, settings, seed, warnings)
                if written is not None:
                    written.append((seed, made))
        seen = []


def filmed(step: int, steps: int) -> bool:
    """Whether step 1..steps is among the at most MOST - 1 that are filmed before the finished picture."""
    if steps < MOST:
        return True
    return step * (MOST - 1) // steps > (step - 1) * (MOST - 1) // steps


@contextmanager
def sparing(failed: list[PleinairError] | None) -> Iterator[None]:
    """Put what goes wrong with a film into `failed`, so that its picture is painted to the end; raise it without."""
    try:
        yield
    except Cancelled:
        raise
    except (PleinairError, MemoryError) as error:
        if failed is None:
            raise
        short = ResourceError("out of memory for the film; choose a smaller --size")
        failed.append(error if isinstance(error, PleinairError) else short)


def _written(
    pictures: Sequence[Image.Image],
    file: Path,
    overwrite: bool,
    settings: dict[str, Any] | None,
    seed: int,
    warnings: list[str] | None,
) -> Path:
    pictures = [film.rgb(each, pictures[-1].size) for each in pictures]
    told = {"overwrite": overwrite, "settings": settings, "seed": seed}
    if file.suffix.lower() in film.STRIPS:
        return film.save_strip(pictures, file, **told, warnings=warnings)
    return film.save(pictures, file, hold=HOLD, **told)
