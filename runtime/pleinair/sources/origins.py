"""Where a downloaded folder came from, in a small file of its own."""

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from pleinair.errors import BundleError
from pleinair.sources.hub_ids import hub_id
from pleinair.system.files import read_json

ORIGIN = "pleinair-origin.json"
LARGEST = 1 << 12  # bytes
COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Pulled:
    """The repository of the hub that a folder was downloaded from, and its commit."""

    id: str
    revision: str


def write_origin(folder: Path, pulled: Pulled) -> None:
    (folder / ORIGIN).write_text(json.dumps(asdict(pulled), indent=1) + "\n", encoding="utf-8")


def read_origin(folder: Path) -> Pulled | None:
    """What `write_origin` wrote; None where there is nothing that can be a repository and a commit."""
    try:
        raw = read_json(folder / ORIGIN, LARGEST, BundleError, "")
    except BundleError:
        return None
    id, revision = str(raw.get("id")), str(raw.get("revision"))
    return Pulled(id, revision) if hub_id(id) == id and COMMIT.fullmatch(revision) else None
