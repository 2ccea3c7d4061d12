"""What tests of several rooms share."""

import pytest

from pleinair.bundle.opening import default_path
from pleinair.cli import app as cli
from shelves import write_shelf


@pytest.fixture(scope="session")
def shelf(tmp_path_factory):
    """The topologies of storybook's graphs, as those of real models ship."""
    folder = tmp_path_factory.mktemp("topologies")
    write_shelf(folder, default_path(), default_path().parent / "source")
    return folder


@pytest.fixture
def run(capsys):
    """Run a command; returns (exit code, stdout, stderr)."""

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
