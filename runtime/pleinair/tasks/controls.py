"""The ControlNets of a picture that is made again: as recorded, with pictures that are given, and bundles at hand."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pleinair.checks import shown_path
from pleinair.errors import RequestError
from pleinair.files.foreign.record import shown
from pleinair.request.controls import Control
from pleinair.request.options import OPTIONS
from pleinair.system.home import is_name

HOW = ("strength", "start", "end", "guess", "prepare")  # of a Control, as records have it


def recalled(file: str | Path, recorded: Any, given: Any) -> tuple[Control, ...] | None:
    """The ControlNets that a record names, each with one of the given pictures, in their order.

    A bundle that is not given with its picture is looked for among the models, by its name. Raises RequestError where
    there are more or fewer pictures than ControlNets.
    """
    named = [each for each in recorded if isinstance(each, Mapping)] if isinstance(recorded, list) else []
    here = OPTIONS["controls"].type.read("controls", given) if given else ()
    if len(here) == len(named):
        return tuple(map(remade, named, here)) or None
    if not named:
        raise RequestError(f"'{shown_path(file)}' was made without --control; leave it out")
    raise RequestError(
        f"'{shown_path(file)}' was made with {names(named)}, whose pictures no record holds; give --control"
        " [BUNDLE:]IMAGE for each"
    )


def names(named: Sequence[Mapping[str, Any]]) -> str:
    """The ControlNets of a record, in words."""
    return f"the ControlNet{'s' if len(named) > 1 else ''} {', '.join(shown(each.get('model')) for each in named[:8])}"


def remade(named: Mapping[str, Any], given: Control) -> Control:
    """A ControlNet as it was followed, with the picture that is given."""
    model = named.get("model")
    found = Path(model) if isinstance(model, str) and is_name(model) else None
    how = {name: named[name] for name in HOW if named.get(name) is not None}
    return replace(given, model=given.model or found, **how)
