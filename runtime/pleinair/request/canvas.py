"""The picture that a request starts from."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pleinair.errors import RequestError
from pleinair.pictures.masks import open_mask
from pleinair.pictures.reading import opaque, open_picture
from pleinair.pictures.start import Ground, lay
from pleinair.request.options import STRENGTH, Canvas, values


def canvas_of(given: Mapping[str, Any]) -> Canvas | None:
    """The picture to paint over and its mask, opened; RequestError for what makes no sense without them."""
    if "image" not in given:
        alone = [name for name in ("strength", "mask", "outpaint") if name in given]
        alone += ["only_masked"] if given.get("only_masked") else []
        if alone:
            raise RequestError(f"'{alone[0]}' works only with a picture to start from; add one with --image")
        return None
    image = opaque(open_picture(given["image"]))
    mask = open_mask(given["mask"], image.size) if "mask" in given else None
    canvas = replace(Canvas(**values(Canvas, given)), image=image, mask=mask)
    if canvas.mask and canvas.outpaint:
        raise RequestError("a mask and outpainting do not work together; do one after the other")
    if canvas.only_masked and not canvas.mask:
        raise RequestError("only_masked needs a mask; add --mask")
    if canvas.strength is not None:
        return canvas
    return replace(canvas, strength=1.0 if canvas.mask or canvas.outpaint else STRENGTH)


def ground_of(canvas: Canvas, width: int, height: int) -> Ground:
    """The picture that a request starts from, at the size that is painted."""
    return lay(
        canvas.image,
        canvas.mask,
        width,
        height,
        outpaint=canvas.outpaint,
        only_masked=canvas.only_masked,
        padding=canvas.padding,
        fill=canvas.fill,
        mask_blur=canvas.mask_blur,
        restore=canvas.restore,
    )
