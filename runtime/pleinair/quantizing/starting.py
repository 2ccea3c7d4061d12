"""Pictures to start from, for models that paint from nothing else: smooth ground, and shapes with sharp edges on it."""

from collections.abc import Collection
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

SIDE = 256  # pixels; the model scales a picture to its own size
COARSE = 4  # colours of the ground along a side
SHAPES = 12


def starting_options(tasks: Collection[str], place: int) -> dict[str, Any]:
    """What `generate` is given beside the prompt of picture number `place` by a model of these tasks."""
    if "text2image" in tasks:
        return {}
    given: dict[str, Any] = {"image": drawn(np.random.default_rng(place))}
    return given if "edit" in tasks or "image2image" in tasks else given | {"mask": half_masked(place)}


def drawn(random: np.random.Generator) -> Image.Image:
    """A picture of random colours."""
    ground = Image.fromarray(random.integers(0, 256, (COARSE, COARSE, 3), np.uint8))
    picture = ground.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    brush = ImageDraw.Draw(picture)
    for number in range(SHAPES):
        left, top = (int(each) for each in random.integers(-SIDE // 8, SIDE, 2))
        width, height = (int(each) for each in random.integers(SIDE // 16, SIDE // 3, 2))
        draw = brush.ellipse if number % 2 else brush.rectangle
        draw((left, top, left + width, top + height), fill=tuple(int(each) for each in random.integers(0, 256, 3)))
    return picture


def half_masked(place: int) -> Image.Image:
    """A mask of the left, upper, right or lower half, by turns."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[:, : SIDE // 2] = 255
    return Image.fromarray(np.rot90(mask, -place).copy())
