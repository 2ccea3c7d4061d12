"""How each kind of object is drawn: standing at (x, y), h high, in one colour."""

from recipe.canvas import NO_TINT, Canvas, Colour, darker, lighter, mixed

PAINTS: dict[str, Colour] = {
    "red": (220, 40, 38),
    "yellow": (252, 212, 40),
    "green": (52, 160, 66),
    "blue": (44, 100, 222),
    "purple": (132, 56, 184),
    "pink": (252, 128, 182),
    "white": (246, 244, 238),
}
LAMPLIGHT = (255, 226, 110)
CREAM = (252, 246, 232)


def shadow(canvas: Canvas, x: float, y: float, radius: float) -> None:
    """The soft shadow an object throws on the ground."""
    canvas.ellipse(x, y, radius, radius * 0.17, (0, 0, 0), blur=0.012, opacity=80)


def windows(canvas: Canvas, boxes: list[tuple[float, float, float, float]], unlit: Colour, night: bool) -> None:
    """Windows, which shine at night whatever the light outside."""
    tint = canvas.tint
    if night:
        canvas.tint = NO_TINT
    for left, top, right, bottom in boxes:
        canvas.rectangle(left, top, right, bottom, LAMPLIGHT if night else unlit)
    canvas.tint = tint


def house(canvas: Canvas, x: float, y: float, h: float, name: str, night: bool) -> None:
    """A house with a pitched roof, a chimney, a door and two windows."""
    paint, w, wall = PAINTS[name], h * 0.9, h * 0.56
    roof = (84, 66, 86) if name in ("red", "pink") else (134, 70, 50)
    shadow(canvas, x, y, w * 0.6)
    canvas.rectangle(x + w * 0.2, y - h * 0.97, x + w * 0.35, y - wall, darker(roof, 0.8))
    canvas.rectangle(x - w / 2, y - wall, x + w / 2, y, lighter(paint, 0.1), darker(paint, 0.86), sideways=True)
    canvas.polygon([(x - w * 0.6, y - wall), (x, y - h), (x + w * 0.6, y - wall)], lighter(roof, 0.15), roof)
    canvas.rectangle(x - w * 0.12, y - wall * 0.62, x + w * 0.12, y, (88, 54, 38))
    panes = [(x + w * (k - 0.1), y - wall * 0.74, x + w * (k + 0.1), y - wall * 0.34) for k in (-0.31, 0.31)]
    windows(canvas, panes, (186, 224, 246), night)


def castle(canvas: Canvas, x: float, y: float, h: float, name: str, night: bool) -> None:
    """A castle with a wall, a gate and three towers with pointed roofs."""
    paint, w = PAINTS[name], h * 0.95
    light, shade = lighter(paint, 0.16), darker(paint, 0.78)
    roof = (188, 66, 56) if name in ("blue", "purple", "white") else (62, 76, 140)
    shadow(canvas, x, y, w * 0.6)
    canvas.rectangle(x - w * 0.4, y - h * 0.42, x + w * 0.4, y, light, shade, sideways=True)
    for k, top, half in ((-0.38, 0.6, 0.12), (0.38, 0.6, 0.12), (0.0, 0.7, 0.14)):
        canvas.rectangle(x + w * (k - half), y - h * top, x + w * (k + half), y, light, shade, sideways=True)
        eaves = half + 0.045
        spire = [
            (x + w * (k - eaves), y - h * top),
            (x + w * k, y - h * (top + 0.3)),
            (x + w * (k + eaves), y - h * top),
        ]
        canvas.polygon(spire, lighter(roof, 0.15), roof)
    canvas.rectangle(x - w * 0.09, y - h * 0.22, x + w * 0.09, y, (72, 48, 40))
    canvas.ellipse(x, y - h * 0.22, w * 0.09, w * 0.09, (72, 48, 40))
    slits = [(x + w * (k - 0.045), y - h * 0.54, x + w * (k + 0.045), y - h * 0.4) for k in (-0.38, 0.0, 0.38)]
    windows(canvas, slits, (66, 64, 92), night)


def tree(canvas: Canvas, x: float, y: float, h: float, name: str, night: bool) -> None:
    """A pine of three tiers."""
    paint, w = PAINTS[name], h * 0.74
    shadow(canvas, x, y, w * 0.45)
    canvas.rectangle(x - w * 0.08, y - h * 0.2, x + w * 0.08, y, (122, 82, 52), (84, 54, 36), sideways=True)
    for tier, (bottom, top, half) in enumerate(((0.14, 0.56, 0.5), (0.36, 0.8, 0.41), (0.6, 1.0, 0.3))):
        shade = mixed(darker(paint, 0.7), paint, 0.3 + 0.3 * tier)
        points = [(x - w * half, y - h * bottom), (x, y - h * top), (x + w * half, y - h * bottom)]
        canvas.polygon(points, lighter(shade, 0.16), darker(shade, 0.84), sideways=True)


def boat(canvas: Canvas, x: float, y: float, h: float, name: str, night: bool) -> None:
    """A sailing boat whose hull and main sail have the colour."""
    paint, w = PAINTS[name], h
    canvas.ellipse(x, y + h * 0.01, w * 0.52, h * 0.06, (14, 44, 92), blur=0.01, opacity=120)
    canvas.rectangle(x - w * 0.02, y - h, x + w * 0.02, y - h * 0.2, (104, 70, 46))
    jib = (232, 120, 96) if name == "white" else CREAM
    main = [(x + w * 0.05, y - h * 0.97), (x + w * 0.46, y - h * 0.33), (x + w * 0.05, y - h * 0.33)]
    canvas.polygon(main, lighter(paint, 0.2), lighter(paint, 0.06))
    canvas.polygon([(x - w * 0.05, y - h * 0.88), (x - w * 0.38, y - h * 0.33), (x - w * 0.05, y - h * 0.33)], jib)
    hull = [
        (x - w * 0.52, y - h * 0.26),
        (x + w * 0.54, y - h * 0.26),
        (x + w * 0.36, y + h * 0.03),
        (x - w * 0.36, y + h * 0.03),
    ]
    canvas.polygon(hull, lighter(paint, 0.06), darker(paint, 0.7))


def balloon(canvas: Canvas, x: float, y: float, h: float, name: str, night: bool) -> None:
    """A striped hot air balloon whose basket hangs at (x, y)."""
    paint, r = PAINTS[name], h * 0.37
    middle = y - h * 0.62
    stripe = (232, 120, 96) if name == "white" else CREAM
    canvas.rectangle(x - r * 0.22, y - h * 0.22, x + r * 0.22, y - h * 0.1, (92, 68, 48))
    neck = [
        (x - r * 0.86, middle + r * 0.5),
        (x + r * 0.86, middle + r * 0.5),
        (x + r * 0.3, middle + r * 1.3),
        (x - r * 0.3, middle + r * 1.3),
    ]
    canvas.polygon(neck, darker(paint, 0.86), darker(paint, 0.7))
    canvas.ellipse(x, middle, r, r, lighter(paint, 0.2), darker(paint, 0.88))
    canvas.ellipse(x, middle, r * 0.5, r, stripe, darker(stripe, 0.86))
    canvas.ellipse(x, middle, r * 0.24, r, lighter(paint, 0.1), darker(paint, 0.84))
    canvas.rectangle(x - r * 0.28, y - h * 0.14, x + r * 0.28, y, (166, 110, 62), (120, 76, 44))


def cat(canvas: Canvas, x: float, y: float, h: float, name: str, night: bool) -> None:
    """A sitting cat that looks at the reader."""
    paint = PAINTS[name]
    light, shade = lighter(paint, 0.1), darker(paint, 0.8)
    shadow(canvas, x, y, h * 0.42)
    canvas.ellipse(x + h * 0.29, y - h * 0.2, h * 0.1, h * 0.19, shade)
    canvas.ellipse(x + h * 0.35, y - h * 0.4, h * 0.085, h * 0.12, shade)
    canvas.ellipse(x, y - h * 0.26, h * 0.27, h * 0.28, light, shade)
    for side in (-1, 1):
        ear = [(x + side * h * 0.28, y - h * 0.64), (x + side * h * 0.26, y - h), (x + side * h * 0.03, y - h * 0.82)]
        canvas.polygon(ear, light, shade)
        canvas.ellipse(x + side * h * 0.11, y - h * 0.05, h * 0.1, h * 0.06, lighter(paint, 0.25))
    canvas.ellipse(x, y - h * 0.64, h * 0.3, h * 0.23, lighter(paint, 0.16), darker(paint, 0.9))
    for side in (-1, 1):
        canvas.ellipse(x + side * h * 0.12, y - h * 0.66, h * 0.06, h * 0.075, (30, 30, 36))
        canvas.ellipse(x + side * h * 0.12 + h * 0.02, y - h * 0.69, h * 0.022, h * 0.025, (255, 255, 255))
    canvas.ellipse(x, y - h * 0.555, h * 0.04, h * 0.03, (216, 84, 104))


DRAWN_BY = {"house": house, "castle": castle, "tree": tree, "boat": boat, "balloon": balloon, "cat": cat}
HALF_WIDTH = {"house": 0.54, "castle": 0.52, "tree": 0.37, "boat": 0.54, "balloon": 0.37, "cat": 0.44}
