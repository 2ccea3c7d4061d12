"""The files of a repository, brought one by one into a folder: from the hub, or from this machine's cache of it.

Imported only where something is to be fetched: it needs huggingface_hub.
"""

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from pleinair.checks import one_line, shown_path
from pleinair.errors import NetworkError, ResourceError
from pleinair.library import hub
from pleinair.library.repository import Repository, whole

PARTS = ".parts"  # where files lie until they are whole
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def brought(repository: Repository, stage: Path, name: str) -> Path:
    """Where a small file lies after it has been fetched."""
    for _ in bring(repository, name, stage):
        pass
    return stage / name


def bring(repository: Repository, name: str, stage: Path) -> Iterator[int]:
    """Fetch a file into the stage unless it is there, yielding its bytes; raises NetworkError for a damaged one."""
    expected, file = repository.files[name], stage / name
    if not whole(file, expected):
        key = hashlib.sha256(f"{name} {expected.digest or repository.commit}".encode()).hexdigest()[:32]
        part, near = stage / PARTS / key, hub.in_cache(repository, name)
        if near is not None and whole(near, expected):
            shutil.copyfile(near, part)
        else:
            yield from hub.fetched(repository, name, part)
        if not whole(part, expected):
            part.unlink()
            raise NetworkError(
                f"'{one_line(name, 80)}' of '{repository.id}' arrived damaged (its digest is not the hub's) and was"
                f" removed; {hub.AGAIN}"
            )
        place(part, file)
    yield expected.size


def place(part: Path, file: Path) -> None:
    """Give a file that has reached the disk its name."""
    with part.open("r+b") as stream:
        os.fsync(stream.fileno())
    file.parent.mkdir(parents=True, exist_ok=True)
    part.replace(file)


def tidy(stage: Path, names: set[str]) -> None:
    """Remove what an earlier try, of another revision perhaps, has left in the stage."""
    shutil.rmtree(stage / PARTS)
    for file in [*stage.rglob("*")]:
        if not file.is_dir() and file.relative_to(stage).as_posix() not in names:
            file.unlink()


def unwritable(folder: Path, error: OSError) -> ResourceError:
    """What went wrong on the disk, and what helps."""
    full = f"free some disk space, {hub.AGAIN}"
    remedy = full if error.errno in FULL else "check its permissions, or choose another --to"
    why = one_line(error.strerror or error, 120)
    return ResourceError(f"cannot write '{shown_path(folder)}' ({why}); {remedy}")
