"""Guidance: turns a network into the `denoise(x, point) -> x0` that samplers call, and makes it listen to the text.

    out = base + scale * sum_i w_i (part_i - base)

`part_i` are what the network says to the parts of the prompt (one, unless joined by AND), `base` what it says to the
negative prompt. That is classifier-free guidance (Ho and Salimans 2022) as diffusers has it, and A1111's AND.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, isclose

import numpy as np

from pleinair.checks import number
from pleinair.errors import RequestError
from pleinair.sampling.path import Point
from pleinair.sampling.samplers import TO_X0

Network = Callable[[np.ndarray, float, np.ndarray], np.ndarray]  # latents, t, text embeddings -> output like latents

EACH = (1, 2, 3)  # the axes of one picture in a batch (B, 4, h, w)
LATENT_REACH = 3.5  # latents are scaled to unit variance: next to nothing lies beyond
TINY = 1e-20
RANGES = {  # field of Guidance -> least, most, and what people choose
    "scale": (0, 100, "1 turns it off, 7.5 is usual"),
    "rescale": (0, 1, "0 is off, 0.7 is usual"),
    "start": (0, 1),
    "end": (0, 1),
    "threshold": (0.5, 1, "0.995 is usual"),
    "ceiling": (1, inf),
    "parallel": (0, 1, "1 is ordinary guidance, 0 keeps colours calm"),
    "image": (1, 100, "1.5 is usual"),
}
NAMES = {  # as errors call them
    "scale": "guidance",
    "start": "guidance_start",
    "end": "guidance_end",
    "image": "image_guidance",
}


@dataclass(frozen=True)
class Guide:
    """What the network is told at one step."""

    text: np.ndarray  # (P, S, d) the parts of the prompt joined by AND, padded to one length S = 77 k
    weights: tuple[float, ...]  # of the P parts
    negative: np.ndarray  # (1, S, d)


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
    image: float | None = (
        None  # how strictly a model that edits pictures keeps to them, 1..100; None: as it usually does
    )

    def __post_init__(self) -> None:
        for field, limits in RANGES.items():
            value = getattr(self, field)
            if value is not None:  # text and NumPy's numbers as Python has them
                object.__setattr__(self, field, number(NAMES.get(field, field), value, *limits))
        if self.start >= self.end:
            raise RequestError(
                f"guidance from {self.start:g} to {self.end:g} of the steps is never on; let the start be smaller"
            )

    def on(self, step: int, steps: int) -> bool:
        """Whether a step (0-based) lies in the interval, as diffusers' guiders count (Kynkaanniemi et al. 2024)."""
        return int(self.start * steps) <= step < int(self.end * steps)


class Guided:
    """A guided network: callable(x (B, 4, h, w), point) -> x0; whoever walks sets `step` (0-based) before each step.

    All steps must tell the network the same number of things for it to be told them in one call: an engine compiles
    its graph for one batch size, and would compile again wherever an interval begins or ends.
    """

    def __init__(
        self, network: Network, guide: Callable[[int], Guide], guidance: Guidance, prediction: str, steps: int
    ) -> None:
        self.step = 0
        self._network = network
        self._guide = guide
        self._guidance = guidance
        self._to_x0 = TO_X0[prediction]
        self._steps = steps
        told = {len(guide(step).weights) + self._contrasts(guide(step), step) for step in range(steps)}
        self._together = len(told) == 1 and not guidance.two_calls
        self.evaluations = max(told) if self._together else 1  # samples that each picture has in one network call
        self._texts: tuple[Guide, int, bool, list[np.ndarray]] | None = None  # prepared for the last guide

    def __call__(self, x: np.ndarray, point: Point) -> np.ndarray:
        guide, guidance = self._guide(self.step), self._guidance
        scale = max(guidance.scale, 1.0) if guidance.on(self.step, self._steps) else 1.0
        contrast = self._contrasts(guide, self.step)
        base, *others = self._tell(x, point, guide, contrast)
        weights = guide.weights if contrast else guide.weights[1:]  # without the negative, the first part is the base
        toward = sum(float(weight) * (part - base) for weight, part in zip(weights, others, strict=True))
        out = base + scale * toward
        if not contrast:
            return self._held(self._to_x0(out, x, point))
        text = base + toward
        if guidance.rescale:
            out = rescaled(out, text, guidance.rescale)
        x0 = self._to_x0(out, x, point)
        if guidance.parallel < 1:
            plain = self._to_x0(text, x, point)
            x0 = x0 - (1 - guidance.parallel) * along(x0 - plain, plain)
        return self._held(x0)

    def _contrasts(self, guide: Guide, step: int) -> bool:
        """Whether the negative prompt has a share in this step's output."""
        if not self._guidance.on(step, self._steps):
            return False
        return not isclose(max(self._guidance.scale, 1.0) * sum(guide.weights), 1.0)

    def _tell(self, x: np.ndarray, point: Point, guide: Guide, contrast: bool) -> list[np.ndarray]:
        """What the network says to the negative prompt (where it counts) and to each part."""
        texts = self._batches(guide, len(x), contrast)
        if not self._together:
            return [self._network(x, point.t, text) for text in texts]
        (text,) = texts
        count = len(text) // len(x)
        if count == 1:
            return [self._network(x, point.t, text)]
        return np.split(self._network(np.concatenate([x] * count), point.t, text), count)

    def _batches(self, guide: Guide, pictures: int, contrast: bool) -> list[np.ndarray]:
        """The embeddings of each network call, one for every picture and text; made once for as long as they hold."""
        if self._texts is None or self._texts[0] is not guide or self._texts[1:3] != (pictures, contrast):
            texts = np.concatenate([guide.negative, guide.text]) if contrast else guide.text
            batch = np.repeat(texts, pictures, axis=0) if pictures > 1 else texts
            calls = [batch] if self._together else np.split(batch, len(texts))
            self._texts = guide, pictures, contrast, calls
        return self._texts[3]

    def _held(self, x0: np.ndarray) -> np.ndarray:
        share, ceiling = self._guidance.threshold, self._guidance.ceiling
        if share is None:
            return x0
        return thresholded(x0, share, LATENT_REACH) if ceiling is None else thresholded(x0, share, 1.0, ceiling)


def guided(network: Network, guide: Callable[[int], Guide], guidance: Guidance, prediction: str, steps: int) -> Guided:
    """The denoiser of a walk of `steps` steps, told `guide(step)` at each; one Guide object a stretch is cheapest."""
    return Guided(network, guide, guidance, prediction, steps)


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
