"""Checkpoints that are pickles: PyTorch takes their weights out, in a process of its own."""

import json
from collections.abc import Mapping
from pathlib import Path

from pleinair.checks import one_line
from pleinair.errors import ExportError, ResourceError
from pleinair.sources.weight_files import DOWNLOAD
from pleinair.system import install
from pleinair.system.child import child

SAFETENSORS = ".safetensors"
SUFFIXES = (".ckpt", ".pt", ".pth", ".bin")
PURPOSE = "reading a pickle"


def is_pickle(file: Path) -> bool:
    """Whether a file's suffix is one that pickles have."""
    return file.suffix.lower() in SUFFIXES


def check_pickle(file: Path, allowed: bool) -> None:
    """Raise ExportError unless the user has allowed to read pickles, EngineError where PyTorch is not installed."""
    if not allowed:
        raise ExportError(
            f"'{one_line(file.name, 80)}' is a pickle, which can run programs of its maker; take the"
            " .safetensors file, or read its weights alone: --allow-pickle",
            option="--allow-pickle",
        )
    install.need(PURPOSE)


def unpickle(files: Mapping[Path, Path]) -> None:
    """Write the weights of pickles as the safetensors files that stand behind them.

    Nothing else in a pickle is run. The process ends with this one. Raises ExportError and ResourceError.
    """
    for out in files.values():
        out.parent.mkdir(parents=True, exist_ok=True)
    pairs = [str(path) for pair in files.items() for path in pair]
    # Ctrl-C is meant for this process, which then ends the other
    with child("pleinair_export.unpickled", *pairs, own_session=True) as process:
        said = process.stdout.read()
    try:
        told = json.loads(said)
        problem, where = told["problem"], one_line(Path(told["file"]).name, 80)
    except (ValueError, LookupError, TypeError):
        where = one_line(next(iter(files)).name, 80)
        raise ResourceError(
            f"the process that read '{where}' ended with code {process.returncode}; close other programs and try again"
        ) from None
    if problem:
        raise ExportError(f"cannot read '{where}' as weights alone ({problem}); {DOWNLOAD}, as .safetensors")
