"""docs/images/speed.svg: how near pictures come to those of a hundred steps, by calls of the network and by seconds."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pleinair.sampling.reuse import SPEEDS, calls_at
from recipe.saving import FEWER, USUAL, asking

WIDTH, HEIGHT = 460, 300  # of a panel
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 34, 44  # its margins
LOW, HIGH, GRID = 0.91, 1.0, 0.01  # similarities
FONT = "font-family='sans-serif' font-size='12'"
TOLD = {"fewer steps": "#b5523b", f"{USUAL} steps, some of which ask": "#2b6ca3"}


@dataclass(frozen=True)
class Panel:
    """One diagram: where its origin lies in the drawing, what its axis says, and how far that goes."""

    left: float
    title: str
    most: float
    tick: float

    def x(self, value: float) -> float:
        return self.left + LEFT + value / self.most * (WIDTH - LEFT - RIGHT)


def y(similarity: float) -> float:
    return TOP + (HIGH - similarity) / (HIGH - LOW) * (HEIGHT - TOP - BOTTOM)


def draw_curve(saving: Mapping[str, Any], speeds: Mapping[str, Any], file: Path) -> None:
    """Write the drawing of what `recipe saving` and `recipe speeds` measured."""
    rows = {row["way"]: row for row in saving["ways"]}
    seconds = speeds["seconds"]
    series = dict(
        zip(
            TOLD,
            ([f"{count} steps" for count in FEWER], [f"{USUAL} steps", *map(asking, range(USUAL, 0, -1))]),
            strict=True,
        )
    )
    most = max(seconds.values())
    panels = (
        (Panel(0, "calls of the network", USUAL + 1, 2), {way: row["calls"] for way, row in rows.items()}),
        (Panel(WIDTH, "seconds, one thread", most * 1.05, 0.1), seconds),
    )
    drawn = [text(LEFT, 18, "similarity (SSIM, median) with pictures of 100 steps", anchor="start")]
    for panel, costs in panels:
        drawn += frame(panel)
        for name, ways in series.items():
            at = [(panel.x(costs[way]), y(rows[way]["many"]["median"])) for way in ways if way in rows and way in costs]
            drawn += line(at, TOLD[name])
        for speed in SPEEDS:
            way = asking(calls_at(speed, USUAL)) if calls_at(speed, USUAL) < USUAL else f"{USUAL} steps"
            if way in costs:
                place = panel.x(costs[way]), y(rows[way]["many"]["median"])
                drawn += [ring(*place), text(place[0] - 8, place[1] - 8, speed, anchor="end")]
    for number, (name, colour) in enumerate(TOLD.items()):
        below = y(LOW) - 28 + 16 * number
        drawn.append(text(WIDTH - RIGHT - 8, below, name, anchor="end", colour=colour))
    size = f"width='{2 * WIDTH}' height='{HEIGHT}' viewBox='0 0 {2 * WIDTH} {HEIGHT}'"
    head = f"<svg xmlns='http://www.w3.org/2000/svg' {size} {FONT}>"
    file.write_text("\n".join([head, "<rect width='100%' height='100%' fill='white'/>", *drawn, "</svg>", ""]))


def frame(panel: Panel) -> list[str]:
    """The grid of a panel with its numbers."""
    right, drawn = panel.left + WIDTH - RIGHT, []
    for number in range(round((HIGH - LOW) / GRID) + 1):
        value = LOW + number * GRID
        drawn.append(
            f"<path d='M{panel.left + LEFT} {y(value):.1f}H{right}' stroke='{'#999' if not number else '#ddd'}'/>"
        )
        drawn.append(text(panel.left + LEFT - 6, y(value) + 4, f"{value:.2f}", anchor="end"))
    for number in range(int(panel.most / panel.tick) + 1):
        value = number * panel.tick
        drawn.append(text(panel.x(value), y(LOW) + 16, f"{value:g}" if panel.tick >= 1 else f"{value:.1f}"))
    return [*drawn, text(panel.left + (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, panel.title)]


def line(at: list[tuple[float, float]], colour: str) -> list[str]:
    """Points joined by a line; what lies below the diagram is left out."""
    seen = [(x, height) for x, height in at if height <= y(LOW)]
    path = "L".join(f"{x:.1f} {height:.1f}" for x, height in seen)
    dots = [f"<circle cx='{x:.1f}' cy='{height:.1f}' r='3' fill='{colour}'/>" for x, height in seen]
    return [f"<path d='M{path}' stroke='{colour}' fill='none' stroke-width='2'/>", *dots]


def ring(x: float, height: float) -> str:
    return f"<circle cx='{x:.1f}' cy='{height:.1f}' r='6' fill='none' stroke='black' stroke-width='1.5'/>"


def text(x: float, height: float, words: str, anchor: str = "middle", colour: str = "black") -> str:
    return f"<text x='{x:.1f}' y='{height:.1f}' text-anchor='{anchor}' fill='{colour}'>{words}</text>"
