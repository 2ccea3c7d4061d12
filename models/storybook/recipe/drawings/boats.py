"""Three boats."""

from recipe.canvas import Pen, darker, lighter

CREAM, MAST = (252, 246, 230), (126, 88, 60)


def wake(pen: Pen, half: float) -> None:
    """Foam around the hull."""
    pen.oval(0, -0.015, half, 0.05, (236, 246, 255), opacity=120)


def hull(pen: Pen, left: float, right: float, top: float) -> None:
    """A curved hull with a pale stripe."""
    body = [
        (left, top + 0.03),
        (left + 0.1, 0.05),
        (left + 0.16, -0.02),
        (right - 0.2, -0.02),
        (right - 0.09, 0.06),
        (right, top + 0.05),
    ]
    pen.polygon(body, lighter(pen.paint, 0.14), darker(pen.paint, 0.74))
    pen.polygon(
        [
            (left + 0.01, top + 0.02),
            (left + 0.035, top - 0.035),
            (right - 0.03, top - 0.02),
            (right - 0.01, top + 0.035),
        ],
        lighter(pen.paint, 0.6),
        line=0,
    )


def sailing(pen: Pen) -> None:
    """A boat with a great sail and a small one."""
    wake(pen, 0.52)
    pen.box(-0.025, 0.2, 0.02, 0.98, MAST, line=0)
    pen.polygon([(-0.06, 0.27), (-0.06, 0.93), (-0.2, 0.62), (-0.42, 0.27)], CREAM, darker(CREAM, 0.86))
    pen.polygon(
        [(0.05, 0.27), (0.05, 1.0), (0.27, 0.66), (0.46, 0.27)], lighter(pen.paint, 0.2), darker(pen.paint, 0.86)
    )
    hull(pen, -0.5, 0.52, 0.2)


def ship(pen: Pen) -> None:
    """A ship with two masts, square sails and a flag."""
    wake(pen, 0.56)
    for u, top in ((-0.2, 0.9), (0.2, 0.98)):
        pen.box(u - 0.018, 0.2, u + 0.018, top, MAST, line=0)
        pen.polygon([(u, top), (u + 0.15, top - 0.035), (u, top - 0.07)], (250, 206, 88), line=0)
        for bottom, high, half, paint in ((0.31, 0.55, 0.18, CREAM), (0.58, top - 0.1, 0.14, pen.paint)):
            sail = [
                (u - half, bottom),
                (u - half + 0.03, high),
                (u + half - 0.03, high),
                (u + half, bottom),
                (u, bottom + 0.045),
            ]
            pen.polygon(sail, lighter(paint, 0.2), darker(paint, 0.86))
    hull(pen, -0.56, 0.56, 0.22)


def steamer(pen: Pen) -> None:
    """A little steamer with a cabin, a funnel and smoke."""
    wake(pen, 0.52)
    for u, v, r in ((0.1, 0.78, 0.07), (0.2, 0.87, 0.09), (0.33, 0.92, 0.07)):
        pen.oval(u, v, r, r * 0.8, (250, 250, 252), (216, 222, 232), opacity=220)
    pen.box(-0.02, 0.45, 0.15, 0.76, lighter(pen.paint, 0.16), darker(pen.paint, 0.8), sideways=True)
    pen.box(-0.02, 0.63, 0.15, 0.69, CREAM, line=0)
    pen.box(-0.26, 0.2, 0.32, 0.48, CREAM, darker(CREAM, 0.86))
    pen.box(-0.3, 0.46, 0.36, 0.51, lighter(pen.paint, 0.1), darker(pen.paint, 0.8))
    for u in (-0.15, 0.03, 0.21):
        pen.pane(u - 0.055, 0.29, u + 0.055, 0.41, (120, 170, 214))
    hull(pen, -0.48, 0.52, 0.22)


BOATS = (sailing, ship, steamer)
