"""What ships with pleinair: the model storybook, and its add-ons.

A wheel holds them beside this package; an editable install reads the repository's models/ folder, so that what is
trained anew is never shadowed by a stale copy.
"""

from pathlib import Path

STORYBOOK = "storybook"
INSTALLED = Path(__file__).parents[1] / "models"
REPOSITORY = Path(__file__).parents[3] / "models" / STORYBOOK


def default_path() -> Path:
    """The folder of storybook's bundle."""
    packaged = INSTALLED / STORYBOOK
    return packaged if packaged.is_dir() else REPOSITORY / "bundle"


def addons_folder() -> Path:
    """Where its LoRA files lie, and the bundles of its ControlNet and its small VAE."""
    packaged = INSTALLED / f"{STORYBOOK}-addons"
    return packaged if packaged.is_dir() else REPOSITORY / "addons"


def shipped_bundles() -> dict[str, Path]:
    """Name -> folder of each bundle that ships, storybook first."""
    addons = sorted(folder for folder in addons_folder().glob(f"{STORYBOOK}-*") if folder.is_dir())
    return {STORYBOOK: default_path(), **{folder.name: folder for folder in addons}}


def shipped_bundle(name: str) -> Path | None:
    """The folder of the bundle that ships under a name."""
    return shipped_bundles().get(name)
