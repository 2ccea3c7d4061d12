"""The ways to open a model on this machine's CPU, tried one after the other: which paints soonest?"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from statistics import median
from time import perf_counter
from typing import NamedTuple

from pleinair.bundle.opening import Bundle
from pleinair.engines.engine import ENGINES, engine_named, installed
from pleinair.engines.int8.cpu import form_here
from pleinair.engines.int8.forms import CHANNELS_FIRST, PAIRED
from pleinair.engines.precision import F32
from pleinair.errors import EngineError, PleinairError
from pleinair.pipeline import load
from pleinair.system.machine import usable_cores
from pleinair.tuning.stored import OpeningWay, TimedWay, Tuned, machine_here
from pleinair.tuning.work import kind_of_model

PROMPT = "a red house on a hill"
STEPS = 4  # the first, in which memory is taken, does not count
FEW_CORES = 4  # below which no engine is tried with half of them


class PaintedOnce(NamedTuple):
    """Seconds of one picture: to open the model, for each step, to decode."""

    open_s: float
    steps_s: Sequence[float]
    decode_s: float


class TriedWay(NamedTuple):
    """What became of a way: its trial, or why there is none."""

    way: OpeningWay
    trial: TimedWay | None
    problem: str | None


Paint = Callable[[Bundle, OpeningWay, tuple[int, int]], PaintedOnce]


def ways_to_start(bundle: Bundle) -> list[OpeningWay]:
    """Each engine that is here as it is by itself, in float32 and, of graphs in int8, in each other form.

    What computes less exactly than the engine's own choice is never tried, however fast it may be.
    """
    denoiser = bundle.manifest.denoiser.graph
    w8a8 = bundle.manifest.graphs[denoiser].form == "w8a8"
    ways = []
    for name, info in ENGINES.items():
        if info.format not in bundle.formats or not installed(name):
            continue
        try:
            fastest = engine_named(name).fastest(bundle, denoiser, None)
        except EngineError:
            continue
        ways.append(OpeningWay(name))
        if fastest != F32:
            ways.append(OpeningWay(name, precision=F32))
        if w8a8 and name == "openvino":
            ways += [OpeningWay(name, int8=form) for form in (PAIRED, CHANNELS_FIRST) if form != form_here().form]
    return ways


def ways_from(best: OpeningWay, cores: int) -> list[OpeningWay]:
    """What else is tried of the way that was fastest: half of the cores, and guidance in two calls."""
    halved = [replace(best, threads=cores // 2)] if cores >= FEW_CORES else []
    return [*halved, replace(best, two_calls=True)]


def tried_ways(
    bundle: Bundle,
    size: tuple[int, int],
    seconds: float,
    *,
    paint: Paint | None = None,
    clock: Callable[[], float] = perf_counter,
) -> Iterator[TriedWay]:
    """Try the ways of a bundle, and those from the fastest; none is begun after so many `seconds`, but for the first.

    `paint` does one picture of `size` in STEPS steps.
    """
    paint = paint or painted_once
    begun, found = clock(), []
    for way in ways_to_start(bundle):
        if not found or clock() - begun < seconds:
            found.append(tried_way(bundle, way, size, paint))
            yield found[-1]
    good = [each for each in found if each.trial]
    if not good:
        return
    best = min(good, key=lambda each: each.trial.step_s)
    for way in ways_from(best.way, usable_cores()):
        if clock() - begun < seconds:
            yield tried_way(bundle, way, size, paint)


def tried_way(bundle: Bundle, way: OpeningWay, size: tuple[int, int], paint: Paint) -> TriedWay:
    """One way, whatever becomes of it."""
    try:
        painted = paint(bundle, way, size)
    except PleinairError as error:
        return TriedWay(way, None, error.reason)
    except MemoryError:
        return TriedWay(way, None, "ran out of memory")
    step_s = median(painted.steps_s[1:] or painted.steps_s)
    times = {"open_s": painted.open_s, "step_s": step_s, "decode_s": painted.decode_s}
    rounded = {name: round(value, 4) for name, value in times.items()}
    return TriedWay(way, TimedWay(**asdict(way), **rounded), None)


def painted_once(bundle: Bundle, way: OpeningWay, size: tuple[int, int]) -> PaintedOnce:
    """One picture, of a model that is opened for it and let go of."""
    how = {"engine": way.engine, "threads": way.threads, "precision": way.precision, "int8": way.int8}
    with load(bundle.path, cache=False, verify=bundle.files.hashed, **how) as pipe:
        usual = pipe.bundle.manifest.defaults
        free = usual.timesteps is None  # else the model walks its own steps and no others
        asked = {"steps": STEPS} if free else {}
        result = pipe.generate(PROMPT, seed=1, width=size[0], height=size[1], two_calls=way.two_calls, **asked)
    return PaintedOnce(result.timings.load, result.timings.steps, result.timings.decode)


def tuned_of(bundle: Bundle, size: tuple[int, int], tried: Sequence[TriedWay]) -> Tuned:
    """What is stored of the ways that painted."""
    trials = tuple(each.trial for each in tried if each.trial)
    return Tuned(machine_here(), kind_of_model(bundle.manifest), *size, trials)
