"""Models that are open: their bundles, and what stays loaded of them between jobs."""

from dataclasses import dataclass
from pathlib import Path
from threading import RLock

from pleinair.bundle.opening import Bundle, open_bundle
from pleinair.engines.engine import Engine
from pleinair.engines.graphs import Graphs
from pleinair.pictures.upscale import Upscalers
from pleinair.text.encoders import Encoders


@dataclass(frozen=True)
class Model:
    """A bundle, its graphs on an engine, and what its text encoders said lately."""

    bundle: Bundle
    graphs: Graphs
    encoders: Encoders

    def release(self) -> None:
        """Give the memory back."""
        self.graphs.release()
        self.encoders.forget()


class Companions:
    """The refiners and ControlNets that jobs of one pipeline name, opened once, on its engine.

    `how` is what else `Graphs` takes.
    """

    def __init__(self, engine: Engine, verify: bool, **how: object) -> None:
        self._engine = engine
        self._verify = verify
        self._how = how
        self._open: dict[Path, Model] = {}
        self._turn = RLock()

    def open(self, folder: Path) -> Model:
        """Raises BundleError for a folder that is no bundle."""
        with self._turn:
            if folder not in self._open:
                bundle = open_bundle(folder, verify=self._verify)
                graphs = Graphs(bundle, self._engine, **self._how)
                self._open[folder] = Model(bundle, graphs, Encoders(bundle))
            return self._open[folder]

    def release(self) -> None:
        """Give the memory back."""
        with self._turn:
            self._open.clear()


@dataclass(frozen=True)
class Loaded:
    """What stays loaded between the jobs of a pipeline."""

    model: Model
    companions: Companions
    upscalers: Upscalers

    def release(self) -> None:
        """Give the memory of graphs and texts back."""
        self.model.release()
        self.companions.release()
        self.upscalers.release()
