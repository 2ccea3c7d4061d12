"""The cores that this process may run on, and groups of them for processes that work side by side."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from pleinair.system.machine import usable_cores

CPUS = Path("/sys/devices/system/cpu")
GROUPS, OWN_GROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


@dataclass(frozen=True)
class Core:
    """A physical core: the numbers of its logical CPUs, and what it shares with its neighbours.

    `place` is its package, NUMA node and last cache, where the system tells them.
    """

    cpus: tuple[int, ...]
    place: tuple[str, ...] = ()


def physical_cores() -> list[Core]:
    """The cores that this process may run on, neighbours side by side.

    Where the system does not tell which logical CPUs are one core (all but Linux), each is one by itself.
    """
    if not hasattr(os, "sched_getaffinity"):
        return [Core((number,)) for number in range(usable_cores())]
    allowed = os.sched_getaffinity(0)
    siblings = {cpu: _listed(_told(cpu, "topology/thread_siblings_list")) & allowed or {cpu} for cpu in allowed}
    cores = {Core(tuple(sorted(siblings[cpu])), _place(min(siblings[cpu]))) for cpu in allowed}
    return sorted(cores, key=lambda core: (core.place, core.cpus))


def core_quota() -> float | None:
    """How many cores' time cgroups (version 2) leave this process, as `docker --cpus` does; None without a limit."""
    found = []
    for own in re.findall(r"^0::/?(.*)$", _text(OWN_GROUP), re.M):
        folder = GROUPS / own
        for each in (folder, *folder.parents):  # in a container the path can be that outside it, and the root is ours
            limit = re.fullmatch(r"(\d+) (\d+)", _text(each / "cpu.max")) if each.is_relative_to(GROUPS) else None
            if limit:
                found.append(int(limit[1]) / int(limit[2]))
    return min(found, default=None)


def core_groups(cores: Sequence[Core], count: int) -> list[tuple[Core, ...]]:
    """`count` groups of neighbouring cores, as equal as may be; none lies in two places where that can be avoided.

    Where there are fewer cores than groups, their logical CPUs are shared out, and nothing where those are too few.
    """
    if count > len(cores):
        cores = [Core((cpu,), core.place) for core in cores for cpu in core.cpus]
    if count > len(cores):
        return [()] * count
    places = [tuple(group) for _, group in groupby(cores, lambda core: core.place)]
    if count < len(places):
        return [sum(each, ()) for each in _parts(places, count)]
    shares = [1] * len(places)
    while sum(shares) < count:
        fullest = max(range(len(places)), key=lambda place: len(places[place]) / shares[place])
        shares[fullest] += 1
    return [part for place, share in zip(places, shares, strict=True) for part in _parts(place, share)]


def pin(cpus: Sequence[int]) -> None:
    """Let this process run on these logical CPUs alone, where the system can be told so (Linux)."""
    if cpus and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cpus)


def _parts(whole: Sequence, count: int) -> list[tuple]:
    """A row cut into `count` pieces of nearly the same length."""
    return [tuple(whole[len(whole) * n // count : len(whole) * (n + 1) // count]) for n in range(count)]


def _place(cpu: int) -> tuple[str, ...]:
    nodes = sorted(folder.name for folder in (CPUS / f"cpu{cpu}").glob("node[0-9]*"))
    return (_told(cpu, "topology/physical_package_id"), *nodes, _told(cpu, "cache/index3/shared_cpu_list"))


def _listed(text: str) -> set[int]:
    """The numbers of a list such as 0-2,8."""
    ranges = re.findall(r"(\d+)(?:-(\d+))?", text)
    return {cpu for first, last in ranges for cpu in range(int(first), int(last or first) + 1)}


def _told(cpu: int, file: str) -> str:
    return _text(CPUS / f"cpu{cpu}" / file)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
