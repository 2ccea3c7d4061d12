"""Films: pictures of one size as an animation, or side by side in a strip."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from math import ceil, sqrt
from pathlib import Path
from typing import Any

from PIL import Image

from pleinair.checks import number
from pleinair.errors import RequestError
from pleinair.files.containers import QUALITY, WRITERS, TimedPictures
from pleinair.files.metadata import save_options
from pleinair.files.output import PICTURES, check_folder, check_free, numbered, whole_file
from pleinair.system.install import need

ANIMATIONS = (".gif", ".webp", ".png", ".apng", ".mp4")
STRIPS = (".png", ".jpg", ".jpeg")
SHORTEST = 0.02  # seconds: viewers slow down what claims to be faster
LONGEST = 600.0


def save(
    frames: Iterable[Image.Image],
    file: Path,
    seconds: float = 0.1,
    *,
    hold: float = 0.0,
    overwrite: bool = False,
    settings: dict[str, Any] | None = None,
    seed: int | None = None,
) -> Path:
    """Write pictures of one size as a .gif, .webp, .png (or .apng) or .mp4 that repeats, and return the file.

    Each stays for `seconds`, the last for `hold` longer; whether an .mp4 repeats is left to its player. `settings` and
    `seed` (None: their first), those of a result, are recorded as in a picture; nothing is without them. The file is
    whole or absent. Raises RequestError, ResourceError for a file that would be overwritten, EngineError where the
    package for .mp4 is missing.
    """
    planned_film(file, overwrite)
    timed = _timed(frames, number("seconds", seconds, SHORTEST, LONGEST, "0.1 is usual"), hold)
    first = next(timed, None)
    if first is None:
        raise RequestError(f"there is no picture to write into '{file.name}'; make at least one")
    suffix = file.suffix.lower()
    told = {}
    if settings:
        kind = "PNG" if suffix in (".png", ".apng") else "WEBP"
        told = save_options(kind, settings, settings["seeds"][0] if seed is None else seed)
    written: list[Path] = []
    with whole_file(file, overwrite, written) as stream:
        WRITERS[suffix](stream, _alike(chain([first], timed)), first[0].size, told)
    return written[0]


def save_strip(
    frames: Sequence[Image.Image],
    file: Path,
    *,
    overwrite: bool = False,
    settings: dict[str, Any] | None = None,
    seed: int = 0,
) -> Path:
    """Write a strip of pictures as a .png or .jpg and return the file; else as `save`."""
    kind = PICTURES[file.suffix.lower()]
    options = save_options(kind, settings, seed) if settings else {}
    written: list[Path] = []
    with whole_file(file, overwrite, written) as stream:
        strip(frames).save(stream, kind, **{**options, **({} if kind == "PNG" else {"quality": QUALITY})})
    return written[0]


def planned_film(file: Path, overwrite: bool = False, kinds: Sequence[str] = ANIMATIONS) -> Path:
    """Check before anything costly is done that `save` can write this file; raises what `save` raises."""
    if file.suffix.lower() not in kinds:
        raise RequestError(f"cannot write '{file.name}': its name must end in {', '.join(kinds)}; choose such a name")
    if file.suffix.lower() == ".mp4":
        need("MP4 films")
    check_free(file, overwrite)
    check_folder(file.parent)
    return file


def planned_films(file: Path, seeds: Sequence[int], overwrite: bool = False) -> list[Path]:
    """The film or strip of each seed, F-1.gif, F-2.gif ... for several, checked like `planned_film`."""
    kinds = tuple(dict.fromkeys([*ANIMATIONS, *STRIPS]))
    return [planned_film(each, overwrite, kinds) for each in numbered(file, len(seeds))]


def playing_time(frames: int, seconds: float) -> float:
    """Seconds that a film of so many frames lasts where it is asked to last `seconds`: no frame has less than SHORTEST.

    RequestError where a frame would have more than LONGEST.
    """
    return max(number("seconds", seconds, SHORTEST, frames * LONGEST), frames * SHORTEST)


def ping_pong(frames: Iterable[Image.Image]) -> Iterator[Image.Image]:
    """The frames forwards, then backwards to the second one, so that a repeating film has no cut; holds them all."""
    seen = []
    for frame in frames:
        seen.append(frame)
        yield frame
    yield from seen[-2:0:-1]


def strip(frames: Sequence[Image.Image]) -> Image.Image:
    """All frames side by side, in rows that read like text; about half again as wide as high."""
    if not frames:
        raise RequestError("a strip needs at least one picture")
    rows = ceil(len(frames) / ceil(sqrt(1.5 * len(frames))))
    columns = ceil(len(frames) / rows)
    width, height = frames[0].size
    sheet = Image.new("RGB", (columns * width, ceil(len(frames) / columns) * height), "white")
    for place, frame in enumerate(frames):
        row, column = divmod(place, columns)
        sheet.paste(rgb(frame, (width, height)), (column * width, row * height))
    return sheet


def rgb(frame: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The frame as RGB at a size (frames before an enlargement are smaller)."""
    return (frame if frame.mode == "RGB" else frame.convert("RGB")).resize(size, Image.Resampling.BICUBIC)


def _timed(frames: Iterable[Image.Image], seconds: float, hold: float) -> Iterator[tuple[Image.Image, float]]:
    """(picture, its seconds) one by one; `hold` goes to the last."""
    before = None
    for frame in frames:
        if before is not None:
            yield before, seconds
        before = frame
    if before is not None:
        yield before, seconds + hold


def _alike(timed: TimedPictures) -> TimedPictures:
    """Plain RGB frames of the first one's size; another size is an error."""
    size = None
    for frame, seconds in timed:
        size = size or frame.size
        if frame.size != size:
            wrong, right = ("x".join(map(str, each)) for each in (frame.size, size))
            raise RequestError(f"a frame of {wrong} does not fit a film of {right}; make all frames one size")
        yield rgb(frame, size), seconds
