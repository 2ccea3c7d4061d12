"""The table of options: everything that a caller may ask for, each in one line of one group.

The command line, Python's keyword arguments, the lines of lists, the checks, the record in a picture, A1111's text,
`rerun`, docs/options.md and the JSON schema are made of it. A new option is one line in a group, and the place that
uses it: the field of its group is a field of the request. The groups of passes stand in `pass_options.py`, those of
models and files beside the model in `add_ons.py`, all others here. `keywords.py` repeats the names for editors; a test
compares the two.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from PIL.Image import Image

from pleinair.bundle.manifest import MAX_SIDE
from pleinair.network import guidance
from pleinair.network.guidance import Guidance
from pleinair.pictures.masks import FILLS, MAX_RADIUS
from pleinair.pictures.vae import SIDES
from pleinair.request.add_ons import AddOns, Finish, OtherVaes, Refining
from pleinair.request.file_types import FileList, InputPicture
from pleinair.request.option import MODELS, option, options_of
from pleinair.request.pass_options import Hires, Saving, SecondPass, Steps
from pleinair.request.value_types import (
    MAX_COUNT,
    SEED_LIMIT,
    SHARE,
    Axes,
    Choice,
    Flag,
    Function,
    Prompt,
    Real,
    Seeds,
    Sides,
    Size,
    Whole,
)
from pleinair.sampling.noise import NOISES

MIN_SIDE = 8
MAX_SKIP = 100
STRENGTH = 0.75  # how much of a picture is repainted where the caller does not say

SIDE = Whole(MIN_SIDE, MAX_SIDE)
GUIDING = {name: Real(*limits) for name, limits in guidance.RANGES.items()}
MASKED = ("mask", "outpaint")


@dataclass(frozen=True)
class Shorthand:
    """What only stands for something else: a request holds that."""

    size: str = option(None, Size(), "WIDTHxHEIGHT in pixels.", usual=MODELS)
    count: int = option(1, Whole(1, MAX_COUNT), "How many pictures, with consecutive seeds.")
    panorama: bool = option(False, Flag(), "Make the left and right edges meet (a panorama).")


@dataclass(frozen=True)
class Picture:
    """How large pictures are, and where their borders meet."""

    width: int = option(None, SIDE, "Pixels from left to right.", usual=MODELS, flag=None)
    height: int = option(None, SIDE, "Pixels from top to bottom.", usual=MODELS, flag=None)
    tile: str | None = option(
        None, Axes(), "Make all edges meet, as in a texture.", a1111="Tiling", a1111_values={True: True}
    )


@dataclass(frozen=True)
class Randomness:
    """Where the noise comes from: one generator for each seed."""

    seeds: tuple[int, ...] = option(None, Seeds(), "First seed, or all of them: 7,3,12.", usual="random", name="seed")
    noise: str = option(
        NOISES[0],
        Choice(NOISES),
        "Source of the random numbers; philox is A1111's NV.",
        a1111="RNG",
        a1111_values={"torch": "CPU", "philox": "NV", "numpy": "NumPy"},
        recorded=True,
    )
    subseed: int | None = option(
        None,
        Whole(0, SEED_LIMIT - 1),
        "A second seed; its noise is mixed in.",
        needs=("subseed_strength",),
        a1111="Variation seed",
    )
    subseed_strength: float = option(
        0.0, SHARE, "Share of the second seed's noise.", needs=("subseed",), a1111="Variation seed strength"
    )


@dataclass(frozen=True)
class Work:
    """How the work is done; but for the last bits, it changes no picture."""

    batch: int = option(1, Whole(1, MAX_COUNT), "Pictures in one network call.", recorded=True)
    vae_tile: int | None = option(
        None, Whole(0, SIDES[1]), "Side of the VAE's tiles in pixels; 0 for no tiles.", usual="by size"
    )
    stop: Callable[[], bool] | None = option(
        None, Function(), "A function that is called before every network call; True cancels.", flag=None, compare=False
    )


@dataclass(frozen=True)
class Text:
    """What is painted, and how its words are read."""

    prompt: str = option("", Prompt("prompt"), "What to paint.", flag=None, recorded=True)
    negative: str | None = option(None, Prompt("negative prompt"), "What to keep out of the picture.")
    clip_skip: int = option(1, Whole(1, MAX_SKIP), "The text encoder's layer, counted from its end.", a1111="Clip skip")
    embeddings: tuple[Path, ...] = option(
        (), FileList(), "Textual inversion file; may be repeated.", flag="--embedding", a1111="TI hashes"
    )


@dataclass(frozen=True)
class Guiding:
    """How the network is made to follow the text: the fields of `network.guidance.Guidance`, and its defaults."""

    scale: float = option(
        None,
        GUIDING["scale"],
        "How strictly to follow the prompt; 1 turns it off.",
        usual=MODELS,
        name="guidance",
        a1111="CFG scale",
    )
    rescale: float = option(
        Guidance.rescale, GUIDING["rescale"], "How much to reduce overexposure.", a1111="CFG rescale"
    )
    start: float = option(
        Guidance.start,
        GUIDING["start"],
        "Share of the steps before guidance begins.",
        name="guidance_start",
        a1111="Guidance start",
    )
    end: float = option(
        Guidance.end,
        GUIDING["end"],
        "Share of the steps after which guidance ends.",
        name="guidance_end",
        a1111="Guidance end",
    )
    threshold: float | None = option(
        Guidance.threshold,
        GUIDING["threshold"],
        "Dynamic thresholding: the share of values that must stay within the limit.",
    )
    parallel: float = option(
        Guidance.parallel,
        GUIDING["parallel"],
        "How much to keep of the part of guidance that only strengthens colours.",
    )
    two_calls: bool = option(Guidance.two_calls, Flag(), "Call the network twice a step, to save memory.")
    image: float | None = option(
        Guidance.image,
        GUIDING["image"],
        "How strictly to keep to the picture, for models that edit pictures.",
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
    mask: Image | None = option(
        None, InputPicture(), "A mask of the same size as the picture; white is repainted.", needs=("image",)
    )
    mask_blur: float = option(
        4.0, Real(0, MAX_RADIUS), "Soft edge of the mask in pixels.", needs=MASKED, a1111="Mask blur", recorded=True
    )
    fill: str = option(
        FILLS[0],
        Choice(FILLS),
        "What to put under the mask first.",
        needs=MASKED,
        a1111="Masked content",
        a1111_values={"noise": "latent noise", "blank": "latent nothing", "spread": "fill"},
        recorded=True,
    )
    only_masked: bool = option(
        False,
        Flag(),
        "Paint only the masked region, at full size.",
        needs=("mask",),
        a1111="Inpaint area",
        a1111_values={True: "Only masked"},
    )
    padding: int = option(
        32,
        Whole(0, MAX_SIDE),
        "Pixels around the masked region.",
        needs=("only_masked",),
        a1111="Masked area padding",
        recorded=True,
    )
    restore: bool = option(True, Flag(), "Restore the unmasked pixels exactly.", needs=MASKED, recorded=True)
    outpaint: tuple[int, int, int, int] | None = option(
        None, Sides(MAX_SIDE), "Pixels to add: LEFT,TOP,RIGHT,BOTTOM.", needs=("image",)
    )


class Place(NamedTuple):
    """Where the command line's help shows a group of options, and where a request has it."""

    panel: str
    path: tuple[str, ...] | None


GROUPS = {
    Shorthand: Place(panel="Picture", path=None),
    Picture: Place(panel="Picture", path=()),
    Randomness: Place(panel="Picture", path=("random",)),
    Work: Place(panel="Picture", path=()),
    Steps: Place(panel="Steps", path=("steps",)),
    Text: Place(panel="Text", path=()),
    Saving: Place(panel="Steps", path=()),
    Guiding: Place(panel="Guidance", path=("guidance",)),
    Canvas: Place(panel="Start from a picture", path=("canvas",)),
    Hires: Place(panel="Larger pictures", path=("hires",)),
    SecondPass: Place(panel="Larger pictures", path=("hires", "steps")),
    Refining: Place(panel="Steps", path=("refining",)),
    Finish: Place(panel="Larger pictures", path=()),
    OtherVaes: Place(panel="Model", path=()),
    AddOns: Place(panel="Add-ons", path=()),
}


OPTIONS = {each.name: each for group, place in GROUPS.items() for each in options_of(group, *place)}
BY_SAMPLER = {name: each for name, each in OPTIONS.items() if each.by_sampler and each.group is Steps}
FILES = tuple(name for name, each in OPTIONS.items() if each.type.file)  # which no record holds
INPUTS = tuple(name for name in FILES if name not in ("upscale", "preview_vae"))  # which a picture is made again with
PARAMETERS = ("prompt", "negative")  # which Python has beside the options


def renewal(steps: Steps) -> dict[str, float | None]:
    """How the sampler of a pass renews noise, as `make_solver` is asked for it."""
    return {name: getattr(steps, each.field) for name, each in BY_SAMPLER.items()}


def values(group: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """Field -> value of a group's options; the default of what is not given."""
    return {each.field: given.get(name, each.default) for name, each in OPTIONS.items() if each.group is group}
