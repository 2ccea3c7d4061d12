"""Kinds of options: how a value is checked and converted, how a command line is told it, and what it is in JSON."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from pleinair.checks import flag, items, number, one_of, shown_value, whole
from pleinair.errors import RequestError
from pleinair.pictures.seamless import AXES
from pleinair.sampling.laying import falling
from pleinair.text.syntax import checked

SEED_LIMIT = 1 << 64  # what torch.Generator takes
MAX_COUNT = 10_000


class ValueType:
    """What all kinds have, as most of them have it."""

    typed_as: ClassVar[type] = str  # what the command line takes
    choices: tuple[str, ...] = ()  # what a shell offers
    file: ClassVar[bool] = False  # whether it names a file, which no record does
    json: ClassVar[bool] = True  # whether it can be written

    def read(self, name: str, value: Any) -> Any:
        """The value as a request has it; RequestError, which names the option, for what is none of this kind."""
        return value

    def span(self) -> str:
        """What may be chosen, in words; empty where the option's help says it."""
        return ""

    def schema(self) -> dict[str, Any]:
        """The kind in JSON, as a JSON schema has it."""
        return {"type": "string"}


@dataclass(frozen=True)
class Whole(ValueType):
    """A whole number."""

    low: int
    high: int
    typed_as: ClassVar[type] = int

    def read(self, name: str, value: Any) -> int:
        return whole(name, value, self.low, self.high)

    def span(self) -> str:
        return f"{self.low} to {self.high}" if self.high < SEED_LIMIT - 1 else f"{self.low} or more"

    def schema(self) -> dict[str, Any]:
        return {"type": "integer", "minimum": self.low, "maximum": self.high}


@dataclass(frozen=True)
class Real(ValueType):
    """A number; `usual` says in an error what people choose."""

    low: float
    high: float
    usual: str = ""
    typed_as: ClassVar[type] = float

    def read(self, name: str, value: Any) -> float:
        return number(name, value, self.low, self.high, self.usual)

    def span(self) -> str:
        return f"{self.low:g} to {self.high:g}"

    def schema(self) -> dict[str, Any]:
        return {"type": "number", "minimum": self.low, "maximum": self.high}


SHARE = Real(0, 1)


@dataclass(frozen=True)
class Factor(Real):
    """A number that may be written 2x."""

    typed_as: ClassVar[type] = str

    def read(self, name: str, value: Any) -> float:
        return super().read(name, value.strip().lower().removesuffix("x") if isinstance(value, str) else value)


@dataclass(frozen=True)
class Flag(ValueType):
    """True or False."""

    typed_as: ClassVar[type] = bool

    def read(self, name: str, value: Any) -> bool:
        return flag(name, value)

    def schema(self) -> dict[str, Any]:
        return {"type": "boolean"}


@dataclass(frozen=True)
class Words(ValueType):
    """Any text; the choices are offered, and whoever uses it knows more names."""

    choices: tuple[str, ...] = ()

    def read(self, name: str, value: Any) -> str:
        return text(name, value)


@dataclass(frozen=True)
class Prompt(ValueType):
    """What to paint, or what to keep out."""

    label: str

    def read(self, name: str, value: Any) -> str:
        return checked(self.label, text(self.label, value))


@dataclass(frozen=True)
class Choice(ValueType):
    """One of a few names."""

    choices: tuple[str, ...]

    def read(self, name: str, value: Any) -> str:
        return one_of(name, value, self.choices)

    def span(self) -> str:
        return ", ".join(self.choices)

    def schema(self) -> dict[str, Any]:
        return {"enum": list(self.choices)}


@dataclass(frozen=True)
class Axes(ValueType):
    """Where borders meet: True is the first of the choices."""

    choices: tuple[str, ...] = AXES
    typed_as: ClassVar[type] = bool

    def read(self, name: str, value: Any) -> str | None:
        if isinstance(value, str):
            return one_of(name, value, self.choices)
        return self.choices[0] if flag(name, value) else None

    def span(self) -> str:
        return ", ".join(["True", *self.choices])

    def schema(self) -> dict[str, Any]:
        return {"enum": [True, False, *self.choices]}


@dataclass(frozen=True)
class Size(ValueType):
    """Width and height in pixels, written 640x480."""

    def read(self, name: str, value: Any) -> tuple[int, int]:
        return parse_size(text(name, value))


@dataclass(frozen=True)
class Falling(ValueType):
    """Numbers that fall, as a list or as text: 14.6,3.2,0.7."""

    def read(self, name: str, value: Any) -> tuple[float, ...]:
        return tuple(map(float, falling(name, parts(value))))

    def schema(self) -> dict[str, Any]:
        return {"type": "array", "items": {"type": "number", "minimum": 0}}


@dataclass(frozen=True)
class Sides(ValueType):
    """Pixels at the left, top, right and bottom, as a list or as text: 64,0,64,0."""

    most: int

    def read(self, name: str, value: Any) -> tuple[int, ...]:
        try:
            sides = tuple(whole(name, each, 0, self.most) for each in items(parts(value), 4))
        except TypeError:
            sides = ()
        if len(sides) != 4 or not any(sides):
            raise RequestError(f"{name} takes four numbers, the pixels to add left, top, right and bottom: 64,0,64,0")
        return sides

    def schema(self) -> dict[str, Any]:
        return {"type": "array", "items": Whole(0, self.most).schema(), "minItems": 4, "maxItems": 4}


@dataclass(frozen=True)
class Seeds(ValueType):
    """The first of the seeds, or a list of them, which may be text: 7,3,12."""

    def read(self, name: str, value: Any) -> int | tuple[int, ...]:
        listed = parts(value) if isinstance(value, str) and "," in value else value
        try:
            seeds = items(listed, MAX_COUNT)
        except TypeError:
            return whole(name, value, 0, SEED_LIMIT - 1)
        if not seeds:
            raise RequestError("the list of seeds is empty; give one seed for each picture")
        if len(seeds) > MAX_COUNT:
            raise RequestError(f"there are more than {MAX_COUNT} seeds; give fewer at a time")
        return tuple(whole(name, each, 0, SEED_LIMIT - 1) for each in seeds)

    def schema(self) -> dict[str, Any]:
        one = Whole(0, SEED_LIMIT - 1).schema()
        return {"anyOf": [one, {"type": "array", "items": one, "minItems": 1, "maxItems": MAX_COUNT}]}


@dataclass(frozen=True)
class Function(ValueType):
    """A function without arguments that answers True or False; Python alone has it."""

    json: ClassVar[bool] = False

    def read(self, name: str, value: Any) -> Callable[[], bool]:
        if not callable(value):
            raise RequestError(f"{name} must be a function, not {shown_value(value)}; pass for example event.is_set")
        return value


def text(name: str, value: Any) -> str:
    """A text that can be written in UTF-8, or RequestError."""
    if not isinstance(value, str):
        raise RequestError(f"the {name} must be text, not {type(value).__name__}; pass a string")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise RequestError(f"the {name} is not valid Unicode; pass it as UTF-8 text") from None
    return str(value)


def parts(value: Any) -> Any:
    """'14.6,3.2' -> ['14.6', '3.2']; anything but text is returned as it is."""
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


def parse_size(size: str) -> tuple[int, int]:
    """'512x768' -> (512, 768)."""
    width, _, height = size.lower().partition("x")
    if not (width.isascii() and width.isdigit() and height.isascii() and height.isdigit() and len(size) < 20):
        raise RequestError(f"size '{size[:40]}' is not WIDTHxHEIGHT; write for example 512x512")
    return int(width), int(height)
