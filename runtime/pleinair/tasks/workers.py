"""Processes that paint side by side, each with the model open by itself and on cores of its own.

They are started one by one as there is work for them, and end with the block that has them, whatever ends it. One that
dies costs its job, and another takes its place; where none paints anything any more, they are given up.
"""

import pickle
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from queue import Empty, SimpleQueue
from threading import Semaphore, Thread
from types import TracebackType
from typing import Any, Self, TypeVar

from pleinair.errors import Cancelled, EngineError
from pleinair.files.output import clear_unfinished
from pleinair.pipeline import Pipeline
from pleinair.request.request import Request
from pleinair.system.child import child
from pleinair.tasks.worker_messages import JobFailed, JobPainted, StepDone, WorkerJob, WorkerSetup

MODULE = "pleinair.tasks.worker"
LOOK_S = 0.2  # how often a caller's wish to stop is asked for
PATIENCE_S = 3.0  # for a file that is being written, until a worker is killed
MOST_DEATHS = 3  # in a row

Item = TypeVar("Item")
Answer = StepDone | JobPainted | JobFailed


class Seat:
    """The place of one worker: its process while there is one, and what that is doing.

    `claim` is the most memory that a job of this process was predicted to take, in bytes.
    """

    def __init__(self, setup: WorkerSetup, events: "SimpleQueue[tuple[Any, Any]]") -> None:
        self.job: WorkerJob | None = None
        self.claim = 0.0
        self._setup = setup
        self._events = events
        self._held = ExitStack()
        self._process: subprocess.Popen | None = None

    def give(self, job: WorkerJob) -> None:
        """Have a job painted, in a new process if need be."""
        self.job, self.claim = job, max(self.claim, job.memory)
        if self._process is None:
            self._process = self._held.enter_context(child(MODULE))
            Thread(target=self._listen, args=(self._process,), daemon=True).start()
            self._tell(self._setup)
        self._tell(job)

    def close(self) -> None:
        """Let the process end by itself, now."""
        if self._process is not None:
            with suppress(OSError):
                self._process.stdin.close()

    def leave(self) -> int | None:
        """Wait for the end of the process, and end it where that takes too long; returns its exit code."""
        process, self._process, self.claim = self._process, None, 0.0
        if process is None:
            return None
        self._end(process)
        self._held.close()
        return process.returncode

    def _end(self, process: subprocess.Popen) -> None:
        with suppress(OSError):
            process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE_S)

    def is_of(self, process: subprocess.Popen) -> bool:
        """Whether this is its process now."""
        return self._process is process

    def _tell(self, message: WorkerSetup | WorkerJob) -> None:
        with suppress(OSError):  # of a process that has died, which its output tells
            pickle.dump(message, self._process.stdin)
            self._process.stdin.flush()

    def _listen(self, process: subprocess.Popen) -> None:
        """Pass on what the process says, and None when it has said all."""
        with suppress(Exception):  # half an answer of a process that was killed can be anything
            while True:
                self._events.put((self, (process, pickle.load(process.stdout))))
        self._events.put((self, (process, None)))


class Feed:
    """Things that are read on a thread of its own, one at a time and only when asked: reading may have to wait."""

    def __init__(self, items: Iterable[Item], events: "SimpleQueue[tuple[Any, Any]]") -> None:
        self.ended = False
        self._asked = Semaphore(0)
        self._waiting = False
        self._items = iter(items)
        self._events = events
        Thread(target=self._read, daemon=True).start()

    def ask(self) -> None:
        """Have the next one read, unless that is going on."""
        if not self._waiting and not self.ended:
            self._waiting = True
            self._asked.release()

    def close(self) -> None:
        """Read nothing more."""
        self.ended = True
        self._asked.release()

    def took(self, found: tuple[Any, BaseException | None]) -> Iterator[Any]:
        """What an event holds: a thing or none, as that was the last; raises what reading it raised."""
        self._waiting = False
        item, error = found
        if isinstance(error, StopIteration):
            self.ended = True
        elif error is not None:
            raise error
        else:
            yield item

    def _read(self) -> None:
        while True:
            self._asked.acquire()
            if self.ended:
                return
            try:
                self._events.put((self, (next(self._items), None)))
            except BaseException as error:
                self._events.put((self, (None, error)))
                return


class Workers:
    """Some processes that paint, as a context; `room` is the memory that they may hold in all, None for any."""

    def __init__(self, setups: Sequence[WorkerSetup], room: float | None = None) -> None:
        self.peaks_mb: dict[int, float] = {}  # by worker, the most that its process has held
        self._events: SimpleQueue[tuple[Any, Any]] = SimpleQueue()
        self._seats = [Seat(setup, self._events) for setup in setups]
        self._room = room
        self._memory = setups[0].how.get("memory")
        self._todo: deque[WorkerJob] = deque()
        self._deaths = 0
        self._cut: list[WorkerJob] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cut += [seat.job for seat in self._seats if seat.job]
        for seat in self._seats:
            seat.close()
        for seat in self._seats:
            seat.leave()
        for file in {file for job in self._cut for file in job.files}:  # when nobody writes there any more
            clear_unfinished(file)

    def need(self, pipe: Pipeline, request: Request) -> int:
        """Bytes that a worker is predicted to hold for a request; 0 where nobody asks."""
        return 0 if self._room is None else pipe.memory_needed(request, memory=self._memory)

    def run(
        self,
        items: Iterable[Item],
        plan: Callable[[Item], Iterable[Any]],
        stop: Callable[[], bool] | None = None,
    ) -> Iterator[tuple[WorkerJob, Answer] | Any]:
        """Paint the jobs that `plan` makes of items; yields what the workers say of each, and all else that it makes.

        Items are read when a worker is free. After a failure no other job of the same line is begun. Raises Cancelled
        where `stop` says so, EngineError where workers die one after the other.
        """
        feed = Feed(items, self._events)
        try:
            while True:
                self._hand_out()
                if not self._todo and any(seat.job is None for seat in self._seats):
                    feed.ask()
                if feed.ended and not self._todo and all(seat.job is None for seat in self._seats):
                    return
                source, message = self._next(stop)
                if source is feed:
                    yield from self._taken(each for item in feed.took(message) for each in plan(item))
                elif source.is_of(message[0]):
                    yield from self._heard(source, message[1])
        finally:
            feed.close()

    def _taken(self, planned: Iterable[Any]) -> Iterator[Any]:
        """Put jobs in the queue; what are none."""
        for each in planned:
            if isinstance(each, WorkerJob):
                self._todo.append(each)
            else:
                yield each

    def _next(self, stop: Callable[[], bool] | None) -> tuple[Any, Any]:
        while True:
            if stop is not None and stop():
                raise Cancelled("cancelled; only complete files were kept")
            with suppress(Empty):
                return self._events.get(timeout=LOOK_S)

    def _hand_out(self) -> None:
        """Give jobs to workers that have none, as far as memory goes."""
        for seat in self._seats:
            if not self._todo:
                return
            if seat.job is not None:
                continue
            if not self._fits(seat, self._todo[0]):
                if any(each.job for each in self._seats):
                    return
                for each in self._seats:
                    each.leave()
            seat.give(self._todo.popleft())

    def _fits(self, seat: Seat, job: WorkerJob) -> bool:
        others = sum(each.claim for each in self._seats if each is not seat)
        return self._room is None or others + max(seat.claim, job.memory) <= self._room

    def _heard(self, seat: Seat, answer: Answer | None) -> Iterator[tuple[WorkerJob, Answer]]:
        job = seat.job
        if job is None:  # it has died when there was nothing to do
            seat.leave()
            return
        if isinstance(answer, StepDone):
            yield job, answer
            return
        if isinstance(answer, JobPainted):
            place = self._seats.index(seat)
            self.peaks_mb[place] = max(self.peaks_mb.get(place, 0.0), answer.peak_mb)
            self._deaths = 0
        elif answer is None:
            answer = self._died(seat)
        if isinstance(answer, JobFailed):
            self._todo = deque(each for each in self._todo if each.line != job.line)
        seat.job = None
        yield job, answer

    def _died(self, seat: Seat) -> JobFailed:
        """What became of the job of a worker that has ended by itself."""
        self._cut.append(seat.job)
        how = ending(seat.leave())
        self._deaths += 1
        if self._deaths >= MOST_DEATHS:
            raise EngineError(f"{self._deaths} workers in a row ended while they painted ({how}); leave --workers out")
        words = f"the worker that painted it ended ({how}); close other programs, or choose fewer --workers"
        return JobFailed(EngineError(words))


def ending(code: int | None) -> str:
    """How a process has ended, in words: by a signal's name or with a code."""
    with suppress(ValueError):
        if code is not None and code < 0 and sys.platform != "win32":
            return signal.Signals(-code).name
    return f"exit code {code}"
