"""What a job gives: its steps as they are done, and its pictures with everything that made them."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from PIL.Image import Image

from pleinair.adapters.merging import Applied
from pleinair.files.output import no_room, planned_files, write_pictures


@dataclass(frozen=True)
class Timings:
    """Seconds, as they were spent; `steps` has one entry for every step of every batch."""

    load: float = 0.0
    text: float = 0.0
    encode: float = 0.0
    steps: list[float] = field(default_factory=list)
    decode: float = 0.0
    total: float = 0.0


class Stopwatch:
    """How many seconds its `with` blocks took, all together."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._since = 0.0

    def __enter__(self) -> None:
        self._since = perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds += perf_counter() - self._since


class Stopwatches:
    """One for each stage of a running job, and how long each of its steps took."""

    def __init__(self) -> None:
        self.load, self.text, self.encode, self.decode = (Stopwatch() for _ in range(4))
        self.steps: list[float] = []

    def timings(self, total: float) -> Timings:
        """What they show now, `total` seconds after the job began."""
        return Timings(
            load=self.load.seconds,
            text=self.text.seconds,
            encode=self.encode.seconds,
            steps=list(self.steps),
            decode=self.decode.seconds,
            total=total,
        )


@dataclass(frozen=True)
class Result:
    """Finished pictures, one for each seed, and everything that made them; timings are those of the job so far."""

    images: list[Image]
    seeds: tuple[int, ...]
    settings: dict[str, Any]
    timings: Timings
    warnings: tuple[str, ...]
    pixels: np.ndarray = field(repr=False)  # (N, H, W, 3) float32 in 0..1
    latents: np.ndarray = field(repr=False)  # (N, C, h, w) float32
    loras: tuple[Applied, ...] = field(default=(), repr=False)  # which keys of LoRA files apply, and which do not

    def save(self, path: str | Path, *, overwrite: bool = False, metadata: bool = True) -> list[Path]:
        """Write the pictures with their settings, as the command line does, and return the files.

        `path` ends in .png, .jpg or .webp, and several pictures are NAME-1, NAME-2 ...; a .npz holds all of them with
        their latents. Without `metadata` no settings are written. Raises RequestError for another suffix, ResourceError
        for a file that exists (unless `overwrite`) or cannot be written.
        """
        return write_pictures(self, planned_files(Path(path), "", self.seeds, overwrite), overwrite, metadata)

    def no_room(self, path: str | Path) -> tuple[str, ...]:
        """Warnings about settings that a file of this name has no room for, which `save` leaves out."""
        return no_room([Path(path)], self.settings, self.seeds)

    def picture(self, place: int) -> "Result":
        """One of the pictures, 0 for the first, as a result of its own; its settings stay those of the job."""
        place = range(len(self.images))[place]
        one = slice(place, place + 1)
        return replace(
            self,
            images=self.images[one],
            seeds=self.seeds[one],
            pixels=self.pixels[one],
            latents=self.latents[one],
        )

    def without_pixels(self) -> "Result":
        """What is to be said of the pictures, when they are on disk and need no memory any more."""
        return replace(self, images=[], pixels=self.pixels[:0].copy(), latents=self.latents[:0].copy())


@dataclass(frozen=True)
class Frame:
    """One step of one batch; after a batch's last step comes one more frame, which carries its result."""

    step: int
    steps: int
    seeds: tuple[int, ...]
    preview: Callable[[], list[Image]] = field(repr=False)  # what the network sees in the noise now, through the VAE
    rough: Callable[[], list[Image]] = field(repr=False)  # the same through a linear map, in well under a millisecond
    result: Result | None = field(default=None, repr=False)


def merged(results: list[Result]) -> Result:
    """The results of a job's batches as one."""
    last = results[-1]
    seeds = tuple(seed for result in results for seed in result.seeds)
    return replace(
        last,
        images=[image for result in results for image in result.images],
        seeds=seeds,
        settings={**last.settings, "seeds": list(seeds)},
        pixels=np.concatenate([result.pixels for result in results]),
        latents=np.concatenate([result.latents for result in results]),
    )
