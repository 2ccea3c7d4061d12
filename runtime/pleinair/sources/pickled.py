"""Which files of weights are pickles, and that they are read only where the user allows it."""

import contextlib
from pathlib import Path

from pleinair.checks import one_line
from pleinair.errors import ExportError
from pleinair.system.mistaken import mistaken_for_weights

SUFFIXES = (".ckpt", ".pt", ".pth", ".bin")
ALLOW = "--allow-pickle"
SAFE = b"{"  # where a safetensors header begins, behind its length
ZIP, PICKLE = b"PK\x03\x04", b"\x80"


def is_pickle(file: Path) -> bool:
    """Whether a file is what torch.save writes, by its first bytes; one that begins otherwise, by its suffix.

    An archive of other things, and a graph's weights, are told by their names.
    """
    first = b""
    if mistaken_for_weights(file.name):
        return False
    if file.is_file():  # opening a pipe waits for somebody to write into it
        with contextlib.suppress(OSError), file.open("rb") as stream:
            first = stream.read(9)
    return first[8:] != SAFE and (first.startswith((ZIP, PICKLE)) or file.suffix.lower() in SUFFIXES)


def check_pickle(file: Path, allowed: bool) -> None:
    """Raise ExportError for a pickle unless the user has allowed to read them."""
    if not allowed and file.is_file() and is_pickle(file):
        raise pickle_refused(f"'{one_line(file.name, 80)}' is a pickle, which")


def pickle_refused(what: str) -> ExportError:
    return ExportError(
        f"{what} can run programs of its maker in other tools; take .safetensors files, or pour its weights alone, with"
        f" {ALLOW}",
        option=ALLOW,
    )
