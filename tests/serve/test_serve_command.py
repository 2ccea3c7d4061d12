"""`pleinair serve` before it serves: settings that no server should have, and what the command line says of them."""

import asyncio
import logging
import signal
from queue import SimpleQueue

import pytest

from pleinair.cli import app as cli
from pleinair.cli.serve import Lines, log_to_stderr
from pleinair.errors import RequestError
from pleinair.serve import serving
from pleinair.serve.settings import Keeping, RequestLimits, ServeSettings
from pleinair.system import install

KEY = "0123456789abcdef"


@pytest.fixture
def served(monkeypatch):
    """The settings that a command would serve with; nothing is served."""
    found = []

    async def serve(settings, ready):
        found.append(settings)
        ready("http://127.0.0.1:7860/")

    monkeypatch.setattr(serving, "serve", serve)
    return found


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.com", "127.evil.example", ""])
def test_what_others_can_reach_needs_a_key(host, capsys, monkeypatch):
    monkeypatch.delenv("PLEINAIR_API_KEY", raising=False)
    assert cli.run(["serve", "--host", host, "--no-journal"]) == 2
    assert "--api-key-file" in capsys.readouterr().err


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.1.2.3"])
def test_this_machine_alone_needs_none(host):
    serving.check(ServeSettings(host=host))


def test_the_key_comes_from_a_file_or_the_environment_and_is_never_shown(served, tmp_path, monkeypatch, capsys):
    (tmp_path / "key").write_text(f"{KEY}\n")
    assert cli.run(["serve", "--host", "0.0.0.0", "--api-key-file", str(tmp_path / "key"), "--no-journal"]) == 0
    monkeypatch.setenv("PLEINAIR_API_KEY", KEY)
    assert cli.run(["serve", "--no-journal"]) == 0
    assert [each.key for each in served] == [KEY, KEY] and KEY not in repr(served)
    printed = capsys.readouterr()
    assert KEY not in printed.out + printed.err and "http://127.0.0.1:7860/" in printed.out
    monkeypatch.setenv("PLEINAIR_API_KEY", "short")
    assert cli.run(["serve", "--no-journal"]) == 2
    assert cli.run(["serve", "--api-key-file", str(tmp_path / "gone"), "--no-journal"]) == 2


def test_a_key_cannot_be_given_where_the_process_list_shows_it(served, capsys):
    for flags in (["--api-key", KEY], [f"--api-key={KEY}"]):
        assert cli.run(["serve", "--no-journal", *flags]) == 2 and not served
    assert KEY not in capsys.readouterr().err


def test_flags_become_settings(served, tmp_path, monkeypatch):
    monkeypatch.setenv("PLEINAIR_HOME", str(tmp_path))
    flags = ["--port", "8000", "--workers", "2", "--max-queue", "3", "--grace", "1.5", "--stall", "9", "--threads", "2"]
    assert cli.run(["serve", *flags, "--allow-host", "mine.example", "--memory", "low", "--model", "m"]) == 0
    (found,) = served
    assert (found.port, found.workers, found.limits.queue, found.grace_s, found.stall_s) == (8000, 2, 3, 1.5, 9.0)
    assert found.hosts == ("mine.example",) and found.model == "m"
    assert {"threads": 2, "memory": "low"}.items() <= found.loading.items() and "model" not in found.loading
    assert found.journal == tmp_path / "serve" / "jobs-8000.sqlite" and found.cluster is None
    assert cli.run(["serve", "--ray", "auto"]) == cli.run(["serve", "--ray", "auto", "--workers", "40"]) == 0
    assert [(each.cluster, each.workers) for each in served[1:]] == [("auto", 0), ("auto", 40)]


def test_limits_are_set_by_flags(served):
    flags = {"max-pixels": 5000, "max-steps": 30, "max-count": 2, "max-body-mb": 400, "max-results-mb": 3}
    flags |= {"max-results": 4, "result-ttl": 5}
    given = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
    assert cli.run(["serve", "--no-journal", *given]) == 0
    limits, keeping = served[0].limits, served[0].keeping
    assert (limits.pixels, limits.steps, limits.count, limits.body, limits.result) == (5000, 30, 2, 400 << 20, 3 << 20)
    assert (keeping.jobs, keeping.bytes, keeping.seconds) == (4, 3 << 20, 5)
    assert limits.bodies >= limits.body


def test_defaults_of_flags_are_those_of_the_settings(served):
    assert cli.run(["serve", "--no-journal"]) == 0
    assert (served[0].limits, served[0].keeping) == (RequestLimits(), Keeping())


def test_the_page_is_opened(served, monkeypatch):
    opened = SimpleQueue()
    monkeypatch.setattr("webbrowser.open", opened.put)
    assert cli.run(["serve", "--open", "--no-journal"]) == 0 and opened.get(timeout=60) == "http://127.0.0.1:7860/"


@pytest.mark.parametrize(
    "flags",
    [
        ["--threads", "0"],
        ["--memory", "some"],
        ["--port", "70000"],
        ["--workers", "0"],
        ["--workers", "17"],
        ["--max-pixels", "0"],
        ["--max-steps", "0"],
        ["--max-steps", "1001"],
        ["--max-count", "0"],
        ["--max-body-mb", "0"],
        ["--max-results", "0"],
        ["--max-results-mb", "0"],
        ["--result-ttl", "0"],
    ],
)
def test_values_out_of_range_are_refused(served, flags, capsys):
    assert cli.run(["serve", "--no-journal", *flags]) == 2 and not served


def test_a_model_that_is_not_there_ends_it_before_it_listens(tmp_path, monkeypatch):
    def listening(*_):
        raise AssertionError("it listens")

    monkeypatch.setattr(serving, "listening", listening)
    assert cli.run(["serve", "--no-journal", "--model", str(tmp_path / "gone")]) == 3


def test_what_is_missing_is_named(monkeypatch, capsys):
    for purpose, extra, flags in (("metrics", "serve", ["--metrics"]), ("the server", "serve", []), ("MCP", "mcp", [])):
        monkeypatch.setitem(install.PARTS, purpose, (("no_such_package",), install.PARTS[purpose][1]))
        assert cli.run([extra, *flags]) == 5
        told = capsys.readouterr().err
        assert "no_such_package" in told and told.rstrip().endswith(f"install with: {install.line(extra)}")


def test_a_record_of_the_log_is_one_line(capsys):
    log_to_stderr()
    log = logging.getLogger("pleinair.serve.test")
    log.info("a house\n2026 error: forged \x1b[31m %s", "\u202e")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and "forged" in lines[0] and "\x1b" not in lines[0] and "\u202e" not in lines[0]
    assert isinstance(logging.getLogger("uvicorn").handlers[0], Lines)


def test_keys_are_at_least_sixteen_characters():
    for key in ("short", "schlüssel-aus-glas", "0123456789abcde\n"):  # the last two cannot be sent
        with pytest.raises(RequestError, match="openssl"):
            serving.check(ServeSettings(key=key))


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="a terminal that closes sends it")
def test_a_terminal_that_closes_ends_the_server_in_order_unless_that_is_ignored():
    async def told_after(handler):
        told, before = asyncio.Event(), signal.signal(signal.SIGHUP, handler)
        try:
            with serving.answering(told):
                heard = signal.getsignal(signal.SIGHUP)
                if callable(heard):  # called here, for a real signal could end the process of the tests
                    heard(signal.SIGHUP, None)
                await asyncio.sleep(0.01)
            return told.is_set(), signal.getsignal(signal.SIGHUP) == handler
        finally:
            signal.signal(signal.SIGHUP, before)

    assert asyncio.run(told_after(signal.SIG_DFL)) == (True, True)
    assert asyncio.run(told_after(signal.SIG_IGN)) == (False, True)
