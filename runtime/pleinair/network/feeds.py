"""What a network is told besides its latents: rows of named feeds, and those that follow from the request alone."""

from collections.abc import Callable
from dataclasses import dataclass
from math import log

import numpy as np

from pleinair.bundle.manifest import Joined

Told = dict[str, np.ndarray]  # feed -> (1, ...), the same for every picture, or (B, ...), a row for each

CHANNELS = "channels"  # what the latents' port takes behind the latents (B, k, h, w)
LARGEST_PERIOD = 10_000.0  # of the sinusoids that a number is told in
SCORE, LOW_SCORE = 6.0, 2.5  # of what is wanted and of what is not, diffusers' `aesthetic_score` and its negative


@dataclass(frozen=True)
class Known:
    """What is settled when a pass begins: the size in pixels, and how strictly to follow the prompt."""

    width: int
    height: int
    guidance: float
    wanted: bool = True  # whether it is the prompt that is told, and not the negative one


def size_ids(known: Known, columns: int) -> np.ndarray:
    """Height and width of the original, where it is cropped, and of the target (SDXL, diffusers `_get_add_time_ids`).

    They are those of the picture: nothing is cropped or enlarged.
    """
    size = known.height, known.width
    return np.array([[*size, 0, 0, *size]], np.float32)


def scored_size_ids(known: Known, columns: int) -> np.ndarray:
    """Height and width of the original, where it is cropped, and how its beauty is scored, of 10 (SDXL's refiner)."""
    return np.array([[known.height, known.width, 0, 0, SCORE if known.wanted else LOW_SCORE]], np.float32)


def guidance_embedding(known: Known, columns: int) -> np.ndarray:
    """Sinusoids of a thousand times the guidance less 1 (diffusers `get_guidance_scale_embedding`; Luo et al. 2023)."""
    half = columns // 2
    rates = np.exp(np.arange(half, dtype=np.float32) * np.float32(-log(LARGEST_PERIOD) / (half - 1)))
    angles = np.float32((known.guidance - 1) * 1000) * rates
    row = np.concatenate([np.sin(angles), np.cos(angles), np.zeros(columns % 2, np.float32)])
    return row[None].astype(np.float32)


MAKERS = {  # a row (1, columns) of what is known
    "size_ids": size_ids,
    "scored_size_ids": scored_size_ids,
    "guidance_embedding": guidance_embedding,
}


def joined(rows: list[np.ndarray]) -> np.ndarray:
    """Outputs of several text encoders as one feed: their widths side by side."""
    return rows[0] if len(rows) == 1 else np.concatenate(rows, axis=-1)


def fed(made: Joined, output: Callable[[str], np.ndarray]) -> np.ndarray:
    """A feed of what text encoders said, which `output` has by graph: (B, tokens, width), or pooled (B, width).

    That of a mask is (B, tokens).
    """
    rows = joined([output(name) for name in made.encoders])
    if made.width is None:
        return rows
    groups = [rows, *(output(name) for name in made.then)]
    blank = np.zeros((len(rows), made.zeros, made.width), np.float32)
    return np.concatenate([*(widened(each, made.width) for each in groups), blank], axis=1)


def widened(rows: np.ndarray, width: int) -> np.ndarray:
    """Rows (B, tokens, d) filled with zeros up to a width."""
    return np.pad(rows, ((0, 0), (0, 0), (0, width - rows.shape[-1])))


def stacked_rows(rows: list[Told], pictures: int) -> Told:
    """The feeds of one network call: `pictures` rows for the first of `rows`, as many for the second, and so on."""
    return {feed: np.concatenate([_for_each(told[feed], pictures) for told in rows]) for feed in rows[0]}


def _for_each(array: np.ndarray, pictures: int) -> np.ndarray:
    return array if len(array) == pictures else np.repeat(array, pictures, axis=0)
