"""Where compiled graphs are kept from one start to the next, and how much of it: OpenVINO's files for GPUs, and ours.

Ours hold what a graph was compiled to for a CPU, and begin with a digest of the rest: a damaged one may end the process
of the engine that opens it.
"""

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pleinair.system.home import HOME, home

MOST = 8 << 30  # bytes; on GPUs SD 1.5 takes about 2.5 for each size of picture, so three sizes of it stay
LARGEST = 1 << 30  # bytes of a file of ours
SUFFIX = ".graph"
BEGINNING = b"pleinair compiled graph 1\n"
PART = ".part-"


@dataclass(frozen=True)
class CompiledFile:
    """A file that is kept: its bytes on the disk, when it was last used (seconds since 1970), what it says of itself.

    Of OpenVINO's own files, which say nothing, `facts` are empty.
    """

    path: Path
    size: int
    used: float
    facts: dict[str, Any]


@dataclass(frozen=True)
class CompiledGraph:
    """What a file of ours holds."""

    facts: dict[str, Any]
    content: bytes


def compiled_folder() -> Path:
    """`compiled` in PLEINAIR_HOME, or in what the system has for what a program can make again."""
    if os.environ.get(HOME):
        return home() / "compiled"
    from platformdirs import user_cache_path

    return user_cache_path("pleinair", appauthor=False) / "compiled"


def made_folder() -> str:
    """The folder, made if need be; "" where that is not possible."""
    try:
        folder = compiled_folder()
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: a user of whom the system knows no home
        return ""
    return str(folder)


def read_compiled(name: str) -> CompiledGraph | None:
    """A file of ours, which then counts as used; None where it is not there. One that is damaged is deleted."""
    try:
        path = compiled_folder() / name
        if path.stat().st_size > LARGEST:
            return None
        content = path.read_bytes()
    except (OSError, RuntimeError):
        return None
    found = _parsed(content)
    if found is None:
        forget_compiled(name)
        return None
    with contextlib.suppress(OSError):
        os.utime(path)
    return found


def _parsed(content: bytes) -> CompiledGraph | None:
    """The bytes of a file of ours as what they hold; None where they are damaged."""
    digest, rest = content[len(BEGINNING) :][:65], content[len(BEGINNING) + 65 :]
    if not content.startswith(BEGINNING) or digest != _digest(rest):
        return None
    told, _, blob = rest.partition(b"\n")
    return CompiledGraph(json.loads(told), blob)


def write_compiled(name: str, facts: dict[str, Any], content: bytes) -> None:
    """Keep a file, whole or not at all, and delete what is too much then; where nothing can be written, do nothing."""
    folder = made_folder()
    if not folder:
        return
    rest = json.dumps(facts).encode() + b"\n" + content
    with contextlib.suppress(OSError):
        part = None
        try:
            with tempfile.NamedTemporaryFile(dir=folder, prefix=PART, delete=False) as stream:
                part = Path(stream.name)
                stream.writelines((BEGINNING, _digest(rest), rest))
            part.replace(Path(folder) / name)
            part = None
        finally:
            if part:
                part.unlink(missing_ok=True)
    trim()


def forget_compiled(name: str) -> None:
    """Delete a file, if it is there and may be deleted."""
    _delete(compiled_folder() / name)


def compiled_files() -> list[CompiledFile]:
    """All that is kept, what was used last first."""
    return sorted(_files(), key=lambda each: each.used, reverse=True)


def trim(most: int = MOST) -> None:
    """Delete the files that were used longest ago, until no more than `most` bytes are kept."""
    kept = 0
    for each in sorted(_files(read_facts=False), key=lambda each: each.used, reverse=True):
        kept += each.size
        if kept > most:
            _delete(each.path)


def clear_compiled() -> tuple[int, int]:
    """Delete all that is kept; how many files and bytes are gone."""
    found = list(_files(read_facts=False))
    gone = [each for each in found if _delete(each.path)]
    return len(gone), sum(each.size for each in gone)


def _digest(rest: bytes) -> bytes:
    return hashlib.sha256(rest).hexdigest().encode() + b"\n"


def _files(read_facts: bool = True) -> Iterator[CompiledFile]:
    """Unfinished files of programs that have ended are among them."""
    with contextlib.suppress(OSError):
        for path in compiled_folder().iterdir():
            with contextlib.suppress(OSError):  # another program has deleted it
                state = path.stat()
                if path.is_file():
                    facts = _facts(path) if read_facts and path.suffix == SUFFIX else {}
                    yield CompiledFile(path, state.st_size, max(state.st_atime, state.st_mtime), facts)


def _facts(path: Path) -> dict[str, Any]:
    found = _parsed(path.read_bytes()) if path.stat().st_size <= LARGEST else None
    return found.facts if found else {}


def _delete(path: Path) -> bool:
    try:  # another program may read it
        path.chmod(0o600)  # OpenVINO lets nobody write it, and then Windows lets nobody delete it
        path.unlink()
    except OSError:
        return False
    return True
