"""What is given as a model, as the bundle that paints; what it takes to make that is said first."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from pleinair.bundle.opening import open_bundle
from pleinair.checks import shown_path
from pleinair.cli.terminal import say
from pleinair.library.given import made_ready, ready
from pleinair.request.loading import LOADING
from pleinair.sources.unsupported import source_of
from pleinair.system.home import models_folder


def at_hand(
    model: str | Path | None, engine: str | None = None, check: Callable[[], None] | None = None
) -> str | Path | None:
    """The bundle of a model, made at first use, after a `check` of all else; raises what `ready` does."""
    said = False
    with closing(ready(model, engine)) as steps:
        while True:
            try:
                step = next(steps)
            except StopIteration as end:
                return end.value
            if step.note:
                say(step.words)
            elif not said:
                if check:
                    check()
                what, folder = Path(model).name, models_folder()
                say(f"making a model of {step.total / 1e9:.2f} GB of '{what}' in '{shown_path(folder)}', this once")
                said = True


def refiner_at_hand(options: dict[str, Any], engine: str) -> dict[str, Any]:
    """Options of a job whose refiner, if they name one, is a bundle."""
    refiner = options.get("refiner")
    return options if refiner is None else options | {"refiner": at_hand(refiner, engine)}


def check_models(loading: dict[str, Any], refiner: str | Path | None = None) -> None:
    """Raise what opening a model raises for values that no model can be opened with, and for a refiner that is none."""
    for name, value in loading.items():
        if value is not None:
            LOADING[name].type.read(name, value)
    if refiner is not None and source_of(refiner) is None:
        open_bundle(made_ready(refiner), verify=False)
