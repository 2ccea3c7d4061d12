"""What a caller may ask for, validated once, at the edge."""

import math
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypedDict

from pleinair.bundle import Bundle
from pleinair.checks import one_of, whole
from pleinair.errors import RequestError
from pleinair.sampling import SAMPLERS

SEED_LIMIT = 1 << 64  # what torch.Generator takes
MAX_SIDE = 4096
MAX_STEPS = 1000
MAX_COUNT = 10_000


class Options(TypedDict, total=False):
    """How a picture is to be made; what is left out or None is taken from the bundle."""

    width: int | None
    height: int | None
    sampler: str | None
    spacing: str | None  # timestep spacing, sigma schedule, or both: "trailing", "karras", "trailing,karras"
    steps: int | None
    guidance: float | None  # 1 or less turns it off
    seed: int | Sequence[int] | None  # the first of `count` consecutive seeds, or the list of them; random when None
    count: int
    batch: int  # pictures that share a network call


@dataclass(frozen=True)
class Request:
    """One job, with nothing left open: as many pictures as there are seeds."""

    prompt: str
    negative: str
    width: int
    height: int
    sampler: str
    spacing: str | None
    steps: int
    guidance: float
    seeds: tuple[int, ...]
    batch: int


def resolve(
    bundle: Bundle,
    prompt: str,
    negative: str = "",
    *,
    width: int | None = None,
    height: int | None = None,
    sampler: str | None = None,
    spacing: str | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    seed: int | Sequence[int] | None = None,
    count: int = 1,
    batch: int = 1,
) -> Request:
    """Fill what is None from the bundle's defaults and refuse what makes no sense, with RequestError."""
    defaults = bundle.manifest.defaults
    multiple = bundle.manifest.latents.downsample
    return Request(
        prompt=_text("prompt", prompt),
        negative=_text("negative prompt", negative),
        width=_side("width", defaults.width if width is None else width, multiple),
        height=_side("height", defaults.height if height is None else height, multiple),
        sampler=one_of("sampler", defaults.sampler if sampler is None else sampler, SAMPLERS),
        spacing=None if spacing is None else _text("spacing", spacing),
        steps=whole("steps", defaults.steps if steps is None else steps, 1, MAX_STEPS),
        guidance=_guidance(defaults.guidance if guidance is None else guidance),
        seeds=_seeds(seed, count),
        batch=whole("batch", batch, 1, MAX_COUNT),
    )


def _text(name: str, value: str) -> str:
    if not isinstance(value, str):
        raise RequestError(f"the {name} must be text, not {type(value).__name__}; pass a string")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise RequestError(f"the {name} is not valid Unicode; pass it as UTF-8 text") from None
    return value


def _side(name: str, value: int, multiple: int) -> int:
    number = whole(name, value, multiple, MAX_SIDE)
    if number % multiple:
        near = max(multiple, round(number / multiple) * multiple)
        raise RequestError(f"{name} {number} is not a multiple of {multiple}; the nearest is {near}")
    return number


def _guidance(value: float) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise RequestError(
            f"guidance must be a number, not {str(value)[:40]!r}; 1 turns it off, 7.5 is usual"
        ) from None
    if not math.isfinite(number) or not 0 <= number <= 100:
        raise RequestError(f"guidance {number:g} is out of range; choose 0 to 100 (1 turns it off, 7.5 is usual)")
    return number


def _seeds(seed: int | Sequence[int] | None, count: int) -> tuple[int, ...]:
    count = whole("count", count, 1, MAX_COUNT)
    if seed is None:
        seed = secrets.randbelow(1 << 32)
    if isinstance(seed, str) or not isinstance(seed, Iterable):
        first = whole("seed", seed, 0, SEED_LIMIT - count)
        return tuple(range(first, first + count))
    seeds = tuple(whole("seed", each, 0, SEED_LIMIT - 1) for each in seed)
    if not seeds:
        raise RequestError("the list of seeds is empty; give one seed for each picture")
    if count not in (1, len(seeds)):
        raise RequestError(f"{len(seeds)} seeds and a count of {count} contradict each other; leave the count out")
    return seeds
