"""How fast a kept model painted last: a small file in its folder, which only the list of models reads."""

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from pleinair.bundle.typed import build
from pleinair.errors import BundleError
from pleinair.system.files import read_json
from pleinair.system.home import models_folder

FILE = ".speed.json"
LARGEST = 1 << 12  # bytes


@dataclass(frozen=True)
class Speed:
    """What one picture took, without loading; `peak_mb` is the most that the process held, in MB of 2^20 bytes."""

    seconds: float
    width: int
    height: int
    steps: int
    engine: str
    device: str
    precision: str
    peak_mb: float


def remember(folder: Path, speed: Speed) -> None:
    """Note the speed of a kept model; nothing is written for any other, nor where nothing can be."""
    if os.path.realpath(folder.parent) != os.path.realpath(models_folder()):
        return
    part = folder / f"{FILE}.{os.getpid()}"
    with contextlib.suppress(OSError):
        try:
            part.write_text(json.dumps(asdict(speed), indent=1), encoding="utf-8")
            part.replace(folder / FILE)
        finally:
            part.unlink(missing_ok=True)


def remembered(folder: Path) -> Speed | None:
    """What was noted last, if anything was."""
    try:
        return build(Speed, read_json(folder / FILE, LARGEST, BundleError, ""), FILE)
    except (BundleError, ValueError):
        return None
