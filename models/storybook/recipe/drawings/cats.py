"""Three cats."""

from recipe.canvas import Colour, Pen, darker, lighter

INK, ROSE = (40, 38, 52), (236, 130, 144)


def inner_ear(paint: Colour) -> Colour:
    """Rose, or a paler tone on a rosy cat."""
    return lighter(paint, 0.5) if paint[0] > 230 and 100 < paint[1] < 200 else (244, 168, 176)


def face(pen: Pen, u: float, v: float, r: float, asleep: bool = False) -> None:
    """A round head with ears, eyes, nose and whiskers, looking at the reader."""
    light, shade = lighter(pen.paint, 0.2), darker(pen.paint, 0.88)
    for side in (-1, 1):
        ear = [
            (u + side * r * 0.98, v + r * 0.2),
            (u + side * r * 0.92, v + r * 1.32),
            (u + side * r * 0.2, v + r * 0.8),
        ]
        pen.polygon(ear, light, shade)
        inner = [
            (u + side * r * 0.84, v + r * 0.45),
            (u + side * r * 0.82, v + r * 1.08),
            (u + side * r * 0.42, v + r * 0.78),
        ]
        pen.polygon(inner, inner_ear(pen.paint), line=0)
    pen.oval(u, v, r * 1.1, r * 0.9, light, shade, line=0.011)
    for side in (-1, 1):
        if asleep:
            pen.oval(u + side * r * 0.45, v, r * 0.2, r * 0.12, INK)
            pen.oval(u + side * r * 0.45, v + r * 0.06, r * 0.21, r * 0.12, light)
        else:
            pen.oval(u + side * r * 0.44, v + r * 0.04, r * 0.22, r * 0.28, INK)
            pen.oval(u + side * r * 0.44 + r * 0.07, v + r * 0.15, r * 0.08, r * 0.09, (255, 255, 255))
    pen.oval(u, v - r * 0.42, r * 0.36, r * 0.24, lighter(pen.paint, 0.5))
    pen.polygon([(u - r * 0.13, v - r * 0.26), (u + r * 0.13, v - r * 0.26), (u, v - r * 0.42)], ROSE, line=0)


def sitting(pen: Pen) -> None:
    """A cat that sits and looks at the reader."""
    light, shade = lighter(pen.paint, 0.14), darker(pen.paint, 0.8)
    pen.shadow(0.42)
    tail = [
        (0.16, 0.06),
        (0.3, 0.1),
        (0.36, 0.26),
        (0.33, 0.46),
        (0.4, 0.52),
        (0.47, 0.4),
        (0.47, 0.18),
        (0.36, 0.02),
        (0.2, 0.0),
    ]
    pen.curve(tail, light, shade)
    body = [(-0.2, 0.5), (-0.29, 0.22), (-0.26, 0.02), (0, -0.01), (0.26, 0.02), (0.29, 0.22), (0.2, 0.5)]
    pen.curve(body, light, shade)
    pen.oval(0, 0.24, 0.13, 0.18, lighter(pen.paint, 0.45))
    for u in (-0.12, 0.12):
        pen.oval(u, 0.035, 0.09, 0.05, lighter(pen.paint, 0.3), line=0.008)
    face(pen, 0, 0.64, 0.265)


def standing(pen: Pen) -> None:
    """A cat that walks by, its tail up."""
    light, shade = lighter(pen.paint, 0.14), darker(pen.paint, 0.8)
    pen.shadow(0.46)
    tail = [
        (0.28, 0.4),
        (0.36, 0.56),
        (0.33, 0.8),
        (0.37, 0.95),
        (0.45, 0.88),
        (0.44, 0.66),
        (0.44, 0.45),
        (0.36, 0.32),
    ]
    pen.curve(tail, light, shade)
    for u, tone in ((-0.19, 0.74), (0.22, 0.74), (-0.3, 1.0), (0.31, 1.0)):
        leg = [(u - 0.06, 0.3), (u - 0.06, 0.03), (u - 0.03, 0), (u + 0.04, 0), (u + 0.06, 0.03), (u + 0.06, 0.3)]
        pen.polygon(leg, darker(light, tone), darker(pen.paint, 0.9 * tone))
    body = [(-0.36, 0.44), (-0.1, 0.52), (0.28, 0.5), (0.41, 0.34), (0.36, 0.18), (-0.02, 0.19), (-0.34, 0.17)]
    pen.curve(body, light, shade)
    face(pen, -0.2, 0.62, 0.24)


def lying(pen: Pen) -> None:
    """A cat that lies and dozes."""
    light, shade = lighter(pen.paint, 0.14), darker(pen.paint, 0.8)
    pen.shadow(0.48)
    body = [
        (-0.36, 0.05),
        (-0.34, 0.3),
        (-0.1, 0.47),
        (0.2, 0.5),
        (0.42, 0.32),
        (0.45, 0.1),
        (0.34, 0.0),
        (0, -0.01),
        (-0.28, 0.0),
    ]
    pen.curve(body, light, shade)
    tail = [(0.44, 0.12), (0.38, 0.02), (0.1, 0.0), (-0.06, 0.04), (-0.04, 0.11), (0.12, 0.11), (0.34, 0.14)]
    pen.curve(tail, lighter(pen.paint, 0.24), darker(pen.paint, 0.88))
    for u in (-0.34, -0.16):
        pen.oval(u, 0.04, 0.09, 0.05, lighter(pen.paint, 0.34), line=0.008)
    face(pen, -0.2, 0.4, 0.25, asleep=True)


CATS = (sitting, standing, lying)
