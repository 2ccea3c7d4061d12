"""Checks of single values, shared by everything that takes them from a caller."""

import difflib
import math
from collections.abc import Iterable
from operator import index

from pleinair.errors import RequestError

SHOWN = 40  # characters of a wrong value that an error quotes


def whole(name: str, value: int, low: int, high: int) -> int:
    """`value` as an int within `low` .. `high`, or RequestError."""
    try:
        count = index(value)
    except TypeError:
        raise RequestError(f"{name} must be a whole number, not {shown(value)}; choose {low} to {high}") from None
    if not low <= count <= high:
        raise RequestError(f"{name} {shown(count)} is out of range; choose {low} to {high}")
    return count


def number(name: str, value: float, low: float, high: float, usual: str = "") -> float:
    """`value` as a finite float within `low` .. `high`, or RequestError; `usual` says what people choose."""
    span = f"{low:g} to {high:g}" if math.isfinite(high) else f"{low:g} or more"
    hint = f"choose {span}{f' ({usual})' if usual else ''}"
    try:
        real = float(value)
    except (TypeError, ValueError, OverflowError):
        raise RequestError(f"{name} must be a number, not {shown(value)}; {hint}") from None
    if not math.isfinite(real) or not low <= real <= high:
        raise RequestError(f"{name} {real:g} is out of range; {hint}")
    return real


def one_of(name: str, value: str, choices: Iterable[str]) -> str:
    """`value` if it is one of the choices, or RequestError with the nearest of them."""
    names = list(choices)
    if value in names:
        return value
    quoted = one_line(value, SHOWN)
    near = difflib.get_close_matches(quoted.lower().replace("+", "p"), names, n=1)
    hint = f"did you mean '{near[0]}'? " if near else ""
    raise RequestError(f"unknown {name} '{quoted}'; {hint}choose from {', '.join(names)}")


def one_line(value: object, most: int, end: bool = False) -> str:
    """A text as a message quotes it: printable, on one line, its first (with `end` its last) `most` characters."""
    text = str(value)
    words = (text[-4 * most :] if end else text[: 4 * most]).split()
    line = "".join(c if c.isprintable() else "?" for c in " ".join(words))
    if len(line) <= most:
        return line
    return f"...{line[-most:]}" if end else f"{line[:most]}..."


def shown(value: object) -> str:
    """A value as an error quotes it, cut where it is long."""
    text = repr(value) if not isinstance(value, int) or abs(value) < 1 << 100 else "that"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
