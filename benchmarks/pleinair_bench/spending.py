"""What a measurement took of the processor, memory and energy, and what others had meanwhile."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from time import perf_counter, process_time
from typing import Any


@contextmanager
def spending() -> Iterator[dict[str, Any]]:
    """What the machine and this process did meanwhile."""
    from pleinair_bench import machine

    found: dict[str, Any] = {}
    power, events = machine.power()["source"], machine.throttle_events()
    energy, busy, own, mark = machine.energy_joules(), machine.busy_seconds(), process_time(), perf_counter()
    yield found
    wall, own = perf_counter() - mark, process_time() - own
    after, still = machine.busy_seconds(), machine.throttle_events()
    joules = machine.joules_between(energy, machine.energy_joules())
    others = None if busy is None or after is None else max(0.0, after - busy - own)
    found |= {"wall_s": wall, "cpu_s": own, "joules": joules, "others_s": others}
    found |= {"throttled": bool(still - events) if events is not None and still is not None else None}
    found |= {"power": "battery" if "battery" in (power, machine.power()["source"]) else power}


def used(found: dict[str, Any], samples: int) -> dict[str, Any]:
    """Per sample: processor seconds and joules; memory; and the share of the cores that others had."""
    from pleinair.system.machine import peak_rss_mb, usable_cores
    from pleinair_bench import machine

    joules, others, wall = found.pop("joules"), found.pop("others_s"), found.pop("wall_s")
    pss, anonymous = machine.pss_mb(), watch().peak_mb()
    return {
        "cpu_s": found["cpu_s"] / samples,
        "joules": joules / samples if joules is not None else None,
        "others": round(others / wall / usable_cores(), 3) if others is not None and wall > 0.2 else None,
        "peak_rss_mb": round(peak_rss_mb(), 1),
        "peak_anonymous_mb": round(anonymous, 1) if anonymous is not None else None,
        "pss_mb": round(pss, 1) if pss is not None else None,
    }


@cache
def watch() -> Any:
    """What watches this process's memory, from the first call on."""
    from pleinair_bench.anonymous import Watch

    return Watch()
