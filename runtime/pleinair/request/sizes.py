"""The size of a picture: as it was asked for, or as the picture below it has it, and what a model can paint."""

import math
from collections.abc import Mapping
from typing import Any

from pleinair.bundle.manifest import MAX_SIDE, Latents
from pleinair.bundle.opening import Bundle
from pleinair.checks import whole
from pleinair.errors import RequestError
from pleinair.request.options import Canvas


def size_of(bundle: Bundle, given: Mapping[str, Any], canvas: Canvas | None) -> tuple[int, int]:
    """The size that is asked for, or the bundle's; a picture keeps its shape at the bundle's number of pixels."""
    defaults, latents = bundle.manifest.defaults, bundle.manifest.latents
    multiple, most = latents.multiple, min(MAX_SIDE, latents.longest or MAX_SIDE)
    width, height = defaults.width, defaults.height
    if canvas and canvas.outpaint:
        left, top, right, bottom = canvas.outpaint
        width, height = canvas.image.width + left + right, canvas.image.height + top + bottom
        width, height = (-(-side // multiple) * multiple for side in (width, height))
    elif canvas and not canvas.only_masked:
        scale = math.sqrt(defaults.width * defaults.height / (canvas.image.width * canvas.image.height))
        sides = (side * scale for side in canvas.image.size)
        width, height = (min(max(multiple, round(side / multiple) * multiple), most) for side in sides)
    size = side_of("width", given.get("width", width), latents), side_of("height", given.get("height", height), latents)
    if canvas and canvas.outpaint and size != (width, height):
        raise RequestError("outpainting says how large the picture becomes; leave --size out")
    return size


def side_of(name: str, value: int, latents: Latents) -> int:
    """A side in pixels that a model can paint; RequestError, with the nearest, for any other."""
    side = whole(name, value, latents.multiple, MAX_SIDE)
    if side % latents.multiple:
        near = max(latents.multiple, round(side / latents.multiple) * latents.multiple)
        raise RequestError(f"{name} {side} is not a multiple of {latents.multiple}; the nearest is {near}")
    if latents.longest and side > latents.longest:
        raise RequestError(
            f"{name} {side} is more than the model has positions for; choose {latents.longest} at most, and enlarge"
            " the picture with --upscale"
        )
    return side
