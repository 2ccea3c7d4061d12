"""New files in somebody else's folder: all of them or none, and none of its own changed."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from pleinair.checks import one_line, shown_path
from pleinair.errors import BundleError, ResourceError

PREFIX = ".adopting-"


def write_all(root: Path, files: Mapping[str, bytes | Path]) -> None:
    """Write files below `root`, given as their content or as files to copy, the last one last; all or none of them.

    Raises ResourceError where the folder cannot be written or the disk is full, BundleError for links that leave it.
    """
    waiting: list[tuple[Path, Path]] = []
    made: list[Path] = []  # folders and files that were not there
    try:
        for name, content in files.items():
            target = root / name
            if not target.parent.resolve().is_relative_to(root.resolve()):
                raise BundleError(f"'{shown_path(target.parent)}' is a link out of the folder; remove it")
            made += make_folders(root, target.parent)
            waiting.append((beside(target, content), target))
        for temporary, target in waiting:
            new = not target.exists()
            temporary.replace(target)
            made += [target] if new else []
        made = []
    except OSError as error:
        why = one_line(error.strerror or error, 80)
        raise ResourceError(
            f"cannot write into '{shown_path(root)}' ({why}); check its permissions and the disk, or adopt a copy of it"
        ) from None
    finally:
        for temporary, _ in waiting:
            temporary.unlink(missing_ok=True)
        for path in reversed(made):
            with contextlib.suppress(OSError):
                path.rmdir() if path.is_dir() else path.unlink()


def make_folders(root: Path, folder: Path) -> list[Path]:
    """Make a folder below `root`; returns those that were not there, outer ones first."""
    absent = [each for each in (folder, *folder.parents) if each != root and root in each.parents and not each.exists()]
    for each in reversed(absent):
        each.mkdir()
    return absent[::-1]


def beside(target: Path, content: bytes | Path) -> Path:
    """A hidden file beside `target` with this content, on the disk."""
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=PREFIX)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            if isinstance(content, bytes):
                stream.write(content)
            else:
                with content.open("rb") as source:
                    shutil.copyfileobj(source, stream, 1 << 20)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(0o644)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return Path(name)
