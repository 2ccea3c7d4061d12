"""What a graph is tried on and what torch says to that, in a file: converting leaves it, and checking reads it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Trial:
    """Inputs, and torch's answers to them; from `unsteady` on those where a last bit of a weight can change much."""

    cases: list[Arrays]
    answers: list[Arrays]
    unsteady: int


def write_trial(file: Path, trial: Trial) -> None:
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
