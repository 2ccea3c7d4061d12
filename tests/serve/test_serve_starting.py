"""Painting processes that do not start, or hang: what is told of them, and to whom."""

import asyncio

import pytest

from pleinair.serve import supervising
from pleinair.serve.jobs import Jobs
from pleinair.serve.refusals import Refused, told
from pleinair.serve.settings import ServeSettings
from pleinair.serve.supervising import Lost, Supervisor
from serving import spec


def failing(monkeypatch, tmp_path, source):
    """Have processes run another module, which is broken."""
    (tmp_path / "broken_painting.py").write_text(source)
    monkeypatch.setattr(supervising, "MODULE", "broken_painting")
    monkeypatch.syspath_prepend(str(tmp_path))


def test_a_process_that_cannot_start_says_why_without_folders_and_the_log_has_it_whole(monkeypatch, tmp_path, caplog):
    failing(
        monkeypatch,
        tmp_path,
        f"print('loading', flush=True)\nraise ImportError('{tmp_path}/libmissing.so: no such file')",
    )
    monkeypatch.setattr(supervising, "MANY_FAILURES", 1)
    settings = ServeSettings()
    jobs = Jobs(settings)
    (worker,) = Supervisor(settings, jobs).workers

    async def work():
        started = asyncio.create_task(worker._started())
        async with asyncio.timeout(60):
            while not jobs.unable:
                await asyncio.sleep(0.01)
        started.cancel()
        with pytest.raises(Refused) as refused:
            await jobs.submit(spec())
        return refused.value.trouble

    trouble = asyncio.run(work())
    assert trouble.code == "painter_down"
    assert "ended with code 1: ImportError: libmissing.so: no such file" in trouble.message
    assert f"{tmp_path}/libmissing.so" in caplog.text and "Traceback" in caplog.text


def test_what_a_process_prints_when_it_is_ready_is_read_by_nobody(monkeypatch, tmp_path):
    failing(
        monkeypatch,
        tmp_path,
        """
import os, sys
from pleinair.serve import painting
before = painting.be_silent

def be_silent():
    before()
    os.write(1, b"a secret prompt")
    os.write(2, b"a secret prompt")

painting.be_silent = be_silent
painting.main()
""",
    )
    settings = ServeSettings()
    (worker,) = Supervisor(settings, Jobs(settings)).workers

    async def work():
        await worker._start()
        async with asyncio.timeout(60):
            await worker._printing  # it has closed the stream
        said, alive = worker._said, worker._alive
        await worker.end()
        return said, alive

    assert asyncio.run(work()) == (b"", True)


def test_a_cancelled_job_whose_process_does_not_answer_frees_its_slot(monkeypatch, tmp_path):
    failing(
        monkeypatch,
        tmp_path,
        """
import os, sys, time
from pleinair.serve import wire
wire.read(sys.stdin.buffer)
os.write(1, wire.packed({"event": "ready"}))
id = wire.read(sys.stdin.buffer)[0]["job"]
os.write(1, wire.packed({"job": id, "event": "step", "step": 1, "steps": 9, "seeds": [7]}))
time.sleep(600)
""",
    )
    monkeypatch.setattr(supervising, "CANCEL_S", 0.1)
    settings = ServeSettings()
    jobs = Jobs(settings)
    (worker,) = Supervisor(settings, jobs).workers

    async def work():
        job, _ = await jobs.submit(spec())
        running = asyncio.create_task(worker.run())
        async with asyncio.timeout(60):
            async for event in job.follow():
                if event.kind == "step":
                    pid = worker.pid
                    await jobs.cancel(job)
            second, _ = await jobs.submit(spec())
            async for event in second.follow():
                if event.kind == "step":
                    break
        found = job.status, len(job.pictures), worker.pid not in (None, pid), worker._failures
        running.cancel()
        await worker.end()
        return found

    assert asyncio.run(work()) == ("cancelled", 0, True, 0)


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


@pytest.mark.parametrize(
    "said, shown",
    [
        ("cannot import 'x' from 'y' (/usr/lib/python3/y/__init__.py)", "cannot import 'x' from 'y' (__init__.py)"),
        ("no such file: '/home/My Name/x.bin'", "no such file: 'x.bin'"),
        ("C:\\Users\\me\\x.dll is damaged", "x.dll is damaged"),
        ("a/b of http://127.0.0.1/x/y; add --size", "a/b of http://127.0.0.1/x/y; add 'size'"),
    ],
)
def test_clients_are_told_no_folders(said, shown):
    assert told(said) == shown
