"""How cost grows: its cases, the processes that are measured, and what its records look like on a page."""

import json
import re
import runpy
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from pleinair.system.cores import Core
from pleinair_bench import growth, growth_page, machine, yardstick
from pleinair_bench.records import problems
from pleinair_bench.run import CaseProgress, make_record

REPOSITORY = Path(__file__).parents[2]
page = runpy.run_path(str(REPOSITORY / "benchmarks" / "write_growth.py"))


@pytest.fixture
def four_cores(monkeypatch):
    monkeypatch.setattr(growth, "physical_cores", lambda: [Core((number,)) for number in range(4)])


def record(case, seconds):
    progress = CaseProgress(case)
    progress.outcomes = [
        {"status": "ok", "samples": {"total": [seconds, 2 * seconds]}, "pace": [0.1, 0.1], "cpu_s": 3 * seconds}
        for _ in range(3)
    ]
    return make_record(progress, "0" * 12, machine.facts(), {}, {})


@pytest.fixture
def records(four_cores):
    cases = growth.cases_of(None, "onnx", growth.AXES)
    return [record(case, 0.1 * case.steps * case.width / 256 / (case.threads or 1)) for case in cases]


def test_each_axis_has_its_cases_and_finds_them_again(records):
    found = {axis: [growth.place(each, axis) for each in growth.on_axis(records, axis)] for axis in growth.AXES}
    assert found == {
        "steps": [*growth.STEPS],
        "size": [*growth.SIDES],
        "batch": [*growth.BATCHES],
        "threads": [1, 2, 4],
        "workers": [1, 2, 4],
    }
    assert [each["case"]["threads"] for each in growth.on_axis(records, "workers")] == [4, 2, 1]
    assert len(records) == 5 + 4 + 3 + 3 + 2 and [*problems(records[-1])] == []


def test_a_page_shows_the_least_of_each_process(records):
    page = growth_page.tables_of(records)
    assert re.search(r"\| 32 +\| 3.2 s +\| 9.6 s +\|", page) and page.count("](images/growth-") == 5
    assert set(growth_page.plots_of(records)) == {*growth.AXES}
    assert growth_page.plots_of(records[:1]) == {}


def test_a_plot_puts_points_where_they_belong():
    svg = growth_page.plot("A <title>", {"one": [(1, 0.5), (2, 1.0)], "two": [(1, 1.0), (2, 2.0)]})
    (one, two) = (
        [tuple(map(float, point.split(","))) for point in line.split()] for line in re.findall('points="([^"]+)"', svg)
    )
    assert one[0][0] == two[0][0] and one[1][0] - growth_page.LEFT == pytest.approx(2 * (one[0][0] - growth_page.LEFT))
    bottom = growth_page.HEIGHT - growth_page.BOTTOM
    assert two[1][1] == growth_page.TOP and bottom - one[0][1] == pytest.approx((bottom - two[1][1]) / 4)
    assert "A &lt;title&gt;" in svg and "A <" not in svg


@pytest.mark.parametrize("value, top", [(0.3, 0.5), (1.0, 1.0), (1.01, 2.0), (24, 25), (0.0021, 0.0025), (70, 100)])
def test_axes_end_at_round_numbers(value, top):
    assert growth_page.round_up(value) == pytest.approx(top)


def test_workers_are_measured_together(sketch, monkeypatch):
    monkeypatch.setattr(yardstick, "pace", lambda: 0.1)
    monkeypatch.setattr(growth, "ROUND_S", 0.01)
    one = growth.cases_of(sketch, "onnx", ("size",))[0]
    case = replace(one, width=32, height=32, threads=1, workers=2, batch=2)
    outcome = growth.outcome(case, sketch)
    progress = CaseProgress(case, [outcome])
    made = make_record(progress, "0" * 12, machine.facts(), {}, {})
    assert len(outcome["samples"]["total"]) == 1 and outcome["peak_rss_mb"] > 100 and [*problems(made)] == []
    assert made["case"]["workers"] == 2 and made["engine"]["precision"] == "f32"


def test_a_process_that_ends_is_a_record_with_a_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(yardstick, "pace", lambda: 0.1)
    case = growth.cases_of(None, "onnx", ("size",))[0]
    outcome = growth.outcome(case, tmp_path / "nowhere")
    made = make_record(CaseProgress(case, [outcome]), "0" * 12, machine.facts(), {}, {})
    assert made["status"] == "crashed" and "ended" in made["reason"] and [*problems(made)] == []


def test_the_page_and_its_plots_are_those_of_the_records():
    """`python benchmarks/write_growth.py` writes them."""
    files = page["files"]()
    assert len(files) > 2 and all(file.read_text(encoding="utf-8") == text for file, text in files.items())
    told = json.dumps(page["found"]())
    assert socket.gethostname() not in told and "/home/" not in told and "\\\\" not in told
