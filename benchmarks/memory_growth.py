"""Paint many pictures in one process, and see whether the anonymous memory that it holds grows.

    python benchmarks/memory_growth.py [BUNDLE] --engine openvino onnx --pictures 200 --size 64 --steps 2

Prints a line of JSON an engine: millions of bytes held after picture 20 and after each further 20. Prompts are a few in
turn; with --different each is another one, and what text encoders said of the last ones is kept, up to 32 MiB. Linux
alone.
"""

import argparse
import json
import subprocess
import sys

EVERY = 20  # pictures
MB, MIB = 1e6, 2**20
PROMPTS = ("a red house on a snowy hill", "a blue boat at night", "a castle in a green meadow", "a tree in autumn")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", nargs="?", help="storybook when not given")
    parser.add_argument("--engine", nargs="+", default=["openvino", "onnx"])
    parser.add_argument("--memory", default="auto")
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--size", type=int, default=64, help="pixels a side")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--different", action="store_true", help="a prompt of its own for each picture")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(held(asked)))
        return 0
    code = 0
    for engine in asked.engine:
        command = [sys.executable, __file__, *([asked.bundle] if asked.bundle else []), "--one", "--engine", engine]
        for name in ("memory", "pictures", "size", "steps"):
            command += [f"--{name}", str(getattr(asked, name))]
        command += ["--different"] if asked.different else []
        code |= subprocess.run(command).returncode
    return code


def held(asked: argparse.Namespace) -> dict[str, object]:
    """What this process holds while it paints."""
    from pleinair import load
    from pleinair_bench.anonymous import anonymous_mb

    how = {"engine": asked.engine[0], "memory": asked.memory}
    told = []
    with load(asked.bundle, verify=False, **how) as pipe:
        for number in range(asked.pictures):
            prompt = PROMPTS[number % len(PROMPTS)] + (f", {number}" if asked.different else "")
            pipe.generate(prompt, seed=number, steps=asked.steps, size=f"{asked.size}x{asked.size}")
            told.append(anonymous_mb() * MIB / MB)
    size = {"size": f"{asked.size}x{asked.size}", "steps": asked.steps, "pictures": asked.pictures}
    return how | size | {"held_mb": [round(each, 1) for each in told[EVERY - 1 :: EVERY]]}


if __name__ == "__main__":
    sys.exit(main())
