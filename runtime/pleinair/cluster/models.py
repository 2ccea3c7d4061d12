"""A model that every machine of a cluster has by itself, and that is the same there by content."""

import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pleinair.bundle.opening import Bundle, bundle_identity, located, open_bundle
from pleinair.errors import BundleError, EngineError, PleinairError
from pleinair.library.listing import model_called
from pleinair.version import __version__


@dataclass(frozen=True)
class SharedModel:
    """A bundle as another machine finds it: in the same folder, or by its name."""

    name: str
    folder: Path
    sha256: str
    version: str = __version__

    @classmethod
    def of(cls, bundle: Bundle) -> "SharedModel":
        """That of a bundle which is open here."""
        return cls(bundle.manifest.name, bundle.path, bundle_identity(bundle)["sha256"])

    def here(self) -> Path:
        """Its folder on this machine; raises BundleError where it is not here, EngineError in another pleinair."""
        if self.version != __version__:
            raise EngineError(
                f"{socket.gethostname()} has pleinair {__version__} and the list comes from {self.version};"
                " install the same on all machines"
            )
        for folder in self._places():
            with suppress(PleinairError):
                if bundle_identity(open_bundle(folder, verify=False))["sha256"] == self.sha256:
                    return folder
        raise BundleError(
            f"{socket.gethostname()} has no model '{self.name}' of the same content; copy its folder to"
            " PLEINAIR_HOME/models there"
        )

    def _places(self) -> Iterator[Path]:
        yield self.folder
        for name in (self.name, self.folder.name):
            yield located(name)
        if found := model_called(self.name, self.sha256):
            yield found
