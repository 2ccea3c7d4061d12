"""Writing a folder whole or not at all: built in a hidden sibling, renamed at the end, cleaned up after a kill."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from pleinair.bundle import MANIFEST
from pleinair.errors import RequestError, ResourceError
from pleinair.locks import only_one


def check_target(out: Path, source: Path, force: bool) -> None:
    """Refuse an OUT that exists (without `force`), is not a bundle (even with it), or overlaps SOURCE."""
    if out == source or source in out.parents or out in source.parents:
        raise RequestError(f"OUT '{out}' and SOURCE '{source}' overlap; choose an OUT folder elsewhere")
    if not out.exists():
        return
    if out.is_dir() and (not any(out.iterdir()) or (out / MANIFEST).is_file()):
        if not force:
            raise ResourceError(f"'{out}' exists; replace it with --force, or choose another OUT")
    else:
        raise ResourceError(f"'{out}' exists and is not a pleinair bundle, so it is left alone; choose another OUT")


@contextlib.contextmanager
def staged(out: Path) -> Iterator[Path]:
    """A hidden folder beside OUT to build in, which becomes OUT when the body ends and vanishes when it fails.

    A bundle already at OUT is replaced by two renames at the very end. What a killed export of the same OUT has
    left is removed (or, killed between the two renames, put back) first. Raises ResourceError when OUT cannot be
    written, or another export to it is running.
    """
    stage, old, lock = (out.with_name(f".{out.name}.{part}") for part in ("exporting", "replaced", "lock"))
    made = [folder for folder in out.parents if not folder.exists()]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with only_one(lock, f"another export to '{out}' is running; wait for it, or choose another OUT"):
            recover(out, stage, old)
            stage.mkdir()
            try:
                yield stage
                if out.exists():
                    out.rename(old)
                stage.rename(out)
            finally:
                if not out.exists() and old.exists():
                    old.rename(out)
                shutil.rmtree(stage, ignore_errors=True)
                shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ResourceError(f"cannot write '{out}' ({reason}); free some disk space or choose another OUT") from error
    finally:
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()


def recover(out: Path, stage: Path, old: Path) -> None:
    """Tidy up after an export that was killed: half a stage goes, a bundle set aside and not replaced comes back."""
    if old.exists() and not out.exists():
        old.rename(out)
    for leftover in (stage, old):
        if leftover.exists():
            shutil.rmtree(leftover)


def check_room(out: Path, needed: int) -> None:
    """Raise ResourceError when the disk that OUT lies on has fewer than `needed` bytes free."""
    folder = next(folder for folder in out.parents if folder.exists())
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ResourceError(
            f"the export needs about {needed / 1e9:.1f} GB in '{folder}' and {free / 1e9:.1f} GB are free;"
            " free some disk space or choose another OUT"
        )
