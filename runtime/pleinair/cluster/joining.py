"""A Ray cluster: joined for a while, and the machines that are in it."""

import os
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import current_thread, main_thread
from typing import Any

from pleinair.checks import one_line
from pleinair.errors import RequestError, ResourceError
from pleinair.system import install

AUTO = "auto"  # the cluster that this machine has joined
ADDRESS = re.compile(r"(\[[0-9a-fA-F:]+\]|[\w.-]+):(\d{1,5})")
TAKEN = ("SIGTERM", "SIGBREAK")
SILENCE = {  # else it reports to its makers, and writes of lost machines into stdout
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_SERVE_LOG_TO_STDERR": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".*",
}
CONNECT_S = 5.0
REMEDY = "start one with: ray start --head, and join it on this machine with: ray start --address HOST:6379"
SHOWN = 300  # characters of what Ray says


@dataclass(frozen=True)
class Machine:
    """What a machine of the cluster lends to painting: CPUs as Ray counts them, and bytes of memory."""

    cpus: int
    memory: float


@contextmanager
def joined(address: str) -> Iterator[None]:
    """Be a driver of the cluster at "auto" or HOST:PORT; one that the program has joined already is left as it is.

    Raises RequestError for what is no address, ResourceError where no cluster answers, EngineError without Ray.
    """
    check_address(address)
    quieten()
    import ray

    if ray.is_initialized():
        yield
        return
    try:
        with signals_kept():
            ray.init(address, namespace="pleinair", log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise ResourceError(f"{unreached(address)} ({one_line(error, SHOWN)}); {REMEDY}") from None
    try:
        yield
    finally:
        ray.shutdown()


def quieten() -> None:
    """Have Ray report to nobody, and not write into this process's streams; for the time before it is imported."""
    for name, value in SILENCE.items():
        os.environ.setdefault(name, value)


@contextmanager
def signals_kept() -> Iterator[None]:
    """Undo what Ray does to signals, which belong to the program."""
    before = {name: signal.getsignal(getattr(signal, name)) for name in TAKEN if hasattr(signal, name)}
    try:
        yield
    finally:
        if current_thread() is main_thread():
            for name, handler in before.items():
                if handler is not None:  # one that Python has not set
                    signal.signal(getattr(signal, name), handler)


def unreached(address: str) -> str:
    return "this machine has joined no Ray cluster" if address == AUTO else f"no Ray cluster answers at {address}"


def check_address(address: str) -> None:
    """Raise RequestError for what is no address, ResourceError where nobody listens, EngineError without Ray."""
    install.need("Ray")
    if address == AUTO:
        return
    found = ADDRESS.fullmatch(address)
    if not found or int(found[2]) > 65535:
        raise RequestError(f"'{one_line(address, 80)}' is not the address of a Ray cluster; write auto, or HOST:PORT")
    try:  # Ray itself would try for minutes
        socket.create_connection((found[1].strip("[]"), int(found[2])), CONNECT_S).close()
    except OSError as error:
        raise ResourceError(f"{unreached(address)} ({error.strerror or error}); {REMEDY}") from None


def machines() -> list[Machine]:
    """The machines of the joined cluster that lend CPUs."""
    import ray

    alive: list[dict[str, Any]] = [each["Resources"] for each in ray.nodes() if each["Alive"]]
    return [Machine(int(each["CPU"]), each.get("memory", 0.0)) for each in alive if each.get("CPU", 0) >= 1]
