"""What a hub says of a repository: its commit, and its files with their sizes and digests."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pleinair.checks import one_line
from pleinair.errors import NetworkError

DIGEST = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
OUTSIDE = re.compile(r"[\x00-\x1f\\:\ud800-\udfff]")  # what takes a name out of its folder on some system, or is none
PIECE = 1 << 20  # bytes


@dataclass(frozen=True)
class Remote:
    """A file; `digest` is its SHA-256, or git's SHA-1 where it is small, and None where neither is known."""

    size: int
    digest: str | None


@dataclass(frozen=True)
class Repository:
    """OWNER/NAME, a commit, and the files by name."""

    id: str
    commit: str
    files: dict[str, Remote]

    def require(self, *names: str) -> list[str]:
        """The names; NetworkError for the first that the repository lacks."""
        missing = [name for name in names if name not in self.files]
        if missing:
            raise NetworkError(f"'{self.id}' lacks '{one_line(missing[0], 80)}'; choose another --revision")
        return [*names]

    def optional(self, *names: str) -> list[str]:
        """Those of the names that it has."""
        return [name for name in names if name in self.files]


def check_names(repository: Repository) -> None:
    """Raise NetworkError where a file would not lie in the repository's folder."""
    for name in repository.files:
        if not leads_down(name):
            raise NetworkError(
                f"'{repository.id}' lists a file '{one_line(name, 80)}', which leads out of its folder; do not use it"
            )


def leads_down(name: str) -> bool:
    """Whether a name can only be that of a file below a folder, on every system."""
    parts = PurePosixPath(name).parts
    return bool(parts) and ".." not in parts and parts[0] != "/" and not OUTSIDE.search(name)


def whole(file: Path, expected: Remote) -> bool:
    """Whether a file is all that the hub says of it."""
    if present(file) != expected.size or not file.is_file():
        return False
    return expected.digest is None or digest(file, expected) == expected.digest


def digest(file: Path, expected: Remote) -> str:
    """SHA-256 of a file, or git's SHA-1 where that is what is expected."""
    small = len(expected.digest) == 40
    made = hashlib.sha1(b"blob %d\0" % expected.size, usedforsecurity=False) if small else hashlib.sha256()
    with file.open("rb") as stream:
        while piece := stream.read(PIECE):
            made.update(piece)
    return made.hexdigest()


def present(file: Path) -> int:
    """Bytes of a file, none where it is missing."""
    return file.stat().st_size if file.exists() else 0
