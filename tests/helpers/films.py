"""Paintings to film, and written films read back."""

import importlib.util
from fractions import Fraction

import numpy as np
from PIL import Image

WITH_AV = importlib.util.find_spec("av") is not None
SUFFIXES = [".gif", ".webp", ".png", ".apng", *([".mp4"] if WITH_AV else [])]  # the dev extra has av


def painting(place, size=(48, 40)):
    """A soft picture of many colours, another for each place."""
    y, x = np.mgrid[: size[1], : size[0]] / max(size)
    bands = [np.sin(3 * x + place), np.cos(2 * y + place), np.sin(x + y + 2 * place)]
    return Image.fromarray((np.stack(bands, -1) * 100 + 128).astype(np.uint8))


def psnr(a, b):
    error = (np.asarray(a, float) - np.asarray(b.convert("RGB"), float)) ** 2
    return np.inf if not error.any() else 10 * np.log10(255**2 / error.mean())


def opened(file):
    """(frames, seconds each) of a written film."""
    if file.suffix == ".mp4":
        import av

        with av.open(str(file)) as container:
            found = list(container.decode(video=0))
            total = float(container.duration / Fraction(1_000_000))
        starts = found[::2]
        ends = [*(frame.time for frame in starts[1:]), total]
        return [frame.to_image() for frame in starts], [b - a.time for a, b in zip(starts, ends, strict=True)]
    with Image.open(file) as picture:
        frames, seconds = [], []
        for place in range(picture.n_frames):
            picture.seek(place)
            frames.append(picture.convert("RGB"))
            seconds.append(picture.info["duration"] / 1000)
    return frames, seconds
