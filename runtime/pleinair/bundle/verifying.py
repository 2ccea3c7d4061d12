"""Whether a bundle's files are those that its manifest lists: hashed when they are opened.

Small files are hashed each time. A large one is hashed once for as long as nobody touches it: its size, inode and times
are remembered in a file of the bundle's own folder, where that can be written, and for the life of the process.
"""

import contextlib
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pleinair.bundle import onnx_data
from pleinair.checks import one_line, shown_path
from pleinair.errors import BundleError
from pleinair.system.files import read_file, read_json

STATE = ".verified.json"
LARGE = 64 << 20  # bytes: below that a file is hashed within a tenth of a second
RESTORE = "restore it or export the model again"


@dataclass(frozen=True)
class FileInfo:
    """Size in bytes and SHA-256, in hexadecimal, of a file."""

    size: int
    sha256: str


@dataclass(frozen=True)
class BundleFiles:
    """The files of a folder as a manifest lists them; `hashed` False trusts their sizes."""

    root: Path
    listed: dict[str, FileInfo] = field(repr=False)
    hashed: bool = True
    _seen: dict[str, list] = field(default_factory=dict, repr=False, compare=False)  # name -> state of a large file

    def read(self, name: str, most: int) -> bytes:
        """The bytes of a small file that is what the manifest says; BundleError for any other."""
        expected = self._expected(name)
        self._inside(name)
        content = read_file(self.root / name, most, BundleError, RESTORE)
        self._compare(name, len(content), expected.size)
        if self.hashed and hashlib.sha256(content).hexdigest() != expected.sha256:
            raise altered(self.root / name)
        return content

    def checked(self, name: str) -> Path:
        """The path of a file that is what the manifest says, for an engine to open; raises BundleError."""
        expected = self._expected(name)
        path = self._inside(name)
        facts = path.stat()
        self._compare(name, facts.st_size, expected.size)
        if self.hashed and not self._remembered(name, facts, expected):
            if file_info(path).sha256 != expected.sha256:
                raise altered(path)
            self._remember(name, facts, expected)
        return path

    def problems(self) -> Iterator[str]:
        """One line for every listed file that is missing, altered, or not an ordinary file in the folder."""
        for name, expected in self.listed.items():
            try:
                path = self._inside(name)
                size = path.stat().st_size
            except BundleError as error:
                yield f"{name}: {'missing' if not (self.root / name).exists() else error.reason}"
                continue
            if size != expected.size:
                yield f"{name}: {size} bytes instead of {expected.size}"
            elif file_info(path).sha256 != expected.sha256:
                yield f"{name}: content differs from its SHA-256"

    def _expected(self, name: str) -> FileInfo:
        expected = self.listed.get(name)
        if expected is None:
            raise BundleError(f"'{name}' is not among the files that bundle.json lists; export the model again")
        return expected

    def _inside(self, name: str) -> Path:
        """The path of an ordinary file that lies in the folder, links followed."""
        path = self.root / name
        where = shown_path(path)
        try:
            real = path.resolve(strict=True)
            ordinary = stat.S_ISREG(real.stat().st_mode)
        except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: links in a circle
            reason = one_line(getattr(error, "strerror", None) or error, 80)
            why = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({reason})"
            raise BundleError(f"bundle file '{where}' {why}; {RESTORE}") from None
        if not real.is_relative_to(self.root.resolve()):
            raise BundleError(f"bundle file '{where}' is a link out of the bundle's folder; put the file itself there")
        if not ordinary:
            raise BundleError(f"bundle file '{where}' is not an ordinary file; {RESTORE}")
        return path

    def _compare(self, name: str, size: int, expected: int) -> None:
        if size != expected:
            where = shown_path(self.root / name)
            raise BundleError(f"bundle file '{where}' is damaged ({size} bytes instead of {expected}); {RESTORE}")

    def _remembered(self, name: str, facts: os.stat_result, expected: FileInfo) -> bool:
        if facts.st_size < LARGE:
            return False
        if not self._seen and (self.root / STATE).is_file():
            with contextlib.suppress(BundleError):
                known = read_json(self.root / STATE, 1 << 20, BundleError, "")
                self._seen.update({key: value for key, value in known.items() if isinstance(value, list)})
        return self._seen.get(name) == _state(facts, expected)

    def _remember(self, name: str, facts: os.stat_result, expected: FileInfo) -> None:
        """Keep the state of a large file that was hashed; a folder that cannot be written is left as it is."""
        if facts.st_size < LARGE:
            return
        self._seen[name] = _state(facts, expected)
        temporary = None
        try:
            with tempfile.NamedTemporaryFile(
                "w", dir=self.root, prefix=STATE, delete=False, encoding="utf-8"
            ) as stream:
                temporary = Path(stream.name)
                json.dump(self._seen, stream, indent=1)
            temporary.replace(self.root / STATE)
        except OSError:
            if temporary:
                temporary.unlink(missing_ok=True)


def _state(facts: os.stat_result, expected: FileInfo) -> list:
    return [facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino, expected.sha256]


def altered(path: Path) -> BundleError:
    return BundleError(
        f"bundle file '{shown_path(path)}' is altered: its SHA-256 is not that in bundle.json; restore it or export the"
        " model again (all damage: pleinair info BUNDLE --verify; to open it all the same: --no-verify)"
    )


def file_info(path: Path) -> FileInfo:
    """Size and SHA-256 of a file, read in pieces."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256")
    return FileInfo(path.stat().st_size, digest.hexdigest())


def info_of(content: bytes) -> FileInfo:
    """Size and SHA-256 of a file of this content."""
    return FileInfo(len(content), hashlib.sha256(content).hexdigest())


def list_files(folder: Path) -> dict[str, FileInfo]:
    """Every file below a folder, but for what is hidden, with its size and hash."""
    files = {path.relative_to(folder): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {
        name.as_posix(): file_info(path)
        for name, path in files.items()
        if not any(part.startswith(".") for part in name.parts)
    }


def check_references(path: Path, beside: Iterable[str]) -> None:
    """Raise BundleError where an ONNX graph wants weights from anywhere but the listed files `beside` it."""
    allowed = set(beside)
    foreign = sorted(onnx_data.locations(path) - allowed)
    if foreign:
        raise BundleError(
            f"'{shown_path(path)}' takes weights from '{one_line(foreign[0], 80)}', which is not a file that"
            " bundle.json lists beside it; do not use this model"
        )
