"""Applications of Ray Serve whose replicas paint: the one that is declared on a cluster, or one of a server's own.

A server's own has a name of its own and ends with it: the server deletes it, its replicas do where that is gone, and
so does the next server that comes. Serve itself stays, for others may be about to use it.
"""

import logging
import re
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import ApplicationStatus, ApplicationStatusOverview

from pleinair.checks import one_line
from pleinair.cluster.joining import machines
from pleinair.cluster.presence import is_present
from pleinair.cluster.shares import shared_out
from pleinair.errors import ResourceError
from pleinair.serve.ray_painting import STALL, bound
from pleinair.serve.settings import ServeSettings

DECLARED = "pleinair"  # the application of a Serve config
OWN = re.compile(r"pleinair-.*-[0-9a-f]{16}")
RUNNING = "RUNNING"  # of a replica
DEPLOY_S = 120.0  # that replicas have to come up
LOOK_S = 0.1  # between two looks at whether they have
STARTS = 3  # of Serve: of two programs that start it at once, one fails
SERVE_ERRORS = (RayError, RayServeException)
SHOWN = 300  # characters of what Ray says
log = logging.getLogger(__name__)


@contextmanager
def application_for(settings: ServeSettings, server: str) -> Iterator[str]:
    """The name of an application whose replicas paint a server's jobs, for a cluster that is joined.

    Raises what `shared_out` raises, and ResourceError where Serve fails.
    """
    if DECLARED in serve.status().applications:
        yield DECLARED
        return
    try:
        try:
            start()
            delete_orphans()
            deploy(server, settings)
        except SERVE_ERRORS as error:
            why = one_line(error, SHOWN)
            raise ResourceError(f"the cluster's Serve fails ({why}); start the server again") from None
        yield server
    finally:
        with suppress(*SERVE_ERRORS, TimeoutError):  # its replicas see to it then
            serve.delete(server)


def server_name() -> str:
    """A name that no other server of a cluster has, also for its application."""
    return f"{DECLARED}-{socket.gethostname()}-{secrets.token_hex(8)}"


def start() -> None:
    """Have Serve run on the cluster, without a proxy for HTTP."""
    for left in reversed(range(STARTS)):
        try:
            serve.start(proxy_location="Disabled")
            return
        except (ValueError, *SERVE_ERRORS):  # ValueError: another program has just started it
            if not left:
                raise
            time.sleep(LOOK_S)


def delete_orphans() -> None:
    """Delete the applications of servers that are gone."""
    for name, state in serve.status().applications.items():
        ended = state.status == ApplicationStatus.DELETING
        if OWN.fullmatch(name) and not (ended or is_present(name)):
            log.warning("deleting the cluster's application '%s', whose server is gone", name)
            serve.delete(name, _blocking=False)  # what it has not given back yet, new replicas wait for


def deploy(name: str, settings: ServeSettings) -> None:
    """Have a new application started, with a replica for each worker."""
    share = shared_out(machines(), settings.workers or None, settings.loading.get("threads"))
    told = {**settings.loading, "threads": share.cpus, STALL: settings.stall_s}
    painter = bound(
        {"model": settings.model, **told},
        server=name,
        num_replicas=share.workers,
        ray_actor_options={"num_cpus": share.cpus},
    )
    target = serve.RunTarget(painter, name=name, route_prefix=None)
    serve.run_many([target], wait_for_applications_running=False)


def awaited(name: str) -> DeploymentHandle:
    """The handle of an application, when one of its replicas is up; others may come later, or come back."""
    until = time.monotonic() + DEPLOY_S
    while True:
        state = serve.status().applications.get(name)
        if state is not None and running(state):
            return serve.get_app_handle(name)
        if state is None or state.status == ApplicationStatus.DEPLOY_FAILED or time.monotonic() > until:
            raise ResourceError(
                f"the cluster's painters do not start ({said_of(state)}); install pleinair and the model on all"
                " machines, or choose fewer --workers"
            )
        time.sleep(LOOK_S)


def running(state: ApplicationStatusOverview) -> int:
    """How many replicas run."""
    return sum(each.replica_states.get(RUNNING, 0) for each in state.deployments.values())


def said_of(state: ApplicationStatusOverview | None) -> str:
    """What Ray says of an application that is not up."""
    if state is None:
        return "their application was deleted"
    said = [state.message, *(each.message for each in state.deployments.values())]
    return one_line(" ".join(filter(None, said)), SHOWN) or "no machine has room for them"


def replicas(name: str) -> int:
    """How many replicas paint, or will soon."""
    states = [each.replica_states for each in serve.status().applications[name].deployments.values()]
    return max(1, sum(sum(each.values()) for each in states))
