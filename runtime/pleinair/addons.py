"""What stands beside a model in one job, or changes it: LoRAs, ControlNets, other VAEs, and upscalers."""

from functools import cached_property, partial
from pathlib import Path

import numpy as np

from pleinair.controlling import ControlPlan
from pleinair.engines.edits import Edit
from pleinair.engines.engine import Graph
from pleinair.engines.graphs import Asking
from pleinair.model import Loaded, Model
from pleinair.pictures import start as starts
from pleinair.pictures.decoding import Decoding
from pleinair.pictures.other_vaes import OpenVae
from pleinair.request.planning import Pass
from pleinair.request.request import Request


class OpenAddOns:
    """Those of a request, opened.

    Raises RequestError or BundleError for what does not fit the model, before a graph is loaded.
    """

    def __init__(self, loaded: Loaded, request: Request, passes: list[Pass]) -> None:
        self._loaded = loaded
        self._request = request
        self.merge = loaded.model.merge(request.loras)
        self.control = ControlPlan(request, passes, loaded.companions, self.asking)
        for folder in request.upscalers:
            loaded.upscalers.open(folder)
        self.vae = loaded.vaes.open(request.vae)
        self.preview_vae = loaded.vaes.open(request.preview_vae) if request.preview_vae else self.vae

    @property
    def warnings(self) -> list[str]:
        """What is said of them before anything is painted."""
        request, loaded = self._request, self._loaded
        return [
            *loaded.upscalers.elsewhere(request.upscalers),
            *self.control.warnings,
            *loaded.vaes.elsewhere(filter(None, (request.vae, request.preview_vae))),
            *(warning for each in self.merge.applied for warning in each.warnings),
        ]

    def edits(self, model: Model | OpenVae, graph: str) -> tuple[Edit, ...]:
        """How they change a graph between reading and compiling; a refiner's are left as they are."""
        own = self._loaded.model
        if model is not own:
            return ()
        ports = self.control.edits if graph == own.bundle.manifest.denoiser.graph else ()
        return *self.merge.edits(graph), *ports

    def asking(self, model: Model | OpenVae, name: str) -> Graph:
        """A graph that asks before every call whether the caller wants to stop."""
        return Asking(model.graphs.open(name, self.edits(model, name)), self._request.check)

    def larger(self, folder: Path, pixels: np.ndarray) -> np.ndarray:
        """Pixels (B, H, W, 3) enlarged by an upscaler."""
        request = self._request
        return self._loaded.upscalers.open(folder)(pixels, request.tile or "", request.check)

    @cached_property
    def encoder(self) -> starts.EncodedOnce:
        """What makes latents of the pictures that a job starts from."""
        vae = self.vae.vae
        return starts.EncodedOnce(partial(self.asking, self.vae, vae.encoder), vae, self._request.vae_tile)

    @cached_property
    def decoding(self) -> Decoding:
        """What makes pictures of latents."""
        return self._decoding_by(self.vae)

    @cached_property
    def previewing(self) -> Decoding:
        """What shows steps."""
        return self.decoding if self.preview_vae is self.vae else self._decoding_by(self.preview_vae)

    def _decoding_by(self, by: OpenVae) -> Decoding:
        request = self._request
        return Decoding(by.graphs.open, by.vae, request.tile or "", request.vae_tile, request.check)
