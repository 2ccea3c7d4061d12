"""Paints a scene: sky, light, clouds, land and objects."""

from random import Random

from PIL import Image

from recipe.canvas import Canvas, Pen
from recipe.drawings import DRAWN_BY, HALF_WIDTH
from recipe.land import STAND, hill_height, island, paint_land, paint_mountains
from recipe.light import OBJECT_LIGHT, PAINTS
from recipe.scenes import AFLOAT, Scene, Thing
from recipe.sky import paint_clouds, paint_light, paint_stars, paint_weather, sky

SUPERSAMPLING = 3
HEIGHTS = {"small": 0.31, "normal": 0.43, "big": 0.56}
MARGIN = 0.015
PLACES = {"left": 0.25, "centre": 0.5, "right": 0.75}


def paint_thing(canvas: Canvas, scene: Scene, thing: Thing, random: Random) -> None:
    """An object at its place, inside the picture."""
    height = HEIGHTS[thing.size] * random.uniform(0.96, 1.04)
    half = height * HALF_WIDTH[thing.kind] + MARGIN
    x = min(max(PLACES[thing.side] + random.uniform(-0.025, 0.025), half), 1 - half)
    if thing.kind == "balloon":
        y = 0.09 + height + random.uniform(-0.02, 0.05)
    elif thing.kind == "boat":
        y = 0.86 + random.uniform(-0.02, 0.02)
    elif scene.relief == "hill" and scene.ground != "sea":
        y = hill_height(scene, x) + 0.12
    else:
        y = STAND
    if scene.ground == "sea" and thing.kind not in AFLOAT:
        island(canvas, x, y, max(half, 0.18), scene.hour)
    canvas.tint = OBJECT_LIGHT[scene.hour]
    pen = Pen(
        canvas=canvas,
        x=x,
        y=y,
        height=height,
        paint=PAINTS[thing.colour],
        night=scene.hour == "night",
        snowy=scene.ground == "snow",
        mirrored=random.random() < 0.5,
    )
    DRAWN_BY[thing.kind][thing.drawing](pen)


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
    if scene.relief == "mountains":
        paint_mountains(canvas, scene, random)
    paint_land(canvas, scene, random)
    for thing in sorted(scene.things, key=lambda thing: thing.kind != "balloon"):
        paint_thing(canvas, scene, thing, random)
    if scene.hour == "storm":
        paint_weather(canvas, scene, random)
    return canvas.picture()
