"""What paints jobs on a Ray cluster: the Serve deployment `Painter`, whose replicas hold a loaded pipeline each.

`application` is what a Serve config imports; docs/examples/ray.yaml is one. It answers no HTTP: jobs come from
`pleinair serve --ray`, through a handle, and what becomes of one is streamed back.
"""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from ray import serve
from ray.exceptions import RayError
from ray.serve import Application
from ray.serve.exceptions import RayServeException

from pleinair.checks import one_of
from pleinair.cluster.presence import is_present
from pleinair.errors import RequestError
from pleinair.request.loading import LOADING
from pleinair.serve.job import JobSpec
from pleinair.serve.painting import JobPainter

STALL = "stall"
HEALTH_S = 10.0  # between two looks at whether a replica is well
ENDING_S = 0.1  # between two looks at whether a replica that is to end has come to rest
Said = tuple[dict[str, Any], tuple[bytes, ...]]


@serve.deployment(
    name="Painter",
    max_ongoing_requests=1,
    health_check_period_s=HEALTH_S,
    graceful_shutdown_wait_loop_s=ENDING_S,
)
class RayPainter:
    """A replica: it paints one job at a time, and is replaced when one says nothing for `stall` seconds.

    `server` is the one that its application, which has the same name, belongs to; None for one that is declared.
    """

    def __init__(self, model: str | None, loading: dict[str, Any], stall: float, server: str | None = None) -> None:
        self._stall, self._server = stall, server
        self._tell: Any = None
        self._moment: float | None = None  # of the last word of the job that is painted
        self._asked: tuple[str, threading.Event] | None = None  # by which server, and what ends it
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="painting")
        self._painter = JobPainter(self._say, lambda need: None, model, loading)

    async def paint(self, id: str, spec: JobSpec, server: str) -> AsyncIterator[Said]:
        """Do a server's job, and say what a painting process says of it; whoever leaves the loop cancels in a step."""
        loop, told, stop = asyncio.get_running_loop(), asyncio.Queue(), threading.Event()

        def tell(said: Said | None) -> None:
            loop.call_soon_threadsafe(told.put_nowait, said)

        def work() -> None:  # when the job before has come to rest: there is one thread
            self._tell, self._moment, self._asked = tell, time.monotonic(), (server, stop)
            job = {"job": id, "task": spec.task, "model": spec.model, "options": spec.options}
            self._painter.paint(job, spec.pictures, stop.is_set)
            self._moment = self._asked = None
            tell(None)

        self._thread.submit(work)
        try:
            while (said := await told.get()) is not None:
                yield said
        finally:
            stop.set()

    async def check_health(self) -> None:
        """Raise where a job hangs, so that Serve puts another replica in the place of this one.

        A job whose server is gone is cancelled, and so is an application: Ray ends neither.
        """
        with suppress(RayError, RayServeException):  # the cluster does not answer: the next look will tell
            await asyncio.to_thread(self._end_without_server)
        if self._moment is not None and time.monotonic() - self._moment > self._stall:
            raise RuntimeError(f"a job has said nothing for {self._stall:g} s")

    def _end_without_server(self) -> None:
        if (asked := self._asked) and not is_present(asked[0]):
            asked[1].set()
        if self._server and not is_present(self._server):
            serve.delete(self._server, _blocking=False)  # this replica is a part of it

    def _say(self, event: str, *blobs: bytes, **facts: Any) -> None:
        self._moment = time.monotonic()
        self._tell(({"event": event, **facts}, blobs))


def application(args: Mapping[str, Any]) -> Application:
    """The Serve application; `args` are arguments of `pleinair.load`, `model` by name, and `stall` in seconds.

    Raises RequestError for others.
    """
    return bound(args)


def bound(args: Mapping[str, Any], server: str | None = None, **shape: Any) -> Application:
    """The same for a server, in a `shape` that no config gives it: options of the deployment."""
    given = dict(args)
    model, stall = given.pop("model", None), given.pop(STALL, 600.0)
    if not isinstance(stall, int | float) or stall <= 0:
        raise RequestError(f"{STALL} must be a number of seconds; write for example {STALL}: 600")
    for name, value in given.items():
        one_of("argument", name, [*LOADING, STALL])
        LOADING[name].type.read(name, value)
    return RayPainter.options(**shape).bind(model, given, float(stall), server)
