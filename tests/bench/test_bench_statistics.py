"""Intervals hold what they say they hold, and a machine compared with itself shows no difference."""

import math

import numpy as np
import pytest

from pleinair_bench.statistics import compare, interval, is_slowing, of_samples, summary, t_quantile

SEED = 1


def normal(random, n):
    return 1 + 0.05 * random.standard_normal(n)


def skewed(random, n):
    return 1 + 0.1 * random.lognormal(0, 1, n)


def two_speeds(random, n):
    """Mostly fast, sometimes interrupted."""
    return np.where(random.random(n) < 0.8, 1.0, 1.3) + 0.01 * random.standard_normal(n)


def rounds_of(random, rounds, n, between=0.02, within=0.01, middle=1.0):
    """Processes that differ from each other more than their samples do."""
    return [
        list(middle * (1 + between * random.standard_normal()) * (1 + within * random.standard_normal(n)))
        for _ in range(rounds)
    ]


@pytest.mark.parametrize("n", [6, 9, 25, 60])
@pytest.mark.parametrize("draw, median", [(normal, 1.0), (skewed, 1.1), (two_speeds, None)])
def test_the_interval_holds_the_median_19_times_in_20(draw, median, n):
    random = np.random.default_rng(SEED)
    true = float(np.median(draw(random, 1_000_001))) if median is None else median
    found = [of_samples(list(draw(random, n))) for _ in range(1000)]
    assert np.mean([low <= true <= high for low, high in found]) >= 0.935


@pytest.mark.parametrize("n", [2, 3, 5])
def test_few_samples_are_taken_as_normal(n):
    random = np.random.default_rng(SEED)
    found = [of_samples(list(normal(random, n))) for _ in range(1000)]
    assert np.mean([low <= 1 <= high for low, high in found]) >= 0.935


def test_the_interval_knows_that_processes_differ():
    random = np.random.default_rng(SEED)
    found = [interval(rounds_of(random, 5, 20)) for _ in range(500)]
    assert np.mean([low <= 1 <= high for low, high in found]) >= 0.93
    naive = [of_samples(sum(rounds_of(random, 5, 20), [])) for _ in range(500)]
    assert np.mean([low <= 1 <= high for low, high in naive]) < 0.8  # which is why the rounds are kept apart


def test_the_median_lies_in_its_interval():
    random = np.random.default_rng(SEED)
    for n in range(1, 30):
        found = summary([list(skewed(random, n)) for _ in range(3)])
        assert found.low <= found.median <= found.high


def test_summary_of_known_numbers():
    found = summary([[1.0, 2.0], [3.0, 4.0, 10.0]])
    assert (found.samples, found.rounds, found.median, found.mad) == (5, 2, 3.0, 1.0)
    assert found.cv == pytest.approx(np.std([1, 2, 3, 4, 10], ddof=1) / 4)
    assert summary([[2.0]]).cv == 0
    one = summary([[2.0]] * 3)
    assert one.low == one.high == 2.0


@pytest.mark.parametrize("rounds", [1, 2])
def test_fewer_than_three_processes_have_no_interval(rounds):
    found = summary([[1.0, 1.001, 1.002] * 10] * rounds)
    assert found.low is None and found.high is None
    assert interval([[1.0]] * rounds) is None and interval([[1.0]] * 3) == (1.0, 1.0)


@pytest.mark.parametrize("a, b", [(1, 5), (2, 2), (2, 9), (9, 2)])
def test_fewer_than_three_processes_differ_from_nothing(a, b):
    found = compare([[1.0, 1.01]] * a, [[5.0, 5.01]] * b)
    assert found.word == "unknown" and found.low is None and found.high is None


@pytest.mark.parametrize("between", [0.0, 0.01, 0.05, 0.15])
def test_a_machine_rarely_differs_from_itself(between):
    random = np.random.default_rng(SEED)
    words = [compare(rounds_of(random, 5, 12, between), rounds_of(random, 5, 12, between)).word for _ in range(150)]
    assert words.count("no difference") >= 147


def test_small_differences_are_none_however_sure():
    random = np.random.default_rng(SEED)
    exact = {"between": 1e-4, "within": 1e-4}
    assert (
        compare(rounds_of(random, 9, 50, **exact), rounds_of(random, 9, 50, middle=1.01, **exact)).word
        == "no difference"
    )


def test_real_differences_are_found():
    random = np.random.default_rng(SEED)
    found = [compare(rounds_of(random, 5, 12, 0.01), rounds_of(random, 5, 12, 0.01, middle=1.1)) for _ in range(200)]
    assert sum(each.word == "more" for each in found) > 195
    assert np.mean([each.low <= 1.1 <= each.high for each in found]) > 0.97
    assert compare([[1.0, 1.01], [1.0, 1.0], [1.0]], [[0.5, 0.5], [0.5, 0.505], [0.5]]).word == "less"


@pytest.mark.parametrize("a, b", [([[1, 1, 1]], [[2, 2], [2, 2]]), ([[0.0], [0.0]], [[1], [1]])])
def test_nothing_is_said_of_one_round_or_of_no_time(a, b):
    assert compare(a, b).word == "unknown"


def test_equal_rounds_do_not_divide_by_zero():
    assert compare([[1.0]] * 3, [[1.0]] * 3).word == "no difference"
    assert compare([[1.0]] * 3, [[2.0]] * 3).word == "more"


@pytest.mark.parametrize("a, b", [(1e-300, 1e300), (1e18, 1e-18), (5e-324, 1.0)])
def test_numbers_far_apart_stay_finite(a, b):
    found = compare([[a], [b], [a], [b]], [[b], [a], [b], [a]])
    assert all(map(math.isfinite, (found.ratio, found.low, found.high))) and found.low > 0
    assert all(map(math.isfinite, interval([[a], [b], [a]])))


@pytest.mark.parametrize(
    "probability, freedom, expected",
    [(0.975, 1, 12.7062), (0.975, 4, 2.77645), (0.995, 8, 3.35539), (0.975, 1000, 1.96234)],
)
def test_t_quantiles_are_those_of_the_tables(probability, freedom, expected):
    assert t_quantile(probability, freedom) == pytest.approx(expected, rel=1e-4)
    with pytest.raises(ValueError):
        t_quantile(0.9, 0.5)


def test_a_machine_that_gets_slower_is_seen():
    assert is_slowing([[1 + 0.02 * number for number in range(12)]] * 3)
    assert not is_slowing([[1.0] * 12] * 3)
    assert not is_slowing([[1.0, 2.0]])
    same = summary([[1.0] * 12] * 3)
    assert same.low == same.high == 1.0
