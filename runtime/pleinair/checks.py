"""Checks of single values, shared by everything that takes them from a caller."""

import difflib
from collections.abc import Iterable
from operator import index

from pleinair.errors import RequestError


def whole(name: str, value: int, low: int, high: int) -> int:
    """`value` as an int within `low` .. `high`, or RequestError."""
    try:
        number = index(value)
    except TypeError:
        raise RequestError(f"{name} must be a whole number, not {value!r}; choose {low} to {high}") from None
    if not low <= number <= high:
        raise RequestError(f"{name} {number} is out of range; choose {low} to {high}")
    return number


def one_of(name: str, value: str, choices: Iterable[str]) -> str:
    """`value` if it is one of the choices, or RequestError with the nearest of them."""
    names = list(choices)
    if value in names:
        return value
    near = difflib.get_close_matches(str(value).lower().replace("+", "p"), names, n=1)
    hint = f"did you mean '{near[0]}'? " if near else ""
    raise RequestError(f"unknown {name} '{value}'; {hint}choose from {', '.join(names)}")
