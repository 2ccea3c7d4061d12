"""How many processes paint a list, on which cores, and whether memory suffices for them.

One process with many threads leaves cores idle where a network is small: its threads wait for each other at every
layer. Processes of one core each do not, and hold the model once more each. docs/scaling.md has what was measured.
"""

import sys
from collections.abc import Callable
from typing import Any

from pleinair.checks import one_line, whole
from pleinair.engines.engine import ENGINES
from pleinair.engines.failures import CPU
from pleinair.errors import RequestError, ResourceError
from pleinair.pipeline import Pipeline
from pleinair.preflight import in_words
from pleinair.request.request import Request
from pleinair.system.cores import core_groups, core_quota, physical_cores
from pleinair.system.limits import room_left
from pleinair.tasks.worker_messages import WorkerSetup

AUTO = "auto"
MOST_WORKERS = 256
SMALL = 1e9  # bytes that a worker takes at most where "auto" chooses one for each core
LARGE_CORES = 4  # for each worker of a larger model: fewer would take more memory for little time


def read_workers(value: Any) -> int | str:
    """A number of workers or "auto"; RequestError for anything else."""
    if value == AUTO:
        return AUTO
    try:
        return whole("workers", value, 1, MOST_WORKERS)
    except RequestError:
        raise RequestError(
            f"workers must be a number from 1 to {MOST_WORKERS}, not '{one_line(value, 40)}'; choose one, or auto"
        ) from None


def planned_workers(
    pipe: Pipeline,
    request: Request,
    workers: int | str,
    say: Callable[[str], None] | None = None,
    most: int = MOST_WORKERS,
) -> list[WorkerSetup]:
    """How each worker is set up that paints requests like this one; empty where this process is to paint alone.

    There are never more than `most`, which is as much work as there is. All have the same number of threads, for with
    it the last bits of a picture can differ. `say` is told in a line what is done otherwise than was asked for. Raises
    RequestError for what is no number and for a pipeline that other processes cannot open, ResourceError where memory
    does not suffice for as many.
    """
    asked = read_workers(workers)
    if asked == 1 or (asked == AUTO and (cannot_start(pipe) or pipe.device != CPU)):
        return []
    if reason := cannot_start(pipe):
        raise RequestError(f"{reason}; leave workers out")
    cores, how = physical_cores(), dict(pipe.opened_with)
    room = room_left().memory if how["preflight"] else None
    usable = max(1, min(len(cores), int(core_quota() or len(cores))))
    need = pipe.memory_needed(request)
    each = max(pipe.threads or 1, 1 if need <= SMALL else LARGE_CORES)
    count = min(most, usable // each if asked == AUTO else asked)
    fitting = count if room is None else int(room // need)
    if asked == AUTO:
        count = min(count, fitting)
    elif fitting < count:
        sparing = pipe.memory_needed(request, memory="high" if how["memory"] == "high" else "low")
        if int(room // sparing) < count:
            raise ResourceError(
                f"{count} workers take about {in_words(count * sparing)} of memory, and {in_words(room)} is free;"
                f" choose {max(1, int(room // sparing))} with --workers, or continue with --no-preflight"
            )
        how["memory"] = "low"
        if say:
            say("memory is short: each worker loads each stage in turn, as with --memory low")
    if count < 2:
        return []
    groups = core_groups(cores, count)
    least = max(1, min(map(len, groups)))
    how["threads"] = pipe.threads or least
    if how["threads"] > least:  # they would wait for each other on so few cores
        groups = [()] * count
    cpus = [tuple(cpu for core in group for cpu in core.cpus) for group in groups]
    return [WorkerSetup(pipe.bundle.path, how, each, pipe.engine_reason) for each in cpus]


def cannot_start(pipe: Pipeline) -> str | None:
    """Why no other process can open what this one has open; None where it can."""
    if getattr(sys, "frozen", False) or not sys.executable:
        return "workers need a Python interpreter of their own, which a frozen program has not"
    if pipe.engine not in ENGINES:
        return "workers open an engine by its name, and this one is an object of the program's own"
    return None
