"""Painting from asyncio: each job works in a thread of its own, leaves the event loop free, and ends with its task."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any, Protocol, Self, TypeVar

from pleinair.results import Frame, Result

Answer = TypeVar("Answer")


class Painter(Protocol):
    """What paints: a `Pipeline`."""

    def generate(self, prompt: str, negative: str | None = None, **options: Any) -> Result:
        """Make pictures."""

    def stream(self, prompt: str, negative: str | None = None, **options: Any) -> Generator[Frame, None, None]:
        """Make pictures step by step."""


class JobThread:
    """A thread that one job works in from its first call to its last, and the options that let it be stopped."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._cancelled = Event()
        self._asked = options.get("stop")
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="pleinair")
        refused = self._asked is not None and not callable(self._asked)
        self.options = options if refused else {**options, "stop": self._stop}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown()

    def _stop(self) -> bool:
        return self._cancelled.is_set() or (self._asked is not None and self._asked())

    async def do(self, work: Callable[..., Answer], *arguments: Any) -> Answer:
        """`work(*arguments)` in the thread; where the task is cancelled, tell the job to stop and wait until it has."""
        working = asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)
        cancelled = None
        while not working.done():
            try:
                await asyncio.wait([working])
            except asyncio.CancelledError as error:
                self._cancelled.set()
                cancelled = error
        if cancelled:
            working.exception()  # asyncio complains about errors that nobody has looked at
            raise cancelled
        return working.result()


async def agenerate(pipe: Painter, prompt: str, negative: str | None = None, **options: Any) -> Result:
    """Make pictures as `pipe.generate` does, without blocking the event loop; several at once are tasks side by side.

    A task that is cancelled ends when the network that is being asked has answered, so within a step; nothing of its
    job goes on after that, and the pipeline can be used again. Raises what `generate` raises.
    """
    with JobThread(options) as job:
        return await job.do(lambda: pipe.generate(prompt, negative, **job.options))


async def astream(
    pipe: Painter, prompt: str, negative: str | None = None, **options: Any
) -> AsyncGenerator[Frame, None]:
    """Make pictures step by step as `pipe.stream` does, without blocking the event loop; cancelled as `agenerate` is.

    A step is computed while its frame is awaited: after the loop over the frames is left, none is. Raises what
    `generate` raises, at the first frame.
    """
    with JobThread(options) as job:
        frames = await job.do(lambda: pipe.stream(prompt, negative, **job.options))
        try:
            while frame := await job.do(next, frames, None):
                yield frame
        finally:
            await job.do(frames.close)
