"""Which layers stay wide: those whose rounding changes the answer most for what they cost, by measurement."""

import re
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pleinair.quantizing.openvino_layers import GATES, Rounding, gated
from pleinair.quantizing.watching import Call, compiled, infer

if TYPE_CHECKING:
    import openvino

NUMBER = re.compile(r"(?:^|\.)\d+(?=\.|$)")


@dataclass(frozen=True)
class WideChoice:
    """The layers that stay wide, and their share of all the multiplications of a graph's large layers."""

    wide: tuple[str, ...]
    share: float


def kind_of(path: str) -> str:
    """ "up_blocks.1.resnets.0.conv_shortcut" -> "resnets.conv_shortcut": what layers of its kind are called alike."""
    plain = NUMBER.sub("", path).split(".")
    return ".".join(plain[-2:])


def errors(
    name: str,
    model: "openvino.Model",
    tried_out: Mapping[str, Rounding],
    costs: Mapping[str, int],
    calls: Sequence[Call],
    seconds: float,
    known: Collection[str] = (),
) -> Iterator[dict[str, float]]:
    """Try each rounding with the others exact, but for those `known`; yields the errors of those tried.

    An error is the mean square of what a rounding, alone, changes in the answers to `calls`. Where all cannot be tried
    in about so many `seconds`, those of a kind are tried together, and each has its share of the error by its cost.
    """
    places = {path: place for place, path in enumerate(tried_out)}
    waiting = [path for path in tried_out if path not in known]
    if not waiting:
        return
    shapes = {port: array.shape for port, array in calls[0].inputs.items()} | {GATES: (len(tried_out),)}
    request = compiled(name, gated(model, list(tried_out.values())), shapes)

    def tried(group: Sequence[str]) -> float:
        gates = np.zeros(len(tried_out), np.float32)
        gates[[places[path] for path in group]] = 1
        return sum(missed(call, infer(name, request, call.inputs | {GATES: gates})) for call in calls) / len(calls)

    started = time.monotonic()
    tried(())
    long = (time.monotonic() - started) * len(waiting) > seconds
    for group in by_kind(waiting) if long else [(path,) for path in waiting]:
        error, whole = tried(group), sum(costs[path] for path in group)
        yield {path: error * costs[path] / whole for path in group}


def by_kind(paths: Iterable[str]) -> list[tuple[str, ...]]:
    """Layers that are called alike but for numbers."""
    kinds: dict[str, list[str]] = {}
    for path in paths:
        kinds.setdefault(kind_of(path), []).append(path)
    return [tuple(each) for each in kinds.values()]


def missed(call: Call, answers: Sequence[np.ndarray]) -> float:
    """The mean square of what answers differ from a call's own."""
    return sum(float(np.mean((own - new) ** 2)) for own, new in zip(call.outputs.values(), answers, strict=False))


def chosen(costs: Mapping[str, int], found: Mapping[str, float], always: set[str], budget: float) -> WideChoice:
    """Greedily the layers with the largest error for their cost, as long as the wide ones are at most a `budget`.

    Those of `always` are wide in any case; the budget is a share of all multiplications.
    """
    total = sum(costs.values())
    wide, spent = set(always), sum(costs[path] for path in always)
    for path in sorted(found, key=lambda path: found[path] / costs[path], reverse=True):
        if path not in wide and spent + costs[path] <= budget * total:
            wide.add(path)
            spent += costs[path]
    return WideChoice(tuple(path for path in costs if path in wide), spent / total)
