"""The scheduler config of a folder, and the one that its pictures are walked by."""

from pathlib import Path
from typing import Any

from pleinair.adopting.ir import AGAIN
from pleinair.adopting.layout import shown, small_json
from pleinair.errors import BundleError
from pleinair.sources.schedulers import as_walked

CONFIG = "scheduler/scheduler_config.json"
WALKED = "scheduler/pleinair_scheduler_config.json"


def scheduler_of(root: Path, index: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """(file, config) to walk by: the folder's own where diffusers' pipeline would change nothing of it, else WALKED."""
    config = small_json(root, CONFIG)
    if config is None:
        raise BundleError(f"'{shown(root / CONFIG)}' is missing; {AGAIN}, with its small files")
    walked = as_walked(config, index["_class_name"], index.get("scheduler"))
    return (CONFIG if walked == config else WALKED), walked
