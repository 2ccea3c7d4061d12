"""ControlNets that a request names: which, the picture that each sees, and how far it is followed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar

from pleinair.bundle.lone_parts import CONDITION
from pleinair.bundle.manifest import LATENTS
from pleinair.bundle.opening import Bundle, open_bundle
from pleinair.checks import flag, items, number, one_line, one_of, shown_value
from pleinair.errors import BundleError, RequestError
from pleinair.pictures.preparing import INPAINT, WAYS
from pleinair.pictures.reading import PictureSource, opaque, open_picture
from pleinair.request.value_types import ValueType

MAX_CONTROLS = 8
MAX_STRENGTH = 2.0
FORM = "BUNDLE:IMAGE[:STRENGTH[:START:END]][:canny][:guess]"
GUESS = "guess"
FITTING = "give a --control that was made for the model"


@dataclass(frozen=True)
class Control:
    """A ControlNet in a job: its bundle, the picture that it sees, how strongly it counts, and in which steps.

    `start` and `end` are shares of the steps. The picture is prepared in one of the WAYS of `pictures/preparing.py`, or
    shown as it is. With `guess` the negative prompt is left alone, and fine residuals count less (diffusers'
    `guess_mode`).
    """

    model: Path | None
    image: PictureSource
    strength: float = 1.0
    start: float = 0.0
    end: float = 1.0
    guess: bool = False
    prepare: str | None = None

    def __post_init__(self) -> None:
        for name, high in (("strength", MAX_STRENGTH), ("start", 1), ("end", 1)):
            object.__setattr__(self, name, number(f"control {name}", getattr(self, name), 0, high))
        object.__setattr__(self, "guess", flag("control guess", self.guess))
        if self.prepare is not None:
            one_of("way to prepare a picture", self.prepare, WAYS)
        if self.start >= self.end:
            raise RequestError(
                f"a ControlNet from {self.start:g} to {self.end:g} of the steps is never on; choose a smaller start"
            )
        if self.model is not None:
            if not isinstance(self.model, str | Path):
                raise RequestError(
                    f"a ControlNet must be the folder of a bundle, not {shown_value(self.model)}; {FITTING}"
                )
            object.__setattr__(self, "model", Path(self.model))

    def on(self, step: int, steps: int) -> bool:
        """Whether a step (0-based) counts (diffusers' `controlnet_keep`)."""
        return self.strength > 0 and step / steps >= self.start and (step + 1) / steps <= self.end


@dataclass(frozen=True)
class ControlList(ValueType):
    """ControlNets, each as text, as a mapping of the fields of Control, or as a Control."""

    typed_as: ClassVar[type] = list[str]
    file: ClassVar[bool] = True

    def read(self, name: str, value: Any) -> tuple[Control, ...]:
        alone = [value] if isinstance(value, str | Mapping | Control) else value
        try:
            found = items(alone, MAX_CONTROLS)
        except TypeError:
            raise RequestError(f"{name} must be a list; write for example ['canny:edges.png:0.8']") from None
        if len(found) > MAX_CONTROLS:
            raise RequestError(f"there are more than {MAX_CONTROLS} {name}; leave some out")
        return tuple(map(read_control, found))

    def schema(self) -> dict[str, Any]:
        share = {"type": "number", "minimum": 0, "maximum": 1}
        of_one = {
            "type": "object",
            "properties": {
                "model": {"type": "string"},
                "image": {"type": "string"},
                "strength": {"type": "number", "minimum": 0, "maximum": MAX_STRENGTH},
                "start": share,
                "end": share,
                "guess": {"type": "boolean"},
                "prepare": {"enum": [*WAYS]},
            },
            "required": ["model", "image"],
            "additionalProperties": False,
        }
        return {"type": "array", "items": {"anyOf": [{"type": "string"}, of_one]}, "maxItems": MAX_CONTROLS}


def read_control(value: Any) -> Control:
    """A Control, of whatever a caller writes for one; RequestError for what is none."""
    if isinstance(value, Control):
        return value
    if isinstance(value, str):
        return parsed(value)
    if not isinstance(value, Mapping):
        raise RequestError(f"a ControlNet cannot be {shown_value(value)}; write it as {FORM}")
    known = [each.name for each in fields(Control)]
    for name in value:
        one_of("part of a ControlNet", name, known)
    if value.get("image") is None:
        raise RequestError("a ControlNet needs a picture; add its image")
    return Control(**{"model": None, **{name: each for name, each in value.items() if each is not None}})


def parsed(text: str) -> Control:
    """`BUNDLE:IMAGE` and what may stand behind it: numbers, and words in any order.

    The colon of a drive (C:\\edges.png) is none between two parts. Without BUNDLE, it is left open.
    """
    parts, numbers, words = text.split(":"), [], []
    while len(parts) > 1 and (parts[-1] in (*WAYS, GUESS) or (not numbers and is_number(parts[-1]))):
        if parts[-1] in (*WAYS, GUESS):
            words.append(parts.pop())
            continue
        while len(parts) > 1 and len(numbers) < 3 and is_number(parts[-1]):
            numbers.insert(0, float(parts.pop()))
    ways = [word for word in words if word != GUESS]
    if len(numbers) == 2 or len(ways) > 1:
        raise RequestError(f"cannot read the ControlNet '{one_line(text, 80)}'; write {FORM}")
    model, image = divided(":".join(parts))
    if not image:
        raise RequestError(f"the ControlNet '{one_line(text, 80)}' has no picture; write {FORM}")
    how = dict(zip(("strength", "start", "end"), numbers, strict=False))
    return Control(model or None, image, **how, guess=GUESS in words, prepare=ways[0] if ways else None)


def divided(text: str) -> tuple[str, str]:
    """A bundle and a picture on both sides of a colon that belongs to neither; the bundle may be absent."""
    places = [place for place, letter in enumerate(text) if letter == ":" and not of_drive(text, place)]
    there = [place for place in places if is_file(text[place + 1 :])]
    if not places:
        return "", text
    place = (there or places)[0]
    return text[:place], text[place + 1 :]


def of_drive(text: str, place: int) -> bool:
    """Whether a colon follows the letter of a drive."""
    before = text[place - 2] if place > 1 else ":"
    return place > 0 and text[place - 1].isalpha() and before == ":" and text[place + 1 : place + 2] in ("\\", "/")


def is_file(name: str) -> bool:
    """Whether there is a file of a name, which may be too long for one."""
    try:
        return Path(name).is_file()
    except OSError:
        return False


def is_number(text: str) -> bool:
    """NaN is one, too, so that it is refused as such."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def check_pictures(given: Mapping[str, Any]) -> None:
    """Raise RequestError for a ControlNet's picture that is none."""
    for control in given.get("controls", ()):
        open_picture(control.image)


def controls_of(bundle: Bundle, given: Mapping[str, Any]) -> tuple[Control, ...]:
    """The ControlNets of a request, their pictures opened; those of no strength are left out.

    Raises RequestError and BundleError: a picture that is none, or a ControlNet that is not for the model.
    """
    opened = []
    for control in given.get("controls", ()):
        if control.model is None:
            raise RequestError(f"a ControlNet needs a bundle and a picture; write {FORM}")
        if control.prepare == INPAINT and "mask" not in given:
            raise RequestError("a ControlNet for inpainting hides what a mask does; add --image and --mask")
        image = opaque(open_picture(control.image))
        found = open_bundle(control.model)
        found.require("control")
        check_fit(found, bundle)
        if control.strength:
            opened.append(replace(control, image=image))
    widths = {residual_channels(open_bundle(control.model)) for control in opened}
    if len(widths) > 1:
        raise RequestError("these ControlNets were made for different models; " + FITTING)
    return tuple(opened)


def check_fit(control: Bundle, model: Bundle) -> None:
    """Raise BundleError, naming both, for a ControlNet that is told what a model does not tell, or in other sizes."""
    wrong = next(misfits(control, model), None)
    if wrong:
        raise BundleError(
            f"the ControlNet '{control.manifest.name}' is not for '{model.manifest.name}': {wrong}; {FITTING}"
        )


def misfits(control: Bundle, model: Bundle) -> Iterator[str]:
    """What a ControlNet and a model do not share."""
    part, denoiser = control.manifest.control, model.manifest.denoiser
    ports = {feed: port for port, feed in denoiser.feeds.items()}
    inputs, told = control.manifest.graphs[part.graph].inputs, model.manifest.graphs[denoiser.graph].inputs
    for port, feed in part.feeds.items():
        if feed == CONDITION:
            continue
        if denoiser.patch > 1:
            yield "that model's network reads patches, and has no skip connections"
            return
        if feed not in ports:
            yield f"it is told '{feed}', which that model does not know"
            return
        here = inputs[port].shape[1] if feed == LATENTS else inputs[port].shape[-1:]
        there = model.manifest.latents.channels if feed == LATENTS else told[ports[feed]].shape[-1:]
        if feed == LATENTS and here != there:
            yield f"it reads latents of {here} channels, and that model's have {there}"
        elif feed != LATENTS and here != there and all(isinstance(side, int) for side in (*here, *there)):
            yield f"its {feed} has {here[0]} numbers, and that model's {there[0]}"
    if part.downsample != model.manifest.vae.downsample:
        yield f"it sees {part.downsample} pixels for each latent, and that model paints {model.manifest.vae.downsample}"


def residual_channels(control: Bundle) -> tuple[int, ...]:
    """Channels of what a ControlNet says, in the order of its residuals."""
    part = control.manifest.control
    return tuple(control.manifest.graphs[part.graph].outputs[port].shape[1] for port in part.residuals)
