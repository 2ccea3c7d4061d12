"""The small files of a bundle beside bundle.json and its graphs."""

import json
from pathlib import Path
from typing import Any

from pleinair.sources.families import left_out
from pleinair.sources.folder import Source


def write_configs(model: Source, stage: Path) -> None:
    """Write model_index.json with the components a bundle has, and the scheduler's config as diffusers walks it."""
    (stage / "scheduler").mkdir()
    write_json(stage / "scheduler" / "scheduler_config.json", model.scheduler)
    index = {key: value for key, value in model.index.items() if key not in left_out(model.index)}
    kept = {"scheduler", *(each for part in model.family.parts for each in (part.folder, part.tokenizer))}
    for key, value in index.items():
        if isinstance(value, list) and key not in kept:
            index[key] = [None, None]
    if "safety_checker" in index:
        index["requires_safety_checker"] = False
    index["scheduler"] = ["diffusers", model.scheduler.get("_class_name")]
    write_json(stage / "model_index.json", index)


def write_json(file: Path, value: dict[str, Any]) -> None:
    """Write a JSON object as diffusers lays it out."""
    file.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
