"""Kinds of options that name files and folders."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pleinair.checks import items, shown_value
from pleinair.errors import RequestError
from pleinair.request.value_types import ValueType, text

MAX_FILES = 1000


@dataclass(frozen=True)
class FileList(ValueType):
    """A list of files."""

    typed_as: ClassVar[type] = list[Path]
    file: ClassVar[bool] = True

    def read(self, name: str, value: Any) -> tuple[Path, ...]:
        try:
            files = items(value, MAX_FILES)
        except TypeError:
            files = [None]
        if not all(isinstance(each, str | Path) for each in files):
            raise RequestError(f"{name} must be a list of files; pass [file]")
        if len(files) > MAX_FILES:
            raise RequestError(f"there are more than {MAX_FILES} {name}; leave some out")
        return tuple(map(Path, files))

    def schema(self) -> dict[str, Any]:
        return {"type": "array", "items": {"type": "string"}, "maxItems": MAX_FILES}


@dataclass(frozen=True)
class Folder(ValueType):
    """The folder of a bundle, or a model's name."""

    typed_as: ClassVar[type] = Path
    file: ClassVar[bool] = True

    def read(self, name: str, value: Any) -> Path:
        return Path(folder(name, value))


@dataclass(frozen=True)
class Enlarger(ValueType):
    """One of the choices, or the folder of an upscaler bundle."""

    choices: tuple[str, ...]

    def read(self, name: str, value: Any) -> str:
        return text(name, str(folder(name, value)))


@dataclass(frozen=True)
class InputPicture(ValueType):
    """A picture: path, bytes, PIL image or array. It is opened by whoever knows what for."""

    typed_as: ClassVar[type] = Path
    file: ClassVar[bool] = True


def folder(name: str, value: Any) -> str | Path:
    if not isinstance(value, str | Path):
        raise RequestError(f"{name} must be the folder of a bundle, not {shown_value(value)}; pass its path")
    return value
