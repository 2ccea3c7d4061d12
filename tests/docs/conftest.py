"""What pages tell their readers to type, run in this process."""

import shlex

import pytest

from pleinair.cli import app as cli


@pytest.fixture
def typed(capsys, monkeypatch):
    """`typed(line)` runs a command, `typed(code)` an example; what fails there fails here."""
    monkeypatch.setattr("shellingham.detect_shell", lambda: ("bash", "/bin/bash"))  # none is above some test runs

    def run(text):
        if text.startswith("pleinair "):
            code = cli.run(shlex.split(text)[1:])
            assert code == 0, (text, capsys.readouterr().err)
        else:
            exec(compile(text, "<example>", "exec"), {"__name__": "__main__"})

    return run
