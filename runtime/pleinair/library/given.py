"""What is given as a model, in any of its forms, as the bundle that paints: one rule for all that takes a model."""

from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pleinair.request.options import OPTIONS
from pleinair.request.vae_names import OWN
from pleinair.sources.unsupported import pulled_as, refuse_model, source_of

if TYPE_CHECKING:
    from pleinair.pouring.pour import PourProgress

BESIDE = ("refiner", "vae", "preview_vae")


def ready(model: str | Path | None, engine: str | None = None) -> Generator["PourProgress", None, str | Path | None]:
    """The folder or name of a bundle: a file and a diffusers folder are poured at first use, and found again.

    Yields what pouring yields. Raises what pouring raises, and BundleError, with what leads on, for all else that is no
    bundle.
    """
    source = None if model is None else source_of(model)
    if source is not None:
        from pleinair.library.poured import bundle_of  # which takes as long to import as all the rest

        return (yield from bundle_of(source, engine))
    kept = None if model is None else pulled_as(model)
    if kept is None:
        refuse_model(model)
    return kept or model


def with_models(
    options: dict[str, Any],
    engine: str | None = None,
    ready: Callable[[str | Path, str | None], str | Path] | None = None,
) -> dict[str, Any]:
    """Options of a job in which each model that they name, a refiner, a VAE or a ControlNet, is a bundle.

    `ready` makes them, in place of `made_ready`.
    """
    make = ready or made_ready
    found = options | {name: make(options[name], engine) for name in named_models(options)}
    if found.get("controls"):
        named = OPTIONS["controls"].type.read("controls", found["controls"])
        found["controls"] = tuple(
            control if control.model is None else replace(control, model=make(control.model, engine))
            for control in named
        )
    return found


def named_models(options: Mapping[str, Any]) -> list[str]:
    """The options that name one model beside the one that paints."""
    return [name for name in BESIDE if isinstance(options.get(name), str | Path) and options[name] != OWN]


def made_ready(model: str | Path | None, engine: str | None = None) -> str | Path | None:
    """The same without a word."""
    steps = ready(model, engine)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value
