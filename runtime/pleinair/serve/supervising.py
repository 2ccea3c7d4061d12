"""Painting processes: started, given jobs, watched, and started again when they crash or hang."""

import asyncio
import logging
import os
import re
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from pleinair.checks import one_line
from pleinair.serve import wire
from pleinair.serve.job import CANCELLED, FAILED, Job
from pleinair.serve.jobs import Jobs
from pleinair.serve.refusals import Trouble, told
from pleinair.serve.settings import KEY, ServeSettings
from pleinair.serve.telling import pass_on, tell_bug
from pleinair.system.limits import room_left

MODULE = "pleinair.serve.painting"
START_S = 120.0  # that a process may take to import what paints
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 60.0  # before a process is started that has crashed
MANY_FAILURES = 3  # to start, after which no further jobs are taken
CANCEL_S = 10.0  # that a process has to answer when its job is cancelled, or twice as long as it was ever silent in it
DYING_S = 5.0  # that a process has to end when its pipes are closed
MOST_SAID = 64 << 10  # bytes that are kept of what a process prints before it is ready
LOOK_S = 0.2  # between two looks at the memory that is left
ANON = re.compile(r"^RssAnon:\s*(\d+) kB", re.M)
log = logging.getLogger(__name__)


class Lost(Exception):
    """A painting process is gone, or has to be."""


class Supervisor:
    """As many painting processes as the settings say, and the memory that their jobs are promised.

    `worker(supervisor, number)` makes what stands for a process where it paints elsewhere: `run()` and `end()`.
    """

    def __init__(
        self, settings: ServeSettings, jobs: Jobs, worker: "Callable[[Supervisor, int], Any] | None" = None
    ) -> None:
        self.settings, self.jobs = settings, jobs
        make = worker or Worker
        self.workers = [make(self, number) for number in range(settings.workers)]
        self._tasks: list[asyncio.Task] = []
        self._promised: dict[Worker, int] = {}
        jobs.held = self.held

    def held(self) -> list[int]:
        """Bytes of anonymous memory of each process."""
        return [worker.held for worker in self.workers]

    def start(self) -> None:
        """Begin to paint what is in the queue."""
        self._tasks = [asyncio.create_task(worker.run()) for worker in self.workers]

    async def close(self, grace_s: float) -> None:
        """Let running jobs end for some seconds; those that have not go back into the queue, and processes end."""
        self.jobs.close()
        running = [asyncio.ensure_future(job.over()) for job in self.jobs.running.values()]
        if running:
            log.info("%d running jobs have %g s to finish", len(running), grace_s)
            await asyncio.wait(running, timeout=grace_s)
        for task in (*running, *self._tasks):
            task.cancel()
        await asyncio.gather(*running, *self._tasks, return_exceptions=True)
        for worker in self.workers:
            await worker.end()
        await self.jobs.put_down()

    async def admit(self, worker: "Worker", job: Job, need: int) -> None:
        """Wait until a job's memory is there beside what other running jobs were promised and do not hold yet.

        Alone it is not held up: its own process refuses what does not fit, before anything is loaded.
        """
        while not (job.cancelling or self._fits(worker, need)):
            await asyncio.sleep(LOOK_S)
        self._promised[worker] = need

    def free(self, worker: "Worker") -> None:
        """A worker's job is over."""
        self._promised.pop(worker, None)

    def _fits(self, worker: "Worker", need: int) -> bool:
        left = room_left().memory
        if not self._promised or left is None:
            return True
        owed = sum(max(0, bytes - other.held) for other, bytes in self._promised.items())
        return need - worker.held <= left - owed


class Worker:
    """One painting process after another, each of which is given one job at a time."""

    def __init__(self, supervisor: Supervisor, number: int) -> None:
        self.number = number
        self._supervisor, self._jobs, self._settings = supervisor, supervisor.jobs, supervisor.settings
        self._process: Process | None = None
        self._failures = 0
        self._starts = 0
        self._said = b""  # the end of what it printed before it was ready
        self._printing: asyncio.Task | None = None
        self._silence = 0.0  # seconds, the longest of the job so far
        self._giving_up: asyncio.TimerHandle | None = None

    @property
    def pid(self) -> int | None:
        """Its process, while that lives."""
        return self._process.pid if self._alive else None

    @property
    def held(self) -> int:
        """Bytes of anonymous memory that its process holds; 0 where the system does not say."""
        with suppress(OSError):
            match = ANON.search(Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8"))
            return int(match[1]) * 1024 if match else 0
        return 0

    async def run(self) -> None:
        """Paint whatever comes, for ever."""
        while True:
            await self._started()
            await self._do(await self._jobs.next())

    async def end(self) -> None:
        """Kill the process, whatever it does."""
        if self._alive:
            self._kill()
            await self._process.wait()
        if self._printing:
            self._printing.cancel()
        self._process = None

    def _kill(self) -> None:
        if self._alive:
            with suppress(ProcessLookupError):
                self._process.kill()

    @property
    def _alive(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def _started(self) -> None:
        """See to it that there is a process, with a pause that grows with each that is lost."""
        while not self._alive:
            if self._failures:
                await asyncio.sleep(min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (self._failures - 1)))
            try:
                await self._start()
            except (Lost, OSError) as error:
                self._failures += 1
                log.error("painting process %d does not start: %s", self.number, one_line(error, 300))
                for line in self._said.decode(errors="replace").splitlines():
                    log.error("painting process %d: %s", self.number, one_line(line, 500))
                await self.end()
                if self._failures >= MANY_FAILURES and not any(each.pid for each in self._supervisor.workers):
                    self._jobs.unable = one_line(told(str(error)), 300)
        self._jobs.unable = ""

    async def _start(self) -> None:
        self._jobs.counts.restarts += self._starts > 0
        self._starts += 1
        paths = os.pathsep.join(filter(None, sys.path))
        told = {name: value for name, value in os.environ.items() if name != KEY}  # it runs strangers' graphs
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", MODULE),
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,  # which it closes before it is given a job
            env={**told, "PYTHONPATH": paths},
            start_new_session=True,  # a Ctrl-C in the terminal is for the server
        )
        self._said, self._printing = b"", asyncio.create_task(self._read(self._process.stderr))
        try:
            await self._send({"model": self._settings.model, "loading": self._settings.loading})
            message, _ = await self._heard(START_S)
        except Lost as lost:
            await asyncio.wait({self._printing}, timeout=DYING_S)
            last = self._said.decode(errors="replace").strip().rpartition("\n")[2]
            raise Lost(f"{lost}: {last}" if last else str(lost)) from None
        if message.get("event") != "ready":
            raise Lost(message.get("message", "it did not say that it is ready"))

    async def _read(self, stream: asyncio.StreamReader) -> None:
        """Keep the end of what a process prints, until it closes the stream."""
        while more := await stream.read(MOST_SAID):
            self._said = (self._said + more)[-MOST_SAID:]

    async def _do(self, job: Job) -> None:
        """One job, to its end, be that the process's."""
        try:
            if not self._alive:  # it died while it had nothing to do, and the next one may take long
                await self._jobs.put_back(job)
                return
            await self._hand_over(job)
            await self._follow(job)
            self._failures = 0
        except Lost as lost:
            log.error("painting process %d: job %s: %s", self.number, job.id, lost)
            await self.end()
            if job.cancelling:
                await self._jobs.end(job, CANCELLED)
            else:
                self._failures += 1
                message = f"job {job.id}: the painting process {lost}; try a smaller picture or another model"
                await self._jobs.end(job, FAILED, Trouble("worker_lost", message))
        except Exception as error:  # a bug, which must not end this loop
            await self.end()
            await tell_bug(self._jobs, job, error)
        finally:
            job.stop = None
            if self._giving_up:
                self._giving_up.cancel()
                self._giving_up = None
            self._supervisor.free(self)

    async def _hand_over(self, job: Job) -> None:
        spec = job.spec
        job.stop = lambda: self._cancel(job)
        message = {"job": job.id, "task": spec.task, "model": spec.model, "options": spec.options}
        await self._send({**message, "pictures": list(spec.pictures)}, list(spec.pictures.values()))
        if job.cancelling:
            self._cancel(job)

    def _cancel(self, job: Job) -> None:
        with suppress(OSError, RuntimeError, AttributeError):  # it is gone, which is found out where it is listened to
            self._process.stdin.write(wire.packed({"cancel": job.id}))
        if not self._giving_up:
            patience = min(self._settings.stall_s, max(CANCEL_S, 2 * self._silence))
            self._giving_up = asyncio.get_running_loop().call_later(patience, self._kill)

    async def _follow(self, job: Job) -> None:
        self._silence = 0.0
        while True:
            since = time.monotonic()
            message, blobs = await self._heard(self._settings.stall_s)
            self._silence = max(self._silence, time.monotonic() - since)
            try:
                if message.get("job") == job.id and await self._took(job, message, blobs):
                    return
            except (KeyError, IndexError, TypeError):
                raise Lost("sent a malformed message and was ended") from None

    async def _took(self, job: Job, message: dict[str, Any], blobs: list[bytes]) -> bool:
        """Pass on what a process says of its job; True at the end."""
        if message.get("event") != "needs":
            return await pass_on(self._jobs, job, message, blobs)
        await self._supervisor.admit(self, job, int(message["bytes"]))
        await self._send({"go": True})
        return False

    async def _send(self, message: dict[str, Any], blobs: list[bytes] | tuple = ()) -> None:
        try:
            self._process.stdin.write(wire.packed(message, blobs))
            async with asyncio.timeout(self._settings.stall_s):  # one that hangs reads no picture either
                await self._process.stdin.drain()
        except TimeoutError:
            raise Lost(f"took nothing for {self._settings.stall_s:g} s and was ended") from None
        except (OSError, RuntimeError):
            raise Lost(await self._reason()) from None

    async def _heard(self, patience: float) -> wire.Message:
        try:
            async with asyncio.timeout(patience):  # wait_for of Python 3.11 can lose a cancellation
                return await wire.receive(self._process.stdout)
        except TimeoutError:
            raise Lost(f"said nothing for {patience:g} s and was ended") from None
        except EOFError:
            raise Lost(await self._reason()) from None

    async def _reason(self) -> str:
        """How the process ended."""
        with suppress(TimeoutError):
            async with asyncio.timeout(DYING_S):
                code = await self._process.wait()
            return f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
        return "closed its pipes"
