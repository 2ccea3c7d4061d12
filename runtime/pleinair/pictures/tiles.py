"""Large pictures in overlapping tiles: memory bounded by the tile, all tiles of one size, no visible seam.

Engines compile a graph for the shapes it is called with, so that the tiles of a job all have the same size.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pleinair.engines.engine import Graph
from pleinair.engines.failures import check_finite
from pleinair.errors import BundleError

TILE, OVERLAP = 256, 32  # pixels that an upscaler is given at a time, and how far they lie over each other

RunTile = Callable[[np.ndarray], np.ndarray]  # (B, C, h, w) -> (B, C', h * s, w * s)


@dataclass(frozen=True)
class TiledAxis:
    """How one axis is cut: tiles of `size` units from `starts`, and how much of each pixel every tile gives."""

    size: int
    starts: tuple[int, ...]
    weights: np.ndarray  # (tiles, size * scale), adding up to 1 wherever tiles lie over each other


def cut(length: int, side: int, overlap: int, scale: int = 1) -> TiledAxis:
    """The fewest tiles of at most `side` units that cover `length` and overlap by at least `overlap`.

    They are as small as that number of tiles allows and evenly placed. Weights are for `scale` pixels a unit: the
    outer quarter of an overlap, spoilt by the network's padding, counts for nothing, the middle half is a ramp.
    """
    if length <= side:
        return TiledAxis(length, (0,), np.ones((1, length * scale), np.float32))
    count = -(-(length - overlap) // (side - overlap))
    size = -(-(length + (count - 1) * overlap) // count)
    starts = tuple(place * (length - size) // (count - 1) for place in range(count))
    inside = (np.arange(size * scale) + 0.5) / scale - overlap / 4
    rise = np.clip(inside / (overlap / 2), 0, 1)
    rise = rise**2 * (3 - 2 * rise)  # no kink where the ramp begins and ends
    weights, total = [], np.zeros(length * scale)
    for place, start in enumerate(starts):
        weight = (rise if place else 1.0) * (rise[::-1] if place < count - 1 else np.ones_like(rise))
        total[start * scale : (start + size) * scale] += weight
        weights.append(weight)
    shares = [
        weight / total[start * scale : (start + size) * scale] for weight, start in zip(weights, starts, strict=True)
    ]
    return TiledAxis(size, starts, np.stack(shares).astype(np.float32))


def tall_tile(height: int, width: int, side: int, overlap: int) -> tuple[int, int]:
    """The (height, width) of tiles of no more than side x side units for a network that normalises over its input.

    Pictures differ more from top to bottom (sky, ground) than from left to right, so that a strip of full height is the
    most like the whole: tiles are as tall as they can be without costing a quarter more than the cheapest.
    """
    if height * width <= side * side:
        return height, width
    shapes = []
    for rows in range(1, height + 1):
        tall = -(-(height + (rows - 1) * overlap) // rows)
        if rows > 1 and tall < side // 2:
            break
        widest = min(side * side // tall, width)
        if widest == width or widest > overlap:
            wide = cut(width, widest, overlap)
            shapes.append((rows * len(wide.starts) * tall * wide.size, tall, wide.size))
    cheapest = min(cost for cost, *_ in shapes)
    return next((tall, wide) for cost, tall, wide in shapes if cost <= 1.25 * cheapest)


def tiled(
    run: RunTile, x: np.ndarray, tile: tuple[int, int], overlap: int, unit_in: int = 1, unit_out: int = 1
) -> np.ndarray:
    """`run(x)` in tiles of at most `tile` (height, width) units, x (B, C, H, W).

    A unit is `unit_in` pixels of the input and `unit_out` of the output. What fits into one tile is run as it is.
    """
    height, width = x.shape[2] // unit_in, x.shape[3] // unit_in
    rows, columns = cut(height, tile[0], overlap, unit_out), cut(width, tile[1], overlap, unit_out)
    if len(rows.starts) == len(columns.starts) == 1:
        return run(np.ascontiguousarray(x))
    whole_picture = None
    for top, down in zip(rows.starts, rows.weights, strict=True):
        for left, across in zip(columns.starts, columns.weights, strict=True):
            tile = x[:, :, stretch(top, rows.size, unit_in), stretch(left, columns.size, unit_in)]
            piece = run(np.ascontiguousarray(tile))
            if whole_picture is None:
                whole_picture = np.zeros((*piece.shape[:2], height * unit_out, width * unit_out), np.float32)
            place = whole_picture[:, :, stretch(top, rows.size, unit_out), stretch(left, columns.size, unit_out)]
            place += piece * (down[:, None] * across)
    return whole_picture


def stretch(start: int, size: int, unit: int) -> slice:
    """The pixels of `size` units from one on, along a side."""
    return slice(start * unit, (start + size) * unit)


def upscale_tiled(graph: Graph, picture: np.ndarray, scale: int) -> np.ndarray:
    """A picture (H, W, 3) in 0..1 -> (scale * H, scale * W, 3), through an ESRGAN-type graph.

    The graph takes `image` (1, 3, H, W), and its one output is `scale` times as large. Raises BundleError for a graph
    of another scale.
    """
    image = picture.transpose(2, 0, 1)[None].astype(np.float32, copy=False)  # (1, 3, H, W)

    def run(piece: np.ndarray) -> np.ndarray:
        (larger,) = graph(image=piece).values()
        if larger.shape[2:] != (piece.shape[2] * scale, piece.shape[3] * scale):
            raise BundleError(
                f"the upscaler made {larger.shape[3]}x{larger.shape[2]} of {piece.shape[3]}x{piece.shape[2]},"
                f" which is not {scale} times as large; export it again"
            )
        return larger

    larger = tiled(run, image, (TILE, TILE), OVERLAP, unit_out=scale)
    check_finite(larger, "when enlarging")
    return np.clip(larger, 0, 1, out=larger)[0].transpose(1, 2, 0)
