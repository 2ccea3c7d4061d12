"""When workers of a cluster may be started again, where some did not start: a machine that dies takes many with it."""

import time
from typing import Any

PAUSES_S = (1.0, 4.0, 15.0)  # behind rounds of starts that failed in a row, in which a cluster sees what is dead


class Starts:
    """Rounds of starts: workers that are started before the next pause are of one round, which fails once."""

    def __init__(self) -> None:
        self.failures = 0  # rounds in a row
        self._round = 0
        self._round_of: dict[Any, int] = {}
        self._not_before = 0.0

    @property
    def may(self) -> bool:
        """Whether it is time to start workers."""
        return time.monotonic() >= self._not_before

    def began(self, worker: Any) -> None:
        """A worker is being started."""
        self._round_of[worker] = self._round

    def succeeded(self, worker: Any) -> None:
        """It has started."""
        self._round_of.pop(worker)
        self.failures = 0

    def failed(self, worker: Any) -> bool:
        """It has not; True where that was so in more rounds in a row than there are pauses."""
        if self._round_of.pop(worker) == self._round:
            self._round += 1
            self.failures += 1
            self._not_before = time.monotonic() + PAUSES_S[min(self.failures, len(PAUSES_S)) - 1]
        return self.failures > len(PAUSES_S)

    def forgive(self) -> None:
        """Count from the beginning."""
        self.failures = 0
