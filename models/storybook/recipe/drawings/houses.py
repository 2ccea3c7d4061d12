"""Three houses."""

from recipe.canvas import Colour, Pen, darker, lighter

DOOR, SNOW = (126, 78, 50), (250, 252, 255)


def roof_of(paint: Colour) -> Colour:
    """A roof that stands out from the walls."""
    red, _, blue = paint
    return (92, 78, 104) if red > 200 and blue < 200 else (158, 80, 60)


def door(pen: Pen, u: float, half: float, top: float) -> None:
    """A wooden door with a knob."""
    pen.box(u - half, 0, u + half, top, lighter(DOOR, 0.12), DOOR)
    pen.oval(u + half * 0.5, top * 0.45, 0.014, 0.014, (250, 220, 130))


def gable(pen: Pen) -> None:
    """A house whose gable faces the reader, with a chimney and a round window."""
    paint, roof = pen.paint, roof_of(pen.paint)
    pen.shadow(0.52)
    pen.box(0.18, 0.6, 0.31, 0.97, lighter(roof, 0.05), darker(roof, 0.8), sideways=True)
    pen.polygon([(-0.4, 0), (-0.4, 0.5), (0, 0.88), (0.4, 0.5), (0.4, 0)], lighter(paint, 0.16), darker(paint, 0.9))
    slab = [(-0.54, 0.44), (0, 1.0), (0.54, 0.44), (0.46, 0.37), (0, 0.84), (-0.46, 0.37)]
    pen.polygon(slab, lighter(SNOW if pen.snowy else roof, 0.15), SNOW if pen.snowy else roof)
    door(pen, 0, 0.1, 0.34)
    for u in (-0.25, 0.25):
        pen.pane(u - 0.075, 0.16, u + 0.075, 0.34)
    pen.oval(0, 0.58, 0.075, 0.075, (255, 232, 140) if pen.night else (200, 230, 248), line=0.01)


def cottage(pen: Pen) -> None:
    """A low cottage under a broad rounded thatch."""
    paint, thatch = pen.paint, SNOW if pen.snowy else (196, 152, 88)
    pen.shadow(0.56)
    pen.box(-0.36, 0.6, -0.24, 0.98, (176, 110, 92), (140, 84, 72), sideways=True)
    pen.box(-0.46, 0, 0.46, 0.5, lighter(paint, 0.16), darker(paint, 0.86), sideways=True)
    eaves = [
        (-0.56, 0.42),
        (-0.5, 0.62),
        (-0.3, 0.84),
        (0, 0.9),
        (0.3, 0.84),
        (0.5, 0.62),
        (0.56, 0.42),
        (0.3, 0.46),
        (-0.3, 0.46),
    ]
    pen.curve(eaves, lighter(thatch, 0.2), darker(thatch, 0.9))
    door(pen, -0.2, 0.095, 0.33)
    pen.pane(0.04, 0.13, 0.33, 0.34)
    pen.box(0.175, 0.13, 0.195, 0.34, darker(paint, 0.6), line=0)
    pen.oval(0.185, 0.66, 0.11, 0.11, darker(thatch, 0.8))
    pen.oval(0.185, 0.65, 0.08, 0.08, (255, 232, 140) if pen.night else (186, 220, 244))


def tall(pen: Pen) -> None:
    """A tall house of two floors with a hipped roof."""
    paint, roof = pen.paint, SNOW if pen.snowy else roof_of(pen.paint)
    pen.shadow(0.44)
    pen.box(-0.26, 0.7, -0.15, 0.99, (150, 96, 84), (120, 74, 66), sideways=True)
    pen.box(-0.34, 0, 0.34, 0.68, lighter(paint, 0.16), darker(paint, 0.86), sideways=True)
    pen.polygon([(-0.43, 0.66), (-0.22, 0.92), (0.22, 0.92), (0.43, 0.66)], lighter(roof, 0.2), darker(roof, 0.92))
    pen.box(-0.34, 0.34, 0.34, 0.37, lighter(paint, 0.55), line=0)
    door(pen, 0, 0.085, 0.25)
    for u in (-0.21, 0.21):
        pen.pane(u - 0.07, 0.1, u + 0.07, 0.27)
    for u in (-0.21, 0.0, 0.21):
        pen.pane(u - 0.065, 0.43, u + 0.065, 0.6)


HOUSES = (cottage, gable, tall)
