"""Three castles."""

from recipe.canvas import Colour, Pen, darker, lighter

GATE, SLIT = (104, 70, 54), (84, 84, 116)


def roof_of(paint: Colour) -> Colour:
    """Spires that stand out from the walls."""
    red, _, blue = paint
    return (206, 78, 66) if blue > 150 and red < 255 else (74, 92, 168)


def tower(pen: Pen, u: float, half: float, top: float, roof: Colour | None) -> None:
    """A round tower, with a pointed roof or with battlements."""
    light, shade = lighter(pen.paint, 0.2), darker(pen.paint, 0.78)
    pen.box(u - half, 0, u + half, top, light, shade, sideways=True)
    if roof:
        spire = [(u - half - 0.045, top), (u, top + 0.28), (u + half + 0.045, top)]
        pen.polygon(spire, lighter(roof, 0.3), darker(roof, 0.88), sideways=True)
    else:
        battlements(pen, u - half - 0.03, u + half + 0.03, top, 3)


def battlements(pen: Pen, left: float, right: float, bottom: float, count: int) -> None:
    """A row of merlons along the top of a wall."""
    light, shade = lighter(pen.paint, 0.24), darker(pen.paint, 0.84)
    step = (right - left) / (2 * count - 1)
    points = [(left, bottom)]
    for index in range(2 * count - 1):
        top = bottom + (0.1 if index % 2 == 0 else 0.05)
        points += [(left + index * step, top), (left + (index + 1) * step, top)]
    pen.polygon([*points, (right, bottom)], light, shade, sideways=True)


def gate(pen: Pen, half: float, top: float) -> None:
    """An arched gate."""
    arch = [(-half, 0), (-half, top - half), (-half * 0.7, top - half * 0.3), (0, top)]
    arch += [(half * 0.7, top - half * 0.3), (half, top - half), (half, 0)]
    pen.polygon(arch, lighter(GATE, 0.1), darker(GATE, 0.8))


def flag(pen: Pen, u: float, v: float) -> None:
    """A small pennant on a pole."""
    pen.box(u - 0.008, v - 0.02, u + 0.008, v + 0.13, (90, 84, 90), line=0)
    pen.polygon([(u, v + 0.13), (u + 0.13, v + 0.095), (u, v + 0.06)], (250, 210, 90), line=0)


def fairy(pen: Pen) -> None:
    """Three towers with pointed roofs, the middle one highest."""
    roof = roof_of(pen.paint)
    pen.shadow(0.54)
    tower(pen, 0, 0.145, 0.68, roof)
    pen.box(-0.38, 0, 0.38, 0.36, lighter(pen.paint, 0.18), darker(pen.paint, 0.8), sideways=True)
    battlements(pen, -0.36, 0.36, 0.34, 6)
    for u in (-0.38, 0.38):
        tower(pen, u, 0.11, 0.52, roof)
        pen.pane(u - 0.035, 0.3, u + 0.035, 0.42, SLIT)
    pen.pane(-0.045, 0.5, 0.045, 0.62, SLIT)
    gate(pen, 0.1, 0.26)


def keep(pen: Pen) -> None:
    """A square keep between two battlemented towers, with a flag."""
    pen.shadow(0.54)
    flag(pen, 0, 0.87)
    pen.box(-0.24, 0, 0.24, 0.76, lighter(pen.paint, 0.18), darker(pen.paint, 0.8), sideways=True)
    battlements(pen, -0.28, 0.28, 0.76, 4)
    for u in (-0.37, 0.37):
        tower(pen, u, 0.14, 0.46, None)
        pen.pane(u - 0.035, 0.25, u + 0.035, 0.37, SLIT)
    for u in (-0.1, 0.1):
        pen.pane(u - 0.04, 0.48, u + 0.04, 0.62, SLIT)
    gate(pen, 0.11, 0.3)


def palace(pen: Pen) -> None:
    """A palace with a great dome and two slender minarets."""
    roof = roof_of(pen.paint)
    pen.shadow(0.54)
    dome = [(-0.27, 0.5), (-0.3, 0.6), (-0.2, 0.76), (0, 0.92), (0.2, 0.76), (0.3, 0.6), (0.27, 0.5), (0, 0.48)]
    pen.curve(dome, lighter(roof, 0.35), darker(roof, 0.9), sideways=True)
    pen.oval(0, 0.95, 0.03, 0.04, (250, 214, 110))
    pen.box(-0.36, 0, 0.36, 0.5, lighter(pen.paint, 0.2), darker(pen.paint, 0.8), sideways=True)
    pen.box(-0.36, 0.44, 0.36, 0.49, lighter(pen.paint, 0.5), line=0)
    for u in (-0.42, 0.42):
        tower(pen, u, 0.075, 0.66, None)
        cap = [(u - 0.09, 0.7), (u - 0.09, 0.76), (u, 0.9), (u + 0.09, 0.76), (u + 0.09, 0.7), (u, 0.68)]
        pen.curve(cap, lighter(roof, 0.3), darker(roof, 0.9), sideways=True)
    for u in (-0.23, 0.23):
        pen.pane(u - 0.06, 0.14, u + 0.06, 0.34, SLIT)
    gate(pen, 0.11, 0.34)


CASTLES = (fairy, keep, palace)
