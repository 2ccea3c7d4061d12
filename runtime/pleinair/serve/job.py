"""A job: what it is asked for, where it is, and its numbered events, which any number of listeners follow."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from typing import Any

from pleinair.serve.counts import OWN
from pleinair.serve.refusals import Trouble

QUEUED, LOADING, PAINTING = "queued", "loading", "painting"
DONE, FAILED, CANCELLED = "done", "failed", "cancelled"
ENDED = (DONE, FAILED, CANCELLED)
REPLACED = ("step", QUEUED)  # kinds of events of which the last alone is kept: it says all that those before it did


@dataclass(frozen=True)
class JobSpec:
    """What a job is asked for, checked.

    `options` are JSON values that name models and files as the index does; where one is a picture, `pictures` has its
    bytes: "image", "mask", "controls.0". `work` is pixels x steps of all its pictures. A job that is `kept` outlives
    the connection that asked for it, and a restart.
    """

    task: str
    model: str
    options: dict[str, Any]
    pictures: dict[str, bytes] = field(default_factory=dict, repr=False)
    work: int = 1
    kept: bool = True

    @property
    def prompts(self) -> list[str]:
        """What it paints: one prompt, the prompts of a morph, or none."""
        morph = self.options.get("morph")
        if morph:
            return morph["prompts"]
        return [self.options["prompt"]] if "prompt" in self.options else []


@dataclass(frozen=True)
class FinishedPicture:
    """A finished picture as PNG, which holds its `settings` where there are any."""

    data: bytes = field(repr=False)
    seed: int | None
    width: int
    height: int
    settings: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class Event:
    """Something that happened to a job; numbers begin at 1 and rise."""

    number: int
    kind: str
    data: dict[str, Any]


class Job:
    """One job, which belongs to the event loop's thread."""

    def __init__(self, spec: JobSpec, id: str | None = None, attempts: int = 0, interface: str = OWN) -> None:
        self.id = id or secrets.token_hex(16)
        self.spec = spec
        self.interface = interface  # that it was asked for by
        self.key: str | None = None  # of idempotency
        self.waiters = 0  # clients that hold their connection until it ends
        self.status = QUEUED
        self.attempts = attempts  # times that it was begun
        self.created = time.time()  # of the wall clock, for people; what is reckoned with is monotonic
        self.started: float | None = None
        self.finished: float | None = None
        self.began = 0.0
        self.ended = 0.0
        self.step = self.steps = 0
        self.pictures: list[FinishedPicture] = []
        self.warnings: list[str] = []
        self.trouble: Trouble | None = None
        self.cancelling = False
        self.stop: Callable[[], None] | None = None  # set by what paints it
        self.events: list[Event] = []
        self._told = 0
        self._first_step: tuple[float, int] | None = None
        self._listeners: set[asyncio.Event] = set()

    @property
    def size(self) -> int:
        """Bytes that it holds."""
        return sum(len(each.data) for each in self.pictures) + sum(map(len, self.spec.pictures.values()))

    @property
    def eta_s(self) -> float | None:
        """Seconds that are left, by the steps so far; None before the second."""
        if self.status != PAINTING or self._first_step is None or self.step <= self._first_step[1]:
            return None
        since, first = self._first_step
        return round((time.monotonic() - since) / (self.step - first) * (self.steps - self.step), 1)

    def begin(self) -> None:
        """It is taken out of the queue."""
        self.status, self.started, self.began = LOADING, time.time(), time.monotonic()
        self.attempts += 1

    def load(self, what: str) -> None:
        """A part of a model is loaded."""
        self.tell(LOADING, what=what)

    def advance(self, step: int, steps: int, **more: Any) -> None:
        """A step is done."""
        self.status, self.step, self.steps = PAINTING, step, steps
        if self._first_step is None:
            self._first_step = time.monotonic(), step
        self.tell("step", step=step, steps=steps, eta_s=self.eta_s, **more)

    def add(self, picture: FinishedPicture) -> None:
        """A picture is finished."""
        self.pictures.append(picture)
        self.tell("image", index=len(self.pictures) - 1, seed=picture.seed)

    def warn(self, message: str) -> None:
        """Something runs otherwise than was asked for."""
        if message not in self.warnings:
            self.warnings.append(message)
            self.tell("warning", message=message)

    def end(self, status: str, trouble: Trouble | None = None) -> None:
        """It is over; nothing of what it was made of is kept."""
        self.status, self.trouble, self.stop = status, trouble, None
        self.finished, self.ended = time.time(), time.monotonic()
        self.spec = replace(self.spec, pictures={})
        self.tell(status)

    def restart(self) -> None:
        """What painted it is gone, and another one begins; pictures that are finished stay."""
        self.status, self.step, self._first_step = LOADING, 0, None

    def requeue(self) -> None:
        """What painted it is gone, and it waits again; nothing of what there was of it counts."""
        self.status, self.started, self.stop, self._first_step = QUEUED, None, None, None
        self.attempts -= 1
        self.step, self.pictures = 0, []
        self.events = [each for each in self.events if each.kind != "image"]

    def tell(self, kind: str, **data: Any) -> None:
        """Add an event, and wake everybody who listens."""
        self._told += 1
        if kind in REPLACED:
            self.events = [each for each in self.events if each.kind != kind]
        self.events.append(Event(self._told, kind, data))
        for listener in self._listeners:
            listener.set()

    async def follow(self, after: int = 0, patience: float | None = None) -> AsyncIterator[Event | None]:
        """Events with higher numbers than `after`, to the last; None after each `patience` seconds without one.

        A number that this job has not come to is of a server before this one, and stands for the beginning.
        """
        after = 0 if after > self._told else after
        news = asyncio.Event()
        self._listeners.add(news)
        try:
            while True:
                news.clear()
                for event in [each for each in self.events if each.number > after]:
                    after = event.number
                    yield event
                if self.status in ENDED and after >= self._told:
                    return
                try:
                    async with asyncio.timeout(patience):  # wait_for of Python 3.11 can lose a cancellation
                        await news.wait()
                except TimeoutError:
                    yield None
        finally:
            self._listeners.discard(news)

    async def over(self) -> None:
        """Wait for its end."""
        async for _ in self.follow(self._told):
            pass
