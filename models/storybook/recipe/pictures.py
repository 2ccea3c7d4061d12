"""Paints a scene: sky, light, clouds, land and objects."""

from math import exp, sin
from random import Random

import numpy as np
from PIL import Image

from recipe.canvas import Canvas, Colour, darker, lighter, mixed
from recipe.objects import DRAWN_BY, HALF_WIDTH
from recipe.scenes import AFLOAT, Scene, Thing

SUPERSAMPLING = 3
HORIZON = 0.62
HILLTOP = 0.55
HILL_HALF_WIDTH = 0.42
STAND = 0.88
SKIES: dict[str, tuple[Colour, Colour, Colour]] = {
    "day": ((64, 144, 234), (126, 188, 246), (206, 234, 252)),
    "sunset": ((92, 56, 134), (240, 106, 88), (255, 206, 112)),
    "night": ((8, 10, 40), (20, 26, 76), (50, 60, 122)),
    "dawn": ((142, 170, 232), (246, 184, 210), (255, 236, 206)),
    "storm": ((50, 56, 70), (84, 92, 106), (136, 144, 154)),
}
LAND_LIGHT = {
    "day": (1.0, 1.0, 1.0),
    "sunset": (1.0, 0.82, 0.74),
    "night": (0.46, 0.50, 0.78),
    "dawn": (1.0, 0.93, 0.96),
    "storm": (0.70, 0.74, 0.80),
}
OBJECT_LIGHT = {
    "day": (1.0, 1.0, 1.0),
    "sunset": (1.0, 0.92, 0.88),
    "night": (0.80, 0.80, 0.94),
    "dawn": (1.0, 0.97, 0.98),
    "storm": (0.88, 0.90, 0.93),
}
CLOUDS = {
    "day": (250, 252, 255),
    "sunset": (252, 168, 148),
    "night": (66, 74, 118),
    "dawn": (255, 226, 228),
    "storm": (98, 104, 116),
}
LANDS: dict[str, tuple[Colour, Colour]] = {
    "grass": ((140, 204, 84), (64, 140, 54)),
    "sand": ((250, 222, 150), (226, 176, 98)),
    "snow": ((250, 252, 255), (204, 220, 242)),
    "sea": ((92, 168, 216), (24, 84, 156)),
}
HEIGHTS = {"small": 0.36, "normal": 0.47, "big": 0.57}
PLACES = {"left": 0.24, "centre": 0.5, "right": 0.76}
CONSTELLATIONS = (
    ((0.07, 0.10), (0.22, 0.27), (0.35, 0.08), (0.52, 0.20), (0.66, 0.06), (0.93, 0.30), (0.10, 0.45), (0.76, 0.42)),
    ((0.12, 0.30), (0.28, 0.12), (0.43, 0.33), (0.58, 0.09), (0.72, 0.26), (0.90, 0.10), (0.88, 0.46), (0.30, 0.48)),
    ((0.06, 0.20), (0.18, 0.42), (0.34, 0.22), (0.48, 0.06), (0.63, 0.34), (0.80, 0.20), (0.94, 0.40), (0.50, 0.46)),
)


def light_place(scene: Scene) -> tuple[float, float]:
    """Where sun or moon stands: away from the objects, low at dawn and at sunset."""
    sides = {thing.side for thing in scene.things}
    x = 0.83 if "left" in sides and "right" not in sides else 0.17
    if sides == {"left", "right"}:
        x = 0.5
    return x, {"sunset": 0.5, "dawn": 0.5}.get(scene.hour, 0.17)


def sky(scene: Scene, size: int) -> np.ndarray:
    """The gradient of the hour, with the glow of sun or moon."""
    rows = np.clip(np.linspace(0, 1 / HORIZON, size), 0, 1)
    stops = np.array(SKIES[scene.hour], np.float32)
    column = np.stack([np.interp(rows, (0, 0.55, 1), stops[:, part]) for part in range(3)], 1)  # [size, 3]
    field = np.repeat(column[:, None].astype(np.float32), size, 1)  # [size, size, 3]
    if scene.light:
        night = scene.hour == "night"
        x, y = light_place(scene)
        across = np.linspace(0, 1, size, dtype=np.float32)
        distance = np.hypot(across[None, :] - x, across[:, None] - y)
        glow = np.exp(-distance / 0.14)[..., None] * (0.35 if night else 0.7)
        field += (np.array((210, 216, 250) if night else (255, 244, 210), np.float32) - field) * glow
    return field.astype(np.uint8)


def paint_light(canvas: Canvas, scene: Scene) -> None:
    """The disc of sun or moon."""
    x, y = light_place(scene)
    if scene.hour == "night":
        canvas.ellipse(x, y, 0.075, 0.075, (254, 250, 226), (236, 232, 208))
        canvas.ellipse(x + 0.025, y - 0.015, 0.02, 0.02, (222, 218, 194))
    elif scene.hour == "day":
        canvas.ellipse(x, y, 0.08, 0.08, (255, 242, 150), (255, 220, 90))
    else:
        canvas.ellipse(x, y, 0.1, 0.1, (255, 232, 140), (255, 180, 96))


def paint_stars(canvas: Canvas, random: Random) -> None:
    """A few bold stars in one of the known constellations."""
    for x, y in random.choice(CONSTELLATIONS):
        canvas.ellipse(x, y, 0.012, 0.012, (250, 248, 226))


def paint_clouds(canvas: Canvas, scene: Scene, random: Random) -> None:
    """Clouds in slots of their own, so that they do not crowd."""
    colour = CLOUDS[scene.hour]
    slots = {1: (0.62,), 2: (0.36, 0.74), 3: (0.17, 0.5, 0.83)}[scene.clouds]
    for slot in slots:
        x, y = slot + random.uniform(-0.04, 0.04), random.choice((0.12, 0.2))
        for dx, dy, r in ((-0.075, 0.01, 0.045), (-0.02, -0.015, 0.06), (0.05, -0.002, 0.052), (0.1, 0.014, 0.034)):
            canvas.ellipse(x + dx, y + dy, r, r * 0.75, lighter(colour, 0.2), darker(colour, 0.92))


def paint_mountains(canvas: Canvas, scene: Scene, random: Random) -> None:
    """Three snowy peaks behind the horizon."""
    rock = mixed((100, 112, 146), SKIES[scene.hour][2], 0.25)
    for middle, height in ((0.16, 0.26), (0.84, 0.28), (0.5, 0.34)):
        x, h = middle + random.uniform(-0.03, 0.03), height
        half, foot = h * 0.95, HORIZON + 0.02
        top = foot - h
        canvas.polygon([(x - half, foot), (x, top), (x + half, foot)], lighter(rock, 0.1), rock)
        canvas.polygon([(x, top), (x + half, foot), (x + half * 0.2, foot)], darker(rock, 0.84))
        cap = [(x - half * 0.34, top + h * 0.34), (x, top), (x + half * 0.34, top + h * 0.34), (x, top + h * 0.26)]
        canvas.polygon(cap, (252, 253, 255), (228, 234, 246))


def hill_middle(scene: Scene) -> float:
    """A hill rises under its object, or in the middle."""
    return PLACES[scene.things[0].side] if len(scene.things) == 1 else 0.5


def paint_land(canvas: Canvas, scene: Scene) -> None:
    """The ground, which rises to a hill where the scene has one."""
    near, far = LANDS[scene.ground]
    steps = [step / 40 for step in range(41)]
    if scene.ground == "sea":
        if scene.relief == "hill":
            coast = [(x, HORIZON - 0.07 - 0.05 * sin(9 * x + 1.2)) for x in steps]
            canvas.polygon([(0, 1), *coast, (1, 1)], (112, 176, 112), (80, 140, 100))
        canvas.rectangle(0, HORIZON, 1, 1, mixed(near, SKIES[scene.hour][2], 0.3), far)
        for x, y, half in ((0.2, 0.7, 0.1), (0.75, 0.76, 0.13), (0.3, 0.95, 0.17), (0.85, 0.93, 0.12)):
            canvas.rectangle(x - half, y, x + half, y + 0.014, lighter(near, 0.3), opacity=120)
        return
    if scene.relief == "hill":
        middle = hill_middle(scene)
        canvas.polygon([(0, 1), (0, HORIZON + 0.02), (1, HORIZON + 0.02), (1, 1)], darker(near, 0.9), darker(far, 0.9))
        crest = [(x, 0.84 - (0.84 - HILLTOP) * exp(-(((x - middle) / HILL_HALF_WIDTH) ** 2))) for x in steps]
        canvas.polygon([(0, 1), *crest, (1, 1)], near, far)
    else:
        crest = [(x, HORIZON + 0.012 * sin(5 * x + 0.6)) for x in steps]
        canvas.polygon([(0, 1), *crest, (1, 1)], near, far)


def paint_island(canvas: Canvas, x: float, y: float, half: float) -> None:
    """Firm ground for what cannot swim."""
    canvas.ellipse(x, y + 0.015, half * 1.15, 0.065, (242, 216, 150), (218, 176, 104))
    canvas.ellipse(x, y, half * 0.98, 0.045, (128, 192, 88), (90, 154, 66))


def paint_thing(canvas: Canvas, scene: Scene, thing: Thing, random: Random) -> None:
    """An object at its place, inside the picture."""
    h = HEIGHTS[thing.size] * random.uniform(0.97, 1.03)
    half = h * HALF_WIDTH[thing.kind]
    x = min(max(PLACES[thing.side] + random.uniform(-0.02, 0.02), half), 1 - half)
    if thing.kind == "balloon":
        y = 0.08 + h + random.uniform(-0.02, 0.02)
    elif thing.kind == "boat":
        y = 0.86
    elif scene.relief == "hill" and scene.ground != "sea" and len(scene.things) == 1:
        y = HILLTOP + 0.13
    else:
        y = STAND
    if scene.ground == "sea" and thing.kind not in AFLOAT:
        canvas.tint = LAND_LIGHT[scene.hour]
        paint_island(canvas, x, y, max(half, 0.2))
    canvas.tint = OBJECT_LIGHT[scene.hour]
    DRAWN_BY[thing.kind](canvas, x, y, h, thing.colour, scene.hour == "night")


def paint(scene: Scene, seed: int, size: int) -> Image.Image:
    """The picture of a scene; the seed decides what the scene leaves open."""
    random = Random(seed)
    canvas = Canvas(sky(scene, size * SUPERSAMPLING), SUPERSAMPLING)
    if scene.hour == "night":
        paint_stars(canvas, random)
    if scene.light:
        paint_light(canvas, scene)
    if scene.clouds:
        paint_clouds(canvas, scene, random)
    canvas.tint = LAND_LIGHT[scene.hour]
    if scene.relief == "mountains":
        paint_mountains(canvas, scene, random)
    paint_land(canvas, scene)
    for thing in sorted(scene.things, key=lambda thing: thing.kind != "balloon"):
        paint_thing(canvas, scene, thing, random)
    return canvas.picture()
