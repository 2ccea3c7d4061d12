"""A server from its start to its end: a socket, an application, painting processes, and signals that are answered."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from pleinair.checks import one_line, shown_path
from pleinair.cluster.joining import check_address, quieten
from pleinair.errors import RequestError, ResourceError
from pleinair.serve.app import build
from pleinair.serve.guards import is_address
from pleinair.serve.jobs import Jobs
from pleinair.serve.naming import Index
from pleinair.serve.protocol import bounded
from pleinair.serve.refusals import Refused
from pleinair.serve.settings import ServeSettings
from pleinair.serve.supervising import Supervisor
from pleinair.system.hiding import hide_memory
from pleinair.system.locks import only_one

STOPPING = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
BACKLOG = 128
STREAMS_S = 1  # that open streams have to end
LEAST_KEY = 16  # characters
log = logging.getLogger(__name__)


class Server(uvicorn.Server):
    """uvicorn's, which leaves signals to whoever runs it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def check(settings: ServeSettings) -> None:
    """Raise RequestError for settings that no server should have."""
    if settings.key is not None and len(settings.key) < LEAST_KEY:
        raise RequestError(f"an API key needs at least {LEAST_KEY} characters; make one with: openssl rand -hex 16")
    if settings.key is not None and not (settings.key.isascii() and settings.key.isprintable()):
        raise RequestError("an API key must be ASCII letters and digits; make one with: openssl rand -hex 16")
    if settings.key is None and not is_loopback(settings.host):
        raise RequestError(
            f"'{settings.host}' can be reached from other machines; give a key with --api-key-file or PLEINAIR_API_KEY,"
            " or leave --host out"
        )


def is_loopback(host: str) -> bool:
    """Whether a host is this machine alone."""
    if host == "localhost":
        return True
    return is_address(host) and (host.startswith("127.") or host == "::1")


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens; ResourceError where the port is taken or the address is another machine's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # or asyncio does not set TCP_NODELAY
    try:
        if os.name == "posix":
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
        found.listen(BACKLOG)
    except (OSError, OverflowError, TypeError) as error:  # TypeError is for what no name can be
        found.close()
        raise ResourceError(
            f"cannot listen on {one_line(host, 80)}:{port} ({error}); choose another --port or --host"
        ) from None
    return found


async def serve(settings: ServeSettings, ready: Callable[[str], None]) -> None:
    """Serve until a signal says that it is enough; `ready` is told the address."""
    check(settings)
    if settings.key is not None:
        hide_memory()  # from painting processes, which run strangers' graphs
    index = await asyncio.to_thread(Index, settings.model)
    place = listening(settings.host, settings.port)
    with alone_with(settings.journal), painters(settings) as (settings, worker):
        jobs = Jobs(settings)
        try:
            await jobs.open()
        except Refused as error:
            raise ResourceError(str(error)) from None
        await run(settings, build(settings, jobs, index), jobs, place, ready, worker)


def painters(settings: ServeSettings) -> contextlib.AbstractContextManager[tuple[ServeSettings, Any]]:
    """The settings, and what makes workers of a `Supervisor`: None for processes of this machine."""
    if settings.cluster is None:
        return contextlib.nullcontext((settings, None))
    check_address(settings.cluster)
    quieten()
    from pleinair.serve.ray_painters import on_cluster

    return on_cluster(settings)


async def run(
    settings: ServeSettings,
    app: ASGIApp,
    jobs: Jobs,
    place: socket.socket,
    ready: Callable[[str], None],
    worker: Callable[[Supervisor, int], Any] | None = None,
) -> None:
    """Serve an application on a socket, and paint its jobs."""
    limits = settings.limits
    config = uvicorn.Config(
        app,
        http=bounded(limits),
        h11_max_incomplete_event_size=limits.head,
        timeout_keep_alive=int(limits.head_s),
        timeout_graceful_shutdown=STREAMS_S,
        log_config=None,
        access_log=False,
        server_header=False,
        ws="none",
    )
    server, supervisor, told = Server(config), Supervisor(settings, jobs, worker), asyncio.Event()
    with answering(told):
        supervisor.start()
        running = asyncio.create_task(server.serve(sockets=[place]))
        ready(address(place, settings.host))
        stop = asyncio.create_task(told.wait())
        await asyncio.wait({running, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        await supervisor.close(settings.grace_s)
        server.should_exit = True
        await running


@contextlib.contextmanager
def alone_with(journal: Path | None) -> Iterator[None]:
    """Hold a journal, for two servers would paint its jobs twice; ResourceError where another one does."""
    if journal is None:
        yield
        return
    journal.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    busy = "another server uses the same journal of jobs; choose another --port, or serve with --no-journal"
    with only_one(journal.with_suffix(".lock"), busy):
        yield


@contextlib.contextmanager
def answering(told: asyncio.Event) -> Iterator[None]:
    """The first signal asks for an end; the second one is the end. Those that are ignored (`nohup`) stay so."""
    loop, before = asyncio.get_running_loop(), {}

    def heard(number: int, frame: object) -> None:
        if told.is_set():
            os._exit(128 + number)
        loop.call_soon_threadsafe(told.set)

    for name in STOPPING:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            before[number] = signal.signal(number, heard)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def address(place: socket.socket, host: str) -> str:
    """Where a browser finds the page."""
    port = place.getsockname()[1]
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{shown}]:{port}/" if ":" in shown else f"http://{shown}:{port}/"


def read_key(file: str | os.PathLike) -> str:
    """The first line of a file."""
    try:
        with Path(file).open(encoding="utf-8") as stream:
            return stream.readline().strip()
    except OSError as error:
        raise RequestError(
            f"cannot read the key in '{shown_path(file)}' ({error.strerror}); check --api-key-file"
        ) from None
    except UnicodeDecodeError:
        raise RequestError(f"the key in '{shown_path(file)}' is not text in UTF-8; check --api-key-file") from None
