"""The queue: its bound, its order, what is kept, and what outlives the server."""

import asyncio
from dataclasses import replace

import pytest

from pleinair.serve.job import CANCELLED, DONE, FAILED, QUEUED, FinishedPicture
from pleinair.serve.jobs import Jobs
from pleinair.serve.journal import Journal
from pleinair.serve.refusals import Refused
from pleinair.serve.settings import ServeSettings
from serving import KEEPING, LIMITS, spec


def settings(**more):
    return ServeSettings(limits=replace(LIMITS, queue=2), **more)


def test_the_queue_is_bounded_and_a_place_is_free_again_when_a_job_is_begun():
    async def work():
        jobs = Jobs(settings())
        first, _ = await jobs.submit(spec())
        second, _ = await jobs.submit(spec())
        assert (jobs.position(first), jobs.position(second)) == (1, 2)
        with pytest.raises(Refused, match="waiting already") as refusal:
            await jobs.submit(spec())
        assert refusal.value.status == 429 and 1 <= refusal.value.retry_after <= 120
        assert await jobs.next() is first and jobs.position(first) is None and jobs.position(second) == 1
        assert (await jobs.submit(spec()))[0].status == QUEUED

    asyncio.run(work())


def test_a_job_that_waits_is_cancelled_at_once_and_an_ended_one_is_not():
    async def work():
        jobs = Jobs(settings())
        job, _ = await jobs.submit(spec())
        await jobs.cancel(job)
        assert (job.status, jobs.length) == (CANCELLED, 0)
        with pytest.raises(Refused) as refusal:
            await jobs.cancel(job)
        assert refusal.value.status == 409

    asyncio.run(work())


def test_a_key_joins_the_same_request_and_refuses_another():
    async def work():
        jobs = Jobs(settings())
        job, fresh = await jobs.submit(spec(), "k", "one")
        assert fresh and await jobs.submit(spec(), "k", "one") == (job, False)
        with pytest.raises(Refused) as refusal:
            await jobs.submit(spec(), "k", "two")
        assert refusal.value.status == 409 and jobs.length == 1

    asyncio.run(work())


@pytest.mark.parametrize(
    "keeping, left",
    [
        (replace(KEEPING, jobs=1), [410, 0]),
        (replace(KEEPING, bytes=150), [410, 0]),
        (replace(KEEPING, bytes=10), [410, 0]),
        (replace(KEEPING, seconds=-1), [410, 410]),
        (KEEPING, [0, 0]),
    ],
)
def test_ended_jobs_go_by_count_by_bytes_and_by_time(keeping, left):
    async def work():
        jobs = Jobs(settings(keeping=keeping))
        ids = []
        for _ in range(2):
            await jobs.submit(spec())
            job = await jobs.next()
            job.add(FinishedPicture(bytes(100), 1, 8, 8, {}))
            await jobs.end(job, DONE)
            ids.append(job.id)
        return [status_of(jobs, id) for id in ids]

    assert asyncio.run(work()) == left


def status_of(jobs, id):
    try:
        jobs.find(id)
    except Refused as refusal:
        return refusal.status
    return 0


def test_ids_cannot_be_guessed_and_one_that_never_was_is_unknown():
    async def work():
        jobs = Jobs(settings())
        ids = {(await jobs.submit(spec()))[0].id for _ in range(2)}
        assert len(ids) == 2 and all(len(id) == 32 for id in ids)
        assert status_of(jobs, "0" * 32) == 404

    asyncio.run(work())


def test_waiting_time_is_learnt_from_jobs_that_are_done():
    async def work():
        jobs = Jobs(settings())
        await jobs.submit(spec(work=100))
        job = await jobs.next()
        assert jobs.expected_wait() is None  # nothing is known yet
        job.began -= 10
        await jobs.end(job, DONE)
        await jobs.submit(spec(work=100))
        await jobs.next()
        waiting, _ = await jobs.submit(spec(work=100))
        assert jobs.expected_wait(waiting) == pytest.approx(10, abs=0.5)

    asyncio.run(work())


def test_events_are_numbered_and_taken_up_where_a_listener_left_off():
    async def work():
        jobs = Jobs(settings())
        job, _ = await jobs.submit(spec())
        await jobs.next()
        for step in (1, 2, 3):
            job.advance(step, 3, preview="A")
        await jobs.end(job, DONE)
        every = [(each.number, each.kind) async for each in job.follow()]
        later = [(each.number, each.kind) async for each in job.follow(every[-2][0])]
        other_server = [each.kind async for each in job.follow(9999)]
        return every, later, other_server

    every, later, other_server = asyncio.run(work())
    assert every[-1][1] == DONE and [kind for _, kind in every].count("step") == 1  # the last says it all
    assert later == every[-1:]
    assert other_server == [kind for _, kind in every]


def test_a_listener_hears_each_step_and_leaves_nothing_behind():
    async def work():
        jobs = Jobs(settings())
        job, _ = await jobs.submit(spec())

        async def listen():
            return [each.data.get("step") async for each in job.follow() if each.kind == "step"]

        listening = asyncio.create_task(listen())
        for step in (1, 2, 3):
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            job.advance(step, 3)
        await asyncio.sleep(0)
        await jobs.end(job, CANCELLED)
        assert await listening == [1, 2, 3] and not job._listeners

    asyncio.run(work())


def test_accepted_jobs_outlive_the_server_in_their_order(tmp_path):
    file = tmp_path / "home" / "jobs.sqlite"

    async def before():
        jobs = Jobs(settings(journal=file))
        await jobs.open()
        first, _ = await jobs.submit(replace(spec("first"), pictures={"image": b"png"}))
        second, _ = await jobs.submit(spec("second"))
        await jobs.next()
        jobs.close()
        await jobs.put_down()
        return [first.id, second.id]

    async def after():
        jobs = Jobs(settings(journal=file))
        await jobs.open()
        found = [await jobs.next(), await jobs.next()]
        for job in found:
            await jobs.end(job, DONE)
        again = Jobs(settings(journal=file))
        await again.open()
        assert [status_of(again, job.id) for job in found] == [410, 410]  # its pictures went with the server
        return [(job.id, job.spec.options["prompt"]) for job in found], found[0].attempts

    ids = asyncio.run(before())
    found, attempts = asyncio.run(after())
    assert found == [(ids[0], "first"), (ids[1], "second")] and attempts == 1  # an orderly end does not count
    assert file.stat().st_mode & 0o077 == 0
    assert list(Journal(file).left()) == [] and b"first" not in file.read_bytes()


def test_pictures_come_back_from_the_journal(tmp_path):
    journal = Journal(tmp_path / "jobs.sqlite")
    asked = replace(spec(), pictures={"image": b"\x00png", "controls.0": b"edges"})
    journal.accept("id", asked)
    (left,) = journal.left()
    assert (left.spec, left.attempts) == (asked, 0)


def test_a_job_that_the_server_ended_with_twice_is_not_begun_again(tmp_path):
    file = tmp_path / "jobs.sqlite"
    journal = Journal(file)
    journal.accept("id", spec())
    journal.begun("id", 2)

    async def work():
        jobs = Jobs(settings(journal=file))
        await jobs.open()
        return jobs.find("id")

    job = asyncio.run(work())
    assert (job.status, job.trouble.code) == (FAILED, "interrupted") and list(journal.left()) == []


def test_jobs_that_somebody_waits_for_end_with_the_server(tmp_path):
    async def work():
        jobs = Jobs(settings(journal=tmp_path / "jobs.sqlite"))
        await jobs.open()
        job, _ = await jobs.submit(spec(kept=False))
        jobs.close()
        await jobs.put_down()
        with pytest.raises(Refused) as refusal:
            await jobs.submit(spec())
        return job, refusal.value.status

    job, status = asyncio.run(work())
    assert (job.trouble.code, status) == ("shutting_down", 503)


def test_what_cannot_be_written_down_is_not_promised(tmp_path, monkeypatch):
    import sqlite3

    def full(*_):
        raise sqlite3.OperationalError("database or disk is full")

    async def work():
        jobs = Jobs(settings(journal=tmp_path / "jobs.sqlite"))
        await jobs.open()
        monkeypatch.setattr(Journal, "accept", full)
        with pytest.raises(Refused) as refusal:
            await jobs.submit(spec(), "key", "one")
        assert (refusal.value.status, jobs.length) == (503, 0)
        monkeypatch.undo()
        assert (await jobs.submit(spec(), "key", "one"))[1]

    asyncio.run(work())


def test_a_journal_that_is_none_is_refused_in_one_line(tmp_path):
    file = tmp_path / "jobs.sqlite"
    file.write_bytes(b"no database" * 1000)
    with pytest.raises(Refused, match="--no-journal"):
        asyncio.run(Jobs(settings(journal=file)).open())
    assert file.read_bytes().startswith(b"no database")
