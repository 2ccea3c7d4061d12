"""A server whose jobs are painted on a Ray cluster: the replicas of a Serve application instead of processes here."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial

from ray.exceptions import RayError
from ray.serve.exceptions import BackPressureError, RayServeException
from ray.serve.handle import DeploymentHandle, DeploymentResponseGenerator

from pleinair.checks import one_line
from pleinair.cluster.joining import joined
from pleinair.cluster.presence import present
from pleinair.serve.job import CANCELLED, FAILED, Job
from pleinair.serve.ray_applications import application_for, awaited, replicas, server_name
from pleinair.serve.refusals import Trouble
from pleinair.serve.settings import ServeSettings
from pleinair.serve.supervising import Supervisor
from pleinair.serve.telling import pass_on, tell_bug

MOST_TRIES = 3  # of one job
PAUSE_S = 0.5  # before a queue of Serve's that was full is asked again
SILENT = (TimeoutError, StopAsyncIteration)
STRANGE = (LookupError, TypeError, ValueError)  # what the words of another version come to
SHOWN = 300  # characters of what Ray says
log = logging.getLogger(__name__)
logging.getLogger("ray.serve").setLevel(logging.WARNING)  # whose lines are not those of a server's log


class RayWorker:
    """Stands for a painting process: hands over one job at a time to whichever replica is free."""

    held = 0  # bytes of this machine's memory

    def __init__(self, supervisor: Supervisor, number: int, *, server: str, handle: DeploymentHandle) -> None:
        self._jobs, self._settings = supervisor.jobs, supervisor.settings
        self._server, self._handle = server, handle.options(stream=True)

    async def run(self) -> None:
        """Have whatever comes painted, for ever."""
        while True:
            await self._do(await self._jobs.next())

    async def end(self) -> None:
        """Nothing of it is left when its task is cancelled."""

    async def _do(self, job: Job) -> None:
        """One job, to its end; one whose replica is lost is painted by another one."""
        tries = 0
        while True:
            if job.cancelling:
                await self._jobs.end(job, CANCELLED)
                return
            try:
                await self._follow(job)
                return
            except BackPressureError:
                await asyncio.sleep(PAUSE_S)
                continue
            except (RayError, RayServeException, *SILENT, *STRANGE) as error:
                why = one_line(error, SHOWN) or type(error).__name__
            except Exception as error:  # a bug, which must not end the loop of `run`
                await tell_bug(self._jobs, job, error)
                return
            finally:
                job.stop = None
            if job.cancelling:
                continue
            tries += 1
            log.error("job %s: its painter on the cluster is lost: %s", job.id, why)
            if tries == MOST_TRIES:
                message = (
                    f"job {job.id}: it lost {tries} painters of the cluster; try a smaller picture or another model"
                )
                await self._jobs.end(job, FAILED, Trouble("worker_lost", message))
                return
            job.restart()
            await asyncio.sleep(PAUSE_S)

    async def _follow(self, job: Job) -> None:
        """Pass on what a replica says; pictures that an earlier one has finished are not told again."""
        stream: DeploymentResponseGenerator = self._handle.paint.remote(job.id, job.spec, self._server)
        have = len(job.pictures)

        def stop() -> None:
            with suppress(RayError, RayServeException):  # it is over, or its replica is gone
                stream.cancel()

        job.stop = stop
        try:
            while True:
                async with asyncio.timeout(self._settings.stall_s):
                    message, blobs = await anext(stream)
                if message["event"] == "image" and have:
                    have -= 1
                elif await pass_on(self._jobs, job, message, blobs):
                    return
        finally:
            stop()


@contextmanager
def on_cluster(settings: ServeSettings) -> "Iterator[tuple[ServeSettings, partial[RayWorker]]]":
    """The settings with the number of workers, and what makes these, for a server whose jobs a cluster paints.

    Raises what `joined` and `application_for` raise, ResourceError where no replica comes up.
    """
    server = server_name()
    with joined(settings.cluster), present(server), application_for(settings, server) as name:
        handle = awaited(name)
        count = settings.workers or replicas(name)
        log.info("using %d painters of the cluster's application '%s'", count, name)
        yield replace(settings, workers=count), partial(RayWorker, server=server, handle=handle)
