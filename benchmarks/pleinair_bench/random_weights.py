"""Random weights that are the same on every machine, of the size that freshly made ones have.

They are `middle + reach * u`, u uniform in (-1, 1). u is one block of raw PCG64 integers, repeated: its length is a
prime, so that no two rows of a matrix are alike. Integers become floats exactly and every operation after that is
rounded as IEEE 754 says, so each machine makes the same bytes.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from math import prod, sqrt
from zlib import crc32

import numpy as np

from pleinair.pouring.checkpoints import Shape, Stored

NUMBERS = 2  # another number wherever the weights are others
BLOCK = 1_048_573  # numbers before u repeats: the largest prime below 2**20, 4 MB that stay in a processor's cache
SEED = 4
MOVED = 0.1  # how far those of a norm lie from 1 and 0, by which engines leave multiplications and additions out


class RandomCheckpoint(Mapping[str, Stored]):
    """Tensors of these shapes as a file could hold them; each is told by its name alone."""

    def __init__(self, shapes: Mapping[str, Shape]) -> None:
        self.shapes = shapes

    def __getitem__(self, name: str) -> Stored:
        return Stored("F32", numbers(self.shapes[name], crc32(name.encode()) % BLOCK, *scale(name, self.shapes)))

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)


def scale(name: str, shapes: Mapping[str, Shape]) -> tuple[float, float]:
    """Middle and reach of a parameter; a layer's shrinks with the length of a row, as at torch."""
    layer, _, kind = name.rpartition(".")
    if "norm" in layer.rpartition(".")[2]:
        return (1.0 if kind == "weight" else 0.0), MOVED
    return 0.0, 1 / sqrt(prod(shapes.get(f"{layer}.weight", shapes[name])[1:]))


def numbers(shape: Shape, start: int, middle: float, reach: float) -> np.ndarray:
    """Of this shape, float32, from a place in the block on."""
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
