"""What a caller may ask for, validated once, at the edge."""

import inspect
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from PIL.Image import Image

from pleinair.bundle.opening import Bundle, open_bundle
from pleinair.checks import flag, items, number, one_of, shown, whole
from pleinair.errors import Cancelled, RequestError
from pleinair.network.guidance import Guidance
from pleinair.pictures.masks import FILLS, MAX_RADIUS, open_mask
from pleinair.pictures.reading import Source, opaque, open_picture
from pleinair.pictures.seamless import AXES
from pleinair.pictures.vae import SIDES
from pleinair.sampling.grids import THRESHOLDED
from pleinair.sampling.laying import falling
from pleinair.sampling.names import named
from pleinair.sampling.noise import KINDS
from pleinair.sampling.samplers import OFF, RANGES, SAMPLERS
from pleinair.text.encoders import most_skipped
from pleinair.text.syntax import checked

SEED_LIMIT = 1 << 64  # what torch.Generator takes
MAX_SIDE = 4096
MAX_STEPS = 1000
MAX_COUNT = 10_000
MAX_HIRES = 8.0
MAX_FILES = 1000
ENLARGERS = ("latent", "lanczos")
NEEDS = {  # option -> what it means nothing without
    "subseed": "subseed_strength",
    "subseed_strength": "subseed",
    **dict.fromkeys(("hires_strength", "hires_steps", "hires_sampler", "hires_spacing", "enlarger"), "hires"),
    **dict.fromkeys(("fill", "mask_blur", "restore"), "mask"),
    "padding": "only_masked",
}
STRENGTH = 0.75  # how much of a picture is repainted where the caller does not say


class Options(TypedDict, total=False):
    """Options, each with what it is where it is left out; None is as good as left out.

    width = None              pixels; the bundle's, or what the picture to start from asks for
    height = None             likewise
    count = 1                 how many pictures, with consecutive seeds
    batch = 1                 pictures that share a network call

    sampler = None            "dpmpp_2m", or A1111's name: "DPM++ 2M Karras"; the bundle's
    spacing = None            timestep spacing, sigma schedule, or both: "trailing,karras"; the bundle's
    steps = None              1 to 1000; the bundle's
    sigmas = None             explicit falling noise levels, instead of steps and spacing
    timesteps = None          explicit falling timesteps, likewise
    eta = None                share of the noise that a stochastic sampler renews, 0 to 1; the sampler's own
    s_churn = 0.0             noise added before a step (euler, heun, dpm2), 0 to 1000
    s_noise = 1.0             scale of renewed noise, 0 to 10

    seed = None               the first of `count` seeds, or a list of them; random
    noise = "torch"           whose random numbers: torch, philox, numpy
    subseed = None            a second seed, whose noise is mixed in
    subseed_strength = 0.0    how much of it, 0 to 1

    clip_skip = 1             the text encoder's last layer; 2: the one before it
    embeddings = ()           files of textual inversions

    guidance = None           0 to 100, 1 or less turns it off; the bundle's
    rescale = 0.0             against overexposure, 0 to 1
    guidance_start = 0.0      share of the steps before which guidance is off
    guidance_end = 1.0        share of the steps after which it is off
    threshold = None          dynamic thresholding: a percentile, 0.5 to 1; the scheduler config's, or off
    parallel = 1.0            share kept of the guidance that only saturates, 0 to 1
    together = True           text and negative in one network call of twice the batch

    image = None              a picture to start from: path, bytes, PIL image or array
    strength = None           how much of it is repainted, 0 to 1; 0.75, or 1 where there is a mask
    mask = None               of the picture's size: white is repainted
    mask_blur = 4.0           its soft edge in pixels, 0 to 256
    fill = "original"         what lies under the mask at first: original, noise, blank
    only_masked = False       paint the masked region alone, at full size
    padding = 32              pixels around that region
    restore = True            put the unmasked pixels back as they were
    outpaint = None           pixels to add left, top, right, bottom

    hires = None              a second pass at this times the size, 1 to 8
    hires_strength = 0.5      how much that repaints, 0 to 1
    hires_steps = None        its steps; those of the first pass
    hires_sampler = None      its sampler; that of the first pass
    hires_spacing = None      its spacing; that of the first pass
    enlarger = "latent"       latent, lanczos, or the folder of an upscaler bundle
    upscale = None            the folder of an upscaler bundle, for the finished picture
    tile = False              borders that meet: True or "xy" for a texture, "x" or "y" for a panorama
    vae_tile = None           side in pixels of the VAE's tiles, 0 for none; by size

    stop = None               a function that is asked before every network call; True cancels
    """

    width: int | None
    height: int | None
    count: int
    batch: int
    sampler: str | None
    spacing: str | None
    steps: int | None
    sigmas: Sequence[float] | None
    timesteps: Sequence[float] | None
    eta: float | None
    s_churn: float
    s_noise: float
    seed: int | Sequence[int] | None
    noise: str
    subseed: int | None
    subseed_strength: float
    clip_skip: int
    embeddings: Sequence[str | Path]
    guidance: float | None
    rescale: float
    guidance_start: float
    guidance_end: float
    threshold: float | None
    parallel: float
    together: bool
    image: Source | None
    strength: float | None
    mask: Source | None
    mask_blur: float
    fill: str
    only_masked: bool
    padding: int
    restore: bool
    outpaint: Sequence[int] | None
    hires: float | None
    hires_strength: float
    hires_steps: int | None
    hires_sampler: str | None
    hires_spacing: str | None
    enlarger: str | Path
    upscale: str | Path | None
    tile: bool | str
    vae_tile: int | None
    stop: Callable[[], bool] | None


def lists_options(method: Callable) -> Callable:
    """Say in a method's docstring what `Options` says of each."""
    method.__doc__ = "\n\n".join(filter(None, map(inspect.getdoc, (method, Options))))
    return method


@dataclass(frozen=True)
class Walk:
    """How one pass goes through the noise."""

    sampler: str
    spacing: str | None
    steps: int
    sigmas: tuple[float, ...] | None
    timesteps: tuple[float, ...] | None
    eta: float | None
    s_churn: float
    s_noise: float


@dataclass(frozen=True)
class Randomness:
    """Where the noise comes from: one generator for each seed."""

    seeds: tuple[int, ...]
    noise: str
    subseed: int | None  # None too where nothing of it is mixed in
    subseed_strength: float


@dataclass(frozen=True)
class Canvas:
    """A picture to paint over. `mask` (white: repaint) has its size; without one, all of it is repainted."""

    image: Image
    mask: Image | None
    strength: float
    mask_blur: float
    fill: str
    only_masked: bool
    padding: int
    restore: bool
    outpaint: tuple[int, int, int, int] | None


@dataclass(frozen=True)
class Hires:
    """A second pass at `factor` times the size."""

    factor: float
    strength: float
    walk: Walk
    enlarger: str


@dataclass(frozen=True)
class Request:
    """One job, with nothing left open: as many pictures as there are seeds."""

    prompt: str
    negative: str | None  # None: nothing was said
    width: int
    height: int
    batch: int
    walk: Walk
    random: Randomness
    guidance: Guidance
    clip_skip: int
    embeddings: tuple[Path, ...]
    canvas: Canvas | None
    hires: Hires | None
    upscale: Path | None
    tile: str | None
    vae_tile: int | None
    idle: tuple[str, ...] = field(default=(), compare=False)  # warnings for options without effect
    stop: Callable[[], bool] = field(default=lambda: False, repr=False, compare=False)

    def check(self) -> None:
        """Raise Cancelled where the caller wants to stop."""
        if self.stop():
            raise Cancelled("cancelled; nothing is left half done, and the pipeline can be used again")

    @property
    def seeds(self) -> tuple[int, ...]:
        return self.random.seeds

    @property
    def upscalers(self) -> list[Path]:
        """The folders of the upscaler bundles that it names."""
        enlarger = self.hires.enlarger if self.hires else ENLARGERS[0]
        return [*([Path(enlarger)] if enlarger not in ENLARGERS else []), *filter(None, [self.upscale])]

    @property
    def task(self) -> str:
        """text2image, image2image or inpaint: what the bundle must be able to do."""
        if self.canvas is None:
            return "text2image"
        return "inpaint" if self.canvas.mask or self.canvas.outpaint else "image2image"


def resolve(bundle: Bundle, prompt: str, negative: str | None = None, **options: Any) -> Request:
    """Fill what is left out from the bundle's defaults and refuse what makes no sense.

    Takes `Options`; raises RequestError, BundleError for a task the bundle is not made for.
    """
    for name in options:
        one_of("option", name, Options.__annotations__)
    given = {name: value for name, value in options.items() if value is not None}
    defaults = bundle.manifest.defaults
    walk = _walk(bundle, given)
    canvas = _canvas(given)
    width, height = _size(bundle, given, canvas)
    random = _randomness(given)
    hires = _hires(bundle, given, walk, canvas, (width, height))
    if hires:
        walk, hires = _without(walk, hires.walk), replace(hires, walk=_without(hires.walk, walk))
    skips = most_skipped(bundle)
    request = Request(
        prompt=checked("prompt", _text("prompt", prompt)),
        negative=None if negative is None else checked("negative prompt", _text("negative prompt", negative)),
        width=width,
        height=height,
        batch=whole("batch", given.get("batch", 1), 1, MAX_COUNT),
        walk=walk,
        random=random,
        guidance=_guidance(given, defaults.guidance, bundle.scheduler_config, walk.sampler),
        clip_skip=whole("clip_skip", given.get("clip_skip", 1), 1, skips),
        embeddings=_files("embeddings", given.get("embeddings", ())),
        canvas=canvas,
        hires=hires,
        upscale=_upscaler("upscale", given["upscale"]) if "upscale" in given else None,
        tile=_tile(given.get("tile", False)),
        vae_tile=_vae_tile(given.get("vae_tile")),
        idle=tuple(_idle(given, random, canvas, hires)),
        **({"stop": _stop(given["stop"])} if "stop" in given else {}),
    )
    bundle.require(request.task)
    return request


def _idle(given: dict[str, Any], random: Randomness, canvas: Canvas | None, hires: Hires | None) -> Iterator[str]:
    """A warning for every option that does nothing without another one that was not given."""
    present = {
        "subseed": "subseed" in given,
        "subseed_strength": random.subseed is not None,
        "hires": hires is not None,
        "mask": canvas is not None and (canvas.mask or canvas.outpaint) is not None,
        "only_masked": canvas is not None and canvas.only_masked,
    }
    for name, needed in NEEDS.items():
        if name in given and not present[needed]:
            yield f"'{name}' has no effect without '{needed}'; leave it out or add that"


def _walk(bundle: Bundle, given: dict[str, Any]) -> Walk:
    defaults = bundle.manifest.defaults
    sampler, spacing = named(_text("sampler", given.get("sampler", defaults.sampler)))
    if "spacing" in given:
        spacing = _text("spacing", given["spacing"])
    sigmas, timesteps = (falling(name, given[name]) if name in given else None for name in ("sigmas", "timesteps"))
    if sigmas is not None and timesteps is not None:
        raise RequestError("sigmas and timesteps both say where the steps lie; give one of them")
    if sigmas is not None and sigmas[-1] > 0:
        sigmas = np.append(sigmas, 0.0)  # pictures end without noise
    steps = whole("steps", given.get("steps", defaults.steps), 1, MAX_STEPS)
    if sigmas is not None or timesteps is not None:
        listed = len(sigmas) - 1 if sigmas is not None else len(timesteps)
        if ("steps" in given and steps != listed) or "spacing" in given:
            raise RequestError("a list of sigmas or timesteps stands for steps and spacing; leave these out")
        steps, spacing = whole("steps", listed, 1, MAX_STEPS), None
    fresh = {name: number(name, given[name], *RANGES[name]) if name in given else off for name, off in OFF.items()}
    return Walk(
        sampler=sampler,
        spacing=spacing,
        steps=steps,
        sigmas=None if sigmas is None else tuple(map(float, sigmas)),
        timesteps=None if timesteps is None else tuple(map(float, timesteps)),
        **fresh,
    )


def _without(walk: Walk, other: Walk) -> Walk:
    """The walk of one pass without those of eta, s_churn and s_noise that only the other pass's sampler has."""
    own, others = SAMPLERS[walk.sampler].options, SAMPLERS[other.sampler].options
    return replace(walk, **{name: off for name, off in OFF.items() if name not in own and name in others})


def _randomness(given: dict[str, Any]) -> Randomness:
    subseed = whole("subseed", given["subseed"], 0, SEED_LIMIT - 1) if "subseed" in given else None
    strength = number("subseed_strength", given.get("subseed_strength", 0.0), 0, 1)
    return Randomness(
        seeds=_seeds(given.get("seed"), given.get("count", 1)),
        noise=one_of("noise", given.get("noise", KINDS[0]), KINDS),
        subseed=subseed if strength else None,
        subseed_strength=strength,
    )


def _guidance(given: dict[str, Any], default: float, config: dict[str, Any], sampler: str) -> Guidance:
    names = {"guidance": "scale", "guidance_start": "start", "guidance_end": "end"}
    same = ("rescale", "threshold", "parallel")
    told = {field: given[name] for name, field in {**names, **{name: name for name in same}}.items() if name in given}
    if config.get("thresholding") and "threshold" not in told and SAMPLERS[sampler].grid in THRESHOLDED:
        told["threshold"] = config.get("dynamic_thresholding_ratio", 0.995)
        told["ceiling"] = config.get("sample_max_value", 1.0)
    return Guidance(**{"scale": default, **told}, together=flag("together", given.get("together", True)))


def _canvas(given: dict[str, Any]) -> Canvas | None:
    if "image" not in given:
        alone = [name for name in ("strength", "mask", "outpaint") if name in given]
        alone += ["only_masked"] if flag("only_masked", given.get("only_masked", False)) else []
        if alone:
            raise RequestError(f"'{alone[0]}' is about a picture to start from; add one with --image")
        return None
    image = opaque(open_picture(given["image"]))
    mask = open_mask(given["mask"], image.size) if "mask" in given else None
    outpaint = _outpaint(given["outpaint"]) if "outpaint" in given else None
    if mask and outpaint:
        raise RequestError("a mask and outpainting cannot be had in one go; do one after the other")
    only_masked = flag("only_masked", given.get("only_masked", False))
    if only_masked and not mask:
        raise RequestError("only_masked needs to know what is masked; add --mask")
    inpaint = mask is not None or outpaint is not None
    return Canvas(
        image=image,
        mask=mask,
        strength=number("strength", given.get("strength", 1.0 if inpaint else STRENGTH), 0, 1),
        mask_blur=number("mask_blur", given.get("mask_blur", 4.0), 0, MAX_RADIUS),
        fill=one_of("fill", given.get("fill", FILLS[0]), FILLS),
        only_masked=only_masked,
        padding=whole("padding", given.get("padding", 32), 0, MAX_SIDE),
        restore=flag("restore", given.get("restore", True)),
        outpaint=outpaint,
    )


def _outpaint(value: Sequence[int]) -> tuple[int, int, int, int]:
    try:
        sides = tuple(whole("outpaint", each, 0, MAX_SIDE) for each in items(value, 4))
    except TypeError:
        sides = ()
    if len(sides) != 4 or not any(sides):
        raise RequestError("outpaint takes four numbers, the pixels to add left, top, right and bottom: 64,0,64,0")
    return sides


def _size(bundle: Bundle, given: dict[str, Any], canvas: Canvas | None) -> tuple[int, int]:
    """The size that is asked for, or the bundle's; a picture keeps its shape at the bundle's number of pixels."""
    defaults, multiple = bundle.manifest.defaults, bundle.manifest.latents.multiple
    width, height = defaults.width, defaults.height
    if canvas and canvas.outpaint:
        left, top, right, bottom = canvas.outpaint
        width, height = canvas.image.width + left + right, canvas.image.height + top + bottom
        width, height = (-(-side // multiple) * multiple for side in (width, height))
    elif canvas and not canvas.only_masked:
        scale = math.sqrt(defaults.width * defaults.height / (canvas.image.width * canvas.image.height))
        sides = (side * scale for side in canvas.image.size)
        width, height = (min(max(multiple, round(side / multiple) * multiple), MAX_SIDE) for side in sides)
    size = _side("width", given.get("width", width), multiple), _side("height", given.get("height", height), multiple)
    if canvas and canvas.outpaint and size != (width, height):
        raise RequestError("outpainting says how large the picture becomes; leave --size out")
    return size


def _hires(
    bundle: Bundle, given: dict[str, Any], walk: Walk, canvas: Canvas | None, size: tuple[int, int]
) -> Hires | None:
    if "hires" not in given:
        return None
    if canvas and (canvas.mask or canvas.outpaint):
        raise RequestError("a second pass has no mask; inpaint first, then paint the result larger with --image")
    factor, multiple = number("hires", given["hires"], 1, MAX_HIRES), bundle.manifest.latents.multiple
    for side in size:
        whole("hires side", round(side * factor / multiple) * multiple, multiple, MAX_SIDE)
    enlarger = _text("enlarger", str(given.get("enlarger", ENLARGERS[0])))
    if enlarger not in ENLARGERS:
        _upscaler("enlarger", enlarger)
    if enlarger != "latent":
        bundle.require("image2image")
    sampler, spacing = walk.sampler, walk.spacing
    if "hires_sampler" in given:
        sampler, spacing = named(_text("hires_sampler", given["hires_sampler"]))
    if "hires_spacing" in given:
        spacing = _text("hires_spacing", given["hires_spacing"])
    steps = whole("hires_steps", given.get("hires_steps", walk.steps), 1, MAX_STEPS)
    return Hires(
        factor=factor,
        strength=number("hires_strength", given.get("hires_strength", 0.5), 0, 1),
        walk=Walk(sampler, spacing, steps, None, None, walk.eta, walk.s_churn, walk.s_noise),
        enlarger=enlarger,
    )


def _upscaler(name: str, folder: str | Path) -> Path:
    """A folder that an upscaler bundle was opened from; BundleError for any other."""
    if not isinstance(folder, str | Path):
        raise RequestError(f"{name} must be the folder of an upscaler bundle, not {shown(folder)}; pass its path")
    open_bundle(folder).require("upscale")
    return Path(folder)


def _text(name: str, value: str) -> str:
    if not isinstance(value, str):
        raise RequestError(f"the {name} must be text, not {type(value).__name__}; pass a string")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise RequestError(f"the {name} is not valid Unicode; pass it as UTF-8 text") from None
    return str(value)


def _tile(value: bool | str) -> str | None:
    if isinstance(value, str):
        return one_of("tile", value, AXES)
    return AXES[0] if flag("tile", value) else None


def _vae_tile(value: int | None) -> int | None:
    """The side of the VAE's tiles; 0 stands for one larger than any picture."""
    if value is None:
        return None
    side = whole("vae_tile", value, 0, SIDES[1])
    if 0 < side < SIDES[0]:
        raise RequestError(f"vae_tile {side} is too small; choose {SIDES[0]} or more, or 0 for none")
    return side or SIDES[1]


def _stop(value: Callable[[], bool]) -> Callable[[], bool]:
    if not callable(value):
        raise RequestError(f"stop must be a function, not {shown(value)}; pass for example event.is_set")
    return value


def _files(name: str, value: Sequence[str | Path]) -> tuple[Path, ...]:
    try:
        files = items(value, MAX_FILES)
    except TypeError:
        files = [None]
    if not all(isinstance(each, str | Path) for each in files):
        raise RequestError(f"{name} must be a list of files; pass [file]")
    if len(files) > MAX_FILES:
        raise RequestError(f"there are more than {MAX_FILES} {name}; leave some out")
    return tuple(map(Path, files))


def _side(name: str, value: int, multiple: int) -> int:
    side = whole(name, value, multiple, MAX_SIDE)
    if side % multiple:
        near = max(multiple, round(side / multiple) * multiple)
        raise RequestError(f"{name} {side} is not a multiple of {multiple}; the nearest is {near}")
    return side


def _seeds(seed: int | Sequence[int] | None, count: int) -> tuple[int, ...]:
    count = whole("count", count, 1, MAX_COUNT)
    if seed is None:
        seed = int.from_bytes(os.urandom(4))
    try:
        listed = items(seed, MAX_COUNT)
    except TypeError:
        first = whole("seed", seed, 0, SEED_LIMIT - count)
        return tuple(range(first, first + count))
    seeds = tuple(whole("seed", each, 0, SEED_LIMIT - 1) for each in listed)
    if not seeds:
        raise RequestError("the list of seeds is empty; give one seed for each picture")
    if len(seeds) > MAX_COUNT:
        raise RequestError(f"there are more than {MAX_COUNT} seeds; give fewer at a time")
    if count not in (1, len(seeds)):
        raise RequestError(f"{len(seeds)} seeds and a count of {count} contradict each other; leave the count out")
    return seeds
