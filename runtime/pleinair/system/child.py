"""A Python process of our own, which has the modules that this one has and ends with it."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def child(module: str, *arguments: str) -> Iterator[subprocess.Popen]:
    """`python -m module arguments`, with bytes on its standard input and output; it is killed when the body ends.

    The process is to end when its standard input does, which is when this one is killed.
    """
    paths = os.pathsep.join(filter(None, sys.path))
    with subprocess.Popen(
        [sys.executable, "-P", "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": paths},
    ) as process:
        try:
            yield process
        finally:
            process.kill()
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
