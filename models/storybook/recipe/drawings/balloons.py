"""Three hot air balloons."""

from recipe.canvas import Colour, Pen, darker, lighter

BASKET, CREAM = (178, 122, 72), (253, 246, 230)
ENVELOPE = [
    (-0.09, 0.24),
    (-0.25, 0.4),
    (-0.35, 0.64),
    (-0.28, 0.86),
    (0, 1.0),
    (0.28, 0.86),
    (0.35, 0.64),
    (0.25, 0.4),
    (0.09, 0.24),
]


def basket(pen: Pen) -> None:
    """A basket on two ropes."""
    for u in (-0.075, 0.075):
        pen.box(u - 0.008, 0.1, u + 0.008, 0.28, (120, 92, 70), line=0)
    pen.box(-0.1, 0, 0.1, 0.13, lighter(BASKET, 0.15), darker(BASKET, 0.8))
    pen.box(-0.115, 0.11, 0.115, 0.145, lighter(BASKET, 0.3), line=0)


def gloss(pen: Pen) -> None:
    """Light on the upper left."""
    pen.oval(-0.15, 0.78, 0.07, 0.1, (255, 255, 255), blur=0.006, opacity=90)


def stripe_of(paint: Colour) -> Colour:
    """Cream, or gold on white."""
    return (246, 196, 104) if min(paint) > 200 else CREAM


def striped(pen: Pen) -> None:
    """Stripes from top to bottom."""
    paint, stripe = pen.paint, stripe_of(pen.paint)
    basket(pen)
    pen.curve(ENVELOPE, lighter(paint, 0.16), darker(paint, 0.8), sideways=True)
    for share, colour in ((0.66, stripe), (0.3, paint)):
        narrow = [(u * share, v) for u, v in ENVELOPE]
        pen.curve(narrow, lighter(colour, 0.16), darker(colour, 0.88), line=0, sideways=True)
    gloss(pen)


def banded(pen: Pen) -> None:
    """A broad band around the middle, scalloped below."""
    paint, stripe = pen.paint, stripe_of(pen.paint)
    basket(pen)
    pen.curve(ENVELOPE, lighter(paint, 0.16), darker(paint, 0.8), sideways=True)
    band = [
        (-0.34, 0.58),
        (-0.345, 0.68),
        (-0.2, 0.645),
        (0, 0.635),
        (0.2, 0.645),
        (0.345, 0.68),
        (0.34, 0.58),
        (0.2, 0.55),
        (0, 0.54),
        (-0.2, 0.55),
    ]
    pen.polygon(band, stripe, darker(stripe, 0.86), line=0, sideways=True)
    for u in (-0.21, 0.0, 0.21):
        pen.oval(u, 0.59, 0.035, 0.035, darker(paint, 0.92))
    pen.curve([(-0.17, 0.94), (0, 1.0), (0.17, 0.94), (0, 0.91)], stripe, line=0)
    gloss(pen)


def starred(pen: Pen) -> None:
    """One plain colour with a great star."""
    paint, stripe = pen.paint, stripe_of(pen.paint)
    basket(pen)
    pen.curve(ENVELOPE, lighter(paint, 0.18), darker(paint, 0.76), sideways=True)
    pen.curve([(-0.19, 0.34), (0, 0.31), (0.19, 0.34), (0.09, 0.24), (-0.09, 0.24)], darker(stripe, 0.92), line=0)
    star = [(0, 0.17), (0.05, 0.06), (0.17, 0.05), (0.08, -0.03), (0.11, -0.15), (0, -0.08)]
    star = [*star, *((-u, v) for u, v in reversed(star[1:-1]))]
    pen.polygon([(u * 1.05, v * 1.05 + 0.64) for u, v in star], stripe, line=0)
    gloss(pen)


BALLOONS = (striped, banded, starred)
