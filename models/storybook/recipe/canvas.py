"""A supersampled canvas that fills shapes with soft colour gradients."""

from collections.abc import Callable, Sequence
from math import ceil, floor

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

Colour = tuple[int, int, int]
Tint = tuple[float, float, float]
NO_TINT: Tint = (1.0, 1.0, 1.0)


def tinted(colour: Colour, tint: Tint) -> Colour:
    """The colour under a coloured light."""
    return tuple(int(max(0, min(255, part * light))) for part, light in zip(colour, tint, strict=True))


def mixed(one: Colour, other: Colour, share: float) -> Colour:
    """A colour on the way from one to the other."""
    return tuple(int(a + (b - a) * share) for a, b in zip(one, other, strict=True))


def darker(colour: Colour, light: float = 0.72) -> Colour:
    """The colour with only a share of its light."""
    return tinted(colour, (light, light, light))


def lighter(colour: Colour, share: float = 0.3) -> Colour:
    """The colour mixed with white."""
    return mixed(colour, (255, 255, 255), share)


class Canvas:
    """A square picture drawn larger than it is kept; all lengths are shares of its width."""

    def __init__(self, sky: np.ndarray, supersampling: int):
        self.image = Image.fromarray(sky)  # [size, size, 3]
        self.size = sky.shape[0]
        self.supersampling = supersampling
        self.tint = NO_TINT

    def picture(self) -> Image.Image:
        """The finished picture in its final size."""
        return self.image.reduce(self.supersampling)

    def polygon(self, points: Sequence[tuple[float, float]], first: Colour, last: Colour | None = None, **how) -> None:
        """Fill a polygon."""
        points = [(x * self.size, y * self.size) for x, y in points]
        across, down = [x for x, _ in points], [y for _, y in points]

        def stencil(draw: ImageDraw.ImageDraw, left: int, top: int, opacity: int) -> None:
            draw.polygon([(x - left, y - top) for x, y in points], fill=opacity)

        self._fill((min(across), min(down), max(across), max(down)), stencil, first, last or first, **how)

    def ellipse(
        self, x: float, y: float, rx: float, ry: float, first: Colour, last: Colour | None = None, **how
    ) -> None:
        """Fill an ellipse around (x, y)."""
        box = [part * self.size for part in (x - rx, y - ry, x + rx, y + ry)]

        def stencil(draw: ImageDraw.ImageDraw, left: int, top: int, opacity: int) -> None:
            draw.ellipse((box[0] - left, box[1] - top, box[2] - left, box[3] - top), fill=opacity)

        self._fill(box, stencil, first, last or first, **how)

    def rectangle(
        self, left: float, top: float, right: float, bottom: float, first: Colour, last: Colour | None = None, **how
    ) -> None:
        """Fill a rectangle."""
        corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
        self.polygon(corners, first, last, **how)

    def _fill(
        self,
        box: Sequence[float],
        stencil: Callable[[ImageDraw.ImageDraw, int, int, int], None],
        first: Colour,
        last: Colour,
        sideways: bool = False,
        blur: float = 0.0,
        opacity: int = 255,
    ) -> None:
        radius = round(blur * self.size)
        left, top = (max(0, floor(part) - 1 - 2 * radius) for part in box[:2])
        right, bottom = (min(self.size, ceil(part) + 2 + 2 * radius) for part in box[2:])
        width, height = right - left, bottom - top
        if width <= 0 or height <= 0:
            return
        mask = Image.new("L", (width, height), 0)
        stencil(ImageDraw.Draw(mask), left, top, opacity)
        if radius:
            mask = mask.filter(ImageFilter.BoxBlur(radius))
        ends = [np.array(tinted(colour, self.tint), np.float32) for colour in (first, last)]
        steps = np.linspace(0, 1, width if sideways else height, dtype=np.float32)[:, None]
        ramp = (ends[0] + (ends[1] - ends[0]) * steps).astype(np.uint8)  # [width or height, 3]
        ramp = np.broadcast_to(ramp[None] if sideways else ramp[:, None], (height, width, 3))
        self.image.paste(Image.fromarray(np.ascontiguousarray(ramp)), (left, top), mask)
