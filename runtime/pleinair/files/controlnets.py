"""ControlNets as A1111's extension for them writes them into a picture's text."""

from collections.abc import Mapping
from typing import Any

from pleinair.pictures.preparing import HIGH, LOW

MODULES = {
    "canny": "canny",
    "invert": "invert (from white bg & black line)",
    "threshold": "threshold",
    "blur": "tile_resample",
}
THRESHOLDS = {"canny": {"Threshold A": LOW, "Threshold B": HIGH}}
HASH = 8  # digits that tell a model there


def control_fields(settings: Mapping[str, Any]) -> dict[str, str]:
    """ "ControlNet 0" and so on -> what the extension says of each."""
    controls = settings.get("controls") or ()
    return {f"ControlNet {number}": written(control) for number, control in enumerate(controls)}


def written(control: Mapping[str, Any]) -> str:
    """One ControlNet, its names without what would end a field."""
    prepare = control.get("prepare")
    said = {
        "Module": MODULES.get(prepare, "none"),
        "Model": f"{plain(control['model'])} [{control['sha256'][:HASH]}]",
        "Weight": f"{control['strength']:g}",
        "Resize Mode": "Just Resize",
        **THRESHOLDS.get(prepare, {}),
        "Guidance Start": f"{control['start']:g}",
        "Guidance End": f"{control['end']:g}",
        "Control Mode": "ControlNet is more important" if control.get("guess") else "Balanced",
    }
    return ", ".join(f"{name}: {value}" for name, value in said.items())


def plain(name: str) -> str:
    return name.replace(",", " ").replace(":", " ")
