"""The devices of this machine tried with a model's networks, one by one, each in a process of its own.

A driver that crashes ends that process, which is a row of the table like any other failure.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from math import log10
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from pleinair.bundle.opening import Bundle
from pleinair.checks import one_line
from pleinair.cli.terminal import aligned
from pleinair.engines.components import COMPONENTS, component_of
from pleinair.engines.doctor import diagnosis
from pleinair.engines.engine import ENGINES, Engine, Graph, Opening, engine_named, installed
from pleinair.engines.failures import CPU
from pleinair.engines.fake import FakeEngine
from pleinair.engines.graphs import open_graph
from pleinair.errors import EngineError, PleinairError, RequestError
from pleinair.system.child import child

SECONDS = 900.0
NEAR = 30.0  # dB from what the CPU says in f32; every precision that is chosen by itself is above 40
LONGEST = 400  # characters of a problem
QUOTED = re.compile(r"'[^']*[\\/]([^'\\/]*)'")
ROOTED = re.compile(r"(?<![\w.\\/])(?:[A-Za-z]:)?(?:[\\/]+[^\s\\/:*?\"'<>|()]+)*[\\/]+([^\s\\/:*?\"'<>|()]+)")


@dataclass(frozen=True)
class DeviceTrial:
    """How one component fared alone on one device: `problem` is None where its answers are those of the CPU.

    `seconds` are those of loading, compiling and one step, `db` how near to the CPU's f32 that came, None for equal.
    """

    engine: str
    device: str
    component: str
    precision: str | None
    problem: str | None
    seconds: float
    db: float | None


def planned(bundle: Bundle) -> list[tuple[str, str, str]]:
    """(engine, device, component) of all trials of a bundle; RequestError where it does not paint.

    Of an engine that cannot be loaded there are none; `diagnosis` says why.
    """
    if bundle.upscales:
        raise RequestError(f"'{bundle.manifest.name}' enlarges pictures; choose a --model that paints")
    here = {component_of(bundle, graph) for graph in bundle.manifest.graphs}
    return [
        (name, device.lower(), part)
        for name, info in ENGINES.items()
        if info.format in bundle.formats and installed(name)
        for device in devices_of(name)
        for part in COMPONENTS
        if part in here
    ]


def devices_of(engine: str) -> list[str]:
    try:
        return engine_named(engine).devices()
    except EngineError:
        return []


def tried_alone(bundle: Bundle, engine: str, device: str, part: str, seconds: float = SECONDS) -> DeviceTrial:
    """One component on one device for one step, the others being the fake engine's, in a process of its own."""
    start = perf_counter()
    told: dict[str, Any] = {}
    with child("pleinair.cli.trying", str(bundle.path), engine, device, part) as process:
        try:
            answer, _ = process.communicate(timeout=seconds)
            told = json.loads(answer.splitlines()[-1]) if process.returncode == 0 else ended(process.returncode)
        except subprocess.TimeoutExpired:
            told = {"problem": f"took longer than {seconds:g} seconds"}
        except (ValueError, IndexError):
            told = {"problem": "its process sent no answer"}
    problem = told.get("problem")
    return DeviceTrial(
        engine=engine,
        device=device,
        component=part,
        precision=told.get("precision"),
        problem=problem and one_line(without_paths(problem), LONGEST),
        seconds=round(told.get("seconds", perf_counter() - start), 2),
        db=told.get("db"),
    )


def ended(code: int) -> dict[str, Any]:
    """What the end of a process says that should have answered."""
    how = f"by signal {-code}" if code < 0 else f"with code {code:#x}"
    return {"problem": f"its process ended {how}, as when a driver crashes"}


def without_paths(words: str) -> str:
    """A text without folders, which can hold a user's name; files keep their names."""
    for folder in (Path.home(), Path.cwd()):
        words = words.replace(str(folder), "/...")
    return ROOTED.sub(r"\1", QUOTED.sub(r"'\1'", words))


def table(rows: list[DeviceTrial]) -> Iterator[str]:
    """The trials, for people."""
    form = "{:9} {:8} {:10} {:10} {:>8}  {}"
    yield form.format("engine", "device", "component", "precision", "seconds", "result")
    for row in rows:
        near = "equal to the CPU in f32" if row.db is None else f"{row.db} dB from the CPU in f32"
        result = row.problem or f"ok, {near}"
        yield form.format(row.engine, row.device, row.component, row.precision or "-", f"{row.seconds:.2f}", result)


def reported(bundle: Bundle, rows: list[DeviceTrial]) -> tuple[dict[str, Any], list[str]]:
    """What a user can send, as facts and as lines: no name of a user or a machine, and no path."""
    machine = {name: value for name, value in diagnosis().items() if name != "missing"}
    facts = {**machine, "model": bundle.manifest.name}
    lines = [*table(rows), "", *aligned(facts), "", "To tell how your machine did, send all of the above."]
    return {**facts, "trials": [asdict(row) for row in rows]}, lines


class Alone(FakeEngine):
    """One component on a real engine, all others on the fake one; keeps what that component was first asked."""

    def __init__(self, engine: Engine, part: str) -> None:
        super().__init__()
        self.format = engine.format
        self.check_device, self.offered, self.fastest = engine.check_device, engine.offered, engine.fastest
        self._engine, self._part = engine, part
        self.asked: dict[str, tuple[dict[str, np.ndarray], dict[str, np.ndarray]]] = {}  # graph -> inputs, answers

    def open_graph(self, bundle: Bundle, graph: str, how: Opening) -> Graph:
        if component_of(bundle, graph) != self._part:
            return super().open_graph(bundle, graph, how)
        return Overheard(self._engine.open_graph(bundle, graph, how), partial(self.asked.setdefault, graph))


class Overheard:
    """A graph of which `keep` is told what each call gave and got."""

    def __init__(self, graph: Graph, keep: Any) -> None:
        self.prepare = graph.prepare
        self._graph = graph
        self._keep = keep

    def __call__(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        outputs = self._graph(**inputs)
        self._keep((inputs, outputs))
        return outputs


def nearness(answers: dict[str, np.ndarray], exact: dict[str, np.ndarray]) -> float | None:
    """Of the worst output: signal against error in dB, None where all are equal."""
    worst = None
    for name, right in exact.items():
        apart = answers[name].astype(np.float64) - right
        if np.any(apart):
            db = 10 * log10(max(float(np.mean(np.square(right, dtype=np.float64))), 1e-30) / float(np.mean(apart**2)))
            worst = db if worst is None else min(worst, db)
    return None if worst is None else round(worst, 1)


def trial(path: str, name: str, device: str, part: str) -> dict[str, Any]:
    """Paint one step with one component on a device, and compare what it answered with the CPU; facts about it."""
    from pleinair import load

    engine = engine_named(name)
    alone = Alone(engine, part)
    start = perf_counter()
    facts: dict[str, Any] = {"problem": None}
    try:
        pipe = load(path, engine=alone, device={part: device}, cache=False)
        graph = next(each for each in pipe.bundle.manifest.graphs if component_of(pipe.bundle, each) == part)
        facts["precision"] = pipe.graphs.precision_of(graph)
        pipe.generate("a red house", negative="fog", seed=1, steps=1, **given(pipe.bundle, encodes=part == "vae"))
        facts |= {"seconds": perf_counter() - start, "precision": pipe.graphs.precision_of(next(iter(alone.asked)))}
        pipe.unload()
        found = []
        for graph, (inputs, answers) in alone.asked.items():
            found.append(nearness(answers, open_graph(pipe.bundle, graph, engine, CPU)(**inputs)))
        facts["db"] = min((db for db in found if db is not None), default=None)
        if facts["db"] is not None and not facts["db"] >= NEAR:
            facts["problem"] = f"its answers are {facts['db']} dB from the CPU's"
    except PleinairError as error:
        facts["problem"] = error.reason
    except MemoryError:
        facts["problem"] = "ran out of memory"
    return facts | {"seconds": facts.get("seconds", perf_counter() - start)}


def given(bundle: Bundle, encodes: bool) -> dict[str, Any]:
    """What is given beside a prompt: a picture where the VAE's encoder is tried too, or a model only repaints."""
    from PIL import Image

    tasks, gray = bundle.manifest.tasks, Image.new("RGB", (64, 64), "gray")
    if "text2image" not in tasks:
        return {"image": gray} | ({"mask": gray} if "inpaint" in tasks else {})
    if not encodes or "image2image" not in tasks or bundle.manifest.vae.encoder is None:
        return {}
    return {"image": gray, "strength": 1.0}


if __name__ == "__main__":
    from pleinair.cli.terminal import document

    document(trial(*sys.argv[1:]))
