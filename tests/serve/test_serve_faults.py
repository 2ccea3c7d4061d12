"""A real server whose disk is full, whose clock jumps, and that is killed: nothing that it accepted is lost."""

import signal
import sys
import time
from pathlib import Path

import pytest

from serving import running

if sys.platform != "linux":
    pytest.skip("limits of another process are Linux's", allow_module_level=True)

import resource

from faults import Clock, full_disk

DAY = 86_400
LONG = {"steps": 900, "size": "512x512", "sampler": "euler"}


@pytest.fixture(scope="module")
def clock(tmp_path_factory):
    return Clock(tmp_path_factory.mktemp("clock"))


@pytest.fixture(scope="module")
def start(tmp_path_factory, clock, sketch):
    """`start()`: a server at the home that all of them share."""
    home = tmp_path_factory.mktemp("faults")
    flags = ("--model", sketch, "--engine", "onnx", "--threads", 1, "--stall", 30, "--result-ttl", 600, "--grace", 30)
    return lambda: running(home, home / "log", *flags, **clock.environment)


@pytest.fixture(scope="module")
def server(start):
    """One for all tests of this module; the last one kills it."""
    with start() as found:
        yield found


def test_a_full_disk_refuses_what_cannot_be_promised_and_costs_nothing_else(server):
    running_id = server.job(**LONG)
    server.when(running_id, "painting")
    waiting = server.job(steps=1)
    with full_disk(server.process.pid):
        status, found = server.ask("/api/v1/jobs", {"prompt": "a house", "size": "64x64", "steps": 1})
        assert (status, found["error"]["code"]) == (503, "journal_full"), found
        assert server.ask("/health")[0] == 200
        assert server.ask(f"/api/v1/jobs/{running_id}/cancel", {})[0] == 200
        assert server.when(running_id, "cancelled", "done")["status"] == "cancelled"
        assert server.when(waiting, "done", "failed")["status"] == "done"
        answer = server.ask("/api/v1/jobs?wait=true", {"prompt": "a house", "size": "64x64", "steps": 1})
        assert answer[0] == 200 and answer[1]["status"] == "done"  # of it nothing is written down
    assert server.when(server.job(steps=1), "done", "failed")["status"] == "done"


def test_a_clock_that_jumps_ends_nothing(server, clock):
    done, id = server.job(steps=1), server.job(**LONG)
    server.when(done, "done")
    server.when(id, "painting")
    for seconds in (DAY, -DAY, 0):
        clock.at(seconds)
        before = server.ask(f"/api/v1/jobs/{id}")[1]
        assert before["status"] == "painting" and 0 <= (before["eta_s"] or 0) < 3600
        waiting = server.ask("/api/v1/jobs", {"prompt": "a house", "size": "64x64", "steps": 1})[1]
        assert 0 <= (waiting["expected_wait_s"] or 0) < 3600
        assert abs(waiting["created"] - time.time() - seconds) < 60  # which people read: it did jump
        assert server.ask(f"/api/v1/jobs/{waiting['id']}/cancel", {})[0] == 200
        assert server.ask(f"/api/v1/jobs/{done}")[0] == 200
    assert server.ask(f"/api/v1/jobs/{id}/cancel", {})[0] == 200
    server.when(id, "cancelled")


def test_two_jobs_that_memory_is_short_for_are_refused_and_nothing_is_killed(server):
    """Under a limit that the kernel holds the painting process to."""
    server.when(server.job(steps=1), "done")
    (pid,) = server.painting
    before = resource.prlimit(pid, resource.RLIMIT_DATA)
    held = next(int(line.split()[1]) << 10 for line in status_of(pid) if line.startswith("VmData"))
    resource.prlimit(pid, resource.RLIMIT_DATA, (held + (16 << 20), before[1]))
    found = [server.when(id, "failed", "done") for id in [server.job(size="2048x2048", steps=1) for _ in range(2)]]
    assert [job["error"]["code"] for job in found] == ["out_of_resources"] * 2 and "MB" in found[0]["error"]["message"]
    assert all(job["step"] == 0 for job in found)
    assert server.when(server.job(steps=1), "done", "failed")["status"] == "done"
    resource.prlimit(pid, resource.RLIMIT_DATA, before)
    assert server.when(server.job(size="2048x2048", steps=1), "done", "failed")["status"] == "done"
    assert server.painting == [pid]


def status_of(pid):
    return Path(f"/proc/{pid}/status").read_text().splitlines()


def test_a_killed_server_has_its_jobs_painted_by_the_next_one_in_their_order(server, start, clock):
    key = {"Idempotency-Key": "mine"}
    first = server.job(**LONG)
    server.when(first, "painting")
    clock.at(-DAY)
    second, cancelled = server.job(steps=2), server.job(steps=2)
    assert server.ask(f"/api/v1/jobs/{cancelled}/cancel", {})[0] == 200
    body = {"prompt": "a house", "size": "64x64", "steps": 2, "seed": 5}
    third = server.ask("/api/v1/jobs", body, **key)[1]["id"]
    server.end(signal.SIGKILL)
    with start() as again:
        assert again.ask("/api/v1/jobs", body, **key)[1]["id"] == third
        assert again.ask(f"/api/v1/jobs/{first}/cancel", {})[0] == 200
        assert [again.when(id, "done", "failed")["status"] for id in (second, third)] == ["done", "done"]
        assert again.ask(f"/api/v1/jobs/{cancelled}")[0] == 410
        last = again.job(steps=2)
        assert again.end() == 0  # within --grace the running job is painted
    log = again.log.read_text()
    assert -1 < log.find(f"job {second} done") < log.find(f"job {third} done") < log.find(f"job {last} done")
