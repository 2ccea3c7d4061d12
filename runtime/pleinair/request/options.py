"""The table of options: everything that a caller may ask for, each in one line of one group.

The command line, Python's keyword arguments, the lines of lists, the checks, the record in a picture, A1111's text,
`rerun`, docs/options.md and the JSON schema are made of it. A new option is one line here and the place that uses it:
the field of its group is a field of the request. `Options` repeats the names for editors, and a test compares the two.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypedDict

from PIL.Image import Image

from pleinair.checks import one_of
from pleinair.errors import RequestError
from pleinair.network import guidance
from pleinair.pictures.masks import FILLS, MAX_RADIUS
from pleinair.pictures.reading import Source
from pleinair.pictures.vae import SIDES
from pleinair.request.kinds import (
    MAX_COUNT,
    SEED_LIMIT,
    Axes,
    Choice,
    Enlarger,
    Factor,
    Falling,
    Files,
    Flag,
    Folder,
    Function,
    InputPicture,
    Kind,
    Prompt,
    Real,
    Seeds,
    Sides,
    Size,
    Whole,
    Words,
)
from pleinair.sampling.noise import KINDS
from pleinair.sampling.samplers import RANGES, SAMPLERS
from pleinair.sampling.spacings import SPACINGS

MIN_SIDE = 8
MAX_SIDE = 4096
MAX_STEPS = 1000
MAX_HIRES = 8.0
MAX_SKIP = 100
ENLARGERS = ("latent", "lanczos")
STRENGTH = 0.75  # how much of a picture is repainted where the caller does not say

SIDE, PASS, SHARE = Whole(MIN_SIDE, MAX_SIDE), Whole(1, MAX_STEPS), Real(0, 1)
SAMPLER, SPACING = Words(tuple(SAMPLERS)), Words(SPACINGS)
ETA, S_CHURN, S_NOISE = (Real(*RANGES[name]) for name in ("eta", "s_churn", "s_noise"))
GUIDING = {name: Real(*limits) for name, limits in guidance.RANGES.items()}
MODELS, FIRST = "the model's", "the first pass's"
MASKED, SECOND = ("mask", "outpaint"), ("hires",)


@dataclass(frozen=True)
class Option:
    """One thing that a caller may ask for."""

    kind: Kind
    help: str
    default: Any  # where it is left out; None where that depends on something, which `usual` names
    usual: str = ""
    name: str = ""  # as callers say it; that of the field where none is given
    flag: str | None = ""  # --name, --no-name for what is on by default; None where the command line has none
    needs: tuple[str, ...] = ()  # the options without any of which it means nothing
    a1111: str = ""  # its field in A1111's text
    kept: bool = False  # recorded at its default too
    by_sampler: bool = False  # whether only some samplers have it
    group: type | None = None
    field: str = ""  # of its group

    @property
    def panel(self) -> str:
        """Where the command line's help shows it."""
        return GROUPS[self.group][0]

    def of(self, request: Any) -> Any:
        """What a request has of it; its default where the request lacks its group, or holds what it stands for."""
        path = GROUPS[self.group][1]
        if path is None:
            return self.default
        for name in path:
            request = getattr(request, name)
            if request is None:
                return self.default
        return getattr(request, self.field)


def option(default: Any, kind: Kind, help: str, *, compare: bool = True, **more: Any) -> Any:
    """A field of a group that is an option; `more` are the fields of `Option`."""
    return field(default=default, compare=compare, metadata={"option": Option(kind, help, default, **more)})


@dataclass(frozen=True)
class Shorthand:
    """What only stands for something else: a request holds that."""

    size: str = option(None, Size(), "WIDTHxHEIGHT in pixels.", usual=MODELS)
    count: int = option(1, Whole(1, MAX_COUNT), "How many pictures, with consecutive seeds.")
    panorama: bool = option(False, Flag(), "Left and right meet.")


@dataclass(frozen=True)
class Picture:
    """How large pictures are, and where their borders meet."""

    width: int = option(None, SIDE, "Pixels from left to right.", usual=MODELS, flag=None)
    height: int = option(None, SIDE, "Pixels from top to bottom.", usual=MODELS, flag=None)
    tile: str | None = option(None, Axes(), "A texture: all borders meet.", a1111="Tiling")


@dataclass(frozen=True)
class Randomness:
    """Where the noise comes from: one generator for each seed."""

    seeds: tuple[int, ...] = option(None, Seeds(), "First seed, or all of them: 7,3,12.", usual="random", name="seed")
    noise: str = option(
        KINDS[0], Choice(KINDS), "Whose random numbers, philox being A1111's NV.", a1111="RNG", kept=True
    )
    subseed: int | None = option(
        None,
        Whole(0, SEED_LIMIT - 1),
        "A second seed, whose noise is mixed in.",
        needs=("subseed_strength",),
        a1111="Variation seed",
    )
    subseed_strength: float = option(0.0, SHARE, "How much of it.", needs=("subseed",), a1111="Variation seed strength")


@dataclass(frozen=True)
class Work:
    """How the work is done; but for the last bits, it changes no picture."""

    batch: int = option(1, Whole(1, MAX_COUNT), "Pictures in one network call.", kept=True)
    vae_tile: int | None = option(
        None, Whole(0, SIDES[1]), "Side in pixels of the VAE's tiles, 0 to cut none.", usual="by size"
    )
    stop: Callable[[], bool] | None = option(
        None, Function(), "A function that is asked before every network call; True cancels.", flag=None, compare=False
    )


@dataclass(frozen=True)
class Steps:
    """How one pass goes through the noise."""

    sampler: str = option(
        None, SAMPLER, f"One of: {', '.join(SAMPLERS)}; or A1111's name for it.", usual=MODELS, a1111="Sampler"
    )
    spacing: str | None = option(
        None, SPACING, f"Any of: {', '.join(SPACINGS)}; comma-separated.", usual=MODELS, a1111="Schedule type"
    )
    count: int = option(None, PASS, "Denoising steps.", usual=MODELS, name="steps", a1111="Steps")
    sigmas: tuple[float, ...] | None = option(None, Falling(), "Noise levels instead: 14.6,3.2,0.7.", a1111="Sigmas")
    timesteps: tuple[float, ...] | None = option(None, Falling(), "Timesteps instead: 999,600,200.", a1111="Timesteps")
    eta: float | None = option(
        None, ETA, "Share of the noise that is renewed.", usual="the sampler's", a1111="Eta", by_sampler=True
    )
    s_churn: float = option(0.0, S_CHURN, "Noise added before a step.", a1111="Sigma churn", by_sampler=True)
    s_noise: float = option(1.0, S_NOISE, "Scale of renewed noise.", a1111="Sigma noise", by_sampler=True)


@dataclass(frozen=True)
class Text:
    """What is painted, and how its words are read."""

    prompt: str = option("", Prompt("prompt"), "What to paint.", flag=None, kept=True)
    negative: str | None = option(None, Prompt("negative prompt"), "What to keep out of the picture.")
    clip_skip: int = option(1, Whole(1, MAX_SKIP), "The text encoder's layer, counted from its end.", a1111="Clip skip")
    embeddings: tuple[Path, ...] = option(
        (), Files(), "Textual inversion file; may be repeated.", flag="--embedding", a1111="TI hashes"
    )


@dataclass(frozen=True)
class Guiding:
    """How the network is made to follow the text: the fields of `network.guidance.Guidance`."""

    scale: float = option(
        None,
        GUIDING["scale"],
        "How strictly to follow the prompt; 1 turns it off.",
        usual=MODELS,
        name="guidance",
        a1111="CFG scale",
    )
    rescale: float = option(0.0, GUIDING["rescale"], "Against overexposure.", a1111="CFG rescale")
    start: float = option(
        0.0,
        GUIDING["start"],
        "Share of the steps before guidance begins.",
        name="guidance_start",
        a1111="Guidance start",
    )
    end: float = option(
        1.0, GUIDING["end"], "Share of the steps after which it ends.", name="guidance_end", a1111="Guidance end"
    )
    threshold: float | None = option(
        None, GUIDING["threshold"], "Dynamic thresholding: the percentile that counts as the reach."
    )
    parallel: float = option(1.0, GUIDING["parallel"], "Share kept of the guidance that only saturates.")
    two_calls: bool = option(False, Flag(), "Ask the network twice a step: less memory.")
    image: float | None = option(
        None,
        GUIDING["image"],
        "How strictly to keep to the picture, of models that edit pictures.",
        usual=MODELS,
        name="image_guidance",
        needs=("image",),
    )


@dataclass(frozen=True)
class Canvas:
    """A picture to paint over. `mask` (white: repaint) has its size; without one, all of it is repainted."""

    image: Image = option(None, InputPicture(), "A picture to start from.")
    strength: float = option(
        None,
        SHARE,
        "How much of it is repainted.",
        usual=f"{STRENGTH}; 1 with a mask or outpaint",
        needs=("image",),
        a1111="Denoising strength",
    )
    mask: Image | None = option(None, InputPicture(), "White is repainted; of the picture's size.", needs=("image",))
    mask_blur: float = option(
        4.0, Real(0, MAX_RADIUS), "Soft edge of the mask in pixels.", needs=MASKED, a1111="Mask blur", kept=True
    )
    fill: str = option(
        FILLS[0], Choice(FILLS), "What lies under the mask.", needs=MASKED, a1111="Masked content", kept=True
    )
    only_masked: bool = option(
        False, Flag(), "Paint the masked region alone, in full size.", needs=("mask",), a1111="Inpaint area"
    )
    padding: int = option(32, Whole(0, MAX_SIDE), "Pixels around that region.", needs=("only_masked",), kept=True)
    restore: bool = option(True, Flag(), "Put the unmasked pixels back as they were.", needs=MASKED, kept=True)
    outpaint: tuple[int, int, int, int] | None = option(
        None, Sides(MAX_SIDE), "Pixels to add: LEFT,TOP,RIGHT,BOTTOM.", needs=("image",)
    )


@dataclass(frozen=True)
class Hires:
    """A second pass at `factor` times the size."""

    factor: float = option(
        None, Factor(1, MAX_HIRES), "Paint again at a multiple of the size: 2x.", name="hires", a1111="Hires upscale"
    )
    strength: float = option(
        0.5,
        SHARE,
        "How much the second pass repaints.",
        name="hires_strength",
        needs=SECOND,
        a1111="Denoising strength",
        kept=True,
    )
    enlarger: str = option(
        ENLARGERS[0],
        Enlarger(ENLARGERS),
        f"{', '.join(ENLARGERS)} or an upscaler bundle.",
        needs=SECOND,
        a1111="Hires upscaler",
        kept=True,
    )
    steps: Steps = field(kw_only=True)


@dataclass(frozen=True)
class SecondPass:
    """What the steps of a second pass have of their own."""

    count: int = option(None, PASS, "Its steps.", usual=FIRST, name="hires_steps", needs=SECOND, a1111="Hires steps")
    sampler: str = option(
        None, SAMPLER, "Its sampler.", usual=FIRST, name="hires_sampler", needs=SECOND, a1111="Hires sampler"
    )
    spacing: str = option(None, SPACING, "Its spacing.", usual=FIRST, name="hires_spacing", needs=SECOND)
    eta: float = option(None, ETA, "Its eta.", usual=FIRST, name="hires_eta", needs=SECOND, by_sampler=True)
    s_churn: float = option(
        None, S_CHURN, "Its s_churn.", usual=FIRST, name="hires_s_churn", needs=SECOND, by_sampler=True
    )
    s_noise: float = option(
        None, S_NOISE, "Its s_noise.", usual=FIRST, name="hires_s_noise", needs=SECOND, by_sampler=True
    )


@dataclass(frozen=True)
class Refining:
    """A second model that takes over where little noise is left."""

    bundle: Path = option(None, Folder(), "Bundle that paints the last steps, as SDXL's refiner.", name="refiner")
    start: float = option(
        0.8, SHARE, "Share of the timesteps before it takes over.", name="refiner_start", needs=("refiner",), kept=True
    )


@dataclass(frozen=True)
class Finish:
    """What becomes of finished pictures."""

    upscale: Path | None = option(None, Folder(), "Upscaler bundle for the finished picture.")


GROUPS = {  # group -> panel of the command line's help, and where a request has it
    Shorthand: ("Picture", None),
    Picture: ("Picture", ()),
    Randomness: ("Picture", ("random",)),
    Work: ("Picture", ()),
    Steps: ("Steps", ("steps",)),
    Text: ("Text", ()),
    Guiding: ("Guidance", ("guidance",)),
    Canvas: ("Start from a picture", ("canvas",)),
    Hires: ("Larger pictures", ("hires",)),
    SecondPass: ("Larger pictures", ("hires", "steps")),
    Refining: ("Steps", ("refining",)),
    Finish: ("Larger pictures", ()),
}


def _options() -> Iterator[Option]:
    """What the fields of the groups say, with their names and flags."""
    for group in GROUPS:
        for each in fields(group):
            found = each.metadata.get("option")
            if found:
                name = found.name or each.name
                negated = "no-" if found.default is True else ""
                flag = f"--{negated}{name.replace('_', '-')}" if found.flag == "" else found.flag
                yield replace(found, name=name, flag=flag, group=group, field=each.name)


OPTIONS = {each.name: each for each in _options()}
BY_SAMPLER = {name: each for name, each in OPTIONS.items() if each.by_sampler and each.group is Steps}
PARAMETERS = ("prompt", "negative")  # which Python has beside the options


def asked(options: Mapping[str, Any], **kinds: Kind) -> dict[str, Any]:
    """What is given of a caller's options, checked, with what shorthands stand for; RequestError for an unknown name.

    `kinds` are those that a bundle narrows.
    """
    known = [name for name in OPTIONS if name not in PARAMETERS]
    for name in options:
        one_of("option", name, known)
    given = {
        name: kinds.get(name, OPTIONS[name].kind).read(name, value)
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


def values(group: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """Field -> value of a group's options; the default of what is not given."""
    return {each.field: given.get(name, each.default) for name, each in OPTIONS.items() if each.group is group}


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
    guidance: float | None
    rescale: float
    guidance_start: float
    guidance_end: float
    threshold: float | None
    parallel: float
    two_calls: bool
    image_guidance: float | None
    image: Source | None
    strength: float | None
    mask: Source | None
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
