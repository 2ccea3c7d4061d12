"""What makes a record of a version of one of the version before, so that old files stay readable."""

from collections.abc import Callable
from typing import Any

from pleinair_bench.statistics import FEWEST_ROUNDS

Record = dict[str, Any]


def _with_yardstick(raw: Record) -> Record:
    """Version 2 of a record of version 1, which had no yardstick."""
    return raw | {"schema": 2, "pace": [], "left_out": []}


def _with_precision(raw: Record) -> Record:
    """Version 3 of a record of version 2, which told neither the commit nor what was computed in.

    Our own engines had no choice: float32 on the CPU. What peers had stored was not looked at, and two rounds had an
    interval.
    """
    case, measures = dict(raw["case"]), {**raw["measures"], **raw["usage"]}
    weights = case.pop("precision")
    case["precision"] = {"cpu": "f32", "gpu": "f16"}.get(case["device"], "auto")
    if case["engine"] in ("diffusers", "diffusers channels-last", "stable-diffusion.cpp"):
        weights = "unknown"
    if case["engine"] == "stable-diffusion.cpp":
        case["precision"] = "auto"
    for name, measure in measures.items():
        if len(measure["rounds"]) < FEWEST_ROUNDS:
            measures[name] = measure | {"low": None, "high": None}
    return raw | {
        "schema": 3,
        "commit": None,
        "case": case | {"weights": weights},
        "engine": raw["engine"] | {"precision": None},
        "measures": {name: measures[name] for name in raw["measures"]},
        "usage": {name: measures[name] for name in raw["usage"]},
    }


def _with_graphs(raw: Record) -> Record:
    """Version 4 of a record of version 3, which did not tell one graph of a name from another."""
    return raw | {"schema": 4, "graphs": {}}


def _with_speed(raw: Record) -> Record:
    """Version 5 of a record of version 4, when there was one speed, one memory, and no VAE but the model's own.

    Of other programs it was the second picture of a process that was measured, and its first step from there on.
    """
    case = raw["case"] | {"speed": "exact", "memory": "auto", "vae": None}
    found = raw | {"schema": 5, "case": case, "engine": raw["engine"] | {"build": None}}
    if case["model"].startswith("peers: "):
        renamed = {{"again": "picture"}.get(name, name): measure for name, measure in raw["measures"].items()}
        found["measures"] = {name: measure for name, measure in renamed.items() if name != "first_step"}
    return found


UPGRADES: dict[int, Callable[[Record], Record]] = {  # version -> what makes the next one of it
    1: _with_yardstick,
    2: _with_precision,
    3: _with_graphs,
    4: _with_speed,
}
