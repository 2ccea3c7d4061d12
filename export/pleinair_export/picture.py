"""A whole picture: what a finished bundle paints on each engine, to be held against torch's."""

from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pleinair.bundle.opening import Bundle, open_bundle
from pleinair.checks import one_line
from pleinair.engines.engine import engine_named
from pleinair.errors import BundleError, EngineError, QualityError
from pleinair.pipeline import Pipeline
from pleinair_export.check import GATES, psnr, remedy
from pleinair_export.progress import ExportProgress
from pleinair_export.quiet import quiet
from pleinair_export.tokenizer import PROMPTS

STEPS = 3


def paint_by_engine(
    stage: Path, form: str, weights: str, size: tuple[int, int]
) -> Generator[ExportProgress, None, np.ndarray]:
    """The picture (1, height, width, 3) of a bundle on the engine of a format, after one of the default size.

    Raises QualityError where there is none.
    """
    yield ExportProgress("picture", f"{form}: paint")
    bundle = open_bundle(stage)
    usual = bundle.manifest.defaults.height, bundle.manifest.defaults.width
    try:
        pipe = Pipeline(bundle, engine_named(form), precision="f32", memory="low")
        if usual != size:
            paint(pipe, usual, steps=1)
        return paint(pipe, size)
    except (BundleError, EngineError) as error:
        raise QualityError(
            f"the bundle cannot paint on {form} ({one_line(error, 160)}); nothing was written: {remedy(weights)}"
        ) from error


def require(form: str, weights: str, expected: np.ndarray, found: np.ndarray) -> float:
    """How near a picture is to torch's, in dB; raises QualityError for one below its gate."""
    near, gate = psnr(expected, found), GATES[weights].picture_db
    if near < gate:
        raise QualityError(
            f"a picture ({form}, {weights}) is {near:.1f} dB from torch's and the gate is {gate:.0f} dB;"
            f" nothing was written: {remedy(weights)}"
        )
    return near


def paint(pipe: Pipeline, size: tuple[int, int], steps: int = STEPS) -> np.ndarray:
    """A picture (1, height, width, 3) in few steps."""
    height, width = size
    with quiet():
        made = pipe.generate(PROMPTS[0], seed=1, steps=steps, width=width, height=height, **ground(pipe.bundle, size))
    return made.pixels


def ground(bundle: Bundle, size: tuple[int, int]) -> dict[str, Any]:
    """For a model made to paint over pictures, one of gradients and, where it wants one, a mask over its left half."""
    tasks = bundle.manifest.tasks
    if "text2image" in tasks:
        return {}
    height, width = size
    given: dict[str, Any] = {"image": Image.radial_gradient("L").resize((width, height)).convert("RGB")}
    if "image2image" in tasks:
        given["strength"] = 1.0
    elif "inpaint" in tasks:
        given["mask"] = Image.new("L", (width, height))
        given["mask"].paste(255, (0, 0, width // 2, height))
    return given
