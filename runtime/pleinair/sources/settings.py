"""pleinair.json, with which the maker of a model says how it is to be painted with."""

import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pleinair.bundle.manifest import Defaults, Sizes
from pleinair.bundle.manifest_checks import LONGEST_WORD, MOST_WORDS, is_vocabulary, suits
from pleinair.checks import one_line, shown_value
from pleinair.errors import ExportError
from pleinair.sources.hub_cache import usual_name
from pleinair.system.files import CONFIG, read_json

SETTINGS = "pleinair.json"
ACCEPTED = {
    int: int,
    float: (int, float),
    str: str,
    tuple[float, ...] | None: (list, tuple),
}  # type of a default -> as given


@dataclass(frozen=True)
class Settings:
    """What an optional pleinair.json in the folder says; `defaults` are still to be checked against the model.

    {"name": "my model", "defaults": {"guidance": 4.0}, "vocabulary": ["house"], "sizes": {"smallest": 384, "largest":
    768}}: all words that the model knows, and the sides, in pixels, that it paints well.
    """

    name: str
    defaults: dict[str, Any]
    vocabulary: tuple[str, ...]
    sizes: Sizes | None


def read_settings(path: Path) -> Settings:
    """Read pleinair.json; raises ExportError for what no bundle may say."""
    file = path / SETTINGS
    given = read_json(file, CONFIG, ExportError, f"correct {SETTINGS}") if file.exists() else {}
    name, defaults = given.pop("name", bundle_name(usual_name(path))), given.pop("defaults", {})
    vocabulary, sizes = given.pop("vocabulary", []), given.pop("sizes", None)
    if given:
        known = "name, defaults, vocabulary and sizes"
        raise ExportError(f"{SETTINGS} has an unknown key '{one_line(next(iter(given)), 40)}'; use {known}")
    if not isinstance(name, str) or name != one_line(name, 100) or not name or re.search(r"[\\/:]", name):
        raise ExportError(
            f"the name of the model is {shown_value(name)}; give {SETTINGS} a name of at most 100 characters, without"
            " / \\ :"
        )
    if not isinstance(defaults, dict):
        raise ExportError(
            f'the defaults in {SETTINGS} are {shown_value(defaults)}; write an object like {{"steps": 8}}'
        )
    return Settings(name, defaults, claimed_words(vocabulary), claimed_sizes(sizes))


def bundle_name(text: str) -> str:
    """A title, or the name of a file or folder, as a bundle may be called."""
    return one_line(re.sub(r"[\\/:]", "-", text), 90) or "model"


def claimed_words(vocabulary: Any) -> tuple[str, ...]:
    words = isinstance(vocabulary, list) and all(isinstance(word, str) for word in vocabulary)
    if not words or not is_vocabulary(vocabulary):
        raise ExportError(
            f"{SETTINGS} has a vocabulary that is not a list of words; give at most {MOST_WORDS:,} of them,"
            f" each of at most {LONGEST_WORD} printable characters"
        )
    return tuple(vocabulary)


def claimed_sizes(sizes: Any) -> Sizes | None:
    if sizes is None:
        return None
    names = [each.name for each in fields(Sizes)]
    numbers = isinstance(sizes, dict) and [*sizes] == names and all(type(side) is int for side in sizes.values())
    if not numbers or not suits(Sizes(**sizes)):
        raise ExportError(f"{SETTINGS} has impossible sizes; give {' and '.join(names)}, whole numbers of pixels")
    return Sizes(**sizes)


def check_sides(sizes: Sizes | None, defaults: Defaults) -> None:
    """Raise ExportError where the default size is none of those that the model is said to paint well."""
    if sizes is not None and not suits(sizes, defaults.width, defaults.height):
        raise ExportError(
            f"{SETTINGS} leaves the default size of {defaults.width}x{defaults.height} out of its sizes"
            f" ({sizes.smallest} to {sizes.largest}); correct one of them"
        )


def check_wishes(wishes: dict[str, Any]) -> None:
    """Raise ExportError for a default that no bundle has, and for one of a wrong type."""
    kinds = {each.name: each.type for each in fields(Defaults)}
    for key, value in wishes.items():
        accepted = ACCEPTED.get(kinds.get(key), ())
        if not isinstance(value, accepted) or isinstance(value, bool):
            raise ExportError(
                f"{SETTINGS} cannot set '{one_line(key, 40)}' to {shown_value(value)}; choose from: {', '.join(kinds)}"
            )
