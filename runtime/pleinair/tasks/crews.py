"""Who paints many pictures: this process alone, processes beside it, or the machines of a Ray cluster."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from pleinair.cluster.joining import joined, machines
from pleinair.cluster.models import SharedModel
from pleinair.cluster.shares import shared_out
from pleinair.errors import RequestError
from pleinair.pipeline import Pipeline
from pleinair.request.request import Request
from pleinair.system.limits import room_left
from pleinair.tasks.worker_count import AUTO, MOST_WORKERS, SMALL, cannot_start, planned_workers, read_workers
from pleinair.tasks.workers import Workers

if TYPE_CHECKING:
    from pleinair.tasks.ray_workers import RayWorkers


def at(cluster: str | None) -> AbstractContextManager:
    """The context in which `crew` may be asked for the same cluster; raises what `joined` raises."""
    return nullcontext() if cluster is None else joined(cluster)


def crew(
    pipe: Pipeline,
    request: Request,
    workers: int | str,
    cluster: str | None = None,
    say: Callable[[str], None] | None = None,
    most: int = MOST_WORKERS,
) -> "Workers | RayWorkers | None":
    """Workers for requests like this one, as many as asked for ("auto": as suit the machine, or fit the cluster).

    None where this process is to paint alone. There are never more than `most`. `say` is told in a line what is done
    otherwise than was asked for. Raises RequestError and ResourceError as `planned_workers` and `shared_out` do.
    """
    if cluster is not None:
        return ray_workers(pipe, request, workers, say, most)
    setups = planned_workers(pipe, request, workers, say, most)
    return Workers(setups, room_left().memory if pipe.opened_with["preflight"] else None) if setups else None


def ray_workers(
    pipe: Pipeline, request: Request, workers: int | str, say: Callable[[str], None] | None, most: int
) -> "RayWorkers":
    """Workers on the cluster that is joined."""
    from pleinair.tasks.ray_workers import RayWorkers

    asked, how = read_workers(workers), pipe.opened_with
    if reason := cannot_start(pipe):
        raise RequestError(f"{reason}; leave the cluster out")
    need = pipe.memory_needed(request) if how["preflight"] else 0
    cpus = pipe.threads or (1 if need <= SMALL else None)
    share = shared_out(machines(), None if asked == AUTO else asked, cpus, need, most)
    return RayWorkers(SharedModel.of(pipe.bundle), how | {"threads": share.cpus}, share, say)
