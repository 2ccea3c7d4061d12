"""Made-up benchmark records, and what stands in for a worker."""

import sys

from pleinair_bench import machine, run
from pleinair_bench.cases import Case

FACTS = machine.facts()
PEAKS = {
    ("openvino", "cpu", None): {
        "gemm_fp32": 100.0,
        "conv_fp32": 120.0,
        "gemm_int8": 300.0,
        "conv_int8": None,
        "isa": None,
    }
}


def case(**changed):
    given = {
        "model": "storybook", "work": "unet", "engine": "openvino", "device": "cpu", "weights": "fp16",
        "precision": "auto", "threads": None, "batch": 2, "width": 128, "height": 128, "steps": None, "sampler": None,
    }  # fmt: skip
    return Case(**given | changed)


def outcome(seconds, **more):
    """What a worker answers: `seconds` for each call."""
    found = {"cpu_s": 0.1, "joules": None, "others": 0.0, "peak_rss_mb": 200.0, "pss_mb": 150.0, "power": "mains"}
    samples = {"import": [0.2], "load": [0.5], "first": [0.1], "run": list(seconds)}
    return {"status": "ok", "samples": samples, "output": {"mean": 0.0, "std": 1.0}, "gflop": 1.2} | found | more


def record(rounds, *, of=None, run_id="0" * 12, cut=None, pace=0.0025, **more):
    """The record of a case whose rounds took `rounds`, with the yardstick at `pace`."""
    more["pace"] = [pace, pace]
    progress = run.CaseProgress(of or case(), [outcome(each, **more) for each in rounds])
    return run.make_record(progress, run_id, FACTS, {"openvino": {"version": "1", "devices": ["CPU"]}}, PEAKS, cut)


def worker(code):
    """A command that reads its job and does what `code` says instead."""
    return (sys.executable, "-c", f"import json, os, sys\njob = json.load(sys.stdin)\n{code}")
