"""The most anonymous memory that a process holds: what lies in no file, so that the system cannot drop and reread it.

Weights that are mapped from a file count as resident and cost a system short of memory nothing. Linux remembers the
highest resident size and not this one, so it is looked at now and then.
"""

import re
import threading
from pathlib import Path

EVERY_S = 0.05
STATUS = Path("/proc/self/status")


class Watch:
    """Looks at this process until it ends, on a thread that does nothing else."""

    def __init__(self) -> None:
        self._most = anonymous_mb()
        if self._most is not None:
            threading.Thread(target=self._look, daemon=True).start()

    def peak_mb(self) -> float | None:
        """The most so far, in MB of 2^20 bytes; None where the system does not tell."""
        self._note()
        return self._most

    def _look(self) -> None:
        while not threading.Event().wait(EVERY_S):
            self._note()

    def _note(self) -> None:
        if self._most is not None:
            self._most = max(self._most, anonymous_mb() or 0.0)


def anonymous_mb() -> float | None:
    """What this process holds now."""
    try:
        found = re.search(r"^RssAnon:\s*(\d+) kB", STATUS.read_text(encoding="ascii"), re.M)
    except OSError:
        return None
    return int(found[1]) / 2**10 if found else None
