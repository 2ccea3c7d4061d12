"""A server whose jobs are painted on a Ray cluster: the replicas of a Serve application instead of processes here."""

import asyncio
import logging
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial

from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import BackPressureError, RayServeException
from ray.serve.handle import DeploymentHandle, DeploymentResponseGenerator
from ray.serve.schema import ApplicationStatus, ApplicationStatusOverview

from pleinair.checks import one_line
from pleinair.cluster.joining import joined, machines
from pleinair.cluster.shares import shared_out
from pleinair.errors import ResourceError
from pleinair.serve.job import CANCELLED, FAILED, Job
from pleinair.serve.ray_painting import STALL, bound
from pleinair.serve.refusals import Trouble
from pleinair.serve.settings import ServeSettings
from pleinair.serve.supervising import Supervisor
from pleinair.serve.telling import pass_on, tell_bug

DECLARED = "pleinair"  # the application of a Serve config
RUNNING = "RUNNING"  # of a replica
MOST_TRIES = 3  # of one job
PAUSE_S = 0.5  # before a queue of Serve's that was full is asked again
DEPLOY_S = 120.0  # that replicas have to come up
SILENT = (TimeoutError, StopAsyncIteration)
STRANGE = (LookupError, TypeError, ValueError)  # what the words of another version come to
SHOWN = 300  # characters of what Ray says
log = logging.getLogger(__name__)


class RayWorker:
    """Stands for a painting process: hands over one job at a time to whichever replica is free."""

    held = 0  # bytes of this machine's memory

    def __init__(self, supervisor: Supervisor, number: int, *, handle: DeploymentHandle) -> None:
        self._jobs, self._settings = supervisor.jobs, supervisor.settings
        self._handle = handle.options(stream=True)

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
        stream: DeploymentResponseGenerator = self._handle.paint.remote(job.id, job.spec)
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

    The application that is declared there as "pleinair" paints, if there is one; otherwise an own one is deployed and
    deleted at the end. Raises what `joined` and `shared_out` raise, ResourceError where no replica comes up.
    """
    with joined(settings.cluster):
        declared = DECLARED in serve.status().applications
        name = DECLARED if declared else f"{DECLARED}-{socket.gethostname()}-{settings.port}"
        try:
            if not declared:
                deploy(name, settings)
            handle = awaited(name)
            count = settings.workers or replicas(name)
            log.info("using %d painters of the cluster's application '%s'", count, name)
            yield replace(settings, workers=count), partial(RayWorker, handle=handle)
        finally:
            if not declared:
                with suppress(RayError, RayServeException):
                    if set(serve.status().applications) - {name}:
                        serve.delete(name)
                    else:
                        serve.shutdown()


def deploy(name: str, settings: ServeSettings) -> None:
    """Have a new application started, with a replica for each worker."""
    share = shared_out(machines(), settings.workers or None, settings.loading.get("threads"))
    told = {**settings.loading, "threads": share.cpus, STALL: settings.stall_s}
    painter = bound(
        {"model": settings.model, **told},
        num_replicas=share.workers,
        ray_actor_options={"num_cpus": share.cpus},
    )
    serve.start(proxy_location="Disabled")
    target = serve.RunTarget(painter, name=name, route_prefix=None)
    serve.run_many([target], wait_for_applications_running=False)


def awaited(name: str) -> DeploymentHandle:
    """The handle of an application, when one of its replicas is up; others may come later, or come back."""
    until = time.monotonic() + DEPLOY_S
    while not running(state := serve.status().applications[name]):
        if state.status == ApplicationStatus.DEPLOY_FAILED or time.monotonic() > until:
            raise ResourceError(
                f"the cluster's painters do not start ({said_of(state)}); install pleinair and the model on all"
                " machines, or choose fewer --workers"
            )
        time.sleep(PAUSE_S / 5)
    return serve.get_app_handle(name)


def running(state: ApplicationStatusOverview) -> int:
    """How many replicas run."""
    return sum(each.replica_states.get(RUNNING, 0) for each in state.deployments.values())


def said_of(state: ApplicationStatusOverview) -> str:
    """What Ray says of an application that is not up."""
    said = [state.message, *(each.message for each in state.deployments.values())]
    return one_line(" ".join(filter(None, said)), SHOWN) or "no machine has room for them"


def replicas(name: str) -> int:
    """How many replicas paint, or will soon."""
    states = [each.replica_states for each in serve.status().applications[name].deployments.values()]
    return max(1, sum(sum(each.values()) for each in states))
