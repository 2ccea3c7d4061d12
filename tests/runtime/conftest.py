"""What tests of several rooms share."""

import pytest

from pleinair.cli import app as cli


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Run a command; returns (exit code, stdout, stderr). What it compiles is kept for this test alone."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / ".cache"))

    def call(*arguments):
        code = cli.run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def in_a_folder(tmp_path, monkeypatch):
    """The working folder is an empty one."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
