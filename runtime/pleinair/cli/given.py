"""What is given as a model, as the bundle that paints; what it takes to make that is said first."""

from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from pleinair.bundle.opening import open_bundle
from pleinair.checks import shown_path
from pleinair.cli.terminal import say
from pleinair.library.given import made_ready, named_models, ready, with_models
from pleinair.request.loading import LOADING
from pleinair.request.vaes import open_vae_bundle
from pleinair.sources.unsupported import source_of
from pleinair.system.home import models_folder

CHECKS = {"vae": open_vae_bundle, "preview_vae": open_vae_bundle}  # options -> what opens the bundle that they name


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
                say(f"making a model of {step.total / 1e9:.2f} GB from '{what}' in '{shown_path(folder)}', just once")
                said = True


def models_at_hand(options: dict[str, Any], engine: str) -> dict[str, Any]:
    """Options of a job in which each model that they name, a refiner, a VAE or a ControlNet, is a bundle."""
    return with_models(options, engine, at_hand)


def check_models(loading: dict[str, Any], options: Mapping[str, Any]) -> None:
    """Raise what opening models raises for values that none opens with, and for those that `options` name in vain."""
    for name, value in loading.items():
        if value is not None:
            LOADING[name].type.read(name, value)
    for name in named_models(options):
        if source_of(options[name]) is None:
            CHECKS.get(name, open_bundle)(made_ready(options[name]))
    with_models({"controls": options.get("controls")}, None, opened)


def opened(model: str | Path, engine: str | None) -> str | Path:
    """The folder of a bundle, which is opened, or a model that is made into one later."""
    if source_of(model) is None:
        open_bundle(made_ready(model), verify=False)
    return model
