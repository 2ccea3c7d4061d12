"""Work in a process of its own, which gives all its memory back when it ends; small work is done here.

A process takes a task and its arguments from its standard input, and tells of its steps and its result on its standard
output, all pickled. It ends when that input does, which is when this process does.
"""

import contextlib
import pickle
import subprocess
from collections.abc import Generator
from importlib import import_module
from typing import Any, NamedTuple

from pleinair.checks import one_line
from pleinair.engines.failures import out_of_memory
from pleinair.errors import ExportError, PleinairError, ResourceError
from pleinair.system.child import child
from pleinair_export.progress import ExportProgress

SMALL = 50_000_000  # parameters; up to here a second process takes longer to start than it is worth
MEMORY = "close other programs, or export on a machine with more memory"


class Task(NamedTuple):
    """A function that yields ExportProgress and returns what it found, imported where it is done."""

    module: str
    function: str


TASKS = {
    "convert": Task(module="pleinair_export.parts", function="convert_part"),
    "check": Task(module="pleinair_export.check", function="check_form"),
    "paint by torch": Task(module="pleinair_export.torch_picture", function="paint_by_torch"),
    "paint by engine": Task(module="pleinair_export.picture", function="paint_by_engine"),
}

TaskSteps = Generator[ExportProgress, None, Any]


def begun(task: str, arguments: tuple[Any, ...]) -> TaskSteps:
    """A task's own generator."""
    found = TASKS[task]
    return getattr(import_module(found.module), found.function)(*arguments)


def do(task: str, *arguments: Any, parameters: int) -> TaskSteps:
    """Do a task on a network of so many parameters; raises what it raises, and ResourceError where memory ends."""
    try:
        return (yield from (begun if parameters <= SMALL else begun_apart)(task, arguments))
    except PleinairError:
        raise
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        raise ResourceError(f"not enough memory to {task} ({one_line(error, 120)}); {MEMORY}") from error


def begun_apart(task: str, arguments: tuple[Any, ...]) -> TaskSteps:
    """The same, in a process of its own, which does not outlive this generator."""
    with child("pleinair_export.worker") as process:
        with contextlib.suppress(BrokenPipeError):  # it has ended, which is told of below
            pickle.dump((task, arguments), process.stdin)
            process.stdin.flush()
        while True:
            kind, value = received(process, task)
            if kind == "failed":
                raise value
            if kind == "found":
                return value
            yield value


def received(process: subprocess.Popen, task: str) -> tuple[str, Any]:
    """The next thing that a process tells; raises for one that has ended without a word."""
    try:
        return pickle.load(process.stdout)
    except (EOFError, pickle.UnpicklingError):
        code = process.wait()
    if code == -9:
        raise ResourceError(f"the system ended the process that was to {task}, most likely for memory; {MEMORY}")
    raise ExportError(f"the process that was to {task} ended with code {code}; {MEMORY}, or report it with the model")
