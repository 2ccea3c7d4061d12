"""Is B faster than A, slower, or is there no difference that the measurements can tell?"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from math import inf, isfinite
from typing import Any

import numpy as np

from pleinair.checks import one_of
from pleinair.errors import RequestError
from pleinair_bench.cases import Case
from pleinair_bench.records import Record, case_key, machine_key, main_measure, newest
from pleinair_bench.statistics import FEWEST_ROUNDS, FLOOR, Verdict, compare
from pleinair_bench.tables import rows, seconds

WORDS = {"less": "faster", "more": "slower"}  # of seconds
MACHINE = "machine differs"
MEMORY_WORDS = {"less": "smaller", "more": "larger"}
MORE = ("load", "first", "text", "first_step", "step", "decode")
SHOWN = 6  # values of a field that an error names
APART = 0.01  # relative difference of outputs from which the two did not compute the same
PICTURES_DB = 30.0
PACE = 0.04  # difference of the yardstick from which a difference in time may be the machine's
HEAD = ("what", "A", "B", "B / A", "99 % interval", "verdict")


@dataclass(frozen=True)
class Pair:
    """One measure of one case in A and B; `word` is the verdict, or says that one of them lacks or fails it.

    `pace` is B / A of the yardstick: above 1 the machine itself was slower in B. None between different machines.
    """

    case: dict[str, Any]
    measure: str
    a: float | None
    b: float | None
    verdict: Verdict | None
    word: str
    pace: float | None = None


def pairs(a: list[Record], b: list[Record], everything: bool = False) -> Iterator[Pair]:
    """Every case that either has, by its main measure; with `everything`, by stage and by memory as well."""
    first, second = ({case_key(record): record for record in newest(records)} for records in (a, b))
    for key in dict.fromkeys([*first, *second]):
        one, other = first.get(key), second.get(key)
        yield from _pairs(one, other, everything)


def within(records: list[Record], field: str) -> tuple[list[Record], list[Record], str, str]:
    """The records of a file that differ in one field of the case alone, as A and B, and what A and B are."""
    one_of("field of a case", field, [each.name for each in fields(Case)])
    values = list(dict.fromkeys(str(record["case"][field]) for record in records))
    if len(values) != 2:
        found = f"{', '.join(values[:SHOWN])}{' ...' if len(values) > SHOWN else ''}" if values else "none"
        raise RequestError(
            f"--by {field} needs two values in the file and there are: {found}; choose another field, or give two files"
        )
    groups = [[_without(r, field) for r in newest(records) if str(r["case"][field]) == value] for value in values]
    return groups[0], groups[1], values[0], values[1]


def slower(found: list[Pair], share: float) -> list[Pair]:
    """The pairs whose main measure is slower in B by more than `share` beyond doubt, or that B could not do."""
    main = [pair for pair in found if pair.measure in ("total", "run", "")]
    return [
        pair for pair in main if (pair.word == "slower" and pair.verdict.ratio > 1 + share) or pair.word == "fails in B"
    ]


def of_the_machine(found: list[Pair]) -> str | None:
    """What to do where the machine differs more between A and B than anything can be said of the program."""
    paces = [pair.pace for pair in found if pair.word == MACHINE]
    if not paces:
        return None
    ratio = float(np.median(paces))
    word = f"{ratio - 1:.0%} slower" if ratio > 1 else f"{1 / ratio - 1:.0%} faster"
    return f"the machine itself was {word} in B during {len(paces)} of {len(found)}; measure both again"


def of_few_rounds(found: list[Pair]) -> str | None:
    """What to do where there are too few processes to say anything."""
    few = sum(pair.verdict is not None and pair.word == "unknown" for pair in found)
    if not few:
        return None
    return (
        f"{few} of {len(found)} cannot be told apart: fewer than {FEWEST_ROUNDS} rounds, or times of zero;"
        f" measure again with --rounds {FEWEST_ROUNDS} or more"
    )


def table(found: list[Pair], everything: bool) -> str:
    """What differs, as Markdown, and how much does not; all of it with `everything`."""
    shown = [pair for pair in found if everything or pair.word != "no difference"]
    same = [pair.verdict for pair in found if pair.word == "no difference"]
    summary = f"{len(same)} of {len(found)} show no difference"
    if same:  # which means little where much would not have been seen either
        reach = float(np.median([np.sqrt(each.high / each.low) - 1 for each in same]))
        summary += f"; the middle one of their intervals is ±{max(reach, FLOOR):.0%}"
    if not shown:
        return summary
    common = {name for name in shown[0].case if len({str(pair.case[name]) for pair in found}) == 1}
    lines = rows(HEAD, (_cells(pair, common) for pair in shown))
    shared = ", ".join(
        f"{name} {shown[0].case[name]}" for name in shown[0].case if name in common and shown[0].case[name]
    )
    return "\n".join([*lines, "", summary, *([f"in all: {shared}"] if shared else [])])


def _pairs(one: Record | None, other: Record | None, everything: bool) -> Iterator[Pair]:
    either = one or other
    if one is None or other is None:
        yield Pair(either["case"], "", None, None, None, f"only in {'A' if one else 'B'}")
        return
    name = main_measure(one)
    if name is None or name != main_measure(other) or "ok" not in (one["status"], other["status"]):
        failed = [side for side, record in (("A", one), ("B", other)) if record["status"] not in ("ok", "interrupted")]
        word = f"fails in {' and '.join(failed)}" if failed else "unknown"
        yield Pair(either["case"], "", None, None, None, word)
        return
    for measure in [name, *(MORE if everything else ())]:
        if measure in one["measures"] and measure in other["measures"]:
            yield _pair(one, other, measure, one["measures"], other["measures"], WORDS)
    if everything and "peak_rss_mb" in one["usage"] and "peak_rss_mb" in other["usage"]:
        yield _pair(one, other, "peak_rss_mb", one["usage"], other["usage"], MEMORY_WORDS)
    if computes_otherwise(one, other):
        yield Pair(either["case"], "result", None, None, None, "other result")


def computes_otherwise(one: Record, other: Record) -> bool:
    """Whether B paints another picture, or a component gives other numbers, than rounding explains."""
    a, b = one["output"], other["output"]
    if a and b:
        return (
            abs(a["std"] - b["std"]) > APART * max(a["std"], b["std"]) or abs(a["mean"] - b["mean"]) > APART * a["std"]
        )
    levels = [(record["picture"] or {}).get("psnr_db") for record in (one, other)]
    return any(level is not None and level < PICTURES_DB for level in levels)


def _pair(one: Record, other: Record, name: str, a: dict, b: dict, words: dict[str, str]) -> Pair:
    found, pace = compare(*(of[name]["rounds"] for of in (a, b))), _pace(one, other)
    word = words.get(found.word, found.word)
    if pace and word in WORDS.values() and abs(pace - 1) > PACE and (pace > 1) == (found.ratio > 1):
        word = MACHINE
    return Pair(one["case"], name, a[name]["median"], b[name]["median"], found, word, pace)


def _pace(one: Record, other: Record) -> float | None:
    """B / A of the yardstick on one machine; two machines are compared as they are."""
    if machine_key(one) != machine_key(other):
        return None
    a, b = (np.median([seconds for each in record["pace"] for seconds in each] or [0.0]) for record in (one, other))
    ratio = float(b / a) if a > 0 and b > 0 else inf
    return ratio if isfinite(ratio) else None


def _without(record: Record, field: str) -> Record:
    return {**record, "case": {name: value for name, value in record["case"].items() if name != field}}


def _cells(pair: Pair, common: set[str]) -> list[str]:
    idle = {"text_encoder": ("width", "height"), "cold": ("batch",), "warm": ("batch",)}.get(pair.case.get("work"), ())
    case = {name: value for name, value in pair.case.items() if name not in (*common, *idle) and value is not None}
    size = f"{case.pop('width', '')}x{case.pop('height', '')}".strip("x")
    parts = [f"{name} {value}" if isinstance(value, int) else str(value) for name, value in case.items()]
    what = " ".join(filter(None, [*parts, size, pair.measure if pair.measure not in ("run", "total") else ""]))
    if pair.verdict is None:
        return [what or "this case", "-", "-", "-", "-", pair.word]
    show = (lambda value: f"{value:.0f} MB") if pair.measure == "peak_rss_mb" else seconds
    ratio, low, high = pair.verdict.ratio, pair.verdict.low, pair.verdict.high
    return [
        what or "this case",
        show(pair.a),
        show(pair.b),
        f"{ratio:.3f}",
        "-" if low is None or high is None else f"{low:.3f} .. {high:.3f}",
        f"**{pair.word}**",
    ]
