"""The sky: its gradient, sun and moon, stars, clouds and rain."""

from random import Random

import numpy as np
from PIL import Image

from recipe.canvas import NO_TINT, Canvas
from recipe.light import CLOUDS, SKIES
from recipe.scenes import Scene

HORIZON = 0.62
STARS = (
    (0.07, 0.10),
    (0.2, 0.3),
    (0.33, 0.07),
    (0.47, 0.24),
    (0.6, 0.08),
    (0.72, 0.3),
    (0.86, 0.12),
    (0.94, 0.36),
    (0.1, 0.46),
)
PUFFS = (
    ((-0.1, 0.02, 0.045), (-0.045, -0.012, 0.06), (0.025, -0.022, 0.068), (0.09, 0.004, 0.052), (0.0, 0.02, 0.06)),
    ((-0.09, 0.012, 0.05), (-0.02, -0.018, 0.07), (0.06, -0.002, 0.058), (0.115, 0.022, 0.036), (0.0, 0.024, 0.05)),
    ((-0.115, 0.022, 0.034), (-0.06, 0.0, 0.055), (0.01, -0.024, 0.062), (0.07, -0.01, 0.06), (0.03, 0.022, 0.055)),
)


def light_place(scene: Scene) -> tuple[float, float]:
    """Where sun or moon stands: away from the objects, low at dawn and at sunset."""
    sides = {thing.side for thing in scene.things}
    x = 0.82 if "left" in sides and "right" not in sides else 0.18
    if sides == {"left", "right"}:
        x = 0.5
    return x, {"sunset": 0.49, "dawn": 0.49}.get(scene.hour, 0.17)


def sky(scene: Scene, size: int) -> np.ndarray:
    """The gradient of the hour, with the glow of sun or moon."""
    rows = np.clip(np.linspace(0, 1 / HORIZON, size), 0, 1)
    stops = np.array(SKIES[scene.hour], np.float32)
    column = np.stack([np.interp(rows, (0, 0.55, 1), stops[:, part]) for part in range(3)], 1)  # [size, 3]
    if not scene.light:
        return np.repeat(column[:, None].astype(np.uint8), size, 1)
    small = size // 4
    night = scene.hour == "night"
    x, y = light_place(scene)
    across = np.linspace(0, 1, small, dtype=np.float32)
    distance = np.hypot(across[None, :] - x, across[:, None] - y)
    glow = np.exp(-distance / 0.15) * (0.4 if night else 0.75)  # [small, small]
    glow = np.asarray(Image.fromarray(glow).resize((size, size), Image.Resampling.BILINEAR))[..., None]
    shine = np.array((200, 210, 250) if night else (255, 246, 214), np.float32)
    field = column[:, None].astype(np.float32)
    return (field + (shine - field) * glow).astype(np.uint8)  # [size, size, 3]


def paint_light(canvas: Canvas, scene: Scene) -> None:
    """The disc of sun or moon."""
    x, y = light_place(scene)
    canvas.tint = NO_TINT
    if scene.hour == "night":
        canvas.ellipse(x, y, 0.08, 0.08, (255, 252, 232), (238, 232, 206))
        for dx, dy, r in ((0.028, -0.018, 0.02), (-0.026, 0.02, 0.015), (0.014, 0.036, 0.011)):
            canvas.ellipse(x + dx, y + dy, r, r, (222, 216, 190))
    elif scene.hour == "day":
        canvas.ellipse(x, y, 0.085, 0.085, (255, 246, 170), (255, 216, 84))
    else:
        canvas.ellipse(x, y, 0.105, 0.105, (255, 240, 160), (255, 178, 96))


def paint_stars(canvas: Canvas, random: Random) -> None:
    """A few bold stars with four points."""
    canvas.tint = NO_TINT
    for x, y in STARS:
        x, y = x + random.uniform(-0.03, 0.03), y + random.uniform(-0.03, 0.03)
        r = random.choice((0.011, 0.016, 0.02))
        points = [(0, r), (r * 0.3, r * 0.3), (r, 0), (r * 0.3, -r * 0.3), (0, -r), (-r * 0.3, -r * 0.3), (-r, 0)]
        canvas.polygon([(x + dx, y + dy) for dx, dy in (*points, (-r * 0.3, r * 0.3))], (255, 250, 226))


def paint_clouds(canvas: Canvas, scene: Scene, random: Random) -> None:
    """Clouds in slots of their own, so that they do not crowd."""
    canvas.tint = NO_TINT
    light, shade = CLOUDS[scene.hour]
    slots = {1: (0.62,), 2: (0.36, 0.74), 3: (0.17, 0.5, 0.83)}[scene.clouds]
    scale = 1.25 if scene.hour == "storm" else 1.0
    for slot in slots:
        x, y = slot + random.uniform(-0.05, 0.05), random.uniform(0.1, 0.22)
        for dx, dy, r in random.choice(PUFFS):
            canvas.ellipse(x + dx * scale, y + dy * scale, r * scale, r * scale * 0.8, light, shade)


def paint_weather(canvas: Canvas, scene: Scene, random: Random) -> None:
    """Slanting rain, or snow where snow lies."""
    canvas.tint = NO_TINT
    for column in range(5):
        for row in range(4):
            x = (column + random.uniform(0.15, 0.85)) / 5
            y = 0.28 + 0.7 * (row + random.uniform(0.15, 0.85)) / 4
            if scene.ground == "snow":
                canvas.ellipse(x, y, 0.009, 0.009, (255, 255, 255), opacity=220)
            else:
                drop = [(x, y), (x + 0.009, y), (x - 0.012, y + 0.065), (x - 0.021, y + 0.065)]
                canvas.polygon(drop, (206, 220, 236), opacity=130)
