"""Painting processes without one: memory that several share, and pauses between starts."""

import asyncio
import sys

import pytest

from pleinair.serve import supervising
from pleinair.serve.jobs import Jobs
from pleinair.serve.settings import ServeSettings
from pleinair.serve.supervising import Lost, Supervisor, Worker
from pleinair.system.limits import Room
from serving import spec

GB = 1 << 30


@pytest.fixture
def pair(monkeypatch):
    """A supervisor of two workers whose processes hold nothing yet, with 4 GB left."""
    monkeypatch.setattr(supervising, "room_left", lambda: Room(memory=4 * GB))
    monkeypatch.setattr(supervising, "LOOK_S", 0.001)
    monkeypatch.setattr(Worker, "held", 0)
    settings = ServeSettings(workers=2)
    return Supervisor(settings, Jobs(settings))


async def job_of(supervisor):
    await supervisor.jobs.submit(spec())
    return await supervisor.jobs.next()


def test_a_second_job_waits_until_memory_is_there_for_both(pair):
    async def work():
        first, second = pair.workers
        await pair.admit(first, await job_of(pair), 3 * GB)
        waiting = asyncio.create_task(pair.admit(second, await job_of(pair), 2 * GB))
        await asyncio.sleep(0.02)
        held_up = not waiting.done()
        pair.free(first)
        async with asyncio.timeout(10):
            await waiting
        return held_up

    assert asyncio.run(work())


def test_two_jobs_that_fit_go_together_and_one_alone_is_never_held_up(pair):
    async def work():
        first, second = pair.workers
        async with asyncio.timeout(10):
            await pair.admit(first, await job_of(pair), 2 * GB)
            await pair.admit(second, await job_of(pair), 2 * GB)
            pair.free(first)
            pair.free(second)
            await pair.admit(first, await job_of(pair), 99 * GB)  # its own process refuses it

    asyncio.run(work())


def test_a_job_that_is_cancelled_does_not_wait_for_memory(pair):
    async def work():
        first, second = pair.workers
        await pair.admit(first, await job_of(pair), 4 * GB)
        job = await job_of(pair)
        job.cancelling = True
        async with asyncio.timeout(10):
            await pair.admit(second, job, 4 * GB)

    asyncio.run(work())


def test_pauses_between_starts_grow_to_a_bound(pair, monkeypatch):
    pauses = []

    async def sleep(seconds):
        pauses.append(seconds)

    async def start(worker):
        if len(pauses) < 10:
            raise Lost("ended with code 1")
        worker._process = type("Process", (), {"returncode": None})()

    monkeypatch.setattr(supervising.asyncio, "sleep", sleep)
    monkeypatch.setattr(Worker, "_start", start)
    asyncio.run(pair.workers[0]._started())
    assert pauses == [0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_process_that_does_not_start_again_and_again_is_told_until_it_does(pair, monkeypatch):
    told = []

    async def sleep(seconds):
        told.append(pair.jobs.unable)

    async def start(worker):
        if len(told) < 4:
            raise Lost("ended with code 1")
        worker._process = type("Process", (), {"returncode": None})()

    monkeypatch.setattr(supervising.asyncio, "sleep", sleep)
    monkeypatch.setattr(Worker, "_start", start)
    asyncio.run(pair.workers[0]._started())
    assert told == ["", "", "ended with code 1", "ended with code 1"] and pair.jobs.unable == ""


def test_one_process_that_does_not_start_holds_up_nobody_while_another_paints(pair, monkeypatch):
    told = []

    async def sleep(seconds):
        told.append(pair.jobs.unable)

    async def start(worker):
        if len(told) < 4:
            raise Lost("ended with code 1")
        worker._process = pair.workers[1]._process

    monkeypatch.setattr(supervising.asyncio, "sleep", sleep)
    monkeypatch.setattr(Worker, "_start", start)
    pair.workers[1]._process = type("Process", (), {"returncode": None, "pid": 1})()
    asyncio.run(pair.workers[0]._started())
    assert told == [""] * 4


def test_a_job_whose_process_died_before_it_waits_again_and_can_be_cancelled(pair, monkeypatch):
    async def never(worker):
        await asyncio.sleep(60)

    async def work():
        worker, job = pair.workers[0], await job_of(pair)
        before = job.status, job.attempts
        await worker._do(job)  # no process is there
        waits = job.status, job.attempts, pair.jobs.position(job), len(pair.jobs.running)
        monkeypatch.setattr(Worker, "_started", never)
        running = asyncio.create_task(worker.run())
        await pair.jobs.cancel(job)
        running.cancel()
        return before, waits, job.status

    assert asyncio.run(work()) == (("loading", 1), ("queued", 0, 1, 0), "cancelled")


def test_a_bug_fails_its_job_and_the_next_one_is_painted(pair, monkeypatch, caplog):
    async def start(worker):
        worker._process = type("Process", (), {"returncode": None})()

    async def end(worker):
        worker._process = None

    async def hand_over(worker, job):
        raise AttributeError("a secret prompt")

    monkeypatch.setattr(Worker, "_started", start)
    monkeypatch.setattr(Worker, "end", end)
    monkeypatch.setattr(Worker, "_hand_over", hand_over)

    async def work():
        jobs = [(await pair.jobs.submit(spec()))[0] for _ in range(2)]
        running = asyncio.create_task(pair.workers[0].run())
        async with asyncio.timeout(10):
            for job in jobs:
                await job.over()
        running.cancel()
        return [(job.status, job.trouble.code, job.id in job.trouble.message) for job in jobs]

    assert asyncio.run(work()) == [("failed", "internal", True)] * 2 and "secret" not in caplog.text


def test_a_process_that_reads_nothing_is_given_up(monkeypatch):
    """One that hangs before a picture is handed over, which is more than a pipe holds."""
    settings = ServeSettings(stall_s=0.1)
    (worker,) = Supervisor(settings, Jobs(settings)).workers

    async def work():
        worker._process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "import time; time.sleep(60)", stdin=asyncio.subprocess.PIPE
        )
        try:
            await worker._send({"job": "x"}, [bytes(1 << 20)])
        finally:
            await worker.end()

    with pytest.raises(Lost, match="took nothing"):
        asyncio.run(work())


def test_a_painting_process_is_not_told_the_key(monkeypatch):
    monkeypatch.setenv("PLEINAIR_API_KEY", "0123456789abcdef")
    settings = ServeSettings()
    (worker,) = Supervisor(settings, Jobs(settings)).workers
    told = {}

    async def start(*_, env, **__):
        told.update(env)
        raise OSError("no more processes")

    monkeypatch.setattr(asyncio, "create_subprocess_exec", start)
    with pytest.raises(OSError):
        asyncio.run(worker._start())
    assert "PATH" in told and "0123456789abcdef" not in told.values()


@pytest.mark.parametrize("message", [{"event": "step"}, {"event": "image"}, {"event": "needs", "bytes": None}, {}])
def test_a_process_that_does_not_keep_to_the_form_is_ended(pair, monkeypatch, message):
    async def work():
        worker, job = pair.workers[0], await job_of(pair)
        heard = iter([({"job": job.id, **message}, [])])

        async def listen(patience):
            return next(heard, ({"job": job.id, "event": "step", "step": 1}, []))

        monkeypatch.setattr(worker, "_heard", listen)
        with pytest.raises(Lost, match="form"):
            await worker._follow(job)

    asyncio.run(work())
