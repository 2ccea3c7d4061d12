"""Measure cases: rounds of all of them in turn, each in a process of its own, whatever becomes of that process.

All cases have their first round before any has its second, and every other turn goes backwards: what drifts (heat,
other programs) meets all of them alike, and two that are to be compared are never measured an hour apart.
"""

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

from pleinair.checks import one_line
from pleinair.version import __version__
from pleinair_bench import machine, models, yardstick
from pleinair_bench.cases import Case
from pleinair_bench.commit import commit
from pleinair_bench.records import VERSION, Record, main_measure, measured
from pleinair_bench.reference import WRONG_DB
from pleinair_bench.statistics import FEWEST_ROUNDS, Rounds, is_slowing
from pleinair_bench.yardstick import FEWEST_CALM, is_disturbed

NOISY = 0.05  # spread above which a case is flagged
OTHERS = 0.1  # share of the cores that other programs had, above which it is
SPARE_ROUNDS = 4  # more than a case has, to make up for disturbed ones
UNITS = {"peak_rss_mb": "MB", "peak_anonymous_mb": "MB", "pss_mb": "MB", "disk_mb": "MB", "cpu_s": "s", "joules": "J"}
QUIET = {  # what workers are told, those of other programs as well: nothing is sent, nothing is fetched
    "ORT_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
}
WORKER = (sys.executable, "-P", "-m", "pleinair_bench.worker")


@dataclass(frozen=True)
class Limits:
    """Bounds of one run; `rounds` None is as each case says, or three of each where it is to be quick."""

    rounds: int | None = None
    quick: bool = False
    case_s: float = 120.0  # no new round of a case after that
    run_s: float | None = None  # after that a case is done with three rounds
    round_s: float = 1.0  # repeats inside one process
    wait_s: float = 120.0  # in all, for a disturbed machine to become calm
    worker_s: float = 1800.0  # a process that takes longer is ended


@dataclass
class CaseProgress:
    """What is known of one case so far."""

    case: Case
    outcomes: list[dict[str, Any]] = field(default_factory=list)
    spent_s: float = 0.0
    written: bool = False

    @property
    def failure(self) -> dict[str, Any] | None:
        return next((outcome for outcome in self.outcomes if outcome["status"] != "ok"), None)

    @property
    def good(self) -> list[dict[str, Any]]:
        return [outcome for outcome in self.outcomes if outcome["status"] == "ok"]

    def calm(self, usual: float | None) -> list[dict[str, Any]]:
        """The rounds during which the machine was as fast as usual."""
        return [outcome for outcome in self.good if not is_disturbed(outcome.get("pace", ()), usual)]

    def counted(self, usual: float | None) -> list[dict[str, Any]]:
        """The rounds that count: the calm ones, or all where too few are calm."""
        calm = self.calm(usual)
        return calm if len(calm) >= FEWEST_CALM else self.good

    def is_done(self, limits: Limits, run_s: float, usual: float | None = None) -> bool:
        """Failed, measured as often as the case has rounds, or out of time: its own, or the run's of `run_s` so far.

        How often is settled beforehand: stopping when the samples agree would make intervals narrower than they are.
        """
        calm, count = self.calm(usual), len(self.outcomes)
        wanted = FEWEST_ROUNDS if limits.quick else self.case.rounds
        if limits.rounds or self.failure:
            return bool(self.failure) or count >= limits.rounds
        if len(calm) >= wanted or count >= wanted + SPARE_ROUNDS:
            return True
        late = self.spent_s > limits.case_s or (limits.run_s is not None and run_s > limits.run_s)
        return count >= FEWEST_ROUNDS and late


class Run:
    """One run over some cases. Iterate `steps`; `unfinished` is what is to be kept when that is cut short."""

    def __init__(self, cases: list[Case], limits: Limits | None = None) -> None:
        self.id = new_id()
        self.limits = limits or Limits()
        self.cases = [CaseProgress(case) for case in cases]
        self.machine = machine.facts()
        self.peaks: dict[tuple[str, str, int | None], dict[str, Any]] = {}
        self.engines: dict[str, dict[str, Any]] = {}
        self.calm = yardstick.Calm(self.limits.wait_s)

    def steps(self) -> Iterator[tuple[str, Record | None]]:
        """What is going to be done, in words, then once for each case its record, when its last round is over."""
        started, number = perf_counter(), 0
        yield from self.machine_limits()
        while waiting := [each for each in self.cases if not each.written]:
            for progress in waiting if number % 2 == 0 else reversed(waiting):
                yield f"round {number + 1}: {progress.case.name}", None
                self._round(progress)
                if progress.is_done(self.limits, perf_counter() - started, yardstick.usual(self.calm.paces)):
                    progress.written = True
                    yield progress.case.name, self._record(progress)
            number += 1

    def unfinished(self) -> list[Record]:
        """Records of the cases that were begun and are not finished, flagged as interrupted."""
        return [self._record(each, "interrupted") for each in self.cases if each.outcomes and not each.written]

    def machine_limits(self) -> Iterator[tuple[str, None]]:
        """Measure what this machine can do at most, on each device and number of threads."""
        places = dict.fromkeys((each.case.device, each.case.threads) for each in self.cases)
        used = list(dict.fromkeys(each.case.engine for each in self.cases))
        for engine in used:
            yield f"looking at {engine}", None
            self.engines[engine] = answer({"task": "engine", "engine": engine}, 120).get("engine", {})
        for (device, threads), engine in ((place, engine) for place in places for engine in used):
            yield f"the most that {engine} can do on {device}{f', {threads} threads' if threads else ''}", None
            job = {"task": "peak", "engine": engine, "device": device, "threads": threads}
            self.peaks[engine, device, threads] = answer(job, 300).get("peak", {})

    def _round(self, progress: CaseProgress) -> None:
        case, mark = progress.case, perf_counter()
        free = machine.available_bytes()
        if free is not None and case.memory_bytes > free:
            need, have = case.memory_bytes / 1e9, free / 1e9
            reason = f"needs about {need:.1f} GB of memory and {have:.1f} GB are free; close programs"
            progress.outcomes.append({"status": "skipped", "reason": reason})
            return
        job = {"task": "case", "case": case.to_dict(), "seconds": self.limits.round_s, "count": not progress.outcomes}
        before = self.calm.pace()
        outcome = answer(job, self.limits.worker_s, spawned=True)
        outcome["pace"] = [before, outcome.get("pace") or yardstick.pace()]
        self.calm.paces.append(outcome["pace"])
        progress.outcomes.append(outcome)
        progress.spent_s += perf_counter() - mark

    def _record(self, progress: CaseProgress, cut: str | None = None) -> Record:
        usual = yardstick.usual(self.calm.paces)
        return make_record(progress, self.id, self.machine, self.engines, self.peaks, cut, usual)


def samples_of(outcomes: list[dict[str, Any]], stage: str) -> Rounds:
    """A stage's samples, a list for each round that has it."""
    return [found for outcome in outcomes if (found := outcome["samples"].get(stage))]


def new_id() -> str:
    """A number for a run that no other has."""
    return secrets.token_hex(6)


def answer(
    job: dict[str, Any], patience_s: float, spawned: bool = False, command: tuple[str, ...] | None = None
) -> dict[str, Any]:
    """A worker's answer to a job, or {"status", "reason"} where it died; only Ctrl-C comes through, and ends it."""
    kills = machine.oom_kills()
    # a session of its own: Ctrl-C reaches the parent, which then ends the worker
    worker = subprocess.Popen(
        command or WORKER,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
        env=os.environ | QUIET,
        start_new_session=True,
    )
    try:
        said = {"spawned": perf_counter()} if spawned else {}
        out, complaint = worker.communicate(json.dumps(job | said), timeout=patience_s)
    except subprocess.TimeoutExpired:
        return {"status": "timed out", "reason": f"still running after {patience_s:.0f} s"}
    finally:
        if worker.poll() is None:
            worker.kill()
            worker.communicate()
    if worker.returncode:
        after = machine.oom_kills()
        return died(worker.returncode, complaint, kills is not None and after is not None and after > kills)
    try:
        found = json.loads(out)
    except ValueError:
        return {"status": "crashed", "reason": "it ended without an answer"}
    if found.get("reason"):
        found["reason"] = one_line(machine.without_paths(found["reason"]), 300)
    return found


def died(code: int, complaint: str, for_memory: bool) -> dict[str, Any]:
    """The outcome of a worker that ended with an exit code; below 0 is a signal's number."""
    lines = [line.strip() for line in complaint.splitlines() if line.strip()]
    last = one_line(machine.without_paths(lines[-1]), 200) if lines else ""
    if for_memory:
        return {"status": "out of memory", "reason": "the system ended it for memory"}
    if "bad_alloc" in complaint or "MemoryError" in complaint:
        return {"status": "out of memory", "reason": last}
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        status = "killed" if name in ("SIGKILL", "SIGTERM") else "crashed"
        return {"status": status, "reason": f"{name}{f': {last}' if last else ''}"}
    return {"status": "crashed", "reason": f"exit code {code}{f': {last}' if last else ''}"}


def make_record(
    progress: CaseProgress,
    run: str,
    facts: dict[str, Any],
    engines: dict[str, dict[str, Any]],
    peaks: dict[tuple[str, str, int | None], dict[str, Any]],
    cut: str | None = None,
    usual: float | None = None,
) -> Record:
    """The record of a case from its rounds; `usual` is what the yardstick says when the machine is left alone."""
    case, failure, good = progress.case, progress.failure, progress.counted(usual)
    left_out = [outcome for outcome in progress.good if all(outcome is not each for each in good)]
    stages = dict.fromkeys(name for outcome in good for name in outcome["samples"])
    place = {
        engine: found
        for (engine, device, count), found in peaks.items()
        if (device, count) == (case.device, case.threads)
    }
    usage = {
        name: measured([[outcome[name]] for outcome in good if outcome.get(name) is not None], unit)
        for name, unit in UNITS.items()
        if any(outcome.get(name) is not None for outcome in good)
    }
    record = {
        "schema": VERSION,
        "run": run,
        "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "pleinair": __version__,
        "commit": commit(),
        "case": case.to_dict(),
        "status": failure["status"] if failure else cut or "ok",
        "reason": failure.get("reason") if failure else "stopped before all rounds were done" if cut else None,
        "measures": {name: measured(samples, "s") for name in stages if (samples := samples_of(good, name))},
        "usage": usage,
        "pace": [outcome["pace"] for outcome in good if "pace" in outcome],
        "left_out": [{"pace": outcome["pace"], "samples": outcome["samples"]} for outcome in left_out],
        "picture": next((outcome["picture"] for outcome in good if outcome.get("picture")), None),
        "output": next((outcome["output"] for outcome in good if outcome.get("output")), None),
        "graphs": next((outcome["graphs"] for outcome in good if outcome.get("graphs")), {}),
        "engine": {
            "version": engines.get(case.engine, {}).get("version"),
            "build": engines.get(case.engine, {}).get("build"),
            "devices": engines.get(case.engine, {}).get("devices", []),
            "isa": place.get(case.engine, {}).get("isa"),
            "precision": next((outcome["precision"] for outcome in good if outcome.get("precision")), None),
        },
        "limits": {
            engine: {name: value for name, value in found.items() if name != "isa"}
            for engine, found in place.items()
            if found
        },
        "machine": facts,
    }
    record["speed"] = speed(record, next((each["gflop"] for each in progress.good if each.get("gflop")), None))
    record["flags"] = flags(record, good, cut, usual)
    return record


def speed(record: Record, gflop: float | None) -> dict[str, Any]:
    """How fast, in the unit that people compare, and how much of what this machine can do that is."""
    name = "step" if "step" in record["measures"] else main_measure(record)
    found = dict.fromkeys(("per_second", "gflop", "gflops", "limit_gflops", "percent_of_limit"))
    found["gflop"] = gflop
    if name is None or not record["measures"][name]["median"]:
        return found
    found["per_second"] = round(1 / record["measures"][name]["median"], 4)
    computed = activations(record, "unet" if name == "step" else record["case"]["work"])
    best = [
        value
        for each in record["limits"].values()
        for kind, value in each.items()
        if kind.partition("_")[2] == computed and value
    ]
    if gflop:
        found["gflops"] = round(gflop * found["per_second"], 2)
    if best:
        found["limit_gflops"] = max(best)
    if gflop and best:
        found["percent_of_limit"] = round(100 * found["gflops"] / max(best), 1)
    return found


def activations(record: Record, graph: str) -> str:
    """What most of a case is computed in, as the limits name it: int8 where the graph's activations are quantized."""
    case, told = record["case"], record["engine"]["precision"] or ""
    if case["model"] == models.STORYBOOK:  # real sizes compute in floats, and peers' graphs are not known here
        found = models.storybook().graphs.get(graph)
        if found and found.activations == "int8":
            return "int8"
    return next((kind for kind in ("bf16", "f16") if kind in told.split("+")), "fp32")


def flags(record: Record, outcomes: list[dict[str, Any]], cut: str | None, usual: float | None) -> list[str]:
    """What speaks against trusting the times."""
    main = main_measure(record)
    samples = record["measures"][main]["rounds"] if main else []
    others = [outcome["others"] for outcome in outcomes if outcome.get("others") is not None]
    picture = record["picture"] or {}
    loaded = bool(others) and sorted(others)[len(others) // 2] > OTHERS
    asked, told = record["case"]["precision"], record["engine"]["precision"]
    found = {
        "on battery": any(outcome.get("power") == "battery" for outcome in outcomes),
        "throttled": any(outcome.get("throttled") for outcome in outcomes) or (is_slowing(samples) and not loaded),
        "loaded": loaded,
        "disturbed": any(is_disturbed(outcome.get("pace", ()), usual) for outcome in outcomes),
        "noisy": bool(main) and record["measures"][main]["cv"] > NOISY,
        "wrong picture": picture.get("psnr_db") is not None and picture["psnr_db"] < WRONG_DB,
        "other precision": asked != "auto" and told is not None and asked not in told.split("+"),
        "interrupted": cut is not None,
    }
    return [name for name, raised in found.items() if raised]
