"""What PEFT says of alphas apart from the tensors: in a file's metadata, as diffusers writes it, or in a file beside.

A layer's alpha among its tensors comes first.
"""

import json
from collections.abc import Mapping
from typing import Any

from pleinair.adapters.lora_file import LoraFile
from pleinair.adapters.matching import Fit
from pleinair.checks import is_number
from pleinair.errors import RequestError
from pleinair.system.files import CONFIG, read_json

BESIDE, OWN_NAME = "adapter_config.json", "adapter_model"  # of peft's folders
EVERY = ""  # a file beside is for all components
RANKED = ("down", "hada_w1_b")  # roles whose first side is the rank
LARGEST = 1e9  # of what anybody may write

Settings = Mapping[str, Any]


def settings_of(lora: LoraFile) -> dict[str, Settings]:
    """By component, or for EVERY one: {"unet": {"lora_alpha": 16, "alpha_pattern": {}, "use_rslora": False}}.

    Raises RequestError for a file beside that is damaged.
    """
    found: dict[str, dict[str, Any]] = {}
    beside = lora.path.with_name(BESIDE)
    if lora.path.stem == OWN_NAME and beside.is_file():
        found[EVERY] = read_json(beside, CONFIG, RequestError, "download it again")
    try:
        said = json.loads(lora.metadata.get("lora_adapter_metadata", "{}"))
    except (ValueError, RecursionError):
        return found
    for name, value in said.items() if isinstance(said, dict) else ():
        component, _, setting = str(name).partition(".")
        found.setdefault(component, {})[setting] = value
    return found


def alpha_of(file: LoraFile, fit: Fit, said: Mapping[str, Settings]) -> float | None:
    """The alpha of a layer, which its rank divides; None where nothing is said of it."""
    settings = said.get(fit.target.graph) or said.get(EVERY) or {}
    patterns, shapes = settings.get("alpha_pattern"), file.shapes(fit.name)
    own = [value for key, value in patterns.items() if ends(fit.target.path, key)] if isinstance(patterns, dict) else []
    alpha = next(
        (value for value in (*own, settings.get("lora_alpha"), settings.get("alpha")) if is_alpha(value)), None
    )
    rank = next((shapes[role][0] for role in RANKED if role in fit.roles), None)
    if alpha is None or rank is None:
        return None
    return float(alpha) * (rank**0.5 if settings.get("use_rslora") is True else 1)


def ends(path: str, key: str) -> bool:
    """Whether a key of PEFT's patterns, which is the end of a path, is meant."""
    return path == key or path.endswith(f".{key}")


def is_alpha(value: Any) -> bool:
    return is_number(value) and abs(value) < LARGEST
