"""Models that are open: their bundles, and what stays loaded of them between jobs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import RLock

from pleinair.adapters.lora_file import open_lora
from pleinair.adapters.matching import networks_in
from pleinair.adapters.merging import Merge, Use, planned
from pleinair.bundle.opening import Bundle, open_bundle
from pleinair.engines.engine import Engine, choose_engine
from pleinair.engines.graphs import Graphs
from pleinair.pictures.other_vaes import Vaes
from pleinair.pictures.upscale import Upscalers
from pleinair.request.lora_types import LoraUse
from pleinair.text.encoders import Encoders


@dataclass(frozen=True)
class Model:
    """A bundle, its graphs on an engine, and what its text encoders said lately."""

    bundle: Bundle
    graphs: Graphs
    encoders: Encoders

    def merge(self, loras: Sequence[LoraUse]) -> Merge:
        """What LoRAs do to its graphs; raises RequestError for one that is damaged, or not for this model."""
        uses = [Use(open_lora(each.file), each.weight, each.text_weight) for each in loras if each.weighs]
        return planned(networks_in(self.bundle.manifest), uses, self.graphs.layers) if uses else Merge()

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
        """Raises BundleError for a folder that is no bundle, EngineError for one that has no graphs for the engine."""
        with self._turn:
            if folder not in self._open:
                bundle = open_bundle(folder, verify=self._verify)
                if bundle.formats:
                    choose_engine(bundle, self._engine)
                graphs = Graphs(bundle, self._engine, **self._how)
                self._open[folder] = Model(bundle, graphs, Encoders(bundle))
            return self._open[folder]

    @property
    def news(self) -> tuple[str, ...]:
        """Lines about what runs otherwise than was asked for."""
        with self._turn:
            return tuple(line for each in self._open.values() for line in each.graphs.news)

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
    vaes: Vaes

    @property
    def news(self) -> tuple[str, ...]:
        """Lines about what runs otherwise than was asked for."""
        return *self.model.graphs.news, *self.companions.news, *self.upscalers.news, *self.vaes.news

    def release(self) -> None:
        """Give the memory of graphs and texts back."""
        self.model.release()
        self.companions.release()
        self.upscalers.release()
        self.vaes.release()
