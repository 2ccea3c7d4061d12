"""Guidance: turns a network into the `denoise(x, point, step) -> x0` that solvers call, and makes it listen.

What the network is asked in a step are rows of feeds, and what its answers make together is the guidance:

    cfg          out = base + scale * sum_i w_i (part_i - base)
    embedded     the scale is one of the network's feeds; the parts are asked as they are
    image_text   out = bare + image * (base - bare) + scale * sum_i w_i (part_i - base)

`part_i` are what the network says to the parts of the prompt (one, unless joined by AND), `base` what it says to the
negative prompt, `bare` what it says to that without the picture that is edited. That is classifier-free guidance (Ho
and Salimans 2022) as diffusers has it, A1111's AND, and InstructPix2Pix (Brooks et al. 2023).
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, isclose

import numpy as np

from pleinair.bundle.manifest import MAX_GUIDANCE
from pleinair.checks import Range, number
from pleinair.errors import RequestError
from pleinair.network.feeds import CHANNELS, Told, stacked_rows
from pleinair.sampling.path import Point
from pleinair.sampling.predictions import TO_X0

Network = Callable[[np.ndarray, Point, int, Told], np.ndarray]  # latents, where they are, step, feeds -> the output

EACH = (1, 2, 3)  # the axes of one picture in a batch (B, C, h, w)
LATENT_REACH = 3.5  # latents are scaled to unit variance: next to nothing lies beyond
TINY = 1e-20
RANGES = {  # of the fields of Guidance
    "scale": Range(0, MAX_GUIDANCE, usual="1 turns it off, 7.5 is usual"),
    "rescale": Range(0, 1, usual="0 is off, 0.7 is usual"),
    "start": Range(0, 1),
    "end": Range(0, 1),
    "threshold": Range(0.5, 1, usual="0.995 is usual"),
    "ceiling": Range(1, inf),
    "parallel": Range(0, 1, usual="1 is ordinary guidance, 0 keeps colours calm"),
    "image": Range(1, MAX_GUIDANCE, usual="1.5 is usual"),
}
NAMES = {  # as errors call them
    "scale": "guidance",
    "start": "guidance_start",
    "end": "guidance_end",
    "image": "image_guidance",
}


@dataclass(frozen=True)
class Guide:
    """What the network is told at one step: feeds for each part of the prompt, and for the negative one."""

    parts: tuple[Told, ...]
    weights: tuple[float, ...]  # of the parts
    negative: Told

    def with_feeds(self, more: Told, negative: Told) -> "Guide":
        """This guide with more feeds for all its parts, and for the negative one."""
        return Guide(tuple(part | more for part in self.parts), self.weights, self.negative | negative)


@dataclass(frozen=True)
class Guidance:
    """How the network is made to follow its guide; raises RequestError for what makes no sense.

    `threshold` holds latents within the reach that trained ones have; with a `ceiling`, the `sample_max_value` of a
    scheduler config with `thresholding`, it is diffusers' own, which is for pixels in -1..1.
    """

    scale: float  # 1 or less: the text as it is, without the negative prompt
    rescale: float = 0.0  # how far the contrast is brought back to that of the text alone, 0..1
    start: float = 0.0  # the share of the steps from which on, and up to which, guidance is on
    end: float = 1.0
    two_calls: bool = False  # one network call for the negative and each part, rather than one for all
    threshold: float | None = None  # the percentile of a picture that counts as its reach, 0.995 say
    ceiling: float | None = None
    parallel: float = 1.0  # how much is kept of the guidance along the picture itself, 0..1
    image: float | None = None  # how strictly a picture that is edited is kept to, 1..100; None where none is

    def __post_init__(self) -> None:
        for field, limits in RANGES.items():
            value = getattr(self, field)
            if value is not None:  # text and NumPy's numbers as Python has them
                object.__setattr__(self, field, number(NAMES.get(field, field), value, *limits))
        if self.start >= self.end:
            raise RequestError(
                f"guidance from {self.start:g} to {self.end:g} of the steps is never on; choose a smaller start"
            )

    def on(self, step: int, steps: int) -> bool:
        """Whether a step (0-based) lies in the interval, as diffusers' guiders count (Kynkaanniemi et al. 2024)."""
        return int(self.start * steps) <= step < int(self.end * steps)


@dataclass(frozen=True)
class GuidanceMethod:
    """One way to steer: the scale that is used of what was asked for, the rows of a step, what its answers make.

    `contrast` says whether the negative prompt has a share in the step. `combined` returns the output, and what it
    would be at a scale of 1.
    """

    scale: Callable[[Guidance], float]
    rows: Callable[[Guide, bool], list[Told]]
    combined: Callable[[list[np.ndarray], Guide, Guidance, float, bool], tuple[np.ndarray, np.ndarray]]


def asked_scale(guidance: Guidance) -> float:
    """Never below 1, where guidance is off."""
    return max(guidance.scale, 1.0)


def no_scale(guidance: Guidance) -> float:
    """The network is told the scale, and has it in its answer."""
    return 1.0


def text_rows(guide: Guide, contrast: bool) -> list[Told]:
    """The negative prompt, where it counts, and each part."""
    return [guide.negative, *guide.parts] if contrast else list(guide.parts)


def text_combined(
    outs: list[np.ndarray], guide: Guide, guidance: Guidance, scale: float, contrast: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Without the negative prompt, the first part is the base."""
    base, *others = outs
    toward = toward_text(base, others, guide.weights if contrast else guide.weights[1:])
    return base + scale * toward, base + toward


def image_text_rows(guide: Guide, contrast: bool) -> list[Told]:
    """Before those of the text, the negative prompt without the picture."""
    if not contrast:
        return list(guide.parts)
    bare = guide.negative | {CHANNELS: np.zeros_like(guide.negative[CHANNELS])}
    return [bare, guide.negative, *guide.parts]


def image_text_combined(
    outs: list[np.ndarray], guide: Guide, guidance: Guidance, scale: float, contrast: bool
) -> tuple[np.ndarray, np.ndarray]:
    if not contrast:
        return text_combined(outs, guide, guidance, scale, contrast)
    bare, base, *parts = outs
    toward = toward_text(base, parts, guide.weights)
    kept = bare + guidance.image * (base - bare)
    return kept + scale * toward, kept + toward


def toward_text(base: np.ndarray, parts: list[np.ndarray], weights: tuple[float, ...]) -> np.ndarray:
    return sum(float(weight) * (part - base) for weight, part in zip(weights, parts, strict=True))


METHODS = {
    "cfg": GuidanceMethod(scale=asked_scale, rows=text_rows, combined=text_combined),
    "embedded": GuidanceMethod(scale=no_scale, rows=text_rows, combined=text_combined),
    "image_text": GuidanceMethod(scale=asked_scale, rows=image_text_rows, combined=image_text_combined),
}


@dataclass(frozen=True)
class Prepared:
    """The feeds of each network call, and what they were made for."""

    guide: Guide
    pictures: int
    contrast: bool
    calls: list[Told]

    def suits(self, guide: Guide, pictures: int, contrast: bool) -> bool:
        return self.guide is guide and (self.pictures, self.contrast) == (pictures, contrast)


class Guided:
    """A guided network: callable(x (B, C, h, w), point, step from 0) -> x0, told `guide(step)` at each of `steps`.

    One Guide object a stretch of steps is cheapest. All steps must tell the network the same number of things for it
    to be told them in one call: an engine compiles its graph for one batch size, and would compile again wherever an
    interval begins or ends. A network that `shares` gets the latents of such a call once, as it says the same to them
    for each part, and answers for all parts.
    """

    def __init__(
        self,
        network: Network,
        guide: Callable[[int], Guide],
        guidance: Guidance,
        prediction: str,
        steps: int,
        kind: str = "cfg",
        *,
        shares: bool = False,
    ) -> None:
        self._network = network
        self._guide = guide
        self._guidance = guidance
        self._method = METHODS[kind]
        self._to_x0 = TO_X0[prediction]
        self._steps = steps
        self.shares = shares
        told = {len(self._rows(step)) for step in range(steps)}
        self._together = len(told) == 1 and not guidance.two_calls
        self._prepared: Prepared | None = None  # for the last guide

    def __call__(self, x: np.ndarray, point: Point, step: int) -> np.ndarray:
        guide, guidance, contrast = self._guide(step), self._guidance, self._contrasts(step)
        outs = self._tell(x, point, step)
        scale = self._method.scale(guidance) if guidance.on(step, self._steps) else 1.0
        out, text = self._method.combined(outs, guide, guidance, scale, contrast)
        if not contrast:
            return self._held(self._to_x0(out, x, point))
        if guidance.rescale:
            out = rescaled(out, text, guidance.rescale)
        x0 = self._to_x0(out, x, point)
        if guidance.parallel < 1:
            plain = self._to_x0(text, x, point)
            x0 = x0 - (1 - guidance.parallel) * along(x0 - plain, plain)
        return self._held(x0)

    def turns(self, step: int) -> bool:
        """Whether the network is told something else at a step than in the one before."""
        if not step:
            return True
        same = self._guide(step) is self._guide(step - 1)
        return not same or self._contrasts(step) != self._contrasts(step - 1)

    def calls(self, step: int, pictures: int) -> list[Told]:
        """The feeds of each network call of a step, rows for every picture; made once for as long as they hold."""
        guide, contrast = self._guide(step), self._contrasts(step)
        if self._prepared is None or not self._prepared.suits(guide, pictures, contrast):
            rows = self._method.rows(guide, contrast)
            calls = [rows] if self._together else [[row] for row in rows]
            self._prepared = Prepared(guide, pictures, contrast, [stacked_rows(each, pictures) for each in calls])
        return self._prepared.calls

    def _rows(self, step: int) -> list[Told]:
        return self._method.rows(self._guide(step), self._contrasts(step))

    def _contrasts(self, step: int) -> bool:
        """Whether the negative prompt has a share in this step's output."""
        if not self._guidance.on(step, self._steps):
            return False
        return not isclose(self._method.scale(self._guidance) * sum(self._guide(step).weights), 1.0)

    def _tell(self, x: np.ndarray, point: Point, step: int) -> list[np.ndarray]:
        """What the network says to each row."""
        calls = self.calls(step, len(x))
        if not self._together:
            return [self._network(x, point, step, told) for told in calls]
        (told,) = calls
        count = len(next(iter(told.values()))) // len(x)
        if count == 1:
            return [self._network(x, point, step, told)]
        seen = x if self.shares else np.concatenate([x] * count)
        return np.split(self._network(seen, point, step, told), count)

    def _held(self, x0: np.ndarray) -> np.ndarray:
        share, ceiling = self._guidance.threshold, self._guidance.ceiling
        if share is None:
            return x0
        return thresholded(x0, share, LATENT_REACH) if ceiling is None else thresholded(x0, share, 1.0, ceiling)


def with_feeds(guide: Callable[[int], Guide], more: Told, negative: Told | None = None) -> Callable[[int], Guide]:
    """A guide whose rows are all told more, the negative one `negative` where that differs.

    Steps that share a Guide still do.
    """
    made: dict[int, tuple[Guide, Guide]] = {}

    def at(step: int) -> Guide:
        plain = guide(step)
        if id(plain) not in made:
            fed = plain.with_feeds(more, more if negative is None else negative)
            made[id(plain)] = plain, fed  # held, so that no other object takes its id
        return made[id(plain)][1]

    return at


def rescaled(out: np.ndarray, text: np.ndarray, share: float) -> np.ndarray:
    """`share` of the way to the spread of `text`, for each picture (Lin et al. 2023, diffusers' rescale_noise_cfg)."""
    ratio = text.std(EACH, keepdims=True) / np.maximum(out.std(EACH, keepdims=True), TINY)
    return out * (1 + share * (ratio - 1))


def along(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The part of each picture of a that lies along b (Sadat et al. 2024, which leaves it out: it only saturates).

    Of their adaptive projected guidance this is the projection alone, on x0 as in the paper; no momentum, no limit.
    """
    return (a * b).sum(EACH, keepdims=True) / np.maximum((b * b).sum(EACH, keepdims=True), TINY) * b


def thresholded(x0: np.ndarray, share: float, floor: float, ceiling: float = inf) -> np.ndarray:
    """Clip each picture where a `share` of its numbers ends, `floor` or beyond, and bring that down to `floor`.

    Dynamic thresholding (Saharia et al. 2022); with a floor of 1, diffusers' `thresholding`.
    """
    reach = np.quantile(np.abs(x0), share, axis=EACH, keepdims=True).clip(floor, ceiling)  # (B, 1, 1, 1)
    return (np.clip(x0, -reach, reach) * (floor / reach)).astype(np.float32)
