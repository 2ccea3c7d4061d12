"""Bundles that jobs of a pipeline name beside its model, such as upscalers and VAEs."""

from collections.abc import Callable, Iterable
from pathlib import Path
from threading import RLock

from pleinair.bundle.opening import open_bundle
from pleinair.engines.engine import Engine, choose_engine
from pleinair.engines.graphs import Graphs


class GraphsBeside:
    """Opened once for all jobs, on the pipeline's engine where they have graphs for it, else on another.

    `what` they are is for people; `how` is what else `Graphs` takes, for those on the pipeline's own engine.
    """

    def __init__(
        self,
        what: str,
        engine: Engine,
        verify: bool,
        on_load: Callable[[str], None] | None = None,
        **how: object,
    ) -> None:
        self._what = what
        self._engine = engine
        self._verify = verify
        self._on_load = on_load
        self._how = how
        self._open: dict[Path, Graphs] = {}
        self._turn = RLock()

    def open(self, folder: Path) -> Graphs:
        """The graphs of a bundle's folder; raises BundleError for what is none, EngineError."""
        with self._turn:
            if folder not in self._open:
                if self._on_load is not None:
                    self._on_load(folder.name)
                bundle = open_bundle(folder, verify=self._verify)
                same = self._engine.format in ("", *bundle.formats)
                engine = self._engine if same else choose_engine(bundle, None)
                how = self._how if same else {"threads": self._how.get("threads")}
                self._open[folder] = Graphs(bundle, engine, **how)
            return self._open[folder]

    def elsewhere(self, folders: Iterable[Path]) -> list[str]:
        """A warning for each that runs on another engine than the pipeline."""
        return [
            f"the {self._what} '{each.bundle.manifest.name}' has no graph for {self._engine.name} and runs on"
            f" {each.engine}"
            for each in map(self.open, folders)
            if each.engine != self._engine.name
        ]

    @property
    def news(self) -> tuple[str, ...]:
        """Lines about what runs otherwise than was asked for."""
        with self._turn:
            return tuple(line for each in self._open.values() for line in each.news)

    def release(self) -> None:
        """Give the memory back."""
        with self._turn:
            self._open.clear()
