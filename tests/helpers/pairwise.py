"""Few cases that still bring every value of every factor together with every value of every other."""

from itertools import combinations


def all_pairs(*factors):
    """Tuples with one value of each factor, such that any two values of two factors stand together in one of them.

    The same tuples for the same factors. Where a lower level proves the whole product, this is enough for the way of
    the values through the next one.
    """
    open_pairs = {
        ((i, a), (j, b)): None
        for i, j in combinations(range(len(factors)), 2)
        for a in range(len(factors[i]))
        for b in range(len(factors[j]))
    }
    used = [[0] * len(values) for values in factors]
    cases = []
    while open_pairs:
        chosen = dict(next(iter(open_pairs)))  # factor -> which of its values
        for factor, values in enumerate(factors):
            if factor not in chosen:
                chosen[factor] = min(
                    range(len(values)), key=lambda n: (-closed(open_pairs, chosen, factor, n), used[factor][n])
                )
        for pair in combinations(sorted(chosen.items()), 2):
            open_pairs.pop(pair, None)
        for factor, value in chosen.items():
            used[factor][value] += 1
        cases.append(tuple(values[chosen[factor]] for factor, values in enumerate(factors)))
    return cases


def closed(open_pairs, chosen, factor, value):
    """How many open pairs a value of one more factor makes with those that are chosen."""
    return sum(tuple(sorted([each, (factor, value)])) in open_pairs for each in chosen.items())
