"""Workers on the machines of a Ray cluster: an actor each, with the model open by itself.

They paint, and the program that has the list writes: a picture is written once, by whom the ledger belongs to, and a
job whose machine dies is painted again elsewhere. Lines are read as workers come free.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Self

import ray
from ray.exceptions import RayActorError, RayError

from pleinair.checks import one_line
from pleinair.cluster.models import SharedModel
from pleinair.cluster.shares import Share
from pleinair.errors import Cancelled, EngineError, PleinairError, ResourceError
from pleinair.pipeline import Pipeline
from pleinair.request.request import Request
from pleinair.tasks.ray_painter import Delivered, LinePainter
from pleinair.tasks.ray_starts import Starts
from pleinair.tasks.worker_messages import JobFailed, JobPainted, StepDone, WorkerJob
from pleinair.tasks.workers import LOOK_S, Answer, Feed, Item

MOST_TRIES = 3  # of one job
NO_ROOM_S = 300.0  # that no worker is open, after which nobody waits any more
ENDING_S = 10.0  # that what follows an actor has to see that it is gone
SHOWN = 300  # characters of what Ray says


class WorkerLost(RuntimeError):
    """An actor is gone, and what it was doing with it."""


class RaySeat:
    """One actor, from its start to its end: what it says comes as events (seat, message), None when it is open."""

    def __init__(self, model: SharedModel, how: dict[str, Any], share: Share, events: SimpleQueue) -> None:
        self.job: WorkerJob | None = None
        self.open = False
        self._events = events
        self._following: list[Thread] = []
        more = {"memory": share.memory} if share.memory else {}
        remote = ray.remote(num_cpus=share.cpus, max_restarts=0, scheduling_strategy="SPREAD", **more)(LinePainter)
        self._actor = remote.remote(model, how)
        self._begin(self._opened)

    def give(self, job: WorkerJob) -> None:
        """Have a job painted."""
        self.job = job
        self._begin(self._painted, job)

    def close(self) -> None:
        """End the actor, now."""
        ray.kill(self._actor)

    def wait(self) -> None:
        """Wait until nothing follows the closed actor any more: whoever asks a Ray that was left ends the process."""
        for each in self._following:
            each.join(ENDING_S)

    def _begin(self, follow: Callable[..., None], *arguments: Any) -> None:
        self._following = [each for each in self._following if each.is_alive()]
        self._following.append(Thread(target=self._follow, args=(follow, *arguments), daemon=True))
        self._following[-1].start()

    def _follow(self, follow: Callable[..., None], *arguments: Any) -> None:
        try:
            follow(*arguments)
        except RayError as error:
            self._say(not_imported(error) or WorkerLost(one_line(error, SHOWN)))
        except Exception as error:  # of a driver that is ending
            self._say(WorkerLost(one_line(repr(error), SHOWN)))

    def _opened(self) -> None:
        self._say(ray.get(self._actor.open.remote()))

    def _painted(self, job: WorkerJob) -> None:
        how = self._actor.paint.options(num_returns="streaming")
        for each in how.remote(job.prompt, job.negative, job.options, job.seeds):
            self._say(ray.get(each))

    def _say(self, message: Any) -> None:
        self._events.put((self, message))


class RayWorkers:
    """As `Workers`, on a cluster that is joined: `share` says how many there are, and what each has."""

    def __init__(
        self, model: SharedModel, how: dict[str, Any], share: Share, say: Callable[[str], None] | None = None
    ) -> None:
        self.peaks_mb: dict[int, float] = {}  # by worker, the most that its process has held
        self._model, self._how, self._share = model, how, share
        self._say = say or (lambda line: None)
        self._events: SimpleQueue[tuple[Any, Any]] = SimpleQueue()
        self._seats: list[RaySeat] = []
        self._left: list[RaySeat] = []  # whose actors are gone
        self._todo: deque[WorkerJob] = deque()
        self._tries: Counter[tuple[Path, ...]] = Counter()  # by the files of a job
        self._unable = 0  # places whose worker cannot open the model
        self._left_out = 0  # places whose worker does not start; they come back when the last worker is lost
        self._starts = Starts()
        self._since = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for seat in list(self._seats):
            self._leave(seat)
        for seat in self._left:
            seat.wait()

    def _leave(self, seat: RaySeat) -> None:
        self._seats.remove(seat)
        seat.close()
        self._left.append(seat)
        if seat.open and not self._seats:
            self._left_out = 0
            self._starts.forgive()

    def need(self, pipe: Pipeline, request: Request) -> int:
        """Bytes to wait for: none, for Ray finds the place of each worker, and its machine judges each job."""
        return 0

    def run(
        self,
        items: Iterable[Item],
        plan: Callable[[Item], Iterable[Any]],
        stop: Callable[[], bool] | None = None,
    ) -> Iterator[tuple[WorkerJob, Answer] | Any]:
        """Paint the jobs that `plan` makes of items, as `Workers.run` does; a job whose worker is lost is tried again.

        Raises ResourceError where no worker finds a place, EngineError where none starts, and what opening the model
        raises where none can.
        """
        feed = Feed(items, self._events)
        try:
            while True:
                self._hand_out()
                busy = sum(seat.job is not None for seat in self._seats)
                if len(self._todo) < self._places - busy:
                    feed.ask()
                if feed.ended and not self._todo and not busy:
                    return
                source, message = self._next(stop)
                if source is feed:
                    for each in (each for item in feed.took(message) for each in plan(item)):
                        if isinstance(each, WorkerJob):
                            self._todo.append(each)
                        else:
                            yield each
                elif source in self._seats:
                    yield from self._heard(source, message)
        finally:
            feed.close()

    def _hand_out(self) -> None:
        """Give jobs to workers that have none, and start as many as there are jobs left."""
        for seat in self._seats:
            if self._todo and seat.open and seat.job is None:
                seat.give(self._todo.popleft())
        starting = sum(not seat.open for seat in self._seats)
        places = self._places - len(self._seats)
        for _ in range(min(len(self._todo) - starting, places) if self._starts.may else 0):
            self._seats.append(RaySeat(self._model, self._how, self._share, self._events))
            self._starts.began(self._seats[-1])

    @property
    def _places(self) -> int:
        """How many workers there may be."""
        return self._share.workers - self._unable - self._left_out

    def _next(self, stop: Callable[[], bool] | None) -> tuple[Any, Any]:
        """Who says something, and what; (None, None) after a while of silence."""
        if stop is not None and stop():
            raise Cancelled("cancelled; only complete files were kept")
        if any(seat.open for seat in self._seats) or not self._seats:
            self._since = time.monotonic()
        elif time.monotonic() - self._since > NO_ROOM_S:
            raise ResourceError(
                f"no machine of the cluster has had room for a worker for {NO_ROOM_S:.0f} s; free some, let others"
                " join, and run it again: what is done is kept"
            )
        with suppress(Empty):
            return self._events.get(timeout=LOOK_S)
        return None, None

    def _heard(self, seat: RaySeat, message: Any) -> Iterator[tuple[WorkerJob, Answer]]:
        if not seat.open:
            self._begun(seat, message)
            return
        job = seat.job
        if job is None:  # it is lost when all that it was given is done
            self._leave(seat)
            return
        if isinstance(message, StepDone):
            yield job, message
            return
        seat.job = None
        if isinstance(message, WorkerLost):
            message = self._lost(seat, job, message)
            if message is None:
                return
        elif isinstance(message, Delivered):
            self.peaks_mb[id(seat)] = max(self.peaks_mb.get(id(seat), 0.0), message.peak_mb)
            message = written(job, message)
        if isinstance(message, JobFailed):
            self._todo = deque(each for each in self._todo if each.line != job.line)
        yield job, message

    def _begun(self, seat: RaySeat, message: JobFailed | WorkerLost | None) -> None:
        """A worker is open, or will not be."""
        if message is None:
            seat.open = True
            self._starts.succeeded(seat)
            return
        self._leave(seat)
        if isinstance(message, JobFailed):
            self._unable += 1
            if not self._places:
                raise message.error
            self._say(f"a worker is left out: {one_line(message.error, SHOWN)}")
        elif self._starts.failed(seat):
            if not self._seats:
                raise EngineError(
                    f"no worker starts on the cluster, after {self._starts.failures} rounds of tries ({message}); look"
                    " for the reason on its machines, and run it again: what is done is kept"
                )
            if missing := self._places - len(self._seats):
                self._left_out += missing
                self._say(f"no further workers are started, for the last ones did not come up: {message}")

    def _lost(self, seat: RaySeat, job: WorkerJob, why: WorkerLost) -> JobFailed | None:
        """Have a job tried again whose worker is gone; says so where it was often enough."""
        self._leave(seat)
        self._tries[job.files] += 1
        if self._tries[job.files] >= MOST_TRIES:
            return JobFailed(
                EngineError(f"{MOST_TRIES} workers ended while they painted it ({why}); choose a smaller size or batch")
            )
        self._say(f"a worker is gone, and line {job.line} is painted by another one")
        self._todo.appendleft(job)
        return None


def not_imported(error: RayError) -> JobFailed | None:
    """What a machine lacks where the actor's class cannot be imported; None for other errors."""
    if not isinstance(error, RayActorError) or not error.actor_init_failed:
        return None
    why = one_line(str(error).strip().splitlines()[-1], SHOWN)
    return JobFailed(EngineError(f"a machine cannot import the worker ({why}); install pleinair on all machines"))


def written(job: WorkerJob, answer: Delivered) -> JobPainted | JobFailed:
    """The pictures of a job in their files."""
    try:
        files = job.save(answer.result, list(job.files))
    except PleinairError as error:
        return JobFailed(error, writing=isinstance(error, ResourceError))
    return JobPainted(tuple(files), answer.result.without_pixels(), answer.peak_mb)
