"""A cold start of storybook, split: seconds from a new process to its end, by engine and size, all in turn.

    python benchmarks/cold_start.py [ROUNDS]

Prints the rows of docs/performance.md: medians, with the first start of OpenVINO (--no-cache) and later ones apart.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

PROMPT = "a red house on a snowy hill at night"
WAYS = {
    "OpenVINO, first start": ("--engine", "openvino", "--no-cache"),
    "OpenVINO, later starts": ("--engine", "openvino"),
    "ONNX Runtime": ("--engine", "onnx"),
    "by itself": (),
}
SIZES = ("256x256", "128x128")
PARTS = ("import_s", "load_s", "text_s", "steps_s", "decode_s", "write_s", "whole")


def started(way: tuple[str, ...], size: str, folder: str) -> dict[str, float]:
    """Seconds of one run by part, and the most memory that it held."""
    command = [sys.executable, "-m", "pleinair", "generate", PROMPT, "--seed", "3", "--size", size, *way]
    command += ["--json", "--force", "-o", str(Path(folder) / "picture.png")]
    begun = perf_counter()
    environment = {**os.environ, "PLEINAIR_HOME": folder}
    told = json.loads(subprocess.run(command, check=True, capture_output=True, env=environment).stdout)
    timings = told["timings"] | {"whole": perf_counter() - begun}
    timings["steps_s"] = sum(timings["steps_s"])
    return {name: timings[name] for name in PARTS} | {"peak_mb": told["peak_rss_mb"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rounds", type=int, nargs="?", default=7)
    rounds = parser.parse_args().rounds
    runs: dict[tuple[str, str], list[dict[str, float]]] = {}
    with TemporaryDirectory() as folder:
        for number in range(rounds + 1):  # the first compiles for the others
            for size in SIZES:
                for name, way in WAYS.items():
                    run = started(way, size, folder)
                    runs.setdefault((name, size), []).extend([run] if number else [])
    print("| engine | size | import | load and compile | text | 12 steps | decode | write | total | peak memory |")
    print("|---" * 10 + "|")
    for (name, size), found in runs.items():
        seconds = " | ".join(f"{median(run[part] for run in found):.2f}" for part in PARTS)
        print(f"| {name} | {size} | {seconds} | {median(run['peak_mb'] for run in found):.0f} MB |")


if __name__ == "__main__":
    main()
