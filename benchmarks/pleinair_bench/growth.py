"""How the time of a picture grows with its steps, its size, the batch, threads and workers: the cases, and a process.

Records are of the suite's schema, of work "warm". Several `workers` are processes that paint at the same moment, each
on cores of its own; a sample is then the seconds from their common start to the last one's end, over all pictures.
"""

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any, TextIO

from pleinair.bundle.opening import open_bundle
from pleinair.system.child import child
from pleinair.system.cores import core_groups, physical_cores, pin
from pleinair.system.machine import peak_rss_mb
from pleinair_bench import yardstick
from pleinair_bench.cases import Case
from pleinair_bench.records import Record
from pleinair_bench.reference import PROMPT, SEED

AXES = ("steps", "size", "batch", "threads", "workers")
STEPS, SIDES, BATCHES = (2, 4, 8, 16, 32), (256, 384, 512, 768, 1024), (1, 2, 4, 8)
USUAL_STEPS = 4
ROUND_S, MOST_CALLS = 1.0, 20  # of one process
WARM_STEPS = 2


@dataclass(frozen=True)
class GrowthCase(Case):
    """A picture in a process that has painted before, `batch` of them in one call, in so many workers."""

    workers: int = 1

    @property
    def name(self) -> str:
        """For people."""
        workers = f", {self.workers} workers" if self.workers > 1 else ""
        batch = f", batch {self.batch}" if self.batch > 1 else ""
        return f"{super().name}{batch}{workers}"

    def to_dict(self) -> dict[str, Any]:
        """The case as a record has it."""
        found = asdict(self)
        if self.workers == 1:
            del found["workers"]
        return found


def cases_of(bundle: Path | None, engine: str, axes: tuple[str, ...], most_side: int = max(SIDES)) -> list[GrowthCase]:
    """The cases of some axes, each once; `threads` and `workers` go up to the cores that this process has."""
    manifest, cores = open_bundle(bundle).manifest, len(physical_cores())
    usual, weights = manifest.defaults, manifest.graphs[manifest.denoiser.graph].weights
    one = GrowthCase(
        model=manifest.name,
        work="warm",
        engine=engine,
        device="cpu",
        weights=weights,
        precision="auto",
        threads=None,
        batch=1,
        width=usual.width,
        height=usual.height,
        steps=USUAL_STEPS,
        sampler=usual.sampler,
    )
    powers = sorted({cores, *(1 << n for n in range(cores.bit_length()) if 1 << n <= cores)})
    wide = replace(one, threads=cores)
    found = {
        "steps": [replace(one, steps=steps) for steps in STEPS],
        "size": [replace(one, width=side, height=side) for side in SIDES if side <= most_side],
        "batch": [replace(one, batch=batch) for batch in BATCHES],
        "threads": [replace(one, threads=threads) for threads in powers],
        "workers": [wide, *(replace(one, threads=cores // count, workers=count) for count in powers if count > 1)],
    }
    return list(dict.fromkeys(case for axis in axes for case in found[axis]))


def on_axis(records: list[Record], axis: str) -> list[Record]:
    """The records of one model and engine that lie on an axis, in its order."""
    known = [record for record in records if "total" in record["measures"]]
    side_by_side = [record for record in known if place(record, "workers") > 1]
    alone = [record for record in known if place(record, "workers") == 1]
    told = [record for record in alone if record["case"]["threads"]]
    if axis == "threads":
        found = told
    elif axis == "workers":
        most = max((record["case"]["threads"] for record in told), default=0)
        found = side_by_side + [record for record in told if record["case"]["threads"] == most]
    else:
        plain = [record for record in alone if not record["case"]["threads"]]
        fixed = [name for name in ("steps", "size", "batch") if name != axis]
        usual = {name: _usual([place(record, name) for record in plain]) for name in fixed}
        found = [each for each in plain if all(place(each, name) == value for name, value in usual.items())]
    return sorted(found, key=lambda record: place(record, axis))


def place(record: Record, axis: str) -> int:
    """Where a record lies on an axis."""
    case = record["case"]
    return case.get("workers", 1) if axis == "workers" else case["width" if axis == "size" else axis]


def least(record: Record) -> float:
    """Seconds a picture: the median over the processes of the least that each took, as a machine at rest has it."""
    return median(min(each) for each in record["measures"]["total"]["rounds"])


def outcome(case: GrowthCase, bundle: Path | None) -> dict[str, Any]:
    """One round of a case, as `run.make_record` takes it, also where a process of it fails."""
    try:
        return _measured(case, bundle)
    except (OSError, ValueError):  # a pipe that is closed, an answer that is none
        return {"status": "crashed", "reason": "a process ended without an answer"}


def _measured(case: GrowthCase, bundle: Path | None) -> dict[str, Any]:
    cores = physical_cores()
    groups = core_groups(cores, case.workers) if case.workers > 1 else [()]
    before = yardstick.pace()
    with ExitStack() as stack:
        jobs = [_job(case, bundle, [cpu for core in group for cpu in core.cpus]) for group in groups]
        processes = [stack.enter_context(child("pleinair_bench.growth")) for _ in jobs]
        for process, job in zip(processes, jobs, strict=True):
            _say(process, job)
        warm = max(_heard(process)["seconds"] for process in processes)
        calls = max(1 if warm > ROUND_S else 2, min(MOST_CALLS, round(ROUND_S / max(warm, 1e-3))))
        started = perf_counter()
        for process in processes:
            _say(process, calls)
        answers = [_heard(process) for process in processes]
        spent = perf_counter() - started
    pictures = calls * case.batch * len(processes)
    samples = dict(answers[0]["samples"])
    if case.workers > 1:
        samples["total"] = [spent / pictures]
    return {
        "status": "ok",
        "samples": samples,
        "pace": [before, yardstick.pace()],
        "precision": answers[0]["precision"],
        "cpu_s": sum(answer["cpu_s"] for answer in answers) / pictures,
        "peak_rss_mb": sum(answer["peak_rss_mb"] for answer in answers),
    }


def main() -> None:
    """One process of a case: paint once, wait for the others, paint as often as is asked."""
    from pleinair.pipeline import load
    from pleinair_bench.worker import computed_in, watch_compiling

    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    job = json.loads(sys.stdin.readline())
    pin(job["cpus"])
    compiled = watch_compiling(job["engine"])
    how = {"engine": job["engine"], "threads": job["threads"], "verify": False}
    pipe = load(job["bundle"], **how)
    batch, size = job["batch"], {"width": job["width"], "height": job["height"]}
    options = {**size, "count": batch, "batch": batch, "sampler": job["sampler"], "seed": SEED}
    pipe.generate(PROMPT, **options, steps=WARM_STEPS)
    mark = perf_counter()
    pipe.generate(PROMPT, **options, steps=WARM_STEPS)
    rough = (perf_counter() - mark) * job["steps"] / WARM_STEPS
    _answer(answers, {"seconds": rough})
    calls, begun = int(sys.stdin.readline()), process_time()
    samples: dict[str, list[float]] = {"total": [], "step": [], "decode": []}
    for _ in range(calls):
        mark = perf_counter()
        timings = pipe.generate(PROMPT, **options, steps=job["steps"]).timings
        samples["total"].append((perf_counter() - mark) / batch)
        samples["step"] += [seconds / batch for seconds in timings.steps[1:]]
        samples["decode"].append(timings.decode / batch)
    precision = computed_in(job["engine"], "cpu", compiled)
    found = {"samples": {name: each for name, each in samples.items() if each}, "precision": precision}
    found |= {"cpu_s": process_time() - begun, "peak_rss_mb": round(peak_rss_mb(), 1)}
    _answer(answers, found)
    sys.stdin.read()


def _job(case: GrowthCase, bundle: Path | None, cpus: list[int]) -> dict[str, Any]:
    return asdict(case) | {"bundle": str(bundle) if bundle else None, "cpus": cpus}


def _usual(values: list[Any]) -> Any:
    return max(sorted(set(values), key=str), key=values.count, default=None)


def _say(process: subprocess.Popen, message: Any) -> None:
    process.stdin.write(json.dumps(message).encode() + b"\n")
    process.stdin.flush()


def _answer(stream: TextIO, facts: dict[str, Any]) -> None:
    stream.write(json.dumps(facts) + "\n")
    stream.flush()


def _heard(process: subprocess.Popen) -> dict[str, Any]:
    return json.loads(process.stdout.readline())


if __name__ == "__main__":
    main()
