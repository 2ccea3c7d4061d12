"""Measure how the time of a picture grows with its steps, its size, the batch, threads and workers.

    python benchmarks/growth.py --results benchmarks/results/growth/MACHINE.jsonl
    python benchmarks/growth.py --bundle SD15 --axis threads workers --engine openvino --rounds 2

All cases have their first round before any has its second; Ctrl-C keeps what is measured. Records are of the suite's
schema (docs/benchmark.md); then `python benchmarks/write_growth.py` writes the tables of docs/scaling.md and its plots.
"""

import argparse
import sys
from pathlib import Path
from time import perf_counter

from pleinair_bench import growth, machine, yardstick
from pleinair_bench.records import append
from pleinair_bench.run import CaseProgress, answer, make_record, new_id

RESULTS = Path("pleinair-growth.jsonl")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, help="storybook without it")
    parser.add_argument("--engine", nargs="+", default=["openvino", "onnx"])
    parser.add_argument("--axis", nargs="+", choices=growth.AXES, default=list(growth.AXES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--most-side", type=int, default=max(growth.SIDES), help="pixels of the largest picture")
    parser.add_argument("--results", type=Path, default=RESULTS)
    asked = parser.parse_args()
    cases = [
        case
        for engine in asked.engine
        for case in growth.cases_of(asked.bundle, engine, tuple(asked.axis), asked.most_side)
    ]
    engines = {name: answer({"task": "engine", "engine": name}, 120).get("engine", {}) for name in asked.engine}
    every, started = [CaseProgress(case) for case in cases], perf_counter()
    try:
        for number in range(asked.rounds):
            for progress in every if number % 2 == 0 else reversed(every):
                if progress.failure:
                    continue
                found = growth.outcome(progress.case, asked.bundle)
                progress.outcomes.append(found)
                words = f"{min(found['samples']['total']):.3f} s" if found["status"] == "ok" else found["reason"]
                print(f"{perf_counter() - started:5.0f} s  {progress.case.name}: {words}", file=sys.stderr)
    except KeyboardInterrupt:
        print("stopped; what is measured is kept", file=sys.stderr)
    done = [progress for progress in every if progress.outcomes]
    usual = yardstick.usual([outcome["pace"] for progress in done for outcome in progress.good])
    facts, run = machine.facts(), new_id()
    append(asked.results, [make_record(each, run, facts, engines, {}, usual=usual) for each in done])
    return 0


if __name__ == "__main__":
    sys.exit(main())
