"""A comparison with other programs as Markdown: equal stored precision beside equal, and whole pictures."""

from collections.abc import Iterable, Iterator

from pleinair_bench import tables
from pleinair_bench.peer_rows import BESIDE, FEW_SAMPLER, IN_FLOAT32, MARK, OURS, STEPS, W8A8
from pleinair_bench.records import Record
from pleinair_bench.speeds import SPEEDS

HEAD = ("painted with", "weights", "computed in", "step", "95 % interval", "decode", "load", "first step", "memory",
        "peak RSS", "disk", "PSNR", "notes")  # fmt: skip
WHOLE = ("picture", "painted with", "weights", "computed in", "seconds", "95 % interval", "load", "first step",
         "memory", "peak RSS", "disk", "notes")  # fmt: skip
SHORT = ("picture", "seconds", "openvino-genai", "memory", "its memory", "disk", "load", "first step")
CHOOSING, FLOAT32 = "Computing in what each chooses by itself", "All asked to compute in float32"
INT8 = "Computing in int8 (W8A8)"


def is_of_peers(record: Record) -> bool:
    """Whether a record is of this comparison and not of a case of our own."""
    return record["case"]["model"].startswith(MARK)


def is_whole(record: Record) -> bool:
    """Whether it is of a whole picture: of STEPS steps, or of the few of a distilled model."""
    return record["case"]["steps"] == STEPS or record["case"]["sampler"] == FEW_SAMPLER


def work_of(record: Record) -> str:
    """What the peers painted, for people."""
    case = record["case"]
    return f"{case['model'].removeprefix(MARK)} at {case['width']}x{case['height']}"


def table(records: list[Record]) -> str:
    """A table for each kind of stored weights and of precision, one of whole pictures, and how programs were built."""
    steps = [record for record in records if not is_whole(record)]
    pictures = [record for record in records if is_whole(record)]
    parts = ["\n".join(tables.about(records, versions=False))]
    for title, group in groups(steps):
        parts += [f"{title}:", "\n".join(tables.rows(HEAD, map(cells, group)))]
    if pictures:
        parts += ["Whole pictures:", "\n".join(tables.rows(WHOLE, map(whole_cells, pictures)))]
    if builds := built(records):
        parts += ["\n".join(["Built, as they say themselves:", "", *builds])]
    return "\n\n".join(parts)


def groups(records: list[Record]) -> Iterator[tuple[str, list[Record]]]:
    """Records that may be compared, under what they have in common."""
    floats = [record for record in records if record["case"]["weights"] != W8A8]
    for title, precision in ((CHOOSING, "auto"), (FLOAT32, "f32")):
        group = [record for record in floats if belongs(record, precision)]
        if any(record["case"]["precision"] == precision for record in group):
            yield title, group
    if int8 := [record for record in records if record["case"]["weights"] == W8A8]:
        yield INT8, int8


def belongs(record: Record, precision: str) -> bool:
    """Whether a record was asked for this, or is of a program to which it is all the same."""
    return record["case"]["precision"] == precision or record["case"]["engine"] in IN_FLOAT32


def cells(record: Record) -> list[str]:
    """A row of a step and a decode."""
    picture = record["picture"] or {}
    level = picture.get("psnr_db")
    return [
        painter(record),
        record["case"]["weights"],
        tables.computed(record),
        median(record, "step"),
        tables.interval(record["measures"].get("step")),
        median(record, "decode"),
        *costs(record),
        "equal" if picture.get("same") else f"{level:.1f} dB" if level is not None else "-",
        notes(record),
    ]


def whole_cells(record: Record) -> list[str]:
    """A row of a whole picture."""
    return [
        title_of(record),
        painter(record),
        record["case"]["weights"],
        tables.computed(record),
        median(record, "picture"),
        tables.interval(record["measures"].get("picture")),
        *costs(record),
        notes(record),
    ]


def costs(record: Record) -> list[str]:
    """Load, first step, anonymous memory, peak RSS and disk."""
    return [median(record, "load"), median(record, "first_step"), *(gigabytes(record, name) for name in (
        "peak_anonymous_mb", "peak_rss_mb", "disk_mb"))]  # fmt: skip


def painter(record: Record) -> str:
    return f"{record['case']['engine']} {record['engine']['version'] or ''}".strip()


def title_of(record: Record) -> str:
    """ "20 steps, balanced" or "4 steps (LCM), small VAE"."""
    case = record["case"]
    if case["sampler"] == FEW_SAMPLER:
        return f"{case['steps']} steps (LCM){', small VAE' if case['vae'] else ''}"
    return f"{case['steps']} steps, {case['speed']}"


def notes(record: Record) -> str:
    left = len(record["left_out"])
    said = [*record["flags"], *([f"{left} disturbed rounds left out"] if left else [])]
    rounds = len(record["measures"].get("total", {}).get("rounds", []))
    return (record["reason"] or "")[:80] or ", ".join([*said, *([f"{rounds} round"] if rounds == 1 else [])])


def median(record: Record, name: str) -> str:
    measures = record["measures"]
    return tables.seconds(measures[name]["median"]) if name in measures else "-"


def gigabytes(record: Record, name: str) -> str:
    """A usage in GB of 10^9 bytes, for records have MB of 2^20."""
    found = record["usage"].get(name)
    return f"{found['median'] * 2**20 / 1e9:.2f} GB" if found else "-"


def built(records: Iterable[Record]) -> Iterator[str]:
    """How the programs were built, a line each."""
    said = {painter(record): record["engine"]["build"] for record in records if record["engine"]["build"]}
    return [f"- {name}: {build}" for name, build in said.items()]


def short(records: list[Record]) -> str:
    """Four lines for who wants to know how long a picture takes here, beside openvino-genai's of the same run.

    Of the newest run that has whole pictures; empty where there is none.
    """
    whole = [record for record in records if is_whole(record) and "picture" in record["measures"]]
    if not whole:
        return ""
    last = [record for record in whole if record["run"] == whole[-1]["run"]]
    ours = [record for record in last if record["case"]["engine"] in OURS]
    theirs = {few(record): record for record in last if record["case"]["engine"] == BESIDE}
    lines = [short_cells(record, theirs.get(few(record))) for record in sorted(ours, key=place)]
    parts = ["\n".join(tables.about(last, versions=False)), "\n".join(tables.rows(SHORT, lines))]
    return "\n\n".join(parts)


def few(record: Record) -> bool:
    return record["case"]["sampler"] == FEW_SAMPLER


def place(record: Record) -> tuple[bool, int]:
    """Many steps first, the exact ones before the fast."""
    return few(record), list(SPEEDS).index(record["case"]["speed"])


def short_cells(record: Record, beside: Record | None) -> list[str]:
    """One of the four lines."""
    own = record["measures"]["picture"]["median"]
    other = beside["measures"]["picture"]["median"] if beside else None
    return [
        title_of(record),
        f"**{tables.seconds(own)}**",
        f"{tables.seconds(other)}, {other / own:.2f} times as long" if other else "-",
        gigabytes(record, "peak_anonymous_mb"),
        gigabytes(beside, "peak_anonymous_mb") if beside else "-",
        gigabytes(record, "disk_mb"),
        median(record, "load"),
        median(record, "first_step"),
    ]
