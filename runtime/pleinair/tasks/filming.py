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


class Filming:
    """The films of one job, in `files` as `planned_films` returns them: how each of its pictures leaves the noise.

    A .png or .jpg becomes a strip of all frames, any other suffix an animation (.apng for one in PNG) that holds its
    last picture. Of more than MOST steps, evenly chosen ones are shown. With `metadata` a film holds the record of its
    picture, and how many `frames` show it. `written` has the seed and the file of each film that is done. What goes
    wrong with a film is raised, or, with `sparing`, put into `failed`, so that its picture is painted to the end.
    """

    def __init__(
        self, files: Sequence[Path], *, overwrite: bool = False, metadata: bool = True, sparing: bool = False
    ) -> None:
        self.written: list[tuple[int, Path]] = []
        self.failed: list[PleinairError] = []
        self._files = files
        self._overwrite = overwrite
        self._metadata = metadata
        self._sparing = sparing

    def through(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """The job's frames, as they come.

        A film is written when its picture is done and that frame has been passed on, so that no film can cost a
        picture; leaving the loop earlier writes nothing. Raises what `film.save` raises.
        """
        waiting = iter(self._files)
        seen: list[list[Image.Image]] = []
        for frame in frames:
            yield frame
            if frame.result is None:
                if filmed(frame.step, frame.steps):
                    with self._spared():
                        seen.append(frame.preview())
                continue
            seen = seen[: MOST - 1] + [frame.result.images]
            settings = {**frame.result.settings, "film": {"frames": len(seen)}} if self._metadata else None
            here = islice(waiting, len(frame.seeds))
            for pictures, file, seed in zip(zip(*seen, strict=True), here, frame.seeds, strict=True):
                with self._spared():
                    self.written.append((seed, self._write(pictures, file, settings, seed)))
            seen = []

    def _write(self, pictures: Sequence[Image.Image], file: Path, settings: dict[str, Any] | None, seed: int) -> Path:
        pictures = [film.rgb(each, pictures[-1].size) for each in pictures]
        told = {"overwrite": self._overwrite, "settings": settings, "seed": seed}
        if file.suffix.lower() in film.STRIPS:
            return film.save_strip(pictures, file, **told)
        return film.save(pictures, file, hold=HOLD, **told)

    @contextmanager
    def _spared(self) -> Iterator[None]:
        """Put what goes wrong into `failed`, where pictures are to be spared."""
        try:
            yield
        except Cancelled:
            raise
        except (PleinairError, MemoryError) as error:
            if not self._sparing:
                raise
            short = ResourceError("out of memory for the film; choose a smaller --size")
            self.failed.append(error if isinstance(error, PleinairError) else short)


def filmed(step: int, steps: int) -> bool:
    """Whether step 1..steps is among the at most MOST - 1 that are filmed before the finished picture."""
    if steps < MOST:
        return True
    return step * (MOST - 1) // steps > (step - 1) * (MOST - 1) // steps
