"""Upscaler bundles: ESRGAN-like networks that enlarge finished pictures."""

from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path

import numpy as np

from pleinair.bundle.manifest_checks import UPSCALER
from pleinair.bundle.opening import Bundle, open_bundle
from pleinair.engines.beside import GraphsBeside
from pleinair.engines.engine import Engine, choose_engine
from pleinair.engines.graphs import Asking, Graphs
from pleinair.pictures.tiles import OVERLAP, TILE, cut, upscale_tiled

MARGIN = 16  # pixels of the other side that are enlarged too where borders meet
FLOATS, LEVELS = 12, 3  # bytes of a pixel


class Upscaler:
    """An open upscaler bundle."""

    def __init__(self, graphs: Graphs) -> None:
        self.bundle = graphs.bundle
        self.engine = graphs.engine
        self.graphs = graphs

    @property
    def news(self) -> tuple[str, ...]:
        """Lines about what runs otherwise than was asked for."""
        return self.graphs.news

    @property
    def scale(self) -> int:
        """How many times larger pictures become, to each side."""
        return self.bundle.manifest.scale

    def __call__(self, pixels: np.ndarray, axes: str = "", check: Callable[[], None] = lambda: None) -> np.ndarray:
        """Pictures (B, H, W, 3) in 0..1 -> (B, scale H, scale W, 3); borders meet along `axes` ("x", "y", "xy").

        `check` is called before every run of the network, and may raise.
        """
        graph = Asking(self.graphs.open(UPSCALER), check)
        down, across = (MARGIN if axis in axes else 0 for axis in "yx")
        wide = np.pad(pixels, ((0, 0), (down, down), (across, across), (0, 0)), mode="wrap") if axes else pixels
        top, left = down * self.scale, across * self.scale
        larger = [upscale_tiled(graph, one, self.scale) for one in wide]
        inner = [one[top : one.shape[0] - top, left : one.shape[1] - left] for one in larger]
        return np.stack(inner) if len(inner) > 1 else inner[0][None]  # one alone is not copied


def tile_pixels(width: int, height: int, axes: str = "") -> int:
    """Pixels that an upscaler is given at a time of a picture whose borders meet along `axes`."""
    sides = [side + 2 * MARGIN if axis in axes else side for side, axis in ((height, "y"), (width, "x"))]
    return prod(cut(side, TILE, OVERLAP).size for side in sides)


def picture_bytes_needed(width: int, height: int, scale: int, count: int = 1) -> int:
    """Bytes of memory of `count` pictures and their larger ones, beside what the network works with."""
    given, made = width * height, width * height * scale**2
    return FLOATS * (count * given + (made if count == 1 else 2 * count * made)) + LEVELS * count * made


def load_upscaler(
    model: str | Path,
    *,
    engine: str | Engine | None = None,
    device: str | None = None,
    threads: int | None = None,
    precision: str | Mapping[str, str] | None = None,
    verify: bool = True,
    fallback: bool = False,
    cache: bool | None = None,
) -> Upscaler:
    """Open an upscaler bundle; raises BundleError for any other, EngineError."""
    bundle = open_bundle(model, verify=verify)
    bundle.require("upscale")
    chosen = choose_engine(bundle, engine)
    how = {"device": device, "threads": threads, "precision": precision, "fallback": fallback, "cache": cache}
    return Upscaler(Graphs(bundle, chosen, **how))


class Upscalers:
    """The upscalers that jobs of one pipeline name, opened once, on its engine where they have graphs for it."""

    def __init__(
        self, bundle: Bundle, engine: Engine, on_load: Callable[[str], None] | None = None, **how: object
    ) -> None:
        self._graphs = GraphsBeside("upscaler", engine, bundle.files.hashed, on_load, **how)

    def open(self, folder: Path) -> Upscaler:
        """The upscaler of a bundle's folder; raises BundleError for any other, EngineError."""
        graphs = self._graphs.open(folder)
        graphs.bundle.require("upscale")
        return Upscaler(graphs)

    def elsewhere(self, folders: list[Path]) -> list[str]:
        """A warning for each that runs on another engine than the pipeline."""
        return self._graphs.elsewhere(folders)

    @property
    def news(self) -> tuple[str, ...]:
        """Lines about what runs otherwise than was asked for."""
        return self._graphs.news

    def release(self) -> None:
        """Give the memory back."""
        self._graphs.release()
