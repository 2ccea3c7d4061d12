"""The folders of huggingface_hub's cache: models--OWNER--NAME/snapshots/COMMIT, and the branches in refs/."""

import re
from pathlib import Path

from pleinair.errors import ExportError
from pleinair.sources.hub_ids import COMMIT
from pleinair.sources.weight_files import DOWNLOAD
from pleinair.system.files import read_file

REPOSITORY = re.compile(r"models--([\w.-]+?)--([\w.-]+)", re.ASCII)
SNAPSHOTS, LONGEST = "snapshots", 1 << 10  # bytes of a ref
HALF = re.compile(r"(tae\w*?)_(?:en|de)coder", re.ASCII)  # one of TAESD's two files


def snapshot_of(path: Path) -> Path:
    """The snapshot of the main branch where a path is a repository's folder, or the only one; else the path itself."""
    if not REPOSITORY.fullmatch(path.name) or not (path / SNAPSHOTS).is_dir():
        return path
    main = path / "refs" / "main"
    if main.is_file():
        commit = read_file(main, LONGEST, ExportError, DOWNLOAD).decode("ascii", "replace").strip()
        if COMMIT.fullmatch(commit) and (path / SNAPSHOTS / commit).is_dir():
            return path / SNAPSHOTS / commit
    there = snapshots_in(path / SNAPSHOTS)
    return there[0] if len(there) == 1 else path


def newest_snapshot(path: Path) -> Path | None:
    """The snapshot that came last to a repository's folder, or to that of its snapshots; None for any other folder."""
    there = snapshots_in(path if path.name == SNAPSHOTS else path / SNAPSHOTS)
    return max(there, key=lambda each: each.stat().st_mtime, default=None)


def snapshots_in(folder: Path) -> list[Path]:
    """The folders of commits in a folder, if it is one."""
    there = folder.iterdir() if folder.is_dir() else ()
    return [each for each in there if COMMIT.fullmatch(each.name) and each.is_dir()]


def cached(folder: Path) -> tuple[str, str] | None:
    """(OWNER/NAME, commit) of a snapshot; None for any other folder."""
    folder = folder.absolute()
    found = REPOSITORY.fullmatch(folder.parent.parent.name)
    if found is None or folder.parent.name != SNAPSHOTS or not COMMIT.fullmatch(folder.name):
        return None
    return f"{found[1]}/{found[2]}", folder.name


def usual_name(source: Path) -> str:
    """What a model made of a file or a folder is called unless told: NAME for the cache of OWNER/NAME.

    TAESD's two files are called as one.
    """
    if source.is_file():
        half = HALF.fullmatch(source.stem)
        return half[1] if half else source.stem
    source = source.resolve()
    id, _ = cached(source) or (None, None)
    whole = REPOSITORY.fullmatch(source.name)
    return id.partition("/")[2] if id else whole[2] if whole else source.name
