"""What a program owes those who start and stop it: streams that are there, and signals that are answered."""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from threading import Timer
from time import monotonic
from types import FrameType

import pleinair.cli.terminal as terminal  # `from pleinair` would import all that it shows
from pleinair.errors import EngineError

STOPPING = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")  # those that this system has
PATIENCE_S = 1.0  # a second Ctrl-C this soon is a nervous finger; later it is somebody who does not want to wait
QUIET_S = 0.3  # how long a terminal shows nothing
SHOW_CURSOR = "\r\033[?25h"  # progress bars hide it

Handler = Callable[[int, FrameType | None], None]


def run() -> None:
    """Run the command line in this process and exit with its code."""
    terminal.fill_streams()
    arguments, received = sys.argv[1:], []
    kept: list[object] = []  # open models, whose memory the system takes back in a moment

    def unwind(number: int, frame: FrameType | None) -> None:
        """End the command as an error does, so that files which are not complete are removed."""
        received.append(number)
        watch(leave_after(monotonic() + PATIENCE_S))
        raise KeyboardInterrupt

    try:
        with sign_of_life():
            from pleinair.cli.app import prepare
            from pleinair.cli.app import run as command

            prepare(arguments)
        watch(unwind)
        code = command(arguments, kept)
    except ModuleNotFoundError as error:  # in an environment that a program paints in
        if error.name not in ("typer", "rich"):
            raise
        words = f"the command line needs {error.name}, not installed; install with: pip install typer rich"
        code = terminal.complain(words, EngineError.exit_code, EngineError.__name__, "--json" in arguments)
    except KeyboardInterrupt:
        code = terminal.complain(terminal.INTERRUPTED, 128 + received[0], "Cancelled", "--json" in arguments)
    watch(signal.SIG_IGN)  # the work is done, and Python's own end is no place for exceptions
    if received:
        os._exit(128 + received[0])  # sys.exit would at times die of the signal again: Python remembers it
    if kept:  # the engines would take 0.3 s to give it back piece by piece
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def watch(handler: Handler | signal.Handlers) -> None:
    """Answer every signal that asks a program to stop, except those that whoever started it has switched off."""
    for name in STOPPING:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)


def leave(number: int, frame: FrameType | None) -> None:
    """End the process at once: there is nothing to tidy up yet, or nobody wants to wait for it."""
    code = 128 + number
    with contextlib.suppress(OSError, ValueError, AttributeError):
        start = SHOW_CURSOR if sys.stderr.isatty() else ""
        os.write(2, f"{start}pleinair: {terminal.INTERRUPTED}\n".encode())
        if "--json" in sys.argv:
            import json

            os.write(1, json.dumps(terminal.failure(terminal.INTERRUPTED, code, "Cancelled")).encode() + b"\n")
    os._exit(code)


def leave_after(moment: float) -> Handler:
    """A handler that does nothing until then, and leaves afterwards."""
    return lambda number, frame: leave(number, frame) if monotonic() > moment else None


@contextlib.contextmanager
def sign_of_life() -> Iterator[None]:
    """Say on a terminal that the program has begun, where that takes longer than QUIET_S."""
    if not sys.stderr.isatty():
        yield
        return
    timer = Timer(QUIET_S, terminal.sketch, ["starting ..."])
    timer.daemon = True
    timer.start()
    yield
    shown = timer.finished.is_set()
    timer.cancel()
    timer.join()
    if shown:
        terminal.erase("starting ...")
