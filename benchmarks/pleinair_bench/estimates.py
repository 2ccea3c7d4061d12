"""What a picture of SD 1.5 would take, told from the blocks that were measured."""

from collections.abc import Iterable, Iterator

from pleinair_bench import blocks, tables
from pleinair_bench.cases import BLOCKS
from pleinair_bench.records import Record

STEPS = 20


def lines(records: Iterable[Record]) -> Iterator[str]:
    """A line for each precision: its step, its decode, and a picture of them."""
    for record in records:
        if record["case"]["work"] == BLOCKS and {"run", "decode"} <= set(record["measures"]):
            step, decode = (record["measures"][name]["median"] for name in ("run", "decode"))
            whole = STEPS * step + decode
            kind = "W8A8" if record["case"]["weights"] == "w8a8" else tables.computed(record)
            yield (
                f"SD 1.5 at {blocks.SIZE}x{blocks.SIZE} in {kind}: about {tables.seconds(whole)} a picture of {STEPS}"
                f" steps ({tables.seconds(step)} a step, {tables.seconds(decode)} the decoder)"
            )
