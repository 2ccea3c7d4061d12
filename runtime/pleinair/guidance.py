"""Wrappers that turn a network into the `denoise(x, point) -> x0` that samplers call."""

from collections.abc import Callable

import numpy as np

from pleinair.sampling import TO_X0, Denoise
from pleinair.schedule import Point

Network = Callable[[np.ndarray, float, np.ndarray], np.ndarray]  # latents, t, text embeddings -> output like latents


def conditioned(network: Network, text: np.ndarray, prediction: str) -> Denoise:
    """Denoise with the prompt alone, one evaluation a step; text (1, 77, d)."""

    def denoise(x: np.ndarray, point: Point) -> np.ndarray:
        return TO_X0[prediction](network(x, point.t, _repeat(text, len(x))), x, point)

    return denoise


def classifier_free(network: Network, text: np.ndarray, negative: np.ndarray, scale: float, prediction: str) -> Denoise:
    """Denoise away from `negative` and towards `text` (each (1, 77, d)) as one call of twice the batch.

    Ho and Salimans 2022: out = out_negative + scale * (out_text - out_negative).
    """

    def denoise(x: np.ndarray, point: Point) -> np.ndarray:
        both = np.concatenate([_repeat(negative, len(x)), _repeat(text, len(x))])
        without, with_text = np.split(network(np.concatenate([x, x]), point.t, both), 2)
        return TO_X0[prediction](without + scale * (with_text - without), x, point)

    return denoise


def _repeat(text: np.ndarray, batch: int) -> np.ndarray:
    return text if batch == 1 else np.repeat(text, batch, axis=0)
