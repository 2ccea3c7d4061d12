"""How fast the machine is at this moment: one fixed piece of work, done right before and right after each round.

A core is not always equally fast: heat, the battery, other guests of the same host. The work is a matrix product in
NumPy, which nothing in pleinair or in an engine makes faster or slower. So rounds that were disturbed are told by
something other than their own times, and a machine that became slower is told from a program that did.
"""

from collections.abc import Sequence
from time import perf_counter, sleep

import numpy as np

SIDE, REPEATS = 640, 40  # of float32: 5 MB, beyond a core's own cache; a tenth of a second on two cores
DISTURBED = 0.05  # slower than usual by that share: the networks are then slower by 10 % and more
PAUSE_S = 0.5  # until the next look at a disturbed machine
FEWEST_CALM = 3  # rounds, without which the disturbed ones count as well

Pace = Sequence[float]  # seconds of one product, before and after a round


def pace() -> float:
    """Seconds of one product on all cores: the median of some."""
    matrix = np.random.default_rng(0).standard_normal((SIDE, SIDE), np.float32)
    product, times = np.matmul(matrix, matrix), []
    for _ in range(REPEATS):
        mark = perf_counter()
        np.matmul(matrix, matrix, out=product)
        times.append(perf_counter() - mark)
    return float(np.median(times))


def usual(paces: Sequence[Pace]) -> float | None:
    """What the machine does when left alone: the lower quartile, which a burst of speed at the start does not set."""
    every = [seconds for each in paces for seconds in each]
    return float(np.quantile(every, 0.25)) if every else None


def is_disturbed(pace: Pace, usual: float | None) -> bool:
    """Whether the machine was slower than usual on either side of a round."""
    return usual is not None and bool(pace) and max(pace) > usual * (1 + DISTURBED)


class Calm:
    """What a run has seen of the machine, and the patience that it has left with a disturbed one.

    `paces` are the readings of each round; whoever measures adds them.
    """

    def __init__(self, wait_s: float) -> None:
        self.paces: list[Pace] = []
        self.left_s = wait_s

    def pace(self) -> float:
        """A reading before a round, which waits for a disturbed machine as long as patience lasts."""
        while is_disturbed([found := pace()], usual(self.paces)) and self.left_s > 0:
            sleep(PAUSE_S)
            self.left_s -= PAUSE_S
        return found
