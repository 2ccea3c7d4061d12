"""The folder that graphs of real size are filled into: where it is, and what room there is and was taken."""

import errno
import os
import shutil
from pathlib import Path

from platformdirs import user_cache_path

from pleinair.errors import ResourceError

CACHE = "PLEINAIR_CACHE"  # an environment variable: the folder to use in place of the system's
FOLDER = "bench-models"  # below the cache folder; nothing else is ever removed
SPARE = 64 << 20  # bytes of disk left free


def cache_folder(cache: str | Path | None = None) -> Path:
    """Where filled graphs lie: `cache`, else $PLEINAIR_CACHE, else the system's folder for caches of this user."""
    if cache or os.environ.get(CACHE):
        return Path(cache or os.environ[CACHE]).expanduser() / FOLDER
    try:
        Path.home()
    except RuntimeError:
        raise ResourceError(f"there is no home folder to keep a cache in; set {CACHE} to a folder") from None
    return user_cache_path("pleinair", appauthor=False) / FOLDER


def cached(cache: str | Path | None = None) -> int:
    """Bytes that filled graphs take now."""
    return sum(file.stat().st_size for file in cache_folder(cache).rglob("*") if file.is_file())


def clean(cache: str | Path | None = None) -> int:
    """Remove all filled graphs; returns how many bytes that gave back. Nothing else in the cache folder is touched."""
    folder = cache_folder(cache)
    size = cached(cache)
    try:
        if folder.exists():
            shutil.rmtree(folder)
    except OSError as error:
        raise ResourceError(
            f"cannot remove '{folder}' ({error.strerror or error}); close programs that use it, or remove it yourself"
        ) from error
    return size - cached(cache)


def check_room(folder: Path, needed: int) -> None:
    """Raise ResourceError when the disk has fewer than `needed` bytes free, and some to spare."""
    free = shutil.disk_usage(folder).free
    if free < needed + SPARE:
        raise ResourceError(
            f"'{folder}' needs {needed / 1e9:.2f} GB and {free / 1e9:.2f} GB are free; free some disk space, or set"
            f" {CACHE} to a folder on another disk"
        )


def unwritable(folder: Path, error: OSError) -> ResourceError:
    """The error for a cache that cannot be written."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT if hasattr(errno, "EDQUOT") else errno.ENOSPC)
    remedy = "free some disk space, or set" if full else "set"
    return ResourceError(
        f"cannot write '{folder}' ({error.strerror or error}); {remedy} {CACHE} to a folder on another disk"
    )
