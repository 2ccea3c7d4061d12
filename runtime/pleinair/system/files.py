"""Files from anywhere, read with nothing taken on trust: regular files only, up to a cap, in bounded memory."""

import contextlib
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pleinair.checks import one_line, shown_path
from pleinair.errors import PleinairError

SHOWN = 120  # characters of a reason that an error quotes
CONFIG = 1 << 20  # bytes: the largest config.json or scheduler_config.json that is read


def read_file(path: Path, most: int, raises: type[PleinairError], remedy: str) -> bytes:
    """The bytes of a regular file of at most `most`; `raises` one line that ends with `remedy` for any other.

    A pipe or a device is never waited for, and of a file that is too large nothing is read.
    """
    with regular_file(path, raises, remedy) as (descriptor, size):
        if size > most:
            raise raises(f"'{shown_path(path)}' is too large ({size:,} bytes, at most {most:,}); {remedy}")
        return _read(descriptor, most)


@contextlib.contextmanager
def regular_file(path: Path, raises: type[PleinairError], remedy: str) -> Iterator[tuple[int, int]]:
    """An open file's descriptor and its size in bytes; `raises` as `read_file` does for what is no regular file."""
    shown = shown_path(path)
    try:
        # without O_NONBLOCK, opening a pipe waits for somebody to write into it
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        try:
            facts = os.fstat(descriptor)
            if not stat.S_ISREG(facts.st_mode):
                kind = "a folder" if stat.S_ISDIR(facts.st_mode) else "not an ordinary file"
                raise raises(f"'{shown}' is {kind}; {remedy}")
            yield descriptor, facts.st_size
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        why = getattr(error, "strerror", None) or str(error)
        raise raises(f"cannot read '{shown}' ({why}); {remedy}") from None


def read_part(descriptor: int, start: int, size: int) -> bytes:
    """So many bytes of an open file from one on, or as many as there are."""
    os.lseek(descriptor, start, os.SEEK_SET)
    return _read(descriptor, size)


def _read(descriptor: int, most: int) -> bytes:
    """At most `most` bytes, however often the system returns fewer than were asked for."""
    pieces, left = [], most
    while left and (piece := os.read(descriptor, min(left, 1 << 24))):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def read_json(path: Path, most: int, raises: type[PleinairError], remedy: str) -> dict[str, Any]:
    """A file that holds one JSON object in UTF-8, read as `read_file` does."""
    return parse_json(read_file(path, most, raises, remedy), path, raises, remedy)


def parse_json(content: bytes, path: Path, raises: type[PleinairError], remedy: str) -> dict[str, Any]:
    """The JSON object in the content of `path`."""
    try:
        value = json.loads(content)
        if not isinstance(value, dict):
            raise ValueError("not a JSON object")
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        why = "nested too deeply" if isinstance(error, RecursionError) else one_line(error, SHOWN)
        raise raises(f"'{shown_path(path)}' is malformed ({why}); {remedy}") from None
    return value
