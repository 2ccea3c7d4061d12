"""The ranges that activations of layers take while a model paints, and the 8-bit grids that cover them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

SMALLEST = 1e-6  # of a range: a layer that only ever saw zeros still needs a step
LEVELS = 256


@dataclass(frozen=True)
class Grid:
    """uint8 numbers q for the reals scale * (q - zero)."""

    scale: np.float32
    zero: int

    @property
    def low(self) -> np.float32:
        """The smallest number of the grid."""
        return np.float32(-self.zero * self.scale)

    @property
    def high(self) -> np.float32:
        """The largest."""
        return np.float32((LEVELS - 1 - self.zero) * self.scale)


def grid(low: float, high: float) -> Grid:
    """The grid that covers low..high and has 0 exactly, which padding needs."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = np.float32(max(high - low, SMALLEST) / (LEVELS - 1))
    return Grid(scale, round(-low / float(scale)))


def even_grid(low: float, high: float) -> Grid:
    """The grid that covers low..high and has 0 in its middle: attention multiplies nothing else in 8 bits."""
    scale = np.float32(max(-low, high, SMALLEST) / (LEVELS // 2 - 1))
    return Grid(scale, LEVELS // 2)


class Ranges:
    """Of each layer by path: the lowest and the highest number that went in, and that came out, of all calls so far.

    It is the extremes that count, over all calls: means of each call's extremes (NNCF's default) cut off those of the
    last steps, where latents are widest apart.
    """

    def __init__(self, paths: tuple[str, ...]) -> None:
        self.paths = paths
        self._found = np.tile(np.array([np.inf, -np.inf] * 2, np.float32), (len(paths), 1))

    def add(self, seen: np.ndarray) -> None:
        """Take in a call's (layers, 4): lowest and highest in, lowest and highest out."""
        self._found[:, 0::2] = np.minimum(self._found[:, 0::2], seen[:, 0::2])
        self._found[:, 1::2] = np.maximum(self._found[:, 1::2], seen[:, 1::2])

    @property
    def whole(self) -> bool:
        """Whether every layer was asked, and all its numbers are finite."""
        return bool(np.isfinite(self._found).all())

    def grid_in(self, path: str) -> Grid:
        """The grid of what a layer reads."""
        return grid(*map(float, self._found[self.paths.index(path), :2]))

    def grid_out(self, path: str) -> Grid:
        """The grid of what it answers, its bias added."""
        return grid(*map(float, self._found[self.paths.index(path), 2:]))

    def even_grid_out(self, path: str) -> Grid:
        """The same, with 0 in its middle."""
        return even_grid(*map(float, self._found[self.paths.index(path), 2:]))

    def save(self, file: Path) -> None:
        """Keep them in a .npz file, which is whole or absent."""
        new = file.with_suffix(".new.npz")
        np.savez(new, paths=np.array(self.paths), found=self._found)
        new.replace(file)

    @classmethod
    def load(cls, file: Path) -> "Ranges":
        """Ranges that `save` has kept; raises OSError or ValueError for any other file."""
        with np.load(file, allow_pickle=False) as arrays:
            ranges = cls(tuple(map(str, arrays["paths"])))
            ranges._found = arrays["found"]
        return ranges


def int8_weight(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A weight (out, in, ...) as int8 in -127..127 and its scales (out, 1, ...), one for each output channel."""
    scale = extremes(weight) / np.float32(127)
    return np.rint(weight / scale).astype(np.int8), scale


def unsaturated_weight(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same, so that no two neighbours along the inputs add up to more than 128 in absolute value.

    AVX2 without VNNI multiplies uint8 by int8 and adds pairs of products in 16 bits, which saturate beyond that.
    Neighbours are taken in both orders that kernels lay weights out in: input channels, and pixels of a kernel.
    """
    scale = extremes(weight) / np.float32(127)
    whole = weight / scale
    rows = len(weight)
    by_channel = np.moveaxis(whole.reshape(rows, weight.shape[1], -1), 1, -1).reshape(rows, -1)
    most = np.maximum(*(pairs(each.reshape(rows, -1)) for each in (by_channel, whole)))
    factor = np.minimum(1, 126.5 / np.maximum(most, 1)).astype(np.float32)
    scale /= factor.reshape(scale.shape)
    return np.rint(weight / scale).astype(np.int8), scale


def pairs(rows: np.ndarray) -> np.ndarray:
    """The largest |a + b| of neighbours in each row."""
    even = rows.shape[1] // 2 * 2
    return np.abs(rows[:, 0:even:2] + rows[:, 1:even:2]).max(1, initial=0)


def extremes(weight: np.ndarray) -> np.ndarray:
    """The largest absolute value of each output channel (out, 1, ...), 1 where all are 0."""
    most = np.abs(weight).max(axis=tuple(range(1, weight.ndim)), keepdims=True).astype(np.float32)
    return np.where(most == 0, np.float32(1), most)
