"""Three trees."""

from recipe.canvas import Pen, darker, lighter

BARK, SNOW = (132, 90, 58), (250, 252, 255)


def trunk(pen: Pen, half: float, top: float) -> None:
    """A trunk that is broader at its foot."""
    foot = [
        (-half * 1.5, 0),
        (-half, top * 0.3),
        (-half * 0.8, top),
        (half * 0.8, top),
        (half, top * 0.3),
        (half * 1.5, 0),
    ]
    pen.polygon(foot, lighter(BARK, 0.15), darker(BARK, 0.75), sideways=True)


def pine(pen: Pen) -> None:
    """A pine of three tiers."""
    pen.shadow(0.36)
    trunk(pen, 0.055, 0.25)
    for bottom, top, half in ((0.13, 0.58, 0.4), (0.36, 0.8, 0.32), (0.58, 1.0, 0.235)):
        tier = [
            (-half, bottom),
            (-half * 0.3, (bottom + top) / 2 - 0.01),
            (0, top),
            (half * 0.3, (bottom + top) / 2 - 0.01),
        ]
        tier += [(half, bottom), (half * 0.45, bottom - 0.035), (0, bottom - 0.045), (-half * 0.45, bottom - 0.035)]
        pen.polygon(tier, lighter(pen.paint, 0.2), darker(pen.paint, 0.74), sideways=True)
        if pen.snowy:
            cap = [(-half * 0.36, top - 0.19), (0, top), (half * 0.36, top - 0.19), (half * 0.1, top - 0.15)]
            pen.polygon([*cap, (-half * 0.12, top - 0.2)], SNOW, (226, 236, 250), line=0)


def round_crown(pen: Pen) -> None:
    """A tree with one great round crown of several tufts."""
    pen.shadow(0.38)
    trunk(pen, 0.07, 0.45)
    tufts = (
        (-0.22, 0.5, 0.19),
        (0.23, 0.5, 0.18),
        (-0.2, 0.72, 0.18),
        (0.2, 0.73, 0.18),
        (0, 0.6, 0.25),
        (0, 0.82, 0.18),
    )
    for u, v, r in tufts:
        pen.oval(u, v, r + 0.022, r + 0.022, darker(pen.paint, 0.5))
    for u, v, r in tufts:
        pen.oval(u, v, r, r, lighter(pen.paint, 0.1), darker(pen.paint, 0.78))
    for u, v, r in ((-0.16, 0.76, 0.1), (0.02, 0.86, 0.11), (-0.2, 0.54, 0.08), (0.1, 0.66, 0.1)):
        pen.oval(u, v, r, r * 0.8, lighter(SNOW if pen.snowy else pen.paint, 0.3), opacity=230 if pen.snowy else 120)


def poplar(pen: Pen) -> None:
    """A slender tree like a flame."""
    pen.shadow(0.28)
    trunk(pen, 0.05, 0.3)
    flame = [
        (0, 0.16),
        (-0.2, 0.24),
        (-0.25, 0.45),
        (-0.17, 0.74),
        (-0.02, 0.99),
        (0.03, 0.99),
        (0.18, 0.74),
        (0.25, 0.45),
        (0.2, 0.24),
    ]
    pen.curve(flame, lighter(pen.paint, 0.22), darker(pen.paint, 0.72), sideways=True)
    for u, v in ((-0.1, 0.36), (0.07, 0.5), (-0.05, 0.66), (0.02, 0.84)):
        leaf = SNOW if pen.snowy else lighter(pen.paint, 0.3)
        pen.oval(u, v, 0.075, 0.035, leaf, opacity=230 if pen.snowy else 150)


TREES = (pine, round_crown, poplar)
