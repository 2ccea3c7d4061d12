"""Faults for a server in a process of its own: a wall clock that jumps, and a disk that is full (Linux)."""

import contextlib
import os
import resource
import sys
import threading

CLOCK = """
import os, time

def jumping(read, unit):
    def now():
        with open(os.environ["CLOCK_OFFSET"], encoding="ascii") as file:
            return read() + unit * int(file.read() or 0)
    return now

time.time, time.time_ns = jumping(time.time, 1), jumping(time.time_ns, 10**9)
"""


class Clock:
    """The wall clock of processes that are started with its `environment`; the monotonic one stays."""

    def __init__(self, folder):
        self._file, self._turn = folder / "offset", threading.Lock()
        self.at(0)
        (folder / "sitecustomize.py").write_text(CLOCK)  # which Python imports when it starts
        self.environment = {
            "CLOCK_OFFSET": str(self._file),
            "PYTHONPATH": os.pathsep.join([str(folder), *sys.path]),
        }

    def at(self, seconds):
        """Jump to so many seconds behind the real time."""
        fresh = self._file.with_suffix(".new")
        with self._turn:
            fresh.write_text(str(seconds), encoding="ascii")
            fresh.replace(self._file)


ONE_FULL = threading.Lock()  # two that overlap would restore each other's limits


@contextlib.contextmanager
def full_disk(pid):
    """Every byte that a process writes into a file is refused; one caller at a time."""
    with ONE_FULL:
        before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, before[1]))
        try:
            yield
        finally:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
