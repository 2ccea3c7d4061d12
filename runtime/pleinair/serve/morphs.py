"""Morphs as jobs: what one is asked for, checked, and its frames, each of which is a picture of the job."""

from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

from pleinair.bundle.opening import Bundle
from pleinair.checks import flag, one_of, whole
from pleinair.errors import RequestError
from pleinair.pipeline import Pipeline
from pleinair.request.request import Request
from pleinair.results import Frame
from pleinair.tasks.morph import EASES, EVEN, between, keyframes

SHAPE = ("prompts", "seeds", "frames", "ease", "loop")  # of a body, beside the options of its frames
FEWEST = 2


def morph_shape(given: Mapping[str, Any], most: int) -> dict[str, Any]:
    """The fields of SHAPE that a body has, with what the others are where they are left out."""
    prompts = given.get("prompts")
    if not isinstance(prompts, list) or not all(isinstance(each, str) for each in prompts):
        raise RequestError('prompts must be a list of texts; send for example ["a meadow", "a meadow in winter"]')
    if len(prompts) > most:
        raise RequestError(f"a morph has at most {most} prompts, not {len(prompts)}; send fewer")
    return {
        "prompts": prompts,
        "seeds": given.get("seeds"),
        "frames": whole("frames", given.get("frames", 24), max(FEWEST, len(prompts)), most),
        "ease": one_of("ease", given.get("ease", EVEN), [EVEN, *EASES]),
        "loop": flag("loop", given.get("loop", False)),
    }


def morph_keys(bundle: Bundle, shape: Mapping[str, Any], options: Mapping[str, Any]) -> list[Request]:
    """The requests of a morph's keyframes; nothing is loaded for them."""
    others = {name: value for name, value in options.items() if name not in ("prompt", "negative")}
    unloaded = SimpleNamespace(bundle=bundle)
    return keyframes(unloaded, shape["prompts"], options.get("negative"), shape["seeds"], (), others)


def morph_frames(pipe: Pipeline, keys: list[Request], shape: Mapping[str, Any]) -> Iterator[Frame]:
    """The steps and the pictures of a morph."""
    return between(pipe, keys, frames=shape["frames"], ease=shape["ease"], loop=shape["loop"])
