"""Where pleinair keeps models and downloads, and what a model may be called there."""

import os
import re
from pathlib import Path

from pleinair.errors import ResourceError

HOME = "PLEINAIR_HOME"
# no separators, no drive letters, nothing hidden, no `..`, and nothing that Windows would drop from the end
NAME = re.compile(r'(?!\.)[^\x00-\x1f\x7f/\\:*?"<>|]{1,200}(?<![. ])')


def home() -> Path:
    """PLEINAIR_HOME, or the folder that the system has for what a program keeps for its user."""
    if given := os.environ.get(HOME):
        return Path(given).expanduser().absolute()
    from platformdirs import user_data_path  # of no use to those who name a model by its path

    try:
        return user_data_path("pleinair", appauthor=False)
    except RuntimeError:  # a user of a service or a container, of whom the system knows nothing
        raise ResourceError(f"the user has no home folder; set {HOME} to the folder that models are kept in") from None


def models_folder() -> Path:
    """Where `--model NAME` looks."""
    return home() / "models"


def loras_folder() -> Path:
    """Where LoRA files lie that are known by their names."""
    return home() / "loras"


def embeddings_folder() -> Path:
    """Where textual inversions lie that a server's clients know by their names."""
    return home() / "embeddings"


def downloads_folder() -> Path:
    """Where what becomes a model is downloaded to, in a folder for each owner."""
    return home() / "downloads"


def is_name(text: str) -> bool:
    """Whether a text can be the name of a kept model."""
    return NAME.fullmatch(text) is not None
