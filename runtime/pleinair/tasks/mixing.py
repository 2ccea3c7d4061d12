"""What lies between two keyframes: embeddings, noise and latents, mixed by how far one is on the way."""

from dataclasses import dataclass
from math import lcm

import numpy as np

from pleinair.errors import RequestError
from pleinair.network.feeds import Told
from pleinair.network.guidance import Guide
from pleinair.sampling.noise import NoiseSource, slerp
from pleinair.text.reader import MAX_CHUNKS

MAX_TOKENS = 77 * MAX_CHUNKS  # what the longest prompt has with CLIP


@dataclass(frozen=True)
class Between:
    """Noise on the arc between two sources, draw by draw."""

    a: NoiseSource
    b: NoiseSource
    share: float

    def normal(self, shape: tuple[int, ...]) -> np.ndarray:
        return slerp(self.a.normal(shape), self.b.normal(shape), self.share)


def check_mixable(a: Guide, b: Guide) -> None:
    """RequestError where two prompts are joined from different numbers of parts, or only a huge length divides both."""
    parts = [len(guide.weights) for guide in (a, b)]
    if parts[0] != parts[1]:
        raise RequestError(
            f"prompts of {parts[0]} and {parts[1]} parts joined by AND cannot be mixed; use as many AND in each"
        )
    for lengths in zip(*(token_counts(guide) for guide in (a, b)), strict=True):
        if lcm(*lengths) * (parts[0] + 1) > MAX_TOKENS:
            raise RequestError(
                f"prompts of {lengths[0]:,} and {lengths[1]:,} tokens cannot be mixed; make the longer one shorter, or"
                " both alike in length"
            )


def token_counts(guide: Guide) -> list[int]:
    """The length of each feed that has a row for each token."""
    return [array.shape[1] for array in guide.negative.values() if array.ndim == 3]


def mixed(a: Guide, b: Guide, share: float) -> Guide:
    """What the network is told between two guides: straight lines between embeddings and between weights."""
    return Guide(
        tuple(mixed_feeds(*parts, share) for parts in zip(a.parts, b.parts, strict=True)),
        tuple((1 - share) * one + share * other for one, other in zip(a.weights, b.weights, strict=True)),
        mixed_feeds(a.negative, b.negative, share),
    )


def mixed_feeds(a: Told, b: Told, share: float) -> Told:
    return {feed: blend(*alike(a[feed], b[feed]), share) for feed in a}


def alike(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings (1, S, d) and (1, T, d), each repeated to the length that both divide; rows (1, p) as they are.

    Attention over a text told n times is attention over the text told once, so this alone changes no picture.
    """
    if a.ndim < 3:
        return a, b
    length = lcm(a.shape[1], b.shape[1])
    return np.tile(a, (1, length // a.shape[1], 1)), np.tile(b, (1, length // b.shape[1], 1))


def blend(a: np.ndarray, b: np.ndarray, share: float) -> np.ndarray:
    return ((1 - share) * a + share * b).astype(np.float32)


def mixed_latents(a: np.ndarray, b: np.ndarray, share: float) -> np.ndarray:
    """Between two pictures' latents (1, C, h, w): a straight line, brought to the length that lies between theirs.

    A mean of two pictures has less contrast than either; unlike on an arc, what they have in common stays as it is.
    """
    line = blend(a, b, share)
    middle = line.mean((2, 3), keepdims=True)
    want = (1 - share) * _spread(a) + share * _spread(b)
    return (middle + (line - middle) * (want / np.maximum(_spread(line), 1e-6))).astype(np.float32)


def _spread(latents: np.ndarray) -> np.ndarray:
    return latents.std((2, 3), keepdims=True)
