"""What each worker gets of a cluster, and how many there are."""

from collections.abc import Sequence
from dataclasses import dataclass

from pleinair.cluster.joining import Machine
from pleinair.errors import ResourceError
from pleinair.preflight import in_words


@dataclass(frozen=True)
class Share:
    """So many workers, with so many CPUs, one thread each, and bytes of memory for each of them."""

    workers: int
    cpus: int
    memory: int = 0


def shared_out(
    machines: Sequence[Machine], workers: int | None, cpus: int | None, memory: int = 0, most: int | None = None
) -> Share:
    """As many workers as asked for, or as there is room for (None); at most `most`.

    Each has `cpus`, or (None) as many as the smallest machine, less where that is what makes room: all have the same
    number, for with it the last bits of a picture can differ. Raises ResourceError where there is no room.
    """
    large = [each for each in machines if each.memory >= memory]
    if not large:
        needed = f"about {in_words(memory)} of memory" if memory else "a CPU"
        raise ResourceError(f"no machine of the cluster has {needed} for a worker; let a larger one join")
    wished = cpus or min(each.cpus for each in large)
    choices = [wished] if cpus or workers is None else range(wished, 0, -1)
    wanted = min(workers or 1, most or workers or 1)
    for each in choices:
        there = room(large, each, memory)
        if there >= wanted:
            count = there if workers is None else wanted
            return Share(min(count, most or count), each, memory)
    raise ResourceError(
        f"the cluster has no room for {wanted} workers; choose {there} with --workers, or let more machines join"
        if there
        else f"no machine of the cluster has {wished} CPUs; choose fewer --threads, or let a larger one join"
    )


def room(machines: Sequence[Machine], cpus: int, memory: int) -> int:
    """How many workers the machines have room for."""
    return sum(min(each.cpus // cpus, int(each.memory // memory) if memory else each.cpus) for each in machines)
