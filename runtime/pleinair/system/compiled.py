"""Where what was compiled for GPUs is kept from one start to the next, and how much of it."""

import contextlib
import os
from pathlib import Path

from pleinair.system.home import HOME, home

MOST = 8 << 30  # bytes; SD 1.5 takes about 2.5 for each size of picture, so three sizes of it stay


def compiled_folder() -> Path:
    """`compiled` in PLEINAIR_HOME, or in what the system has for what a program can make again."""
    if os.environ.get(HOME):
        return home() / "compiled"
    from platformdirs import user_cache_path

    return user_cache_path("pleinair", appauthor=False) / "compiled"


def made_folder() -> str:
    """The folder, made if need be; "" where that is not possible."""
    folder = compiled_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return ""
    return str(folder)


def trim(most: int = MOST) -> None:
    """Delete the files that were used longest ago, until no more than `most` bytes are kept."""
    found = []
    with contextlib.suppress(OSError):
        found = [(each.stat(), each) for each in compiled_folder().iterdir() if each.is_file()]
    kept = 0
    for state, file in sorted(found, key=lambda each: max(each[0].st_atime, each[0].st_mtime), reverse=True):
        kept += state.st_size
        if kept > most:
            with contextlib.suppress(OSError):  # another program reads it
                file.chmod(0o600)  # OpenVINO lets nobody write it, and then Windows lets nobody delete it
                file.unlink()
