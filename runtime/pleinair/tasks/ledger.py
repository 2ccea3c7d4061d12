"""The ledger of a list: which seeds and files each of its lines was given, written down before they are painted."""

import io
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from pleinair.checks import one_line, shown_path
from pleinair.errors import ResourceError
from pleinair.files.output import numbered, slug
from pleinair.request.value_types import SEED_LIMIT
from pleinair.system.files import read_file
from pleinair.tasks.lines import LARGEST, SHOWN, Line

LONGEST_ENTRY = 1 << 22  # bytes of a line of the ledger: ten thousand seeds and file names
LEDGER = ".pictures.jsonl"


@dataclass(frozen=True)
class Entry:
    """What the ledger holds of a line: its key, its seeds, and the file of each in the folder of the pictures."""

    key: str
    seeds: tuple[int, ...]
    files: tuple[str, ...]


def ledger_of(source: Path | None, folder: Path) -> Path:
    """Where the ledger of a list lies: beside the pictures, named after the list (stdin for None)."""
    return folder / f"{source.stem if source else 'stdin'}{LEDGER}"


class Ledger:
    """A JSONL file of entries, read once and appended to; one that its line cannot have been given is not believed."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._entries: dict[str, Entry] = {}
        self._owners: dict[str, str] = {}  # file -> key
        remedy = "move it away, or choose another -o"
        if file.is_symlink():
            raise ResourceError(f"'{one_line(file, SHOWN)}' is a link, and a ledger is a file; {remedy}")
        raw = read_file(file, LARGEST, ResourceError, remedy) if file.exists() else b""
        self._torn = bool(raw) and not raw.endswith(b"\n")  # by a kill or a full disk
        for line in io.BytesIO(raw):
            if len(line) <= LONGEST_ENTRY and (entry := _read_entry(line)):
                self._keep(entry)

    def entry(self, key: str, line: Line) -> Entry | None:
        """The entry of a line, where there is one and it fits the line."""
        entry = self._entries.get(key)
        return entry if entry and _fits(entry, line) else None

    def add(self, entry: Entry, line: Line) -> None:
        """Write an entry down for good before it is carried out."""
        if self._entries.get(entry.key) == entry:
            return
        told = {
            "key": entry.key,
            "line": line.number,
            "prompt": line.prompt[:SHOWN],
            "seeds": entry.seeds,
            "files": entry.files,
        }
        written = json.dumps(told, ensure_ascii=False).encode() + b"\n"
        try:
            with self.file.open("ab") as stream:
                stream.write(b"\n" * self._torn + written)
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise ResourceError(
                f"cannot write '{shown_path(self.file)}' ({error.strerror or error}); free space or choose another -o"
            ) from None
        self._torn = False
        self._keep(entry)

    def _keep(self, entry: Entry) -> None:
        """Take an entry in; a file belongs to the entry that named it last."""
        for name in entry.files:
            before = self._owners.get(name, entry.key)
            if before != entry.key:
                self._entries.pop(before, None)
            self._owners[name] = entry.key
        self._entries[entry.key] = entry


def _read_entry(line: bytes) -> Entry | None:
    """A line of the ledger; None for one that is torn or foreign."""
    try:
        raw = json.loads(line)
    except (ValueError, RecursionError):
        return None
    key, seeds, files = (raw.get(name) if isinstance(raw, dict) else None for name in ("key", "seeds", "files"))
    if not isinstance(key, str) or not isinstance(seeds, list) or not isinstance(files, list):
        return None
    fine = all(type(seed) is int and 0 <= seed < SEED_LIMIT for seed in seeds)
    fine = fine and all(isinstance(name, str) for name in files) and len(seeds) == len(files) == len(set(files))
    return Entry(key, tuple(seeds), tuple(files)) if fine else None


def _fits(entry: Entry, line: Line) -> bool:
    """Whether a line can have been given such an entry: its own seeds, and names that `_entry` or `write` chooses."""
    named = line.options.get("seed") is not None
    if len(entry.seeds) != len(line.seeds) or (named and entry.seeds != line.seeds):
        return False
    if line.output is not None:
        bases = [re.escape(file.with_suffix("").as_posix()) for file in numbered(line.output, len(line.seeds))]
        suffix = re.escape(line.output.suffix)
    else:
        bases = [f"[0-9]{{4,}}-{re.escape(slug(line.prompt))}-{seed}" for seed in entry.seeds]
        suffix = re.escape(".png")
    return all(re.fullmatch(f"{base}(-[0-9]+)?{suffix}", name) for base, name in zip(bases, entry.files, strict=True))
