"""Records of growth as people read them: a table and a plot for each axis."""

from html import escape

from pleinair_bench.growth import AXES, least, on_axis, place
from pleinair_bench.records import Record, machine_key
from pleinair_bench.tables import ENGINE_NAMES, about, rows, seconds

TITLES = {
    "steps": "Steps",
    "size": "Size: pixels a side",
    "batch": "Batch: pictures in one call",
    "threads": "Threads of one process",
    "workers": "Workers: processes that share the cores",
}
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 320, 64, 150, 36, 44
COLOURS = ("#1f6fb4", "#c8501e", "#2e8540", "#7b4fa3", "#8a6d1b", "#444444")
TICKS = 5
DISTURBING = {"disturbed", "loaded", "noisy", "throttled"}  # flags

Points = list[tuple[float, float]]


def lines_of(records: list[Record]) -> dict[str, list[Record]]:
    """The records by what is one line of a plot: an engine, with the model and the machine where there are several."""
    machines = list(dict.fromkeys(map(machine_key, records)))
    several = len({record["case"]["model"] for record in records}) > 1
    found: dict[str, list[Record]] = {}
    for record in records:
        engine = ENGINE_NAMES.get(record["case"]["engine"], record["case"]["engine"])
        where = f" ({machines.index(machine_key(record)) + 1})" if len(machines) > 1 else ""
        model = f"{record['case']['model']}, " if several else ""
        found.setdefault(f"{model}{engine}{where}", []).append(record)
    return found


def tables_of(records: list[Record]) -> str:
    """What was measured on, and a table for each axis: seconds a picture, and of the processor."""
    lines = lines_of(records)
    machines = dict.fromkeys(map(machine_key, records))
    parts = ["\n".join(about([each for each in records if machine_key(each) == key])) for key in machines]
    odd = sum(not DISTURBING.isdisjoint(record["flags"]) for record in records)
    if odd:
        parts.append(
            f"Other programs ran meanwhile: {odd} of {len(records)} cases were disturbed, so trust processor time."
        )
    for axis in AXES:
        on = {name: {place(each, axis): each for each in on_axis(group, axis)} for name, group in lines.items()}
        on = {name: found for name, found in on.items() if len(found) > 1}
        places = sorted({where for found in on.values() for where in found})
        head = (axis, *(f"{name}: {what}" for name in on for what in ("a picture", "processor")))
        body = [[str(where), *(cell for found in on.values() for cell in _cells(found.get(where)))] for where in places]
        if body:
            parts += [f"![{TITLES[axis]}](images/growth-{axis}.svg)", "\n".join(rows(head, body))]
    return "\n\n".join(parts)


def plots_of(records: list[Record]) -> dict[str, str]:
    """An SVG for each axis on which there is anything to see."""
    lines = lines_of(records)
    found = {}
    for axis in AXES:
        drawn = {
            name: [(place(each, axis), least(each)) for each in on_axis(group, axis)] for name, group in lines.items()
        }
        drawn = {name: points for name, points in drawn.items() if len(points) > 1}
        if drawn:
            found[axis] = plot(TITLES[axis], drawn)
    return found


def plot(title: str, lines: dict[str, Points]) -> str:
    """Lines over linear axes that begin at zero, in seconds a picture, as an SVG that needs nothing else."""
    xs = sorted({x for points in lines.values() for x, _ in points})
    top = round_up(max(y for points in lines.values() for _, y in points))
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

    def at(x: float, y: float) -> tuple[float, float]:
        across, up = x / xs[-1] * (right - LEFT), y / top * (bottom - TOP)
        return round(LEFT + across, 1), round(bottom - up, 1)

    parts = [
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        _words(LEFT, 20, f"{title}; seconds a picture", "start", 14),
    ]
    for tick in range(TICKS + 1):
        value = top * tick / TICKS
        y = at(0, value)[1]
        parts.append(f'<path d="M{LEFT} {y}H{right}" stroke="#ddd"/>')
        parts.append(_words(LEFT - 8, y + 4, f"{value:.3g}", "end"))
    parts += [_words(at(x, 0)[0], bottom + 18, f"{x:g}", "middle") for x in _apart(xs)]
    ends: list[float] = []
    for (name, points), colour in zip(lines.items(), COLOURS * len(lines), strict=False):
        path = " ".join(f"{x},{y}" for x, y in (at(*point) for point in points))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>' for x, y in (at(*point) for point in points)]
        x, y = at(*points[-1])
        while any(abs(y - other) < 14 for other in ends):
            y -= 14
        ends.append(y)
        parts.append(_words(x + 8, y + 4, name, "start", colour=colour))
    size = f'width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}"'
    style = 'font-family="sans-serif" role="img"'
    body = "\n".join(parts)
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>\n<title>{escape(title)}</title>\n{body}\n</svg>\n'


def round_up(value: float) -> float:
    """The next of 1, 2, 2.5, 5 and 10 times a power of ten."""
    power = 10.0
    while power >= value:
        power /= 10
    while power * 10 < value:
        power *= 10
    return next(power * step for step in (1, 2, 2.5, 5, 10) if power * step >= value)


def _cells(record: Record | None) -> tuple[str, str]:
    if record is None:
        return "", ""
    spent = record["usage"].get("cpu_s")
    return seconds(least(record)), seconds(spent["median"]) if spent else ""


def _apart(values: list[float]) -> list[float]:
    """Those that have room for a number below them."""
    kept: list[float] = []
    for value in reversed(values):
        if not kept or kept[-1] - value > values[-1] / 20:
            kept.append(value)
    return kept


def _words(x: float, y: float, text: str, anchor: str, size: int = 12, colour: str = "#333") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-size="{size}" fill="{colour}">{escape(text)}</text>'
