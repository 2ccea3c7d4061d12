"""What is given as a model, as the bundle that paints; what it takes to make that is said first."""

from pathlib import Path
from typing import Any

from pleinair.cli.terminal import say
from pleinair.library.given import ready
from pleinair.system.home import models_folder


def at_hand(model: str | Path | None, engine: str | None = None) -> str | Path | None:
    """The bundle of a model, made at first use; raises what `ready` does."""
    steps, said = ready(model, engine), False
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            return end.value
        if step.note:
            say(step.words)
        elif not said:
            what, folder = Path(model).name, models_folder()
            say(f"making a model of {step.total / 1e9:.2f} GB of '{what}' in '{folder}', this once")
            said = True


def refiner_at_hand(options: dict[str, Any], engine: str) -> dict[str, Any]:
    """Options of a job whose refiner, if they name one, is a bundle."""
    refiner = options.get("refiner")
    return options if refiner is None else options | {"refiner": at_hand(refiner, engine)}
