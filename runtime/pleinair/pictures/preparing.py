"""Pictures made ready for ControlNets: edges as Canny finds them, inverted, black and white, and blurred ones."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

LOW, HIGH = 100, 200  # of Canny's gradients: an edge begins above the second, and goes on above the first
TANGENT = 13573  # of 22.5 degrees, in 1/32768
SHIFT = 15
HALF = 128  # the gray from which on a picture is white
SOFT = 4.0  # pixels: the radius of the blur


def canny(picture: Image.Image, low: int = LOW, high: int = HIGH) -> Image.Image:
    """Edges, white on black: `cv2.Canny(rgb, low, high)` pixel for pixel (Canny 1986; Sobel 3x3, L1 norm)."""
    across, down = strongest(np.asarray(picture.convert("RGB"), np.int32))
    size = np.abs(across) + np.abs(down)
    ridges = thin(size, across, down) & (size > low)
    return Image.fromarray(np.where(connected(ridges, ridges & (size > high)), 255, 0).astype(np.uint8)).convert("RGB")


def strongest(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sobel's gradients (H, W) of that channel of pixels (H, W, C) where they are largest, the first of equal ones."""
    wide = np.pad(pixels, ((1, 1), (1, 1), (0, 0)), mode="edge")
    rows = wide[:-2] + 2 * wide[1:-1] + wide[2:]
    columns = wide[:, :-2] + 2 * wide[:, 1:-1] + wide[:, 2:]
    across, down = rows[:, 2:] - rows[:, :-2], columns[2:] - columns[:-2]
    best = np.argmax(np.abs(across) + np.abs(down), axis=2)[:, :, None]
    return np.take_along_axis(across, best, 2)[:, :, 0], np.take_along_axis(down, best, 2)[:, :, 0]


def thin(size: np.ndarray, across: np.ndarray, down: np.ndarray) -> np.ndarray:
    """Where a gradient is larger than those on both sides along its direction, of four."""
    around = np.pad(size, 1)
    height, width = size.shape

    def beside(rows: int, columns: int) -> np.ndarray:
        return around[1 + rows : 1 + rows + height, 1 + columns : 1 + columns + width]

    steep, flat = np.abs(down).astype(np.int64) << SHIFT, np.abs(across).astype(np.int64) * TANGENT
    level = steep < flat
    upright = ~level & (steep > flat + (np.abs(across).astype(np.int64) << (SHIFT + 1)))
    rising = (across ^ down) < 0
    leaning = np.where(
        rising,
        (size > beside(-1, 1)) & (size > beside(1, -1)),
        (size > beside(-1, -1)) & (size > beside(1, 1)),
    )
    flat_ridge = (size > beside(0, -1)) & (size >= beside(0, 1))
    upright_ridge = (size > beside(-1, 0)) & (size >= beside(1, 0))
    return np.where(level, flat_ridge, np.where(upright, upright_ridge, leaning))


def connected(candidates: np.ndarray, begun: np.ndarray) -> np.ndarray:
    """The candidates that touch one where an edge has begun, or one that does so, and so on."""
    found = np.zeros(tuple(side + 2 for side in begun.shape), bool)
    open_places = np.zeros_like(found)
    open_places[1:-1, 1:-1] = candidates
    width = found.shape[1]
    flat, left = found.reshape(-1), open_places.reshape(-1)
    fresh = np.flatnonzero(np.pad(begun, 1))
    steps = np.array([row * width + column for row in (-1, 0, 1) for column in (-1, 0, 1) if row or column])
    flat[fresh] = True
    while len(fresh):
        around = np.unique((fresh[:, None] + steps).reshape(-1))
        fresh = around[left[around] & ~flat[around]]
        flat[fresh] = True
    return found[1:-1, 1:-1]


def inverted(picture: Image.Image) -> Image.Image:
    """Dark for light: for drawings on white, where a ControlNet wants lines on black."""
    return Image.fromarray(255 - np.asarray(picture.convert("RGB")))


def black_and_white(picture: Image.Image) -> Image.Image:
    """White from the middle gray on."""
    return picture.convert("L").point([255 * (level >= HALF) for level in range(256)]).convert("RGB")


def softened(picture: Image.Image) -> Image.Image:
    """Without its finest details, for ControlNets that paint these anew ("tile")."""
    return picture.convert("RGB").filter(ImageFilter.GaussianBlur(SOFT))


PREPARERS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "canny": canny,
    "invert": inverted,
    "threshold": black_and_white,
    "blur": softened,
}
INPAINT = "inpaint"  # a way that depends on the job: what is repainted is hidden
WAYS = (*PREPARERS, INPAINT)
HIDDEN = -1.0  # a hidden pixel, as inpaint ControlNets were trained with it


def hidden(pixels: np.ndarray, mask: Image.Image) -> np.ndarray:
    """Pixels (1, 3, H, W) in 0..1 with -1 where a mask of their size is white.

    It is `make_inpaint_condition` of diffusers' documentation.
    """
    return np.where(np.asarray(mask.convert("L")) >= HALF, np.float32(HIDDEN), pixels)
