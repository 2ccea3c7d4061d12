"""Files without their weights: bytes kept as they are, and recipes from which the same large constants grow anywhere.

A recipe's numbers are `middle + reach * u`, u uniform in (-1, 1) as freshly initialised weights are. u is one block of
raw PCG64 integers, repeated: its length is a prime, so that no two rows of a matrix are alike. Integers become floats
exactly and every operation after that is rounded as IEEE 754 says, so each machine makes the same bytes.
"""

import hashlib
import json
import lzma
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache

import numpy as np

BLOCK = 1_048_573  # numbers before u repeats: the largest prime below 2**20, 4 MB that stay in a processor's cache
STRIDE = 611_953  # between the places in the block where two recipes begin; prime as well
SEED = 4


@dataclass(frozen=True)
class Recipe:
    """One large constant: little-endian numbers of `dtype`, filling `shape` in C order."""

    dtype: str
    shape: tuple[int, ...]
    seed: int
    middle: float
    reach: float

    @property
    def size(self) -> int:
        """In bytes."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


Part = int | Recipe  # so many bytes that are kept, or a recipe


@dataclass(frozen=True)
class Outline:
    """A file without its large constants: its parts in order, and the kept bytes of all of them."""

    parts: tuple[Part, ...]
    kept: bytes | memoryview

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        return sum(part if isinstance(part, int) else part.size for part in self.parts)

    def pieces(self) -> Iterator[memoryview]:
        """The whole file, a few megabytes at a time."""
        kept, start = memoryview(self.kept), 0
        for part in self.parts:
            if isinstance(part, int):
                yield kept[start : start + part]
                start += part
            else:
                yield from grown(part)

    def sha256(self) -> str:
        """Of the whole file, without writing it."""
        digest = hashlib.sha256()
        for piece in self.pieces():
            digest.update(piece)
        return digest.hexdigest()


def grown(recipe: Recipe) -> Iterator[memoryview]:
    """The bytes of one constant, a block at a time."""
    count = math.prod(recipe.shape)
    start = recipe.seed * STRIDE % BLOCK
    values = uniform()[start : start + min(count, BLOCK)]
    if recipe.middle or not recipe.reach:
        values = values * np.float32(recipe.reach) + np.float32(recipe.middle)
    else:
        values = values * np.float32(recipe.reach)
    dtype = np.dtype(recipe.dtype).newbyteorder("<")
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        values = np.rint(values).clip(max(limits.min, -limits.max), limits.max)  # int8 weights are symmetric
    data = memoryview(values.astype(dtype)).cast("B")
    for _ in range(count // BLOCK if count > BLOCK else 1):
        yield data
    if count > BLOCK:
        yield data[: count % BLOCK * dtype.itemsize]


@cache
def uniform() -> np.ndarray:
    """u, twice in a row (2 * BLOCK,) float32, so that a whole block can begin anywhere; never 0."""
    raw = np.random.PCG64(SEED).random_raw(BLOCK) >> np.uint64(40)
    odd = 2 * raw.astype(np.int64) + 1 - 2**24
    u = odd.astype(np.float32) * np.float32(2**-24)
    u = np.concatenate([u, u])
    u.flags.writeable = False
    return u


def pack(files: dict[str, Outline]) -> bytes:
    """The files of a graph by name, as one compressed file."""
    head = {
        name: [part if isinstance(part, int) else [*asdict(part).values()] for part in outline.parts]
        for name, outline in files.items()
    }
    kept = b"".join(outline.kept for outline in files.values())
    return lzma.compress(json.dumps(head).encode() + b"\n" + kept, preset=9 | lzma.PRESET_EXTREME)


def unpack(packed: bytes) -> dict[str, Outline]:
    """What `pack` was given; raises LZMAError, ValueError or TypeError for anything else."""
    data = memoryview(lzma.decompress(packed))
    start = data.obj.index(b"\n") + 1
    files = {}
    for name, head in json.loads(data.obj[:start]).items():
        parts = tuple(part if isinstance(part, int) else Recipe(part[0], tuple(part[1]), *part[2:]) for part in head)
        end = start + sum(part for part in parts if isinstance(part, int))
        files[name] = Outline(parts, data[start:end])
        start = end
    return files
