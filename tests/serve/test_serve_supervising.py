"""Painting processes without one: memory that several share, and pauses between starts."""

import asyncio

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


def test_a_process_that_cannot_open_its_model_says_why(monkeypatch, tmp_path):
    settings = ServeSettings(model=str(tmp_path / "gone"))
    (worker,) = Supervisor(settings, Jobs(settings)).workers

    async def work():
        try:
            await worker._start()
        finally:
            await worker.end()

    with pytest.raises(Lost, match="no model folder"):
        asyncio.run(work())


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
