"""What the repository says of speed is what its records say."""

import json
import runpy
import socket
from pathlib import Path

import pytest

from pleinair_bench.records import read

REPOSITORY = Path(__file__).parents[2]
RESULTS = sorted((REPOSITORY / "benchmarks" / "results").rglob("*.jsonl"))
tables = runpy.run_path(str(REPOSITORY / "benchmarks" / "write_tables.py"))


@pytest.mark.parametrize("file", RESULTS, ids=lambda file: file.name)
def test_records_are_whole_and_name_nobody(file):
    found, warnings = read([file])
    assert found and warnings == []
    text = json.dumps(found)
    assert socket.gethostname() not in text and "/home/" not in text and "\\\\" not in text


@pytest.mark.parametrize("page, name", tables["PAGES"].items(), ids=lambda part: getattr(part, "name", part))
def test_pages_show_them(page, name):
    """`python benchmarks/write_tables.py` writes the tables."""
    text = page.read_text(encoding="utf-8")
    assert RESULTS and tables["with_tables"](text, name) == text


def test_plots_show_them():
    assert tables["plots"]()
    assert all(file.read_text(encoding="utf-8") == svg for file, svg in tables["plots"]().items())
