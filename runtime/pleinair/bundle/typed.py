"""JSON values turned into the frozen dataclasses that declare them."""

from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

MOST_ENTRIES = 20_000  # of a list

ValueReader = Callable[[Any, str], Any]


def build(kind: Any, value: Any, where: str) -> Any:
    """JSON value -> the type a field declares, `where` being its place in the file.

    Keys that no field has are left out. Raises ValueError, which names the place.
    """
    return _reader(kind)(value, where)


@cache
def _reader(kind: Any) -> ValueReader:
    """`build` of one type, about which everything is asked once: a manifest has thousands of values of few types."""
    origin, args = get_origin(kind), get_args(kind)
    if is_dataclass(kind):
        return _object_reader(kind)
    if origin is tuple:
        return _list_reader(_reader(args[0]))
    if origin is dict:
        return _dict_reader(_reader(args[1]))
    if origin in (Union, UnionType):
        return _union_reader(args)
    return _real_reader() if kind is float else _plain_reader(kind)


def _object_reader(kind: type) -> ValueReader:
    hints = get_type_hints(kind)
    readers = {f.name: _reader(hints[f.name]) for f in fields(kind)}
    needed = [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]

    def read(value: Any, where: str) -> Any:
        _check_object(value, where)
        for name in needed:
            if name not in value:
                raise ValueError(f"{where} lacks '{name}'")
        return kind(**{name: each(value[name], f"{where}: {name}") for name, each in readers.items() if name in value})

    return read


def _list_reader(entry: ValueReader) -> ValueReader:
    def read(value: Any, where: str) -> tuple:
        if not isinstance(value, list):
            raise ValueError(f"{where} is not a list")
        if len(value) > MOST_ENTRIES:
            raise ValueError(f"{where} has {len(value):,} entries, and at most {MOST_ENTRIES:,} are read")
        return tuple([entry(item, where) for item in value])

    return read


def _dict_reader(entry: ValueReader) -> ValueReader:
    def read(value: Any, where: str) -> dict:
        _check_object(value, where)
        return {str(key): entry(item, f"{where}: {key}") for key, item in value.items()}

    return read


def _union_reader(args: tuple[Any, ...]) -> ValueReader:
    kinds = tuple(each for each in args if each is not NoneType)
    only = _reader(kinds[0]) if len(kinds) == 1 else None

    def read(value: Any, where: str) -> Any:
        if value is None and NoneType in args:
            return None
        if only:
            return only(value, where)
        if isinstance(value, bool) or not isinstance(value, kinds):
            raise ValueError(f"{where} has the wrong type")
        return value

    return read


def _real_reader() -> ValueReader:
    plain = _plain_reader(float)

    def read(value: Any, where: str) -> float:
        if not isinstance(value, int) or isinstance(value, bool):
            return plain(value, where)
        try:
            return float(value)
        except OverflowError:
            raise ValueError(f"{where} is too large a number") from None

    return read


def _plain_reader(kind: type) -> ValueReader:
    def read(value: Any, where: str) -> Any:
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise ValueError(f"{where} should be {kind.__name__}")
        return value

    return read


def _check_object(value: Any, where: str) -> None:
    if not isinstance(value, dict):
        raise ValueError(f"{where} is not an object")
