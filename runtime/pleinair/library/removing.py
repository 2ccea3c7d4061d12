"""Models and downloads taken off the disk: whole folders of ours, and nothing that a link leads to."""

import os
import shutil
from pathlib import Path

from pleinair.bundle.manifest import MANIFEST
from pleinair.bundle.shipped import shipped_bundle
from pleinair.checks import one_line, shown_path
from pleinair.errors import BundleError, RequestError, ResourceError
from pleinair.library.listing import Download, checked_folder, downloads
from pleinair.sources.origins import ORIGIN
from pleinair.system.home import models_folder

OURS = (MANIFEST, ORIGIN, "model_index.json")  # one of them is in every folder of a model
GONE = ".removing-"  # begins the name of a folder that is being removed


def removable(name: str) -> Path:
    """The folder, or the link, of a kept model; raises RequestError or BundleError for what is not to be removed."""
    folder = checked_folder(name)
    if not os.path.lexists(folder):
        if shipped_bundle(name):
            raise BundleError(f"'{name}' ships with pleinair and stays; see what can be removed with: pleinair models")
        where = shown_path(models_folder())
        raise BundleError(f"no model '{name}' in '{where}'; see what is there with: pleinair models")
    if not folder.is_symlink() and not any((folder / each).is_file() for each in OURS):
        raise BundleError(
            f"'{shown_path(folder)}' is not the folder of a model, so it is left alone; remove it yourself"
        )
    return folder


def removable_download(name: str) -> Download:
    """The download of a name that `pleinair models` lists; raises RequestError."""
    found = next((each for each in downloads() if each.name == name), None)
    if found is None:
        raise RequestError(f"no download '{one_line(name, 80)}'; see what is there with: pleinair models")
    return found


def remove(folder: Path) -> None:
    """Remove a folder and what is below it, or a link alone; raises ResourceError.

    It first loses its name, so that no part of a model is left under it.
    """
    try:
        if folder.is_symlink():
            folder.unlink()
            return
        gone = folder.with_name(f"{GONE}{os.urandom(6).hex()}")
        folder.rename(gone)
        for left in folder.parent.glob(f"{GONE}*"):  # and what an interrupted removal has left
            shutil.rmtree(left)
    except OSError as error:
        raise ResourceError(
            f"cannot remove '{shown_path(folder)}' ({error.strerror or error}); close the programs that"
            " use it, and check its permissions"
        ) from None
