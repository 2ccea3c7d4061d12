"""ControlNets as A1111's extension for them writes them into a picture's text.

Its `ControlNetUnit.serialize` (sd-webui-controlnet v1.1.455, internal_controlnet/args.py) writes all of these fields in
this order, with numbers as Python prints floats.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from pleinair.pictures.preparing import HALF, HIGH, LOW, SOFT

UNUSED = -1  # what a number is there that says nothing
HASH = 8  # digits that tell a model there


class Module(NamedTuple):
    """What a way to prepare a picture is called there, and the numbers of its two sliders."""

    label: str
    a: float = UNUSED
    b: float = UNUSED


MODULES = {
    "canny": Module("canny", float(LOW), float(HIGH)),
    "invert": Module("invert (from white bg & black line)"),
    "threshold": Module("threshold", float(HALF - 1)),  # white is what is above it there
    "blur": Module("blur_gaussian", SOFT),
}


def control_fields(settings: Mapping[str, Any]) -> dict[str, str]:
    """ "ControlNet 0" and so on -> what the extension says of each."""
    controls = settings.get("controls") or ()
    return {f"ControlNet {number}": written(control) for number, control in enumerate(controls)}


def written(control: Mapping[str, Any]) -> str:
    """One ControlNet, its names without what would end a field."""
    module = MODULES.get(control.get("prepare"), Module("none"))
    said = {
        "Module": module.label,
        "Model": f"{plain(control['model'])} [{control['sha256'][:HASH]}]",
        "Weight": float(control["strength"]),
        "Resize Mode": "Just Resize",
        "Processor Res": UNUSED,
        "Threshold A": module.a,
        "Threshold B": module.b,
        "Guidance Start": float(control["start"]),
        "Guidance End": float(control["end"]),
        "Pixel Perfect": True,  # prepared at the size that is painted
        "Control Mode": "ControlNet is more important" if control.get("guess") else "Balanced",
    }
    return ", ".join(f"{name}: {value}" for name, value in said.items())


def plain(name: str) -> str:
    return name.replace(",", " ").replace(":", " ")
