"""LoRA files merged into a model's layers: which of their keys apply, and the edits of graphs that follow from that."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from pleinair.adapters.families import check_family
from pleinair.adapters.kinds import ALPHA, ChangeKind, Parts, scale
from pleinair.adapters.lora_file import LoraFile
from pleinair.adapters.matching import BIAS, NORM, Fit, GraphLayers, Networks, Rows, fitting, targets_of
from pleinair.adapters.peft_alphas import alpha_of, settings_of
from pleinair.checks import one_line
from pleinair.engines.edits import Change, NewWeights
from pleinair.errors import RequestError

SHOWN = 3  # keys that a message names


@dataclass(frozen=True)
class Applied:
    """A LoRA of a job, its weight for the denoiser and for text encoders, and which of its keys apply and do not."""

    name: str
    weight: float
    text_weight: float
    sha256: str
    autov3: str
    applied: tuple[str, ...] = field(repr=False)
    left_out: tuple[str, ...] = field(repr=False)
    layers: int  # that it changes
    of: int  # that it has

    @property
    def words(self) -> str:
        """One line for people."""
        weights = f"{self.weight:g}"
        if self.text_weight != self.weight:
            weights += f", in text encoders at {self.text_weight:g}"
        return f"{one_line(self.name, 80)}: {self.layers} of {self.of} layers at {weights}"

    @property
    def warnings(self) -> list[str]:
        """What of it does nothing."""
        if not self.left_out:
            return []
        some = ", ".join(one_line(key, 80) for key in self.left_out[:SHOWN])
        more = f" and {len(self.left_out) - SHOWN} more" if len(self.left_out) > SHOWN else ""
        count = "one key is" if len(self.left_out) == 1 else f"{len(self.left_out)} keys are"
        return [f"LoRA '{one_line(self.name, 80)}': {count} not applied: {some}{more}"]


class Use(NamedTuple):
    """A LoRA that a job makes use of."""

    file: LoraFile
    weight: float
    text_weight: float


class MergeStep(NamedTuple):
    """What one LoRA does to one layer; `alpha` where PEFT's metadata has it."""

    use: Use
    fit: Fit
    strength: float
    alpha: float | None

    def parts(self, roles: Iterable[str]) -> dict[str, np.ndarray]:
        """The layer's tensors of these roles, as far as they apply."""
        found = self.use.file.parts(self.fit.name, self.fit.roles.intersection(roles))
        if self.alpha is not None and ALPHA not in found:
            found[ALPHA] = np.float32(self.alpha)
        return found


@dataclass(frozen=True)
class Merge:
    """What the LoRAs of a job do to a model's graphs: graph -> path -> steps, in the order in which they were given."""

    steps: Mapping[str, Mapping[str, Sequence[MergeStep]]] = field(default_factory=dict)
    applied: tuple[Applied, ...] = ()

    def edits(self, graph: str) -> tuple[NewWeights, ...]:
        """Those of one graph; none where nothing of it changes."""
        layers = self.steps.get(graph)
        if not layers:
            return ()
        made_of = {(step.use.file.sha256, step.strength): None for steps in layers.values() for step in steps}
        return (NewWeights(tuple(made_of), {path: change_of(steps) for path, steps in layers.items()}),)

    def counted(self, settings: dict[str, Any]) -> dict[str, Any]:
        """The settings of a job with how many layers each LoRA has changed, and how many it has."""
        if not self.applied:
            return settings
        counts = {each.name: {"layers": each.layers, "of": each.of} for each in self.applied}
        return settings | {"loras": {name: told | counts.get(name, {}) for name, told in settings["loras"].items()}}


def planned(networks: Networks, uses: Sequence[Use], layers: Callable[[str], GraphLayers]) -> Merge:
    """Find the layers that LoRAs are for; `layers` says those of a graph.

    Raises RequestError for a LoRA that is made for another kind of model, or of which nothing applies.
    """
    denoiser = networks.denoiser
    graphs = {name: layers(name) for name in (denoiser, *networks.encoders)}
    targets = targets_of(networks, graphs)
    steps: dict[str, dict[str, list[MergeStep]]] = {}
    applied = []
    for use in uses:
        fits = fitting(use.file, targets, graphs, denoiser)
        check_family(networks, use.file, graphs, targets, fits)
        said = settings_of(use.file)
        for fit in fits:
            strength = use.weight if fit.target.graph == denoiser else use.text_weight
            if strength:
                step = MergeStep(use, fit, strength, alpha_of(use.file, fit, said))
                steps.setdefault(fit.target.graph, {}).setdefault(fit.target.path, []).append(step)
        applied.append(report(use, fits))
    return Merge(steps, tuple(applied))


def change_of(steps: Sequence[MergeStep]) -> Change:
    """What all LoRAs do to a layer, one after the other."""
    return Change(
        weight=partial(new_weight, steps) if any(step.fit.weighs for step in steps) else None,
        bias=partial(new_bias, steps) if any(step.fit.shifts for step in steps) else None,
    )


def new_weight(steps: Sequence[MergeStep], weight: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):  # told by `finite`
        for step in steps:
            if step.fit.weighs:
                change = change_of_weight(step, weight).reshape(weight.shape)
                weight = finite(step, weight + np.float32(step.strength) * change)
    return weight


def change_of_weight(step: MergeStep, weight: np.ndarray) -> np.ndarray:
    """What a step adds to a weight at a strength of 1; RequestError for arrays that cannot be computed with."""
    kind, rows = step.fit.kind, step.fit.target.rows
    if kind is None:
        return step.parts((NORM,))[NORM]
    parts = step.parts(kind.needs | kind.may)
    try:
        return kind.change(parts, weight) if rows is None else change_of_rows(kind, parts, weight, rows)
    except (ValueError, np.linalg.LinAlgError):
        raise RequestError(
            f"LoRA '{one_line(step.use.file.name, 80)}' has arrays for {one_line(step.fit.target.path, 80)} that do"
            " not fit each other; choose another file"
        ) from None


def change_of_rows(kind: ChangeKind, parts: Parts, weight: np.ndarray, rows: Rows) -> np.ndarray:
    """What a change of a layer that is several here does to one of these."""
    every = rows.among(weight)
    return rows.of(kind.change(parts, every).reshape(every.shape))


def new_bias(steps: Sequence[MergeStep], bias: np.ndarray) -> np.ndarray:
    for step in steps:
        parts = step.parts((*BIAS, ALPHA))
        factor = scale(parts, step.use.file.shapes(step.fit.name)["down"][0]) if "up_bias" in parts else 1.0
        rows = step.fit.target.rows
        for role in BIAS:
            if role in parts:
                share = step.strength * (factor if role == "up_bias" else 1.0)
                change = parts[role].reshape(-1) if rows is None else rows.of(parts[role].reshape(-1))
                with np.errstate(over="ignore", invalid="ignore"):  # told by `finite`
                    shifted = bias + np.float32(share) * change
                bias = finite(step, shifted)
    return bias


def finite(step: MergeStep, numbers: np.ndarray) -> np.ndarray:
    """The numbers, or RequestError where they have no end."""
    if not np.isfinite(numbers).all():
        raise RequestError(
            f"LoRA '{one_line(step.use.file.name, 80)}' makes infinite numbers of the weights of"
            f" {one_line(step.fit.target.path, 80)}; choose another file, or a weight nearer to 0"
        )
    return numbers


def report(use: Use, found: Sequence[Fit]) -> Applied:
    """What of a file applies, and what does not."""
    applied = {use.file.layers[fit.name][role] for fit in found for role in fit.roles}
    return Applied(
        name=use.file.name,
        weight=use.weight,
        text_weight=use.text_weight,
        sha256=use.file.sha256,
        autov3=use.file.autov3,
        applied=tuple(key for key in use.file.keys if key in applied),
        left_out=tuple(key for key in use.file.keys if key not in applied),
        layers=len({fit.name for fit in found}),
        of=len(use.file.layers),
    )
