"""Checkpoints that are pickles: PyTorch takes their weights out, in a process of its own."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

from pleinair.checks import one_line
from pleinair.errors import ExportError, ResourceError
from pleinair.sources.weight_files import DOWNLOAD
from pleinair.system import install

SUFFIXES = (".ckpt", ".pt", ".pth", ".bin")
PURPOSE = "reading a pickle"


def is_pickle(file: Path) -> bool:
    return file.suffix.lower() in SUFFIXES


def check_pickle(file: Path, allowed: bool) -> None:
    """Raise ExportError unless the user has allowed to read pickles, EngineError where PyTorch is not installed."""
    if not allowed:
        raise ExportError(
            f"'{one_line(file.name, 80)}' is a pickle, which can run programs of its maker; take the model's"
            " .safetensors file, or read its weights alone: --allow-pickle",
            option="--allow-pickle",
        )
    install.need(PURPOSE)


def unpickled(file: Path, folder: Path) -> Path:
    """The weights of a pickle as a safetensors file of its name in `folder`; raises ExportError and ResourceError.

    Nothing else in the pickle is run. The process ends with this one.
    """
    out = folder / f"{file.stem}.safetensors"
    command = [sys.executable, "-P", "-m", "pleinair_export.unpickled", str(file), str(out)]
    paths = os.pathsep.join(filter(None, sys.path))
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is meant for this process, which then ends the other
        env={**os.environ, "PYTHONPATH": paths},
    ) as process:
        try:
            said = process.stdout.read()
        finally:
            process.kill()
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
    where = one_line(file.name, 80)
    try:
        problem = json.loads(said)["problem"]
    except (ValueError, LookupError, TypeError):
        raise ResourceError(
            f"the process that read '{where}' ended with code {process.returncode}; close other programs and try again"
        ) from None
    if problem:
        raise ExportError(f"cannot read '{where}' as weights alone ({problem}); {DOWNLOAD}, as .safetensors")
    return out
