"""What a server has promised holds, though the disk is full, the clock jumps, or the server is killed."""

import asyncio
import json
import shutil
import sqlite3
import time
from dataclasses import replace

import pytest
from starlette.requests import ClientDisconnect

from pleinair.serve.job import CANCELLED, DONE, QUEUED
from pleinair.serve.jobs import Jobs
from pleinair.serve.journal import RESERVE, Journal
from pleinair.serve.journal_writer import JournalWriter
from pleinair.serve.refusals import Refused
from pleinair.serve.settings import ServeSettings
from pleinair.serve.waiting import ended
from serving import application, spec


@pytest.fixture
def opened(tmp_path):
    """`await opened()`: the jobs of a server, or of the next one, at one journal."""

    async def make():
        jobs = Jobs(ServeSettings(journal=tmp_path / "jobs.sqlite"))
        await jobs.open()
        return jobs

    return make


class Disk:
    """What is written while it is full fails."""

    def __init__(self, monkeypatch):
        self.full = False
        written = JournalWriter._written

        async def checked(writer, write, *arguments):
            await asyncio.sleep(0)
            if self.full:
                raise sqlite3.OperationalError("database or disk is full")
            return await written(writer, write, *arguments)

        monkeypatch.setattr(JournalWriter, "_written", checked)


@pytest.fixture
def disk(monkeypatch):
    return Disk(monkeypatch)


def test_two_that_ask_with_one_key_while_the_disk_is_full_are_both_refused(opened, disk):
    async def work():
        jobs = await opened()
        disk.full = True
        asking = [jobs.submit(spec(), "key", "one") for _ in range(2)]
        found = await asyncio.gather(*asking, return_exceptions=True)
        assert [(each.status, each.trouble.code) for each in found] == [(503, "journal_full")] * 2
        assert found[0].retry_after and "free space" in found[0].trouble.message and jobs.length == 0
        disk.full = False
        job, fresh = await jobs.submit(spec(), "key", "one")
        assert fresh and await jobs.submit(spec(), "key", "one") == (job, False)

    asyncio.run(work())


def test_the_last_of_the_disk_is_left_for_taking_jobs_out_again(opened, monkeypatch):
    async def work():
        jobs = await opened()
        free = shutil.disk_usage(jobs.journal.file.parent)._replace(free=RESERVE + 100)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
        with pytest.raises(Refused, match="free space"):
            await jobs.submit(replace(spec(), pictures={"image": bytes(100)}))
        await jobs.submit(spec())

    asyncio.run(work())


def test_what_ended_while_the_disk_was_full_is_written_when_it_is_not(opened, disk, caplog):
    async def work():
        jobs = await opened()
        for _ in range(3):
            await jobs.submit(spec())
        disk.full = True
        for _ in range(2):
            await jobs.end(await jobs.next(), DONE)
        disk.full = False
        await jobs.end(await jobs.next(), DONE)
        return jobs

    jobs = asyncio.run(work())
    assert not jobs.journal.owed and list(Journal(jobs.journal.file).left()) == []
    assert caplog.text.count("cannot be written") == 1


def test_what_is_not_written_when_the_server_ends_is_tried_once_more(opened, disk):
    async def work():
        jobs = await opened()
        await jobs.submit(spec())
        disk.full = True
        await jobs.end(await jobs.next(), DONE)
        disk.full = False
        await jobs.put_down()
        return jobs

    jobs = asyncio.run(work())
    assert not jobs.journal.owed and list(Journal(jobs.journal.file).left()) == []


def test_a_clock_that_goes_back_changes_no_order_and_lets_nothing_go(opened, monkeypatch):
    hours = iter(range(100, 0, -1))
    monkeypatch.setattr(time, "time", lambda: 3600.0 * next(hours))
    monkeypatch.setattr(time, "time_ns", lambda: 3600 * 10**9 * next(hours))

    async def work():
        jobs = await opened()
        done, *left = [(await jobs.submit(spec(str(number))))[0] for number in range(4)]
        await jobs.next()
        done.advance(1, 4)
        done.advance(2, 4)
        assert 0 <= done.eta_s < 60
        await jobs.end(done, DONE)
        assert jobs.find(done.id) is done and jobs.expected_wait() < 60
        again = await opened()
        assert [(await again.next()).id for _ in left] == [job.id for job in left]

    asyncio.run(work())


def test_a_clock_that_goes_forward_lets_nothing_go(opened, monkeypatch):
    async def work():
        jobs = await opened()
        job, _ = await jobs.submit(spec())
        await jobs.end(await jobs.next(), DONE)
        monkeypatch.setattr(time, "time", lambda: 4e9)
        assert jobs.find(job.id) is job

    asyncio.run(work())


def test_a_key_holds_over_a_restart(opened):
    async def work():
        job, _ = await (await opened()).submit(spec(), "key", "one")
        again = await opened()  # the server before was killed
        found, fresh = await again.submit(spec(), "key", "one")
        assert (found.id, fresh, again.length) == (job.id, False, 1)
        with pytest.raises(Refused) as refusal:
            await again.submit(spec(), "key", "two")
        assert refusal.value.status == 409

    asyncio.run(work())


@pytest.mark.parametrize("orderly", [True, False])
def test_a_cancelled_job_is_not_painted_after_a_restart(opened, orderly):
    async def work():
        jobs = await opened()
        await jobs.submit(spec())
        job = await jobs.next()
        await jobs.cancel(job)  # and its process has not answered yet
        if orderly:
            jobs.close()
            await jobs.put_down()
            assert job.status == CANCELLED
        again = await opened()
        assert again.length == 0
        with pytest.raises(Refused) as refusal:
            again.find(job.id)
        assert refusal.value.status == 410

    asyncio.run(work())


def test_the_key_of_a_job_that_was_cancelled_because_its_client_left_is_free(opened):
    async def work():
        jobs = await opened()
        job, _ = await jobs.submit(spec(kept=False), "key", "one")
        await jobs.cancel(job)
        again, fresh = await jobs.submit(spec(kept=False), "key", "one")
        assert fresh and again.status == QUEUED

    asyncio.run(work())


def test_nothing_is_accepted_while_no_process_starts(opened):
    async def work():
        jobs = await opened()
        jobs.unable = "ended with code 1"
        with pytest.raises(Refused, match="ended with code 1") as refusal:
            await jobs.submit(spec())
        assert (refusal.value.status, refusal.value.trouble.code) == (503, "painter_down")

    asyncio.run(work())


class Client:
    """One that waits for an answer until it leaves."""

    def __init__(self):
        self.leaves = asyncio.Event()

    async def receive(self):
        await self.leaves.wait()
        return {"type": "http.disconnect"}


def test_a_job_that_two_wait_for_ends_when_both_have_left(opened):
    async def work():
        jobs = await opened()
        job, _ = await jobs.submit(spec(kept=False), "key", "one")
        clients = [Client(), Client()]
        waiting = [asyncio.create_task(ended(jobs, job, client)) for client in clients]
        seen = []
        for client, task in zip(clients, waiting, strict=True):
            await asyncio.sleep(0)
            client.leaves.set()
            with pytest.raises(ClientDisconnect):
                await task
            seen.append(job.status)
        return seen

    assert asyncio.run(work()) == [QUEUED, CANCELLED]


@pytest.mark.parametrize(
    "path, body",
    [
        ("/api/v1/jobs?wait=true", {}),
        ("/v1/images/generations", {}),
        ("/v1/images/generations", {"stream": True}),
        ("/sdapi/v1/txt2img", {}),
    ],
)
def test_a_client_that_has_left_before_its_job_is_accepted_leaves_none(index, path, body):
    told = [{"type": "http.request", "body": json.dumps({"prompt": "a house", **body}).encode(), "more_body": False}]
    name, _, query = path.partition("?")
    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": name, "query_string": query.encode(), "headers": headers}

    async def receive():
        return told.pop() if told else {"type": "http.disconnect"}

    async def send(message):
        await asyncio.sleep(0.01)  # until the first line is asked for

    async def work():
        app, jobs = application(index)  # nobody paints
        async with asyncio.timeout(30):
            await app(scope, receive, send)
        return jobs.length, sum(jobs.counts.ended.values())

    assert asyncio.run(work()) == (0, 1)
