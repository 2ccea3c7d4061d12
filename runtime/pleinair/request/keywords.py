"""Options as Python's callers and the lines of lists say them: keyword arguments."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from pleinair.checks import one_of
from pleinair.errors import RequestError
from pleinair.pictures.reading import PictureSource
from pleinair.request.controls import Control
from pleinair.request.options import OPTIONS, PARAMETERS
from pleinair.request.value_types import ValueType


class Options(TypedDict, total=False):
    """Keyword arguments of `Pipeline.generate`, whose docstring says what each is; None is as good as left out."""

    size: str | None
    count: int
    panorama: bool
    width: int | None
    height: int | None
    tile: bool | str
    seed: int | Sequence[int] | str | None
    noise: str
    subseed: int | None
    subseed_strength: float
    batch: int
    vae_tile: int | None
    stop: Callable[[], bool] | None
    sampler: str | None
    spacing: str | None
    steps: int | None
    sigmas: Sequence[float] | str | None
    timesteps: Sequence[float] | str | None
    eta: float | None
    s_churn: float
    s_noise: float
    clip_skip: int
    embeddings: Sequence[str | Path]
    speed: str
    reuse: float
    wide_steps: int
    guidance: float | None
    rescale: float
    guidance_start: float
    guidance_end: float
    threshold: float | None
    parallel: float
    two_calls: bool
    image_guidance: float | None
    image: PictureSource | None
    strength: float | None
    mask: PictureSource | None
    mask_blur: float
    fill: str
    only_masked: bool
    padding: int
    restore: bool
    outpaint: Sequence[int] | str | None
    hires: float | str | None
    hires_strength: float
    enlarger: str | Path
    hires_steps: int | None
    hires_sampler: str | None
    hires_spacing: str | None
    hires_eta: float | None
    hires_s_churn: float | None
    hires_s_noise: float | None
    refiner: str | Path | None
    refiner_start: float
    upscale: str | Path | None
    vae: str | Path | None
    preview_vae: str | Path | None
    loras: Sequence[str | Path | tuple[str | Path, float]]
    controls: Sequence[Control | Mapping[str, Any] | str]


def asked(options: Mapping[str, Any], **kinds: ValueType) -> dict[str, Any]:
    """What is given of a caller's options, checked, with what shorthands stand for; RequestError for an unknown name.

    `kinds` are those that a bundle narrows.
    """
    known = [name for name in OPTIONS if name not in PARAMETERS]
    for name in options:
        one_of("option", name, known)
    given = {
        name: kinds.get(name, OPTIONS[name].type).read(name, value)
        for name, value in options.items()
        if value is not None
    }
    if "size" in given:
        if "width" in given or "height" in given:
            raise RequestError("size stands for width and height; leave one or the other out")
        given["width"], given["height"] = given.pop("size")
    if given.pop("panorama", False):
        given["tile"] = "x" if given.get("tile") in (None, "x") else "xy"
    return given
