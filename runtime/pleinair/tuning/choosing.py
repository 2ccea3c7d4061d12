"""The engine, and what it is told, that a job is done with where nobody has said: what was tuned, or the table's."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pleinair.bundle.opening import Bundle
from pleinair.engines.engine import engines_for
from pleinair.engines.failures import CPU
from pleinair.engines.int8.cpu import flags_in_use
from pleinair.engines.precision import F32
from pleinair.errors import ResourceError
from pleinair.system.machine import usable_cores
from pleinair.tuning.estimating import estimated_seconds
from pleinair.tuning.stored import TimedWay, Tuned, tuned_for
from pleinair.tuning.work import PaintingWork, kind_of_model, millions_of_weights

AUTO = "auto"
OPEN = {"device": (None, CPU), "precision": (None, AUTO), "int8": (None, AUTO)}  # what leaves the choice open
BF16_FLAGS = {"avx512_bf16", "amx_bf16"}
SETTLED = ("engine", "threads", "precision", "int8")  # keyword arguments of `load` that the choice says
ASKED = "it was asked for"
STEPS = "its steps are estimated to be fastest"
CLEARLY = 0.05  # share of the time that a trial must save to be no chance
LEAST_GAIN = 0.1  # share of the time that another engine than the first must save
LARGEST = 250  # millions of weights of a denoiser, above which float32 costs more memory than a quicker start is worth


@dataclass(frozen=True)
class FittingEngine:
    """What a job is done with, why, and what it is estimated to take by engine; an engine of None is the first here."""

    engine: Any
    why: str
    seconds: Mapping[str, float]
    threads: int | None = None
    precision: str | None = None
    int8: str | None = None
    two_calls: bool = False

    @property
    def how(self) -> dict[str, Any]:
        """Keyword arguments of `load`: those that it says something of."""
        return {name: getattr(self, name) for name in SETTLED if getattr(self, name) is not None}

    @property
    def reason(self) -> str | None:
        """What a picture's record says of the choice; None where there was none."""
        return None if self.why == ASKED else self.why


def fitting_engine(bundle: Bundle, work: PaintingWork | None, loading: Mapping[str, Any]) -> FittingEngine:
    """What suits some work, as far as `loading`, the keyword arguments of `load`, leaves that open.

    The same work on the same machine always gets the same; where none is told, that is the first engine.
    """
    engine = loading.get("engine")
    if engine not in (None, AUTO):
        return FittingEngine(engine, ASKED, {})
    if given := asked_for(loading):
        return FittingEngine(None, f"{given[0]} was asked for", {})
    here = engines_for(bundle)
    if work is None:
        return FittingEngine(next(iter(here), None), "other models are named, whose graphs may be for it alone", {})
    tuned = kept_result(bundle) if loading.get("threads") is None else None
    found = tuned and fitting_trial(tuned, work, here)
    if found:
        return found
    if len(here) < 2:
        return FittingEngine(None, "it is the only one here that has graphs of this model", {})
    cores = loading.get("threads") or usable_cores()
    return by_the_table(bundle, work, here, cores, kept=loading.get("cache") is True)


def asked_for(loading: Mapping[str, Any]) -> list[str]:
    """What keyword arguments of `load` settle, of that which not every engine takes."""
    return [name for name, usual in OPEN.items() if loading.get(name) not in usual]


def kept_result(bundle: Bundle) -> Tuned | None:
    """What `tune` has found for models of this kind, where that still holds."""
    try:
        return tuned_for(kind_of_model(bundle.manifest))
    except ResourceError:  # the user has no home folder
        return None


def fitting_trial(tuned: Tuned, work: PaintingWork, engines: list[str]) -> FittingEngine | None:
    """What was fastest; None where nothing was tried with these engines."""
    best = best_trial(tuned, work, engines)
    if best is None:
        return None
    seconds = {best.engine: trial_seconds(tuned, best, work)}
    how = {"threads": best.threads, "precision": best.precision, "int8": best.int8, "two_calls": best.two_calls}
    return FittingEngine(best.engine, "tuned on this machine", seconds, **how)


def best_trial(tuned: Tuned, work: PaintingWork, engines: list[str]) -> TimedWay | None:
    """The trial on one of the engines by which some work takes least; a later one must be clearly faster."""
    best = None
    for each in tuned.trials:
        if each.engine in engines:
            seconds = trial_seconds(tuned, each, work)
            if best is None or seconds < (1 - CLEARLY) * trial_seconds(tuned, best, work):
                best = each
    return best


def trial_seconds(tuned: Tuned, trial: TimedWay, work: PaintingWork) -> float:
    """What work would take as it was tried, its pictures being as much slower as they are larger."""
    larger = work.width * work.height / (tuned.width * tuned.height)
    if work.steps_alone:
        return work.pictures * larger * work.steps * trial.step_s
    return trial.open_s + work.pictures * larger * (work.steps * trial.step_s + trial.decode_s)


def by_the_table(bundle: Bundle, work: PaintingWork, engines: list[str], cores: int, kept: bool) -> FittingEngine:
    """The first engine, unless another saves enough and, where it may save by opening alone, the model is small."""
    manifest = bundle.manifest
    first = engines[0]
    if not work.steps_alone and millions_of_weights(manifest, manifest.denoiser.graph) > LARGEST:
        return FittingEngine(first, "large models take less memory with it", {})
    computed = {name: told_precision(name) for name in engines}
    found = {name: estimated_seconds(manifest, name, computed[name], work, cores, kept) for name in engines}
    seconds = {name: each for name, each in found.items() if each is not None}
    if len(seconds) < 2:
        return FittingEngine(first, "models of this form have not been measured with others; try: pleinair tune", {})
    best = min(seconds, key=seconds.__getitem__)
    if seconds[best] > seconds[first] * (1 - LEAST_GAIN):
        return FittingEngine(first, "no other is estimated to be a tenth faster", seconds)
    return FittingEngine(best, STEPS if work.steps_alone else "it is estimated to be done first", seconds)


def told_precision(engine: str) -> str:
    """What an engine's networks compute in by themselves, told without importing it, for which a start has no time."""
    bf16 = engine == "openvino" and not BF16_FLAGS.isdisjoint(flags_in_use())
    return "bf16" if bf16 else F32
