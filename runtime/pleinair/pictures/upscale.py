"""Upscaler bundles: ESRGAN-like networks that enlarge finished pictures."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from pleinair.bundle.manifest_checks import UPSCALER
from pleinair.bundle.opening import Bundle, open_bundle
from pleinair.engines.graphs import Asking, choose_engine, open_graph
from pleinair.engines.precision import F32, parse
from pleinair.pictures.tiles import upscale_tiled

MARGIN = 16  # pixels of the other side that are enlarged too where borders meet


class Upscaler:
    """An open upscaler bundle."""

    def __init__(
        self, bundle: Bundle, engine: str, device: str | None, threads: int | None, precision: str = F32
    ) -> None:
        self.bundle = bundle
        self.engine = engine
        self._graph = open_graph(bundle, UPSCALER, engine, device, threads, precision)

    @property
    def scale(self) -> int:
        return self.bundle.manifest.scale

    def __call__(self, pixels: np.ndarray, axes: str = "", check: Callable[[], None] = lambda: None) -> np.ndarray:
        """Pictures (B, H, W, 3) in 0..1 -> (B, scale H, scale W, 3); borders meet along `axes` ("x", "y", "xy").

        `check` is called before every run of the network, and may raise.
        """
        down, across = (MARGIN if axis in axes else 0 for axis in "yx")
        wide = np.pad(pixels, ((0, 0), (down, down), (across, across), (0, 0)), mode="wrap")
        larger = np.stack([upscale_tiled(Asking(self._graph, check), one, self.scale) for one in wide])
        top, left = down * self.scale, across * self.scale
        return larger[:, top : larger.shape[1] - top, left : larger.shape[2] - left]


def load_upscaler(
    model: str | Path,
    *,
    engine: str | None = None,
    device: str | None = None,
    threads: int | None = None,
    precision: str | None = None,
    verify: bool = True,
) -> Upscaler:
    """Open an upscaler bundle; raises BundleError for any other, EngineError."""
    bundle = open_bundle(model, verify=verify)
    bundle.require("upscale")
    return Upscaler(bundle, choose_engine(bundle, engine), device, threads, parse(precision)["upscaler"])
