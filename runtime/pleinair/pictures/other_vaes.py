"""VAEs that jobs decode and encode with in place of their model's own."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from pleinair.bundle.lone_parts import Autoencoder
from pleinair.bundle.opening import Bundle
from pleinair.engines.beside import GraphsBeside
from pleinair.engines.engine import Engine
from pleinair.engines.graphs import Graphs


@dataclass(frozen=True)
class OpenVae:
    """A VAE, and the graphs that it is some of."""

    graphs: Graphs
    vae: Autoencoder


class Vaes:
    """A model's own VAE, and those that jobs name, opened once, on its engine where they have graphs for it."""

    def __init__(
        self, own: Graphs, engine: Engine, on_load: Callable[[str], None] | None = None, **how: object
    ) -> None:
        self._own = own
        self._others = GraphsBeside("VAE", engine, own.bundle.files.hashed, on_load, **how)

    def open(self, folder: Path | None) -> OpenVae:
        """The VAE of a bundle's folder, the model's own for None; raises BundleError, EngineError."""
        graphs = self._own if folder is None else self._others.open(folder)
        return OpenVae(graphs, graphs.bundle.manifest.vae)

    def elsewhere(self, folders: Iterable[Path]) -> list[str]:
        """A warning for each that runs on another engine than the model."""
        return self._others.elsewhere(folders)

    @property
    def news(self) -> tuple[str, ...]:
        """Lines about what of the others runs otherwise than was asked for."""
        return self._others.news

    def release(self) -> None:
        """Give the memory of the others back."""
        self._others.release()


def latents_of(bundle: Bundle) -> tuple[int, int]:
    """What two bundles must share to go on from each other: channels, and pixels along one side of a latent."""
    return bundle.manifest.latents.channels, bundle.manifest.vae.downsample
