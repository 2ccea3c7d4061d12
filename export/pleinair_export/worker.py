"""The process that `apart` starts: one task from standard input, its steps and its result on standard output."""

import os
import pickle
import signal
import sys
import threading
from typing import Any

from pleinair_export.apart import begun


def main() -> None:
    """Do the task; engines may print what they like, the answer's stream stays clean."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is meant for the process that waits, which then ends this one
    answer = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    task, arguments = pickle.load(sys.stdin.buffer)
    threading.Thread(target=end_with_parent, daemon=True).start()

    def tell(kind: str, value: Any) -> None:
        pickle.dump((kind, value), answer)
        answer.flush()

    steps = begun(task, arguments)
    try:
        while True:
            tell("step", next(steps))
    except StopIteration as end:
        tell("found", end.value)
    except Exception as error:
        tell("failed", portable(error))


def end_with_parent() -> None:
    """Wait for the end of standard input, which only the end of the other process brings about."""
    sys.stdin.buffer.read(1)
    os._exit(1)


def portable(error: Exception) -> Exception:
    """An error that can be sent: itself, or its words."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # an error's own constructor may do anything
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


if __name__ == "__main__":
    main()
