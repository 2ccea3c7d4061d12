"""JSON values turned into the frozen dataclasses that declare them."""

from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

MOST_ENTRIES = 20_000  # of a list

_hints = cache(get_type_hints)


def build(kind: Any, value: Any, where: str) -> Any:
    """JSON value -> the type a field declares, `where` being its place in the file.

    Keys that no field has are left out. Raises ValueError, which names the place.
    """
    origin, args = get_origin(kind), get_args(kind)
    if is_dataclass(kind):
        if not isinstance(value, dict):
            raise ValueError(f"{where} is not an object")
        missing = [f.name for f in fields(kind) if f.name not in value and f.default is MISSING]
        if missing:
            raise ValueError(f"{where} lacks '{missing[0]}'")
        hints = _hints(kind)
        present = [f.name for f in fields(kind) if f.name in value]
        return kind(**{name: build(hints[name], value[name], f"{where}: {name}") for name in present})
    if origin is tuple:
        if not isinstance(value, list):
            raise ValueError(f"{where} is not a list")
        if len(value) > MOST_ENTRIES:
            raise ValueError(f"{where} has {len(value):,} entries, and at most {MOST_ENTRIES:,} are read")
        return tuple(build(args[0], item, where) for item in value)
    if origin is dict:
        if not isinstance(value, dict):
            raise ValueError(f"{where} is not an object")
        return {str(key): build(args[1], item, f"{where}: {key}") for key, item in value.items()}
    if origin in (Union, UnionType):
        if NoneType in args and value is None:
            return None
        kinds = [each for each in args if each is not NoneType]
        if len(kinds) == 1:
            return build(kinds[0], value, where)
        if isinstance(value, bool) or not isinstance(value, tuple(kinds)):
            raise ValueError(f"{where} has the wrong type")
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return _real(value, where)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"{where} should be {kind.__name__}")
    return value


def _real(value: int, where: str) -> float:
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{where} is too large a number") from None
