"""The scripts in benchmarks/ start: each has what it imports, and says what it takes."""

import importlib
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.parametrize("script", sorted(file.stem for file in FOLDER.glob("*.py")))
def test_a_script_starts(script, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setattr(sys, "argv", [f"{script}.py", "--help"])
    module = importlib.import_module(script)
    if hasattr(module, "main"):
        with pytest.raises(SystemExit) as ended:
            module.main()
        assert ended.value.code == 0 and "usage:" in capsys.readouterr().out
