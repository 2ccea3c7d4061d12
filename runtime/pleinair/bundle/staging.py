"""Writing a folder whole or not at all: built in a hidden sibling, renamed at the end, cleaned up after a kill."""

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pleinair.bundle.manifest import MANIFEST
from pleinair.checks import one_line, shown_path
from pleinair.errors import RequestError, ResourceError
from pleinair.system.locks import only_one

STAGE, OLD, LOCK = "exporting", "replaced", "lock"
FULL = "free some disk space or choose another OUT"
REMEDIES = {
    errno.ENOSPC: FULL,
    errno.EDQUOT: FULL,
    errno.EFBIG: FULL,
    errno.EACCES: "check the permissions or choose another OUT",
    errno.EPERM: "check the permissions or choose another OUT",
    errno.EROFS: "choose an OUT on a disk that can be written",
    errno.ENAMETOOLONG: "choose a shorter name for OUT",
    errno.EMFILE: "close other programs",
    errno.ENFILE: "close other programs",
}


@dataclass(frozen=True)
class Stage:
    """The folder to build in, and what earlier processes that were killed had left, one line each."""

    path: Path
    tidied: tuple[str, ...]


def check_apart(out: Path, source: Path) -> None:
    """Raise RequestError where OUT is SOURCE, or one of them lies in the other."""
    if out == source or source in out.parents or out in source.parents:
        raise RequestError(
            f"OUT '{shown_path(out)}' and SOURCE '{shown_path(source)}' overlap; choose an OUT folder elsewhere"
        )


def check_target(out: Path, force: bool) -> None:
    """Raise ResourceError for an OUT that exists (without `force`) or is not a bundle (even with it)."""
    if not out.exists():
        return
    if out.is_dir() and (not any(out.iterdir()) or (out / MANIFEST).is_file()):
        if not force:
            raise ResourceError(f"'{shown_path(out)}' exists; replace it with --force, or choose another OUT")
    else:
        raise ResourceError(
            f"'{shown_path(out)}' exists and is not a pleinair bundle, so it is left alone; choose another OUT"
        )


@contextlib.contextmanager
def staged(out: Path, force: bool, room: int) -> Iterator[Stage]:
    """A hidden folder beside OUT to build in, which becomes OUT when the body ends and vanishes when it fails.

    A bundle already at OUT is replaced by two renames at the very end, when everything has reached the disk. What
    killed processes have left in this folder is removed (or, killed between the two renames, put back) before OUT is
    looked at. Raises ResourceError: OUT may not be replaced, cannot be written, has fewer than `room` bytes, or another
    process is writing it.
    """
    made = [folder for folder in out.parents if not folder.exists()]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with locked(out):
            tidied = (*tidy(out), *tidy_others(out))
            check_target(out, force)
            check_room(out, room)
            stage, old = beside(out, STAGE), beside(out, OLD)
            stage.mkdir()
            try:
                yield Stage(stage, tidied)
                sync(stage)
                if out.exists():
                    out.rename(old)
                stage.rename(out)
                sync_folder(out.parent)
            finally:
                if not out.exists() and old.exists():
                    old.rename(out)
                shutil.rmtree(stage, ignore_errors=True)
                shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise unwritable(out, error) from error
    finally:
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()


def beside(out: Path, part: str) -> Path:
    """The hidden sibling of OUT for one of STAGE, OLD and LOCK."""
    return out.with_name(f".{out.name}.{part}")


def locked(out: Path) -> contextlib.AbstractContextManager[None]:
    """Hold the lock file of OUT; ResourceError where another process does."""
    busy = f"another process is writing '{shown_path(out)}'; wait for it, or choose another OUT"
    return only_one(beside(out, LOCK), busy)


def unwritable(out: Path, error: OSError) -> ResourceError:
    """What went wrong on the disk and what helps; without a number from the system it is most likely full."""
    where = Path(error.filename) if isinstance(error.filename, str) else out
    done = "write" if where.is_relative_to(out.parent) or out.is_relative_to(where) else "read"
    remedy = FULL if error.errno is None else REMEDIES.get(error.errno, "check the disk or choose another OUT")
    return ResourceError(f"cannot {done} '{shown_path(where)}' ({one_line(error.strerror or error, 120)}); {remedy}")


def tidy(out: Path) -> list[str]:
    """Undo what a process that was killed has left of OUT; the caller holds its lock. What was done, for people."""
    done = []
    stage, old = beside(out, STAGE), beside(out, OLD)
    if old.exists() and not out.exists():
        old.rename(out)
        done.append(f"put back '{shown_path(out.name)}', which a killed process had set aside")
    for leftover in (stage, old):
        if leftover.exists():
            size = sum(file.stat().st_size for file in leftover.rglob("*") if file.is_file())
            shutil.rmtree(leftover)
            done.append(f"removed '{shown_path(leftover.name)}' of a killed process ({size / 1e6:,.0f} MB)")
    return done


def tidy_others(out: Path) -> list[str]:
    """The same for every other OUT in this folder whose lock nobody holds: a killed process leaves its lock behind."""
    done = []
    for lock in sorted(out.parent.glob(f".?*.{LOCK}")):
        other = out.with_name(lock.name[1 : -len(LOCK) - 1])
        if other.name == out.name or not (beside(other, STAGE).is_dir() or beside(other, OLD).is_dir()):
            continue
        with contextlib.suppress(ResourceError, OSError), locked(other):
            done += tidy(other)
    return done


def sync(stage: Path) -> None:
    """Wait until every file and folder in `stage` has reached the disk, so that no rename can come before it."""
    for path in (*stage.rglob("*"), stage):
        if path.is_dir():
            sync_folder(path)
        else:
            with path.open("r+b") as stream:  # Windows syncs nothing that is open for reading only
                os.fsync(stream.fileno())


def sync_folder(folder: Path) -> None:
    """The same for the names in a folder, where a system can: not on Windows, nor on every network drive."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_room(out: Path, needed: int) -> None:
    """Raise ResourceError when the disk that OUT lies on has fewer than `needed` bytes free."""
    folder = next(folder for folder in out.parents if folder.exists())
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ResourceError(
            f"OUT needs about {needed / 1e9:.1f} GB in '{shown_path(folder)}' and {free / 1e9:.1f} GB are free;"
            " free some disk space or choose another OUT"
        )
