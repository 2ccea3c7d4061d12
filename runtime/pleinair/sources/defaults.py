"""What a bundle paints with unless told: a model's habits and its maker's wishes, tried out on a path."""

from pathlib import Path
from typing import Any

from pleinair.bundle.manifest import MAX_SIDE, Defaults
from pleinair.checks import one_line, shown_value, whole
from pleinair.errors import BundleError, ExportError, RequestError
from pleinair.request.options import OPTIONS
from pleinair.sampling.configured import make_solver
from pleinair.sampling.laying import falling, make_path
from pleinair.sampling.names import default_sampler, sampler_named
from pleinair.sampling.predictions import prediction_type
from pleinair.sampling.samplers import SAMPLERS
from pleinair.sampling.scheduler_config import check_config
from pleinair.sources.describing import Described
from pleinair.sources.schedulers import habits
from pleinair.sources.settings import check_wishes
from pleinair.sources.weight_files import DOWNLOAD


def settled(path: Path, model: Described, scheduler: dict[str, Any], wishes: dict[str, Any]) -> Defaults:
    """What a bundle paints with unless told: the model's habits and the `wishes` of its maker, tried out on a path.

    Raises ExportError for wishes that every picture would fail with, and for scheduler configs that cannot be walked.
    """
    check_wishes(wishes)
    factor = model.factor
    height, width = (side * factor for side in model.size)
    try:
        scheduler = check_config(scheduler)
        sampler = own_sampler(wishes["sampler"]) if "sampler" in wishes else known_sampler(path, scheduler)
        own = habits(model, scheduler)
        prediction_type(scheduler)
        timesteps = wishes.get("timesteps", None if "steps" in wishes else own.timesteps)
        timesteps = None if timesteps is None else tuple(map(float, falling("timesteps", timesteps)))
        steps = wishes.get("steps", own.steps if timesteps is None else len(timesteps))
        defaults = Defaults(
            width=pixels("width", wishes.get("width", width), model.multiple, model.longest),
            height=pixels("height", wishes.get("height", height), model.multiple, model.longest),
            sampler=sampler,
            steps=OPTIONS["steps"].type.read("steps", steps),
            guidance=OPTIONS["guidance"].type.read("guidance", wishes.get("guidance", own.guidance)),
            image_guidance=OPTIONS["image_guidance"].type.read(
                "image_guidance", wishes.get("image_guidance", Defaults.image_guidance)
            ),
            timesteps=timesteps,
        )
        if timesteps and len(timesteps) != steps:
            raise RequestError(
                f"{len(timesteps)} timesteps and {steps} steps contradict each other; leave the steps out"
            )
        make_solver(sampler, scheduler)
        patches = (defaults.width // model.multiple) * (defaults.height // model.multiple)
        make_path(scheduler, SAMPLERS[sampler].grid, defaults.steps, None, timesteps=timesteps, patches=patches)
    except ExportError:
        raise
    except (RequestError, BundleError) as error:
        raise ExportError(
            f"a bundle of '{one_line(path.name, 80)}' could not paint: {one_line(error.reason, 160)};"
            f" {one_line(error.remedy, 300)}"
        ) from None
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
        raise ExportError(
            f"the scheduler config of '{one_line(path.name, 80)}' cannot be read ({one_line(error, 80)}); {DOWNLOAD}"
        ) from None
    return defaults


def known_sampler(path: Path, scheduler: dict[str, Any]) -> str:
    """The sampler of a scheduler config; ExportError, with how to name one, for a class that is not known."""
    try:
        return default_sampler(scheduler)
    except BundleError:
        raise ExportError(
            f"the scheduler class of '{one_line(path.name, 80)}', {shown_value(scheduler.get('_class_name'))}, is not"
            " known; name the sampler to paint with: --sampler dpmpp_2m",
            option="--sampler dpmpp_2m",
        ) from None


def own_sampler(name: str) -> str:
    """A sampler by its own name or another tool's; RequestError for none, and for one that names a spacing too."""
    sampler, spacing = sampler_named(name)
    if spacing:
        raise RequestError(f"a default sampler has no spacing, as '{one_line(name, 40)}' has; choose {sampler}")
    return sampler


def pixels(name: str, value: int, factor: int, most: int | None) -> int:
    """Pixels along one side of a picture; RequestError for no multiple of `factor`, and for more than `most`."""
    if whole(name, value, factor, min(MAX_SIDE, most or MAX_SIDE)) % factor:
        raise RequestError(f"{name} {shown_value(value)} is not a multiple of {factor}; choose one that is")
    return value
