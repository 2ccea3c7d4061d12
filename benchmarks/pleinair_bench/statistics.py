"""What may be said of repeated measurements: a median, how sure it is, and whether two of them differ.

Samples come in rounds, one for each process. A process keeps its luck (where its memory lies, how warm the machine is)
for as long as it lives, so samples of one process agree better among themselves than with those of the next.
Intervals that ignore this are too narrow; these are made of the medians of the rounds as well, and with fewer than
three rounds there is none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import comb, exp, pi, sqrt

import numpy as np

Rounds = Sequence[Sequence[float]]
INTERVAL = 0.95  # of a median
CERTAINTY = 0.99  # of a comparison: a run makes many, and 1 in 20 would be wrong somewhere in each
FLOOR = 0.02  # smaller differences are none: a machine differs that much from itself between two days
FEWEST_ROUNDS = 3  # processes, without which nothing is known of how they differ
LARGEST_LOG = 700.0
FEWEST = 6  # samples whose extremes hold the median with 95 % certainty
SLOWING = 0.08  # how much longer the end of a round takes than its beginning on a machine that gets too hot


@dataclass(frozen=True)
class Summary:
    """A median with its MAD (median absolute deviation), 95 % interval and coefficient of variation.

    Without an interval, as of fewer than FEWEST_ROUNDS, `low` and `high` are None.
    """

    samples: int
    rounds: int
    median: float
    mad: float
    low: float | None
    high: float | None
    cv: float


@dataclass(frozen=True)
class Verdict:
    """B against A: `ratio` above 1 is more of what was measured; `word` is less, more, no difference or unknown.

    Where it is unknown there is no interval, and `low` and `high` are None.
    """

    ratio: float
    low: float | None
    high: float | None
    word: str


def summary(rounds: Rounds) -> Summary:
    """The summary of all samples; needs at least one."""
    flat = np.array([sample for each in rounds for sample in each], float)
    median, spread = float(np.median(flat)), float(np.std(flat, ddof=1)) if len(flat) > 1 else 0.0
    low, high = interval(rounds) or (None, None)
    return Summary(
        samples=len(flat),
        rounds=len(rounds),
        median=median,
        mad=float(np.median(np.abs(flat - median))),
        low=low,
        high=high,
        cv=spread / float(flat.mean()) if flat.mean() else 0.0,
    )


def interval(rounds: Rounds) -> tuple[float, float] | None:
    """Where the median is, with certainty INTERVAL: the wider of what the samples say and what the rounds say.

    None with fewer than FEWEST_ROUNDS.
    """
    if len(rounds) < FEWEST_ROUNDS:
        return None
    flat = [sample for each in rounds for sample in each]
    low, high = of_samples(flat, INTERVAL)
    if len(flat) > len(rounds):
        across = _of_mean([float(np.median(each)) for each in rounds], INTERVAL)
        low, high = min(low, across[0]), max(high, across[1])
    return low, high


def of_samples(samples: Sequence[float], level: float = INTERVAL) -> tuple[float, float]:
    """Where the median of samples is that know nothing of each other: by their order, or as if normal where few."""
    ordered = sorted(samples)
    return _of_order(ordered, level) if len(ordered) >= FEWEST else _of_mean(ordered, level)


def compare(a: Rounds, b: Rounds, level: float = CERTAINTY, floor: float = FLOOR) -> Verdict:
    """B / A by Welch's t-test on the logarithms of the rounds' medians; "unknown" with fewer than FEWEST_ROUNDS of
    either.

    A difference is one where the interval leaves 1 out and the ratio is more than `floor` away from it.
    """
    if min(len(a), len(b)) < FEWEST_ROUNDS or min(min(each, default=0) for each in (*a, *b)) <= 0:
        middle = [float(np.median([sample for each in rounds for sample in each])) for rounds in (a, b)]
        ratio = middle[1] / middle[0] if middle[0] > 0 else 1.0
        return Verdict(ratio, None, None, "unknown")
    first, second = (np.log([np.median(each) for each in rounds]) for rounds in (a, b))
    errors = [max(float(np.var(of, ddof=1)) / len(of), _within(rounds)) for of, rounds in ((first, a), (second, b))]
    distance, error = float(second.mean() - first.mean()), sqrt(sum(errors))
    freedom = (
        sum(errors) ** 2 / sum(e**2 / (len(of) - 1) for e, of in zip(errors, (first, second), strict=True))
        if error
        else 1
    )
    reach = t_quantile((1 + level) / 2, freedom) * error
    differs = abs(distance) > reach and abs(_exp(distance) - 1) > floor
    word = ("more" if distance > 0 else "less") if differs else "no difference"
    return Verdict(_exp(distance), _exp(distance - reach), _exp(distance + reach), word)


@lru_cache
def t_quantile(probability: float, freedom: float) -> float:
    """The inverse of Student's t distribution for probability > 1/2 and freedom >= 1, to 1e-4 of itself.

    With t = sqrt(freedom) * tan(angle) its density is cos(angle)^(freedom - 1), which needs no special functions.
    """
    if freedom < 1:
        raise ValueError("at least one degree of freedom")
    freedom = min(freedom, 10_000.0)  # above, it is the normal distribution, too narrow for this grid
    angle = np.linspace(0, np.pi / 2, 20_001)
    density = np.cos(angle) ** (freedom - 1)
    area = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    return float(sqrt(freedom) * np.tan(np.interp((probability - 0.5) * 2, area / area[-1], angle)))


def is_slowing(rounds: Rounds) -> bool:
    """Whether the last third of each round takes longer than its first, as on a machine that gets too hot."""
    thirds = [(each[: len(each) // 3], each[-(len(each) // 3) :]) for each in rounds if len(each) >= FEWEST]
    if not thirds:
        return False
    return float(np.median([np.median(last) / np.median(first) for first, last in thirds])) > 1 + SLOWING


def _of_order(ordered: list[float], level: float) -> tuple[float, float]:
    """By order statistics: how many samples lie below the median is binomial, whatever they are distributed like."""
    n, below, rank = len(ordered), 0.0, 0
    while (below := below + comb(n, rank) / 2**n) <= (1 - level) / 2:
        rank += 1
    return ordered[max(rank - 1, 0)], ordered[min(n - rank, n - 1)]


def _of_mean(values: list[float], level: float) -> tuple[float, float]:
    """By Student's t, on logarithms where all are positive; one value is its own interval."""
    if len(values) < 2:
        return values[0], values[0]
    positive = min(values) > 0
    of = np.log(values) if positive else np.array(values)
    reach = t_quantile((1 + level) / 2, len(values) - 1) * float(of.std(ddof=1)) / sqrt(len(values))
    low, high = float(of.mean()) - reach, float(of.mean()) + reach
    low, high = (_exp(low), _exp(high)) if positive else (low, high)
    return min(low, float(np.median(values))), max(high, float(np.median(values)))


def _exp(logarithm: float) -> float:
    """exp, without ever being infinite or zero."""
    return exp(max(-LARGEST_LOG, min(logarithm, LARGEST_LOG)))


def _within(rounds: Rounds) -> float:
    """The variance of the median's logarithm as the samples inside the rounds tell it."""
    spreads = [float(np.var(np.log(each), ddof=1)) for each in rounds if len(each) > 1]
    count = sum(map(len, rounds))
    return float(np.mean(spreads)) * pi / 2 / count if spreads else 0.0
