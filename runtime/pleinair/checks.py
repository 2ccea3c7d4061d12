"""Checks of single values, shared by everything that takes them from a caller."""

import difflib
import math
import os
import re
import shlex
from collections.abc import Iterable, Mapping, Set
from itertools import islice
from operator import index
from pathlib import PurePath
from typing import Any, NamedTuple

from pleinair.errors import RequestError

SHOWN = 40  # characters of a wrong value that an error quotes
SHOWN_PATH = 120  # of a path
PLAIN = re.compile(r"[\w@+=:,./\\-]+")  # words that shells take as they are
ACTIVE = set('"$`\\!')  # what is more than a character within sh's double quotes
PLAIN_THERE = re.compile(r"[\w+:./\\-]+")  # the same of PowerShell, where @ and , are operators
SINGLE = re.compile("['\u2018\u2019\u201a\u201b]")  # quotes to PowerShell, all of them


class Range(NamedTuple):
    """The least and the most of a number, and what people choose."""

    low: float
    high: float
    usual: str = ""


def whole(name: str, value: int, low: int, high: int) -> int:
    """`value` as an int within `low` .. `high`, or RequestError; taken as `scalar` and the command line take it."""
    try:
        plain = scalar(value)
        count = int(plain) if isinstance(plain, str) else index(plain)
    except (TypeError, ValueError):
        raise RequestError(f"{name} must be a whole number, not {shown_value(value)}; choose {low} to {high}") from None
    if not low <= count <= high:
        raise RequestError(f"{name} {shown_value(count)} is out of range; choose {low} to {high}")
    return count


def number(name: str, value: float, low: float, high: float, usual: str = "") -> float:
    """`value` as a finite float within `low` .. `high`, or RequestError; `usual` says what people choose."""
    span = f"{low:g} to {high:g}" if math.isfinite(high) else f"{low:g} or more"
    hint = f"choose {span}{f' ({usual})' if usual else ''}"
    try:
        real = float(scalar(value))
    except (TypeError, ValueError, OverflowError):
        raise RequestError(f"{name} must be a number, not {shown_value(value)}; {hint}") from None
    if not math.isfinite(real) or not low <= real <= high:
        raise RequestError(f"{name} {real:g} is out of range; {hint}")
    return real


def scalar(value: Any) -> Any:
    """What `int` or `float` may be made of: a number, one of NumPy's, an array without dimensions, text.

    TypeError for flags, bytes and arrays, which Python would take for numbers.
    """
    plain = value.item() if getattr(value, "shape", None) == () else value
    if isinstance(plain, bool | bytes | bytearray) or (hasattr(plain, "__len__") and not isinstance(plain, str)):
        raise TypeError(f"{type(value).__name__} is no number")
    return plain


def is_number(value: Any) -> bool:
    """Whether a value read from a file is a number, which True is not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def wholes(values: list[Any], most: int) -> bool:
    """Whether all values read from a file are whole numbers from 1 to `most`."""
    return all(type(value) is int and 1 <= value <= most for value in values)


def items(value: Any, most: int) -> list[Any]:
    """The first `most` + 1 of a row of values; TypeError for what is none, as text, mappings and sets are not."""
    if isinstance(value, str | bytes | bytearray | Mapping | Set):
        raise TypeError(f"{type(value).__name__} is no list")
    return list(islice(iter(value), most + 1))


def flag(name: str, value: bool) -> bool:
    """`value` as True or False, or RequestError."""
    plain = value.item() if getattr(value, "shape", None) == () else value
    if not isinstance(plain, bool):
        raise RequestError(f"{name} must be true or false, not {shown_value(value)}; leave it out, or pass one of them")
    return plain


def one_of(name: str, value: str, choices: Iterable[str]) -> str:
    """`value` if it is one of the choices, or RequestError with the nearest of them."""
    names = list(choices)
    if isinstance(value, str) and value in names:
        return str(value)
    given = one_line(value, SHOWN)
    near = difflib.get_close_matches(given.lower().replace("+", "p"), names, n=1)
    hint = f"did you mean '{near[0]}'? " if near else ""
    raise RequestError(f"unknown {name} '{given}'; {hint}choose from {', '.join(names)}")


def one_line(value: object, most: int, end: bool = False) -> str:
    """A text as a message quotes it: printable, on one line, its first (with `end` its last) `most` characters."""
    text = str(value)
    words = (text[-4 * most :] if end else text[: 4 * most]).split()
    line = "".join(c if c.isprintable() else "?" for c in " ".join(words))
    if len(line) <= most:
        return line
    return f"...{line[-most:]}" if end else f"{line[:most]}..."


def shown_value(value: object) -> str:
    """A value as an error quotes it, on one line, cut where it is long."""
    return "that" if isinstance(value, int) and abs(value) >= 1 << 100 else one_line(repr(value), SHOWN)


def shown_path(path: object) -> str:
    """A file or folder as an error quotes it, on one line, its end where it is long."""
    return one_line(path, SHOWN_PATH, end=True)


def quoted(word: object) -> str:
    """A word as this system's shells take it, on one line; nothing in it is run, and no path is taken for an option."""
    text = "".join(c if c.isprintable() else "?" for c in str(word))
    if isinstance(word, PurePath) and text.startswith("-"):
        text = f".{os.sep}{text}"
    return quoted_for(shell(os.name, os.environ), text)


def shell(system: str, environment: Mapping[str, str]) -> str:
    """What reads typed commands: "sh" (also that which comes with Git for Windows), "cmd" or "powershell"."""
    if system != "nt" or "MSYSTEM" in environment:
        return "sh"
    return "cmd" if "PROMPT" in environment else "powershell"  # which cmd sets, and PowerShell does not


def quoted_for(shell: str, text: str) -> str:
    """A word as one of the three takes it."""
    if shell == "powershell":
        return text if PLAIN_THERE.fullmatch(text) else f"'{SINGLE.sub(twice, text)}'"
    if shell == "sh" and ACTIVE & set(text):
        return shlex.quote(text)
    return text if PLAIN.fullmatch(text) else '"' + text.replace('"', '""') + '"'


def twice(match: re.Match) -> str:
    return 2 * match[0]
