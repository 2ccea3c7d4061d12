"""A VAE in place of a model's own, as an option names it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pleinair.request.file_types import Folder

OWN = "default"  # A1111 says "Automatic"


@dataclass(frozen=True)
class VaeName(Folder):
    """The folder of a bundle that has a VAE, a name among the models, or OWN, which stands for none."""

    def read(self, name: str, value: Any) -> Path | None:
        return None if value == OWN else super().read(name, value)
