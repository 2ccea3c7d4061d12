"""The land: mountains, a hill, meadows, sand, snow and the sea."""

from math import exp, sin
from random import Random

from recipe.canvas import NO_TINT, Canvas, darker, lighter, mixed, smooth
from recipe.light import LAND_LIGHT, LANDS, SKIES
from recipe.scenes import Scene
from recipe.sky import HORIZON, light_place

HILLTOP = 0.53
STAND = 0.88
BLOSSOMS = ((255, 255, 255), (255, 224, 110), (250, 150, 180), (196, 160, 240))
ACROSS = [step / 40 for step in range(41)]
SIDES = {"left": 0.28, "centre": 0.5, "right": 0.72}


def paint_mountains(canvas: Canvas, scene: Scene, random: Random) -> None:
    """Three snowy peaks behind the horizon, paler towards their feet."""
    canvas.tint = LAND_LIGHT[scene.hour]
    air = SKIES[scene.hour][2]
    rock = mixed((104, 120, 164), air, 0.22)
    for middle, height in ((0.15, 0.26), (0.85, 0.28), (0.5, 0.36)):
        x, h = middle + random.uniform(-0.04, 0.04), height + random.uniform(-0.02, 0.02)
        half, foot = h * 0.92, HORIZON + 0.02
        top = foot - h
        lit = [
            (x - half, foot),
            (x - half * 0.45, top + h * 0.5),
            (x, top),
            (x + half * 0.5, top + h * 0.46),
            (x + half, foot),
        ]
        canvas.polygon(lit, lighter(rock, 0.16), mixed(rock, air, 0.4))
        canvas.polygon(
            [
                (x, top),
                (x + half * 0.5, top + h * 0.46),
                (x + half, foot),
                (x + half * 0.18, foot),
                (x + half * 0.1, top + h * 0.5),
            ],
            darker(rock, 0.82),
            mixed(rock, air, 0.3),
        )
        cap = [
            (x - half * 0.33, top + h * 0.37),
            (x, top),
            (x + half * 0.36, top + h * 0.34),
            (x + half * 0.2, top + h * 0.3),
        ]
        canvas.polygon(
            [*cap, (x + half * 0.06, top + h * 0.42), (x - half * 0.12, top + h * 0.3)],
            (255, 255, 255),
            (230, 238, 250),
        )


def hill_middle(scene: Scene) -> float:
    """A hill rises under its object, or in the middle."""
    return SIDES[scene.things[0].side] if len(scene.things) == 1 else 0.5


def hill_height(scene: Scene, x: float) -> float:
    """Where the hill's outline runs, as a share of the picture's height from its top; two objects need a broad one."""
    half = 0.42 if len(scene.things) < 2 else 0.56
    return 0.84 - (0.84 - HILLTOP) * exp(-(((x - hill_middle(scene)) / half) ** 2))


def paint_land(canvas: Canvas, scene: Scene, random: Random) -> None:
    """The ground, which rises to a hill where the scene has one."""
    canvas.tint = LAND_LIGHT[scene.hour]
    if scene.ground == "sea":
        paint_sea(canvas, scene, random)
        return
    near, far = LANDS[scene.ground]
    phase = random.uniform(0, 6)
    plain = [(x, HORIZON + 0.014 * sin(5 * x + phase)) for x in ACROSS]
    if scene.relief == "hill":
        haze = mixed(darker(near, 0.92), SKIES[scene.hour][2], 0.25)
        canvas.polygon([(0, 1), *plain, (1, 1)], haze, darker(far, 0.9))
        crest = [(x, hill_height(scene, x)) for x in ACROSS]
        canvas.polygon([(0, 1), *crest, (1, 1)], lighter(near, 0.12), far)
    else:
        canvas.polygon([(0, 1), *plain, (1, 1)], mixed(near, SKIES[scene.hour][2], 0.2), mixed(near, far, 0.75))
        front = [(x, 0.77 + 0.03 * sin(4 * x + phase + 2)) for x in ACROSS]
        canvas.polygon([(0, 1), *front, (1, 1)], mixed(near, far, 0.15), far)
    scatter(canvas, scene, random)


def scatter(canvas: Canvas, scene: Scene, random: Random) -> None:
    """Flowers in the meadow, ripples in the sand, drifts in the snow."""
    for slot in range(6):
        x, y = (slot + random.uniform(0.2, 0.8)) / 6, random.uniform(0.915, 0.98)
        if scene.ground == "grass":
            blades = [
                (x - 0.014, y),
                (x - 0.018, y - 0.03),
                (x - 0.004, y - 0.014),
                (x, y - 0.042),
                (x + 0.005, y - 0.014),
                (x + 0.018, y - 0.03),
                (x + 0.014, y),
            ]
            canvas.polygon(blades, darker(LANDS["grass"][1], 0.8))
            if slot % 2:
                for dx, dy in ((-0.011, 0), (0.011, 0), (0, -0.011), (0, 0.011)):
                    canvas.ellipse(
                        x + 0.04 + dx, y - 0.01 + dy, 0.01, 0.01, BLOSSOMS[random.randrange(4)] if dx else BLOSSOMS[0]
                    )
                canvas.ellipse(x + 0.04, y - 0.01, 0.008, 0.008, (255, 206, 80))
        elif scene.ground == "sand":
            y -= random.choice((0.0, 0.1))
            ripple = [
                (x - 0.07, y + 0.004),
                (x - 0.03, y - 0.01),
                (x + 0.02, y - 0.004),
                (x + 0.07, y - 0.008),
                (x + 0.02, y + 0.004),
                (x - 0.03, y),
            ]
            canvas.polygon(smooth(ripple), darker(LANDS["sand"][1], 0.86), opacity=170)
        else:
            canvas.ellipse(x, y, 0.08, 0.012, (255, 255, 255), (226, 236, 250), opacity=220)


def paint_sea(canvas: Canvas, scene: Scene, random: Random) -> None:
    """The sea with its waves, and a green coast where the scene has a hill."""
    near, far = LANDS["sea"]
    air = SKIES[scene.hour][2]
    if scene.relief == "hill":
        middle = 0.5 + random.uniform(-0.12, 0.12)
        coast = [
            (
                x,
                HORIZON
                + 0.03
                - 0.17 * exp(-(((x - middle) / 0.3) ** 2))
                - 0.05 * exp(-(((x - middle - 0.36) / 0.16) ** 2)),
            )
            for x in ACROSS
        ]
        canvas.polygon([(0, 1), *coast, (1, 1)], mixed((134, 196, 112), air, 0.12), mixed((92, 156, 100), air, 0.2))
    canvas.polygon([(0, HORIZON), (1, HORIZON), (1, 1), (0, 1)], mixed(near, air, 0.35), far)
    if scene.light:
        glitter(canvas, scene)
    swell = 1.5 if scene.hour == "storm" else 1.0
    for row, y in enumerate((0.68, 0.75, 0.83, 0.92)):
        scale = 0.6 + 0.3 * row
        for slot in range(3):
            x = (slot + 0.5 * (row % 2) + random.uniform(0.1, 0.6)) / 3
            half, tall = 0.055 * scale, 0.011 * scale * swell
            wave = [
                (x - half, y),
                (x - half * 0.4, y - tall),
                (x + half * 0.3, y - tall * 0.7),
                (x + half, y),
                (x + half * 0.2, y - tall * 0.1),
            ]
            canvas.polygon(smooth(wave), lighter(mixed(near, far, 0.2 * row), 0.45), opacity=190)


def glitter(canvas: Canvas, scene: Scene) -> None:
    """The light of sun or moon on the water below it."""
    canvas.tint = NO_TINT
    shine = (214, 222, 250) if scene.hour == "night" else (255, 240, 190)
    x = light_place(scene)[0]
    for row in range(7):
        half = 0.05 + 0.012 * row
        canvas.ellipse(
            x + 0.016 * (row % 3 - 1), HORIZON + 0.02 + 0.05 * row, half, 0.008, shine, opacity=150 - 14 * row
        )
    canvas.tint = LAND_LIGHT[scene.hour]


def island(canvas: Canvas, x: float, y: float, half: float, hour: str) -> None:
    """Firm ground for what cannot swim."""
    canvas.tint = LAND_LIGHT[hour]
    canvas.ellipse(x, y + 0.022, half * 1.24, 0.076, (226, 242, 252), opacity=150)
    canvas.ellipse(x, y + 0.016, half * 1.17, 0.064, (250, 226, 160), (224, 180, 108))
    canvas.ellipse(x, y - 0.002, half * 1.02, 0.046, (142, 206, 98), (96, 168, 78))
