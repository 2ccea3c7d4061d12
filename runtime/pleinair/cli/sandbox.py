"""A bundle tried in a process of its own that may take only so much time and memory.

What a graph will do cannot be read from it: a loop without end, or a constant of a terabyte, is a few bytes. So it is
run where that harms nothing, before it is run where it does.
"""

import contextlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from PIL import Image

from pleinair.checks import one_line
from pleinair.errors import PleinairError

SECONDS = 120.0
MEMORY_SHARE = 0.75  # of the machine's
MB = 1 << 20
LONGEST_ANSWER = 10_000
GRAY = Image.new("RGB", (64, 64), "gray")  # what a bundle that only repaints is given


@dataclass(frozen=True)
class SandboxTrial:
    """How a bundle fared on one engine: `problem` is a reason, or None where it painted within the limits."""

    engine: str
    problem: str | None
    seconds: float
    peak_mb: float | None


def tried(path: Path, engine: str, *, memory_mb: int, seconds: float = SECONDS) -> SandboxTrial:
    """Paint one step at the bundle's own size in a limited process; nothing of it is left afterwards.

    The process writes no file and dies after `seconds`; where the system has limits (not on Windows) it gets no more
    than `memory_mb` either.
    """
    start = perf_counter()
    command = [sys.executable, "-m", "pleinair.cli.sandbox", str(path), engine, str(memory_mb), str(seconds)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=seconds, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return SandboxTrial(engine, f"did not paint one step within {seconds:g} seconds", perf_counter() - start, None)
    spent = perf_counter() - start
    if done.returncode:
        why = f"was ended by signal {-done.returncode}" if done.returncode < 0 else "crashed"
        return SandboxTrial(engine, f"its process {why}, as if out of memory or damaged", spent, None)
    answer = json.loads(done.stdout[-LONGEST_ANSWER:].splitlines()[-1])
    return SandboxTrial(engine, answer["problem"], spent, answer["peak_mb"])


def limit(memory_mb: int, seconds: float) -> None:
    """Bound what this process may take, on systems that can."""
    with contextlib.suppress(ImportError):
        import resource

        # RLIMIT_AS would count the terabytes that engines reserve and never touch
        for kind, most in (
            (resource.RLIMIT_DATA, memory_mb * MB),
            (resource.RLIMIT_CPU, int(seconds * (os.cpu_count() or 1)) + 1),
            (resource.RLIMIT_FSIZE, 0),
            (resource.RLIMIT_CORE, 0),
        ):
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(kind, (most, most))


def main(path: str, engine: str, memory_mb: str, seconds: str) -> None:
    """The limited process: prints one line of JSON, whatever the graphs print before."""
    limit(int(memory_mb), float(seconds))
    from pleinair import load
    from pleinair.cli.terminal import document
    from pleinair.system.machine import peak_rss_mb

    problem = None
    try:
        pipe = load(path, engine=engine)
        tasks = pipe.bundle.manifest.tasks
        given = {} if "text2image" in tasks else {"image": GRAY}
        pipe.generate("", seed=0, steps=1, **given | ({"mask": GRAY} if given and "inpaint" in tasks else {}))
    except PleinairError as error:
        problem = one_line(error.reason, 1000)
    except MemoryError:
        problem = "ran out of memory"
    document({"problem": problem, "peak_mb": peak_rss_mb()})


if __name__ == "__main__":
    main(*sys.argv[1:])
