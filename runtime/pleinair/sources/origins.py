"""Where a downloaded folder came from, in a small file of its own."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from pleinair.errors import BundleError
from pleinair.sources.hub_cache import cached
from pleinair.sources.hub_ids import COMMIT, hub_id
from pleinair.system.files import read_json

ORIGIN = "pleinair-origin.json"
LARGEST = 1 << 12  # bytes


@dataclass(frozen=True)
class Pulled:
    """The repository of the hub that a folder was downloaded from, and its commit."""

    id: str
    revision: str


def write_origin(folder: Path, pulled: Pulled) -> None:
    """Note in a folder where it was downloaded from."""
    (folder / ORIGIN).write_text(json.dumps(asdict(pulled), indent=1) + "\n", encoding="utf-8")


def read_origin(folder: Path) -> Pulled | None:
    """What `write_origin` wrote, or what the hub's cache says by its folders; None where neither is there."""
    try:
        raw = read_json(folder / ORIGIN, LARGEST, BundleError, "")
    except BundleError:
        known = cached(folder)
        return known and Pulled(*known)
    id, revision = str(raw.get("id")), str(raw.get("revision"))
    return Pulled(id, revision) if hub_id(id) == id and COMMIT.fullmatch(revision) else None
