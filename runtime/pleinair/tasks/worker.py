"""A process that paints jobs of another one: `python -m pleinair.tasks.worker`, which `tasks/workers.py` starts.

A `WorkerSetup` and then `WorkerJob`s come in on standard input, what becomes of them goes out on standard output. It
ends when its input does, which is also when the process that started it dies: at once, but for a file that is being
written.
"""

import os
import pickle
import signal
import sys
import traceback
from queue import SimpleQueue
from threading import Lock, Thread
from typing import BinaryIO

from pleinair.errors import PleinairError, ResourceError
from pleinair.pipeline import Pipeline, load
from pleinair.system.cores import pin
from pleinair.system.machine import peak_rss_mb
from pleinair.tasks.worker_messages import JobFailed, JobPainted, StepDone, WorkerJob, WorkerSetup


def main() -> None:
    """Paint until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for the process that started this one
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # engines may print
    requests = sys.stdin.buffer
    setup: WorkerSetup = pickle.load(requests)
    pin(setup.cpus)
    jobs: SimpleQueue[WorkerJob] = SimpleQueue()
    writing = Lock()
    Thread(target=_listen, args=(requests, jobs, writing), daemon=True).start()
    pipe = None
    while True:
        job = jobs.get()
        try:
            pipe = pipe or _opened(setup)
            _paint(pipe, job, answers, writing)
        except (PleinairError, MemoryError) as error:
            _send(answers, JobFailed(error))
        except Exception:
            _send(answers, JobFailed(RuntimeError(f"in a worker: {traceback.format_exc()}")))


def _opened(setup: WorkerSetup) -> Pipeline:
    pipe = load(setup.bundle, **setup.how)
    pipe.engine_reason = setup.engine_reason
    return pipe


def _listen(requests: BinaryIO, jobs: "SimpleQueue[WorkerJob]", writing: Lock) -> None:
    """Take jobs in, and end the process with its input: what is being painted is of no use to anybody any more."""
    try:
        while True:
            jobs.put(pickle.load(requests))
    except (EOFError, OSError, pickle.UnpicklingError):
        with writing:
            os._exit(0)


def _paint(pipe: Pipeline, job: WorkerJob, answers: BinaryIO, writing: Lock) -> None:
    for frame in pipe.stream(job.prompt, job.negative, **job.options | {"seed": list(job.seeds)}):
        if frame.result is None:
            _send(answers, StepDone(frame.step, frame.steps))
            continue
        try:
            with writing:
                written = job.save(frame.result, list(job.files))
        except ResourceError as error:
            _send(answers, JobFailed(error, writing=True))
            return
        _send(answers, JobPainted(tuple(written), frame.result.without_pixels(), peak_rss_mb()))


def _send(answers: BinaryIO, message: object) -> None:
    pickle.dump(message, answers)
    answers.flush()


if __name__ == "__main__":
    main()
