"""What a graph is tried on and what torch says to that, in a file: converting leaves it, and checking reads it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]

LARGEST = 64  # latents along one side of what is compared
WORK = ".work"  # a folder of the stage for what is no part of the bundle


@dataclass(frozen=True)
class Context:
    """What graphs are tried on: latents of a `size` (h, w), and three texts.

    `ids` has these for each text encoder's graph, (3, length) int64, and `feeds` what the UNet is told of them.
    """

    size: tuple[int, int]
    ids: Arrays = field(default_factory=dict)
    feeds: Arrays = field(default_factory=dict)


@dataclass(frozen=True)
class Trial:
    """Inputs, and torch's answers to them; from `unsteady` on those where a last bit of a weight can change much."""

    cases: list[Arrays]
    answers: list[Arrays]
    unsteady: int


def trial_file(stage: Path, graph: str) -> Path:
    return stage / WORK / f"{graph}.npz"


def write_trial(file: Path, trial: Trial) -> None:
    file.parent.mkdir(exist_ok=True)
    arrays = {"unsteady": np.array(trial.unsteady)}
    for side, sets in (("case", trial.cases), ("answer", trial.answers)):
        arrays |= {f"{side} {n} {name}": array for n, named in enumerate(sets) for name, array in named.items()}
    np.savez(file, **arrays)


def read_trial(file: Path) -> Trial:
    sets: dict[str, dict[int, Arrays]] = {"case": {}, "answer": {}}
    with np.load(file, allow_pickle=False) as arrays:
        for key in arrays.files:
            if key != "unsteady":
                side, number, name = key.split(" ", 2)
                sets[side].setdefault(int(number), {})[name] = arrays[key]
        return Trial([*sets["case"].values()], [*sets["answer"].values()], int(arrays["unsteady"]))


def tried(size: tuple[int, int]) -> tuple[int, int]:
    """The size of latents to compare on, for a default size: larger ones are the same arithmetic on more numbers."""
    height, width = size
    return min(height, LARGEST), min(width, LARGEST)


def steady_size(config: Mapping[str, Any], size: tuple[int, int]) -> tuple[int, int]:
    """The default size of the latents, doubled until every group that the UNet normalises has four numbers or more.

    Transformers have none. Of two numbers it makes their signs: no rounding of weights is small there, and torch and an
    engine are 34 dB apart.
    """
    groups, widths = config.get("norm_num_groups", 32), config.get("block_out_channels", ())
    height, width = size
    while groups and any(
        channels // groups * math.ceil(height / 2**level) * math.ceil(width / 2**level) < 4
        for level, channels in enumerate(widths)
    ):
        height, width = 2 * height, 2 * width
    return height, width
