"""The options of `pleinair bench run` as they are typed, and the cases that they choose."""

import re
from collections.abc import Callable, Iterator
from typing import Any

from pleinair.checks import one_line, one_of
from pleinair.engines import placement
from pleinair.errors import RequestError
from pleinair.pouring.pour import WEIGHTS
from pleinair.request.value_types import parse_size
from pleinair.sampling.names import sampler_named
from pleinair_bench import cases, models
from pleinair_bench.cases import PRECISIONS, TAKEN_BY, WORKS, Case, takes, value
from pleinair_bench.speeds import SPEEDS

MatrixOptions = dict[str, list[Any]]
STORED = (*WEIGHTS, "w8a8")
LONGEST = 40  # characters of one value
DEVICES = ("cpu", "gpu", "npu", "dml", *placement.FEWEST)


def options(texts: dict[str, str | None]) -> MatrixOptions:
    """{"size": "512x512, 512X512", "work": None} -> {"size": [(512, 512)]}: each value once, in any spelling.

    Raises RequestError for what is none, with the nearest, and EngineError for an engine that is not installed.
    """
    given = {name: text for name, text in texts.items() if text is not None}
    return {name: list(dict.fromkeys(READ[name](part) for part in split(name, text))) for name, text in given.items()}


def split(name: str, text: str) -> list[str]:
    """'a, b' -> ['a', 'b'], as errors can quote them."""
    parts = [one_line(part, LONGEST) for part in text.split(",") if part.strip()]
    if not parts:
        raise RequestError(f"--{name} is empty; give it something, or leave it out")
    return parts


def cases_of(given: MatrixOptions) -> list[Case]:
    """The cases of the matrix that these options make; without any, of the standard run."""
    if not given:
        return list(cases.standard())
    if "work" in given:
        cases.check_taken(given["work"], given)
    usual = {"model": models.names()[:1], "work": None, "engine": models.engines()}
    return list(cases.matrix(**usual | cases.PLAIN | given))


def quick(given: MatrixOptions) -> list[Case]:
    """Those of the quick run's cases that these options mean; RequestError with what there is where none is left.

    An option leaves out the works that do not take it, unless they are asked for by name.
    """
    named_works = given.get("work", [])
    if named_works:
        cases.check_taken(named_works, given)
    left = list(cases.quick())
    for name, values in given.items():
        free = [case for case in left if case.work in named_works and not takes(case.work, name)]
        bound = [case for case in left if takes(case.work, name)]
        kept = [case for case in bound if value(case, name) in values]
        if not kept:
            there = dict.fromkeys(spelled(value(case, name)) for case in bound) or ["none"]
            asked = ", ".join(map(spelled, values))
            raise RequestError(
                f"--quick has no case with {name} {asked}, only {', '.join(there)}; choose from these,"
                " or leave --quick out"
            )
        left = [case for case in left if case in kept or case in free]
    return left


def notes(chosen: list[Case], given: MatrixOptions, texts: dict[str, str | None]) -> Iterator[str]:
    """What was asked for and is not among the cases, or not as it was asked for."""
    spaced = (
        [part for part in split("sampler", texts["sampler"]) if sampler_named(part)[1]] if "sampler" in given else []
    )
    if spaced:
        yield f"note: {', '.join(spaced)} is measured with the model's own spacing, which plays no part in time"
    for name, values in given.items():
        idle = [work for work in given.get("work", []) if not takes(work, name)]
        if idle:
            yield f"note: --{name} is for {', '.join(TAKEN_BY[name])}; {', '.join(idle)} is measured without it"
        there = {value(case, name) for case in chosen if takes(case.work, name)}
        if absent := [spelled(each) for each in values if each not in there]:
            yield f"warning: no case has {name} {', '.join(absent)}; see what there is with --dry-run"


def spelled(value: Any) -> str:
    """A value as it is typed."""
    return "auto" if value is None else "x".join(map(str, value)) if isinstance(value, tuple) else str(value)


def one_of_lower(name: str, choices: tuple[str, ...]) -> Callable[[str], str]:
    """A reader of one of these names in any case."""
    return lambda text: one_of(name, text.lower(), choices)


def model(text: str) -> str:
    """A model that there is, in any case."""
    return one_of("model", text.lower(), models.names())


def engine(text: str) -> str:
    """An installed engine."""
    models.check_engine(text.lower())
    return text.lower()


def device(text: str) -> str:
    """cpu, gpu, gpu.1, dml:1, auto, hetero:gpu+cpu ..., for commas are between several."""
    one_of("device", re.split("[.:]", text.strip().lower())[0], DEVICES)
    return placement.parse(text)["unet"]


def precision(text: str) -> str:
    """What to compute in; how weights are stored is another option."""
    if text.lower() in STORED:
        raise RequestError(
            f"precision '{text}' is how weights are stored; write --weights {text.lower()}, or choose --precision from"
            f" {', '.join(PRECISIONS)}"
        )
    return one_of("precision", text.lower(), PRECISIONS)


def number(name: str) -> Callable[[str], int]:
    """A reader of numbers from 1 to 10000."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 6 and 0 < int(text) <= 10_000):
            raise RequestError(f"{name} '{text[:20]}' is not a number from 1 to 10000; choose another --{name}")
        return int(text)

    return read


def threads(text: str) -> int | None:
    """A number, or auto for what the engine chooses."""
    return None if text.lower() == "auto" else number("threads")(text)


def sampler(text: str) -> str:
    """The name that our table has for a sampler, without a spacing."""
    return sampler_named(text)[0]


READ: dict[str, Callable[[str], Any]] = {
    "model": model,
    "work": one_of_lower("work", WORKS),
    "engine": engine,
    "device": device,
    "weights": one_of_lower("weights", STORED),
    "precision": precision,
    "threads": threads,
    "batch": number("batch"),
    "size": parse_size,
    "steps": number("steps"),
    "sampler": sampler,
    "speed": one_of_lower("speed", tuple(SPEEDS)),
    "memory": one_of_lower("memory", cases.MEMORIES),
}
