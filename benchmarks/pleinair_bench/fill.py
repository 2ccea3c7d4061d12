"""Random weights that are the same on every machine, of the size that freshly made ones have.

They are `middle + reach * u`, u uniform in (-1, 1). u is one block of raw PCG64 integers, repeated: its length is a
prime, so that no two rows of a matrix are alike. Integers become floats exactly and every operation after that is
rounded as IEEE 754 says, so each machine makes the same bytes.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from math import prod

import numpy as np

from pleinair.pouring.checkpoints import Shape, Stored
from pleinair.pouring.topologies import plain

BLOCK = 1_048_573  # numbers before u repeats: the largest prime below 2**20, 4 MB that stay in a processor's cache
STRIDE = 611_953  # between the places in the block where two parameters begin; prime as well
SEED = 4
EMBEDDED = 0.035  # how far the numbers of a table of embeddings reach
MOVED = 0.1  # how far those of a norm lie from 1 and 0, by which engines leave multiplications and additions out


class RandomWeights(Mapping[str, Stored]):
    """Parameters of these shapes, each in an order of its own."""

    def __init__(self, shapes: Mapping[str, Shape]) -> None:
        self._shapes = {plain(key): shape for key, shape in shapes.items()}
        self._seeds = {key: seed for seed, key in enumerate(self._shapes, 1)}

    def __getitem__(self, key: str) -> Stored:
        return Stored("F32", numbers(self._shapes[key], self._seeds[key], *scale(key, self._shapes)))

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)


def scale(key: str, shapes: Mapping[str, Shape]) -> tuple[float, float]:
    """Middle and reach of a parameter, told by its name; a layer's shrinks with the length of a row, as at torch."""
    layer, _, kind = key.rpartition(".")
    if "norm" in layer:
        return (1.0 if kind == "weight" else 0.0), MOVED
    if "embedding." in key and "time" not in key:
        return 0.0, EMBEDDED
    row = prod(shapes.get(f"{layer}.weight", shapes[key])[1:])
    return 0.0, row**-0.5


def numbers(shape: Shape, seed: int, middle: float, reach: float) -> np.ndarray:
    """Of this shape, float32."""
    start = seed * STRIDE % BLOCK
    values = uniform()[start : start + min(prod(shape), BLOCK)] * np.float32(reach)
    return np.resize(values + np.float32(middle) if middle else values, shape)


@cache
def uniform() -> np.ndarray:
    """u, twice in a row (2 * BLOCK,) float32, so that a whole block can begin anywhere; never 0."""
    raw = np.random.PCG64(SEED).random_raw(BLOCK) >> np.uint64(40)
    odd = 2 * raw.astype(np.int64) + 1 - 2**24
    u = odd.astype(np.float32) * np.float32(2**-24)
    u = np.concatenate([u, u])
    u.flags.writeable = False
    return u
