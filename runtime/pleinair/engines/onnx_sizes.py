"""Sizes of arrays in an ONNX graph before it runs, and how operators count with them."""

from collections.abc import Callable

ROWS = "rows"  # as many as there are latents
Side = int | str | None
Sides = tuple[Side, ...]
MIXED = "mixed"  # rows counted with others
LARGEST = 1 << 31  # size of an axis
READS = {"Cast": 1, "Identity": 1, "Where": 3}  # operands of operators; of others two


def kept_number(one: Side) -> Side:
    return one


def product(one: Side, other: Side) -> Side:
    if ROWS in (one, other):
        return MIXED
    found = None if None in (one, other) else one * other
    return found if found is not None and abs(found) <= LARGEST else None


def other_number(one: Side, other: Side) -> Side:
    """One that is not worth knowing."""
    return MIXED if ROWS in (one, other) else None


def same(one: Side, other: Side) -> Side:
    """Rows are more than none."""
    if isinstance(one, int) and isinstance(other, int):
        return int(one == other)
    negative = any(isinstance(each, int) and each < 0 for each in (one, other))
    return 0 if negative and ROWS in (one, other) else MIXED


def chosen(which: Side, one: Side, other: Side) -> Side:
    return MIXED if which is None or which == ROWS else one if which else other


COUNTED: dict[str, Callable[..., Side]] = {
    "Cast": kept_number,
    "Identity": kept_number,
    "Mul": product,
    "Add": other_number,
    "Sub": other_number,
    "Div": other_number,
    "Equal": same,
    "Where": chosen,
}


def counted(op: str, operands: list[Sides]) -> Sides | None:
    """Numbers, computed one by one; None where rows are counted with others."""
    length = max(map(len, operands))
    if len(operands) != READS.get(op, 2) or any(len(numbers) not in (1, length) for numbers in operands):
        return None
    columns = zip(*(numbers * length if len(numbers) == 1 else numbers for numbers in operands), strict=True)
    found = [COUNTED[op](*column) for column in columns] if op in COUNTED else [MIXED] * length
    return None if MIXED in found else tuple(found)
