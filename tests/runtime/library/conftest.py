"""A home for models of its own for each test, and a hub on the loopback interface."""

import json

import pytest

from hub_server import Hub, is_the_hub


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """PLEINAIR_HOME; the working folder is another one."""
    monkeypatch.setenv("PLEINAIR_HOME", str(tmp_path / "home"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "home"


@pytest.fixture
def facts(run):
    """Run a command that works, with --json; returns what it says."""

    def call(*arguments):
        code, out, err = run(*arguments, "--json")
        assert code == 0, err
        return json.loads(out)

    return call


@pytest.fixture
def refused(run):
    """Run a command that fails with a code; returns its one line, which has nothing on stdout beside it."""

    def call(code, *arguments):
        returned, out, err = run(*arguments)
        lines = [line for line in err.splitlines() if not line.startswith("pleinair: [")]
        assert (returned, out, len(lines)) == (code, "", 1), (returned, out, err)
        assert ";" in lines[0] and lines[0].startswith("pleinair: ")
        return lines[0]

    return call


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The hub that huggingface_hub talks to in this process, which waits for nothing between two tries."""
    from huggingface_hub import close_session

    server = Hub()
    is_the_hub(server, tmp_path, monkeypatch)
    yield server
    close_session()
    server.close()
