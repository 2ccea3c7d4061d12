"""A server in a process of its own: what it does when clients leave, processes die, and it is told to end."""

import json
import os
import re
import signal
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from pleinair.errors import ResourceError
from pleinair.serve.serving import alone_with, listening
from serving import PATIENCE, running

LONG = {"steps": 900, "size": "512x512", "sampler": "euler"}
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="painting processes are found in /proc")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="module")
def server(place, sketch):
    """One for all tests of this module; each leaves it without jobs."""
    arguments = ("--model", sketch, "--engine", "onnx", "--threads", 1, "--max-queue", 4, "--stall", 3, "--grace", 0.2)
    with running(place, place / "log", *arguments) as found:
        yield found


def test_a_job_is_painted_in_another_process(server):
    found = server.when(server.job(steps=2), "done", "failed")
    assert found["status"] == "done" and found["images"][0]["width"] == 64
    assert len(server.painting) == 1 and server.process.pid not in server.painting


def test_it_answers_while_it_paints_and_a_running_job_is_cancelled_within_a_step(server):
    id = server.job(**LONG)
    server.when(id, "painting")
    assert server.ask("/health") == (200, {"status": "ok"})
    assert server.ask(f"/api/v1/jobs/{id}/cancel", {})[0] == 200
    found = server.when(id, "cancelled", "done")
    assert found["status"] == "cancelled" and found["step"] < 900 and found["images"] == []


def test_a_client_that_leaves_ends_the_job_that_it_waits_for(server):
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        body = json.dumps({"prompt": "a house", **LONG}).encode()
        head = f"POST /api/v1/jobs?wait=true HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        client.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + body)
        wait_until(lambda: server.ask("/api/v1/capabilities")[1]["queue"]["running"] == 1)
    wait_until(lambda: server.ask("/api/v1/capabilities")[1]["queue"]["running"] == 0)
    assert "cancelled" in server.log.read_text().splitlines()[-1]


def wait_until(true):
    until = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.parametrize("number, words", [(signal.SIGKILL, "signal 9"), (signal.SIGSTOP, "said nothing for 3 s")])
def test_a_process_that_crashes_or_hangs_is_replaced_and_its_job_is_answered_by_its_id(server, number, words):
    id = server.job(**LONG)
    waiting = server.job(steps=1)
    server.when(id, "painting")
    (pid,) = server.painting
    os.kill(pid, number)
    error = server.when(id, "failed")["error"]
    assert error["code"] == "worker_lost" and id in error["message"] and words in error["message"]
    assert server.when(waiting, "done", "failed")["status"] == "done" and pid not in server.painting


def test_a_process_that_dies_while_it_has_nothing_to_do_costs_no_job(server):
    (pid,) = server.painting
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: pid not in server.painting)
    assert server.when(server.job(steps=1), "done", "failed")["status"] == "done"


def test_prompts_are_not_logged_and_log_lines_cannot_be_forged(server):
    hostile = "a house\n2026-01-01 error: forged \x1b[31m"
    server.when(server.job(prompt=hostile, steps=1), "done")
    server.ask("/api/v1/jobs/forged%0Aline")
    log = server.log.read_text()
    assert "forged" not in log and "\x1b" not in log
    assert all(line.startswith("pleinair: ") for line in log.splitlines())


def test_heads_that_are_too_large_are_refused(server):
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + b"X: " + b"x" * 100_000)
        client.settimeout(PATIENCE)
        assert client.recv(100).startswith(b"HTTP/1.1 4") or client.recv(100) == b""


def test_clients_that_leave_their_streams_leave_nothing_behind(server):
    id = server.job(**LONG)
    server.when(id, "painting")
    before = open_files(server)
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(f"GET /api/v1/jobs/{id}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            client.settimeout(PATIENCE)
            assert client.recv(15) == b"HTTP/1.1 200 OK"
    wait_until(lambda: open_files(server) <= before)
    assert server.when(id, "painting") and server.ask(f"/api/v1/jobs/{id}/cancel", {})[0] == 200
    server.when(id, "cancelled")


def open_files(server):
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))  # noqa: PTH208


def test_a_second_server_takes_neither_the_port_nor_the_journal(server, place):
    with pytest.raises(ResourceError, match="--port"):
        listening("127.0.0.1", server.port)
    with pytest.raises(ResourceError, match="--no-journal"), alone_with(place / "serve" / "jobs-0.sqlite"):
        pass


def test_accepted_jobs_are_painted_by_the_server_that_comes_next(server, place, sketch):
    """The last test of this server, which it ends."""
    ids = [server.job(**LONG), server.job(steps=2), server.job(steps=2)]
    server.when(ids[0], "painting")
    workers = server.painting
    with ThreadPoolExecutor() as clients:
        paths = ("/api/v1/jobs?wait=true", "/v1/images/generations")
        waiting = [clients.submit(server.ask, path, {"prompt": "a boat", "steps": 2}) for path in paths]
        wait_until(lambda: server.ask("/api/v1/capabilities")[1]["queue"]["length"] == 4)
        assert server.end() == 0
    answers = [each.result() for each in waiting]
    assert [(status, told["error"]["code"]) for status, told in answers] == [(503, "shutting_down")] * 2
    assert not any(alive(pid) for pid in workers)
    arguments = ("--model", sketch, "--engine", "onnx", "--threads", 1)
    with running(place, place / "log", *arguments) as again:
        assert again.ask(f"/api/v1/jobs/{ids[0]}/cancel", {})[0] == 200
        assert [again.when(id, "done", "cancelled")["status"] for id in ids] == ["cancelled", "done", "done"]
    assert re.search("3 jobs from before the restart", server.log.read_text())


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
