"""Pictures that are only made larger: by an upscaler, or by Lanczos, and refused where memory does not suffice."""

from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from pleinair.errors import ResourceError
from pleinair.pictures.reading import MAX_PIXELS, fitted, opaque, open_picture
from pleinair.pictures.upscale import Upscaler
from pleinair.pictures.vae import eight_bits
from pleinair.preflight import BASE, RESERVED, Need, enlarging, in_words, need_alone
from pleinair.serve.pictures_in import size_of
from pleinair.system.limits import Room

RESIZING = 5  # bytes a pixel, before and afterwards, of a picture that is only resized


def enlarging_need(upscaler: Upscaler, data: bytes, axes: str) -> Need | None:
    """What it takes to make a picture larger whose borders meet along `axes`; None where no rule knows its engine."""
    uses = enlarging(upscaler, *size_of("image", data, MAX_PIXELS), axes)
    return need_alone(uses) if uses else None


def resizing_need(data: bytes, width: int, height: int) -> Need:
    """What it takes to bring a picture to another size."""
    before = size_of("image", data, MAX_PIXELS)
    memory = BASE + RESIZING * (before[0] * before[1] + width * height)
    return Need(memory, RESERVED + memory)


def check_need(data: bytes, need: Need, room: Room) -> None:
    """Raise ResourceError where there is not so much, in a process that has nothing loaded."""
    if need.fits(room, BASE):
        return
    short = room.memory is not None and need.memory > room.memory + BASE
    takes, left = (need.memory, room.memory + BASE) if short else (need.address_space, room.address_space)
    width, height = size_of("image", data, MAX_PIXELS)
    raise ResourceError(
        f"making this picture of {width}x{height} larger takes about {in_words(takes)} of"
        f" {'memory' if short else 'address space (ulimit -v)'} and {in_words(left)} are there; send a smaller one"
    )


def larger(upscaler: Upscaler, data: bytes, axes: str, check: Callable[[], None]) -> Image.Image:
    """A picture as an upscaler makes it; `check` is called before every tile, and may raise."""
    pixels = np.asarray(opaque(open_picture(data)), np.float32)[None]
    pixels /= 255
    levels = eight_bits(upscaler(pixels, axes, check)[0])
    return Image.fromarray(levels)


def resized(picture: Image.Image, options: dict[str, Any]) -> Image.Image:
    """A picture at the `width` and `height` of a job, where it has these."""
    if "width" not in options:
        return picture
    return fitted(picture, options["width"], options["height"], "crop" if options["crop"] else "stretch")
