"""A thread that paints what is put into its queue, for a program that has something else to do.

The pipeline is opened once, in that thread. A job that waits is cancelled at once, one that runs before the next step.
"""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field

import pleinair


@dataclass(frozen=True)
class Job:
    """What is to be painted; `result` is there when it is, or raises why not."""

    prompt: str
    options: dict[str, object]
    future: Future[pleinair.Result] = field(default_factory=Future)
    stopped: threading.Event = field(default_factory=threading.Event)

    def result(self, timeout: float | None = None) -> pleinair.Result:
        """Wait for the pictures; raises CancelledError, TimeoutError, or what `Pipeline.generate` raises."""
        return self.future.result(timeout)

    def cancel(self) -> None:
        """Do not paint it, or stop painting it."""
        self.stopped.set()
        self.future.cancel()


class Worker:
    """`submit` returns at once; a `with` paints what waits, and then ends the thread."""

    def __init__(self, load: Callable[[], pleinair.Pipeline] = pleinair.load, most: int = 16) -> None:
        self._load = load
        self._waiting: queue.Queue[Job | None] = queue.Queue(most)
        self._thread = threading.Thread(target=self._work, name="painting")
        self._thread.start()

    def submit(self, prompt: str, **options: object) -> Job:
        """Put a job behind those that wait; raises queue.Full where there are too many."""
        job = Job(prompt, options)
        self._waiting.put_nowait(job)
        return job

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        pipe = None
        while job := self._waiting.get():
            if not job.future.set_running_or_notify_cancel():
                continue
            try:
                pipe = pipe or self._load()
                result = pipe.generate(job.prompt, stop=job.stopped.is_set, **job.options)
            except pleinair.Cancelled:
                job.future.set_exception(CancelledError())
            except Exception as error:  # also what nobody thought of: who waits for the job must hear of it
                job.future.set_exception(error)
            else:
                job.future.set_result(result)


if __name__ == "__main__":
    with Worker() as worker:
        jobs = [worker.submit(f"a {colour} house", seed=7) for colour in ("red", "blue", "yellow")]
        jobs[1].cancel()
        for number, each in enumerate(jobs, 1):
            try:
                print(*each.result().save(f"house-{number}.png"))
            except (CancelledError, pleinair.PleinairError) as problem:
                print(f"house-{number}.png:", problem or "cancelled")
