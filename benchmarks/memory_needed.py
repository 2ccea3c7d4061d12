"""Hold the memory that `pleinair` predicts against what painting takes: one step and one decode, each in a process.

    python benchmarks/memory_needed.py BUNDLE ... --engine openvino onnx --size 256 512 --memory high low
    python benchmarks/memory_needed.py BUNDLE --size 512 --two-calls --vae-tile 256 --precision f32

Prints one line of JSON a run: bytes of anonymous memory and the highest resident size, predicted and measured, and how
far the prediction is off. Anonymous memory lies in no file: it is what a system that is short of memory cannot take
back. Linux alone.
"""

import argparse
import json
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

MB, MIB = 1e6, 2**20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundles", nargs="+", metavar="BUNDLE")
    parser.add_argument("--engine", nargs="+", default=["openvino", "onnx"])
    parser.add_argument("--size", nargs="+", type=int, default=[512], help="pixels a side")
    parser.add_argument("--memory", nargs="+", default=["high"])
    parser.add_argument("--precision", nargs="+", default=["auto"])
    parser.add_argument("--batch", nargs="+", type=int, default=[1])
    parser.add_argument("--vae-tile", type=int)
    parser.add_argument("--two-calls", action="store_true")
    parser.add_argument("--last", action="store_true", help="as of a pipeline that paints nothing else")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(measured(asked.bundles[0], **json.loads(asked.one))))
        return 0
    wanted = product(asked.bundles, asked.engine, asked.memory, asked.precision, asked.size, asked.batch)
    code = 0
    for bundle, engine, memory, precision, size, batch in wanted:
        how = {"engine": engine, "memory": memory, "precision": precision}
        options = {
            "size": f"{size}x{size}",
            "batch": batch,
            "count": batch,
            "two_calls": asked.two_calls,
            "last": asked.last,
        }
        options |= {"vae_tile": asked.vae_tile} if asked.vae_tile is not None else {}
        command = [sys.executable, __file__, bundle, "--one", json.dumps({"how": how, "options": options})]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        code |= done.returncode
        if done.returncode == 0:
            row = {"bundle": Path(bundle).name, **how, **options}
            print(json.dumps(row | json.loads(done.stdout.splitlines()[-1])), flush=True)
    return code


def measured(bundle: str, how: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """What painting one step takes in this process, and what was predicted of it."""
    from pleinair import load
    from pleinair.request.request import resolve
    from pleinair.system.machine import peak_rss_mb
    from pleinair_bench.anonymous import Watch

    watch = Watch()
    pipe = load(bundle, verify=False, preflight=False, **how)
    last = options.pop("last")
    request = resolve(pipe.bundle, "a red house on a snowy hill", seed=1, steps=1, **options)
    predicted = pipe.memory_needed(request, last=last) / MB
    for _ in pipe.walk(request, last=last):
        pass
    found = watch.peak_mb() * MIB / MB
    return {
        "predicted_mb": round(predicted),
        "anonymous_mb": round(found),
        "off": round(predicted / found - 1, 3),
        "resident_mb": round(peak_rss_mb() * MIB / MB),
    }


if __name__ == "__main__":
    sys.exit(main())
