"""How far two pictures are apart."""

import warnings
from dataclasses import dataclass
from math import log10
from pathlib import Path

import numpy as np
from PIL import Image

from pleinair.checks import shown_path
from pleinair.errors import RequestError

KINDS = ("PNG", "JPEG", "WEBP")


@dataclass(frozen=True)
class Difference:
    """How far two pictures of one size are apart, in 8-bit levels."""

    max_abs: int
    psnr_db: float | None  # None for equal pictures
    equal_share: float  # of the pixels


def difference(a: np.ndarray, b: np.ndarray) -> Difference:
    """Two pictures (H, W, 3) uint8 of one size."""
    apart = np.abs(a.astype(np.int16) - b.astype(np.int16))
    square = float(np.mean(apart.astype(np.float64) ** 2))
    psnr = 10 * log10(255**2 / square) if square else None
    return Difference(int(apart.max()), psnr, float((apart == 0).all(axis=-1).mean()))


def open_pixels(file: Path) -> np.ndarray:
    """A picture's pixels (H, W, 3) uint8; RequestError where they cannot be decoded, or are suspiciously many."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file, formats=KINDS) as picture:
                return np.asarray(picture.convert("RGB"))
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise RequestError(
            f"'{shown_path(file)}' has more pixels than a picture made here; name another file"
        ) from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        reason = " ".join(str(error).split())[:200]
        raise RequestError(f"'{shown_path(file)}' cannot be decoded ({reason}); restore the file") from None
