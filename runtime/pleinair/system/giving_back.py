"""Memory given back to the system that a process has no more use for: freed blocks, and pages of files once read."""

import contextlib
import ctypes
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

EVERY_S = 0.25
DONTNEED = 4  # madvise(2): pages of a file that nobody has written to are read again when they are needed
LEAST = 64 << 20  # bytes of a file that it is worth it for
MAPS = Path("/proc/self/maps")


@contextlib.contextmanager
def given_back(file: Path) -> Iterator[None]:
    """While the body runs, and once more at its end, give the pages of a mapped file back to the system (Linux).

    An engine that lays weights out anew reads each once, and what it has read would stay in this process beside what
    it made of it. Only maps that cannot be written to are touched. Smaller files, and other systems, are left alone.
    """
    if sys.platform != "linux" or file.stat().st_size < LEAST:
        yield
        return
    done = Event()

    def look() -> None:
        while not done.wait(EVERY_S):
            drop(file)

    thread = Thread(target=look, name=f"giving back {file.name}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        drop(file)


def trim_heap() -> None:
    """Give back what was freed, which glibc keeps in pieces between blocks that are in use (Linux)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def drop(file: Path) -> None:
    """Give the pages of a file back that are mapped now."""
    advise = ctypes.CDLL(None).madvise
    advise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    with contextlib.suppress(OSError, ValueError):
        for line in MAPS.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
            place = re.match(r"([0-9a-f]+)-([0-9a-f]+) r--", line)
            if place and line.endswith(str(file.resolve())):
                start, end = (int(each, 16) for each in place.groups())
                advise(start, end - start, DONTNEED)
