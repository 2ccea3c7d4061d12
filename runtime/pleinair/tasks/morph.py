"""Walks through latent space: from prompt to prompt, from seed to seed, from picture to picture.

A frame between two keyframes is an ordinary picture whose embeddings, noise and start picture are mixed from theirs.
All of a picture's noise is mixed, that of stochastic samplers too, draw by draw: frames with one seed share it, so that
nothing flickers, and each keyframe is the very picture that `generate` makes.
"""

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from PIL import Image

from pleinair.checks import items, one_of, whole
from pleinair.errors import RequestError
from pleinair.network.guidance import Guide
from pleinair.pipeline import Pipeline
from pleinair.request.keywords import asked
from pleinair.request.request import Request, resolve
from pleinair.request.value_types import SEED_LIMIT
from pleinair.results import Frame
from pleinair.sampling.noise import NoiseSource
from pleinair.tasks.mixing import Between, check_mixable, mixed, mixed_latents


def linear(share: float) -> float:
    """Frames at equal distances."""
    return share


def smooth(share: float) -> float:
    """Frames that begin and end slowly (smoothstep)."""
    return share * share * (3 - 2 * share)


EASES: dict[str, Callable[[float], float]] = {"linear": linear, "smooth": smooth}
EVEN = "even"  # frames lie where the picture changes
ONE_FOR_ALL = ("mask", "outpaint", "hires", "refiner", "image")  # of one picture, and not to be walked between
MAX_FRAMES = 10_000
COARSE = 4  # intervals that an even walk looks at before it trusts its eyes
FINEST = 4  # how many times closer than on a linear walk frames may lie: a jump must not swallow the film
LOOK = 32  # side in pixels of the copies whose difference is measured


@dataclass(frozen=True)
class Key:
    """A keyframe, ready to be mixed."""

    request: Request
    guide: Callable[[int], Guide]
    generators: list[NoiseSource]  # not used for anything but encoding
    start: np.ndarray | None  # (1, C, h, w) latents of the picture it starts from
    warnings: tuple[str, ...] = ()  # about its prompts


def morph(
    pipe: Pipeline,
    prompts: str | Sequence[str],
    negative: str | None = None,
    *,
    seeds: Sequence[int] | None = None,
    images: Sequence[Any] = (),
    frames: int = 24,
    ease: str = EVEN,
    loop: bool = False,
    **options: Any,
) -> Iterator[Frame]:
    """Walk from keyframe to keyframe in `frames` pictures, and pass on every step; results come in the film's order.

    Keyframe i has prompt i, seed i and picture i; a list of one holds for all, and without `seeds` all have the same
    random one. Every keyframe is shown exactly. Frames between them are set out `linear`, `smooth` (slow at keyframes)
    or `even`: closest where the picture changes most, for which one segment is held in memory. `loop` goes on to the
    first keyframe again, and stops a frame before it. `options` are those of `generate`. Raises RequestError before
    anything is loaded.
    """
    ease = one_of("ease", ease, [EVEN, *EASES])
    requests = keyframes(pipe, prompts, negative, seeds, images, options)
    return between(pipe, requests, frames=frames, ease=ease, loop=loop)


def keyframes(
    pipe: Pipeline,
    prompts: str | Sequence[str],
    negative: str | None,
    seeds: Sequence[int] | None,
    images: Sequence[Any],
    options: dict[str, Any],
) -> list[Request]:
    """One request for each keyframe, all of one size; RequestError where the lists do not fit together."""
    lists = {
        "prompts": one_for_each("prompts", prompts, single=isinstance(prompts, str)),
        "seeds": one_for_each("seeds", () if seeds is None else seeds),
        "images": one_for_each("images", images, single=getattr(images, "ndim", 4) < 4),
    }
    prompts, options = lists["prompts"], asked(options)
    count = max(map(len, lists.values()))
    if count < 2:
        raise RequestError("a morph needs two keyframes; give two prompts, two --seeds or two --image")
    for name, values in lists.items():
        if len(values) not in ({1, count} if name == "prompts" else {0, 1, count}):
            raise RequestError(f"{len(values)} {name} do not fit {count} keyframes; give 1 for all of them, or {count}")
    for name in ONE_FOR_ALL:
        if options.get(name) is not None:
            raise RequestError(f"a morph cannot be combined with {name}; leave it out")
    if (
        options.get("count") is not None
        and whole("count", options["count"], 1, MAX_FRAMES) > 1
        or options.get("seed") is not None
    ):
        raise RequestError("a morph has one seed for each keyframe; give them with --seeds")
    if not lists["seeds"]:
        lists["seeds"] = list(resolve(pipe.bundle, prompts[0], negative).seeds)
    requests: list[Request] = []
    for place in range(count):
        here = {name: values[place % len(values)] for name, values in lists.items() if values}
        given = options | ({"image": here["images"]} if lists["images"] else {}) | {"seed": whole_seed(here["seeds"])}
        if requests:
            given |= {"width": requests[0].width, "height": requests[0].height}
        requests.append(resolve(pipe.bundle, here["prompts"], negative, **given))
        if requests[-1].loras != requests[0].loras:
            raise RequestError("the prompts of a morph name other LoRAs; give those of all frames with --lora")
    return requests


def between(
    pipe: Pipeline, requests: list[Request], *, frames: int = 24, ease: str = EVEN, loop: bool = False
) -> Iterator[Frame]:
    """Walk between the requests of `keyframes`, as `morph` does."""
    ease = one_of("ease", ease, [EVEN, *EASES])
    frames = whole("frames", frames, len(requests), MAX_FRAMES)
    return _walk(pipe, requests, frames, ease, loop)


def record(pipe: Pipeline, requests: list[Request], **shape: Any) -> dict[str, Any]:
    """The settings that a film's file holds: its first keyframe's, and as `morph` what differs between the keyframes.

    `shape` is how the film was asked for (frames, ease, loop ...), JSON values only.
    """
    keys = [pipe.settings(request, request.seeds) for request in requests]
    images = {"images_sha256": [key["image_sha256"] for key in keys]} if "image_sha256" in keys[0] else {}
    told = {"prompts": [key["prompt"] for key in keys], "seeds": [key["seeds"][0] for key in keys], **images}
    return {**keys[0], "morph": {**told, **shape}}


def whole_seed(seed: int) -> int:
    """One seed, where `resolve` would take a list too."""
    return whole("seed", seed, 0, SEED_LIMIT - 1)


def one_for_each(name: str, values: Any, single: bool = False) -> list[Any]:
    """What the keyframes are told, as a list; a `single` value holds for all of them."""
    try:
        return [values] if single else items(values, MAX_FRAMES)
    except TypeError:
        raise RequestError(
            f"{name} must be a list, not a {type(values).__name__}; give one for each keyframe"
        ) from None


def _walk(pipe: Pipeline, requests: list[Request], frames: int, ease: str, loop: bool) -> Iterator[Frame]:
    keys = [ready(pipe, request) for request in requests]
    if loop:
        keys.append(keys[0])
    for a, b in pairwise(keys):
        check_mixable(a.guide(0), b.guide(0))
    marks = [round(place * (frames - 1 + loop) / (len(keys) - 1)) for place in range(len(keys))]
    left = yield from _painted(pipe, keys[0], keys[0], 0.0)
    first = left
    yield left
    for place, (a, b) in enumerate(pairwise(keys)):
        back = loop and place == len(keys) - 2
        count = marks[place + 1] - marks[place]
        if ease == EVEN:
            right = first if back else (yield from _painted(pipe, a, b, 1.0))
            yield from (yield from _evenly(pipe, a, b, left, right, count))
        else:
            for step in range(1, count):
                yield (yield from _painted(pipe, a, b, EASES[ease](step / count)))
            right = first if back else (yield from _painted(pipe, a, b, 1.0))
        if not back:
            yield right
        left = right


def _evenly(pipe: Pipeline, a: Key, b: Key, left: Frame, right: Frame, count: int) -> Iterator[list[Frame]]:
    """Paint `count` - 1 frames, each in the middle of the gap across which the picture changes most; returns them."""
    found = {0.0: left, 1.0: right}
    while len(found) < count + 1:
        gaps = []
        for low, high in pairwise(sorted(found)):
            width = high - low
            if width > 1 / min(COARSE, count):
                gaps.append((np.inf, width, low, high))
            elif width / 2 >= 1 / (FINEST * count):
                gaps.append((difference(found[low], found[high]), width, low, high))
        *_, low, high = max(gaps)
        middle = (low + high) / 2
        found[middle] = yield from _painted(pipe, a, b, middle)
    return [found[share] for share in sorted(found)[1:-1]]


def _painted(pipe: Pipeline, a: Key, b: Key, share: float) -> Iterator[Frame]:
    """Paint the frame that lies `share` of the way from a to b; yields its steps, returns the frame with its result."""
    last = None
    for frame in frame_between(pipe, a, b, share):
        if frame.result is None:
            yield frame
        else:
            told = {*a.warnings, *b.warnings} - {*frame.result.warnings}
            last = replace(frame, result=replace(frame.result, warnings=(*frame.result.warnings, *sorted(told))))
    return last


def frame_between(pipe: Pipeline, a: Key, b: Key, share: float) -> Iterator[Frame]:
    """The steps and the result of the picture `share` of the way from keyframe a to b; a and b are exact at 0 and 1."""
    near = a if share < 0.5 else b
    if share in (0.0, 1.0):
        return pipe.walk(near.request, generators=deepcopy(near.generators), guide=near.guide, start=near.start)
    pairs = zip(deepcopy(a.generators), deepcopy(b.generators), strict=True)
    return pipe.walk(
        near.request,
        generators=[Between(*pair, share) for pair in pairs],
        guide=lambda step: mixed(a.guide(step), b.guide(step), share),
        start=None if a.start is None else mixed_latents(a.start, b.start, share),
    )


def ready(pipe: Pipeline, request: Request) -> Key:
    """Read a keyframe's prompts and encode its picture, in the order in which `generate` draws noise."""
    generators = pipe.generators(request)
    start = pipe.encoded(request, generators)
    conditioning = pipe.read(request)
    return Key(request, conditioning.at, generators, start, tuple(conditioning.warnings))


def difference(a: Frame, b: Frame) -> float:
    """How far apart two finished frames look: the root mean square of small copies, in 8-bit levels."""
    small = [
        np.asarray(frame.result.images[0].resize((LOOK, LOOK), Image.Resampling.BOX), np.float32) for frame in (a, b)
    ]
    return float(np.sqrt(((small[0] - small[1]) ** 2).mean()))
