"""A supersampled canvas that fills shapes with soft colours, and a pen that draws on it in an object's measures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, floor

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

Colour = tuple[int, int, int]
Tint = tuple[float, float, float]
Points = Sequence[tuple[float, float]]
NO_TINT: Tint = (1.0, 1.0, 1.0)
LINE = 0.011
POINTS_A_CURVE = 6


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


def smooth(corners: Points) -> list[tuple[float, float]]:
    """A closed curve through all corners (Catmull-Rom)."""
    places = np.array(corners, np.float64)
    before, after, beyond = (np.roll(places, shift, 0) for shift in (1, -1, -2))
    share = np.linspace(0, 1, POINTS_A_CURVE, endpoint=False)[None, :, None]
    here, before, after, beyond = (part[:, None] for part in (places, before, after, beyond))
    curve = 0.5 * (
        2 * here
        + (after - before) * share
        + (2 * before - 5 * here + 4 * after - beyond) * share**2
        + (3 * here - before - 3 * after + beyond) * share**3
    )
    return [tuple(point) for point in curve.reshape(-1, 2)]


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

    def polygon(self, points: Points, first: Colour, last: Colour | None = None, line: float = 0.0, **how) -> None:
        """Fill a polygon; around it runs a darker line, as broad as asked for."""
        corners = [(x * self.size, y * self.size) for x, y in points]
        broad = round(2 * line * self.size)
        box = box_around(corners, broad / 2)

        def stencil(draw: ImageDraw.ImageDraw, left: int, top: int, opacity: int) -> None:
            moved = [(x - left, y - top) for x, y in corners]
            draw.polygon(moved, fill=opacity)

        def outline(draw: ImageDraw.ImageDraw, left: int, top: int, opacity: int) -> None:
            moved = [(x - left, y - top) for x, y in corners]
            draw.line([*moved, *moved[:2]], fill=opacity, width=broad, joint="curve")

        if broad:
            self._fill(box, outline, darker(last or first, 0.5), darker(last or first, 0.5))
        self._fill(box, stencil, first, last or first, **how)

    def ellipse(
        self,
        x: float,
        y: float,
        rx: float,
        ry: float,
        first: Colour,
        last: Colour | None = None,
        line: float = 0.0,
        **how,
    ) -> None:
        """Fill an ellipse around (x, y)."""
        if line:
            shade = darker(last or first, 0.5)
            self.ellipse(x, y, rx + line, ry + line, shade)
        box = [part * self.size for part in (x - rx, y - ry, x + rx, y + ry)]

        def stencil(draw: ImageDraw.ImageDraw, left: int, top: int, opacity: int) -> None:
            draw.ellipse((box[0] - left, box[1] - top, box[2] - left, box[3] - top), fill=opacity)

        self._fill(box, stencil, first, last or first, **how)

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
        ends = [tinted(colour, self.tint) for colour in (first, last)]
        if ends[0] == ends[1]:
            self.image.paste(ends[0], (left, top, right, bottom), mask)
            return
        length = width if sideways else height
        steps = np.linspace(0, 1, length, dtype=np.float32)[:, None]
        ramp = (ends[0] + (np.array(ends[1], np.float32) - ends[0]) * steps).astype(np.uint8)
        strip = Image.fromarray(ramp[None] if sideways else ramp[:, None])  # one line of pixels
        self.image.paste(strip.resize((width, height), Image.Resampling.NEAREST), (left, top), mask)


def box_around(corners: Points, margin: float) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of all corners."""
    across, down = [x for x, _ in corners], [y for _, y in corners]
    return min(across) - margin, min(down) - margin, max(across) + margin, max(down) + margin


@dataclass
class Pen:
    """Draws an object in its own measures: u goes right from its middle, v up from the ground, its height is 1."""

    canvas: Canvas
    x: float
    y: float
    height: float
    paint: Colour
    night: bool
    snowy: bool
    mirrored: bool

    def place(self, u: float, v: float) -> tuple[float, float]:
        """Where a point of the object lies in the picture."""
        return self.x + (-u if self.mirrored else u) * self.height, self.y - v * self.height

    def polygon(self, points: Points, first: Colour, last: Colour | None = None, line: float = LINE, **how) -> None:
        """Fill a polygon with a line around it."""
        self.canvas.polygon([self.place(u, v) for u, v in points], first, last, line * self.thin, **how)

    def curve(self, points: Points, first: Colour, last: Colour | None = None, line: float = LINE, **how) -> None:
        """Fill a smooth shape with a line around it."""
        self.polygon(smooth(points), first, last, line, **how)

    def oval(
        self,
        u: float,
        v: float,
        ru: float,
        rv: float,
        first: Colour,
        last: Colour | None = None,
        line: float = 0.0,
        **how,
    ) -> None:
        """Fill an ellipse, mostly without a line."""
        x, y = self.place(u, v)
        self.canvas.ellipse(x, y, ru * self.height, rv * self.height, first, last, line * self.thin, **how)

    def box(
        self,
        left: float,
        bottom: float,
        right: float,
        top: float,
        first: Colour,
        last: Colour | None = None,
        line: float = LINE,
        **how,
    ) -> None:
        """Fill a rectangle with a line around it."""
        corners = [(left, bottom), (left, top), (right, top), (right, bottom)]
        self.polygon(corners, first, last, line, **how)

    @property
    def thin(self) -> float:
        """Lines of small objects are thinner, but less so than the objects are smaller."""
        return (self.height / 0.45) ** 0.5

    def shadow(self, half: float) -> None:
        """The soft shadow that the object throws on the ground."""
        self.oval(0.03, 0.0, half, half * 0.16, (10, 16, 40), blur=0.014, opacity=85)

    def pane(self, left: float, bottom: float, right: float, top: float, unlit: Colour = (176, 216, 244)) -> None:
        """A window, which shines at night whatever the light outside."""
        if not self.night:
            self.box(left, bottom, right, top, lighter(unlit, 0.35), unlit)
            return
        tint, self.canvas.tint = self.canvas.tint, NO_TINT
        middle = (left + right) / 2, (bottom + top) / 2
        self.oval(*middle, (right - left) * 1.1, (top - bottom) * 0.9, (255, 214, 110), blur=0.012, opacity=90)
        self.box(left, bottom, right, top, (255, 240, 150), (255, 206, 92))
        self.canvas.tint = tint
