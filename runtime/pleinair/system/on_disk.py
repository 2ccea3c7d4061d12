"""Arrays whose numbers are still in a file, and are read when NumPy makes arrays of them.

They are not mapped: where another program cuts a mapped file, reading it ends the process.
"""

import io
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from pleinair.checks import one_line, shown_path
from pleinair.errors import PleinairError

Shape = tuple[int, ...]


class FileInUse(io.FileIO):
    """A file that is open for as long as an array of its numbers may be made; `raises` where that fails."""

    def __init__(self, path: Path, raises: type[PleinairError]) -> None:
        super().__init__(path)
        self.raises = raises

    def __del__(self) -> None:
        self.close()


@dataclass(frozen=True)
class OnDisk:
    """Numbers of a file from the byte `start` on; `strides` are bytes, None where rows follow each other.

    Its rows, and its numbers in another shape, are on the disk too. Raises the file's error when an array is made
    of it where the file has become shorter, or cannot be read.
    """

    file: FileInUse
    dtype: np.dtype
    shape: Shape
    start: int
    strides: Shape | None = None

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def ndim(self) -> int:
        """Axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """How many numbers."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of all numbers."""
        return self.size * self.dtype.itemsize

    def __getitem__(self, rows: slice) -> "OnDisk":
        first, last, _ = rows.indices(len(self))
        start = self.start + first * (self.strides or row_strides(self.shape, self.dtype.itemsize))[0]
        return replace(self, shape=(max(0, last - first), *self.shape[1:]), start=start)

    def reshape(self, *shape: int) -> "OnDisk | np.ndarray":
        """The same numbers in another shape, of which one side may be -1; an array where rows are apart."""
        if self.strides is not None:
            return np.asarray(self).reshape(shape)
        return replace(self, shape=tuple(self.size // -prod(shape) if side == -1 else side for side in shape))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        steps = self.strides or row_strides(self.shape, self.dtype.itemsize)
        span = self.dtype.itemsize + sum((side - 1) * step for side, step in zip(self.shape, steps, strict=True))
        content = read(self.file, self.start, span if self.size else 0)
        made = np.ndarray(self.shape, self.dtype, content, strides=steps)
        return made if dtype is None else made.astype(dtype, copy=False)


def row_strides(shape: Shape, size: int) -> Shape:
    """Strides of numbers of `size` bytes whose rows follow each other."""
    return tuple(size * prod(shape[axis + 1 :]) for axis in range(len(shape)))


def read(file: FileInUse, start: int, count: int) -> np.ndarray:
    """`count` bytes of a file; raises its error where they are not there any more."""
    found, done = np.empty(count, np.uint8), 0
    where = shown_path(Path(str(file.name)))
    try:
        file.seek(start)
        while done < count and (more := file.readinto(memoryview(found)[done:])):
            done += more
    except OSError as error:
        why = one_line(error.strerror, 80)
        raise file.raises(f"cannot read '{where}' any more ({why}); check the disk, and try again") from None
    if done < count:
        raise file.raises(f"'{where}' became shorter while it was read; try again when no other program writes it")
    return found
