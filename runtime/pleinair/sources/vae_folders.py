"""Which folders are those of a VAE alone, as diffusers saves one."""

from pathlib import Path

from pleinair.errors import ExportError
from pleinair.sources.families import DEEP_VAE, TINY_VAE, VAE
from pleinair.sources.weight_files import DOWNLOAD
from pleinair.system.files import CONFIG, read_json

PARTS = {part.kind: part for part in (VAE, TINY_VAE, DEEP_VAE)}  # by class
CONFIG_FILE = "config.json"


def is_vae_folder(path: Path) -> bool:
    """Whether a diffusers folder is that of a VAE alone; ExportError for a config.json that cannot be read."""
    if (path / "model_index.json").exists() or not (path / CONFIG_FILE).is_file():
        return False
    kind = read_json(path / CONFIG_FILE, CONFIG, ExportError, DOWNLOAD).get("_class_name")
    return isinstance(kind, str) and kind in PARTS
