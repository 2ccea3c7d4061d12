"""`pleinair bench`: options, exit codes, what is on stdout and what is in the file."""

import json

import pytest

from bench_records import case, outcome, record, worker
from pleinair import cli
from pleinair_bench import cli as bench
from pleinair_bench import run as running
from pleinair_bench.records import append, read

OK = f"json.dump({outcome([0.1, 0.1])!r}, sys.stdout)"
STORY = ["--model", "storybook"]


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PLEINAIR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(running, "WORKER", worker(OK))
    monkeypatch.setattr(running.yardstick, "pace", lambda: 0.0025)


@pytest.fixture
def run(capsys):
    """Run a command; returns (exit code, stdout, stderr)."""

    def call(*arguments):
        code = cli.run(["bench", *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def refused(outcome, code, *words):
    assert outcome[0] == code and outcome[1] == "", outcome
    assert outcome[2].count("\n") == 1 and all(word in outcome[2] for word in words), outcome[2]


@pytest.fixture
def files(tmp_path):
    fast, slow = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    append(fast, [record([[0.1, 0.1]] * 3)])
    append(slow, [record([[0.12, 0.12]] * 3)])
    return fast, slow


def test_a_run_prints_a_table_and_adds_to_the_file(run, tmp_path):
    options = [*STORY, "--work", "unet", "--engine", "openvino,onnx", "--threads", "1,2", "--batch", 2, "--rounds", 2]
    code, out, err = run("run", *options, "-o", "jsonl")
    assert code == 0, err
    found = [json.loads(line) for line in out.splitlines()]
    assert [(each["case"]["engine"], each["case"]["threads"]) for each in found] == [
        ("openvino", 1), ("openvino", 2), ("onnx", 1), ("onnx", 2),
    ]  # fmt: skip
    assert sorted(map(str, read([tmp_path / "pleinair-bench.jsonl"])[0])) == sorted(map(str, found))
    run("run", *options)
    assert len(read([tmp_path / "pleinair-bench.jsonl"])[0]) == 8


def test_a_dry_run_measures_nothing(run, tmp_path):
    code, out, _ = run("run", "--dry-run")
    assert code == 0 and "storybook" in out and "GB of disk to take" in out
    code, out, _ = run("run", "--dry-run", "--quick", "--engine", "onnx", "-o", "json")
    plan = json.loads(out)
    assert {each["engine"] for each in plan["cases"]} == {"onnx"} and plan["seconds"] > 0 and plan["disk_bytes"] == 0
    assert list(tmp_path.iterdir()) == []


def test_disk_is_not_taken_unasked(run, tmp_path):
    refused(run("run", "--model", "sd15", "--work", "text_encoder", "--engine", "onnx"), 2, "GB of disk", "--yes")
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    "options, words",
    [
        (["--model", "sd99"], "choose from storybook"),
        (["--threads", "x"], "number from 1"),
        (["--batch", "0"], "number from 1"),
        (["--size", "big"], "WIDTHxHEIGHT"),
        (["--rounds", "0"], "--rounds"),
        (["-o", "xml"], "md, csv, json, jsonl"),
        (["--quick", "--model", "sd99"], "choose from storybook"),
        (["--results", "no/r.jsonl"], "no folder"),
        (["--nope"], "pleinair bench run --help"),
        (["--work", "warm", "--sampler", "dance"], "dance"),
    ],
)
def test_what_makes_no_sense_is_refused(run, options, words):
    refused(run("run", *options), 2, words)


def test_a_full_disk_still_shows_what_was_measured(run, monkeypatch):
    calls = []

    def full(file, found):
        calls.append(found)
        if found:
            raise bench.records.ResourceError("the disk is full; free space")

    monkeypatch.setattr(bench.records, "append", full)
    code, out, err = run("run", *STORY, "--work", "unet", "--engine", "onnx", "--batch", 2, "--rounds", 1)
    assert code == 4 and "unet b2" in out and err.count("\n") == 1


@pytest.mark.parametrize(
    "order, limit, code", [((0, 1), "5%", 7), ((0, 1), "25%", 0), ((1, 0), "5", 0), ((0, 0), "0%", 0)]
)
def test_exit_code_for_continuous_integration(run, files, order, limit, code):
    found = run("compare", *(files[number] for number in order), "--fail-if-slower", limit)
    assert found[0] == code, found
    assert ("slower than allowed" in found[2]) == (code == 7)


def test_compare(run, files, tmp_path):
    code, out, _ = run("compare", *files)
    assert code == 0 and "**slower**" in out
    code, out, _ = run("compare", *files, "-o", "json")
    assert json.loads(out)[0]["word"] == "slower"
    both = tmp_path / "c.jsonl"
    append(both, [record([[0.1]] * 3), record([[0.2]] * 3, of=case(engine="onnx"))])
    code, out, err = run("compare", both, "--by", "engine")
    assert code == 0 and "**slower**" in out and "A: engine openvino" in err
    assert run("compare", both, "--by", "engine", "--fail-if-slower", "5%")[0] == 7
    refused(run("compare", files[0]), 2, "two results files")
    refused(run("compare", *files, "--fail-if-slower", "much"), 2, "5%")
    refused(run("compare", files[0], tmp_path / "none.jsonl"), 2, "check the path")


def test_report_and_table(run, files, tmp_path):
    assert run("report", *files) == (0, "report.html\n", "")
    assert "<svg" not in (tmp_path / "report.html").read_text()  # drawn by the page itself
    refused(run("report", *files), 4, "--force")
    code, out, _ = run("table", *files, "-o", "csv")
    assert code == 0 and out.count("\n") == 2  # the newest record of the one case


def test_submit_prints_the_last_run_and_sends_nothing(run, tmp_path):
    refused(run("submit"), 2, "check the path")
    append(tmp_path / "pleinair-bench.jsonl", [record([[0.1]]), record([[0.2]], run_id="1" * 12)])
    code, out, err = run("submit")
    assert code == 0 and json.loads(out)["run"] == "1" * 12
    assert "nothing was sent" in err and "issue" in err


def test_clean_gives_disk_back(run, tmp_path):
    assert run("clean") == (0, "0.00 GB given back\n", "")


def test_without_the_package_there_is_one_line(run, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pleinair_bench.cli", None)
    refused(run("run"), 5, "pip install")


def test_help_names_every_command(run):
    code, out, _ = run("--help")
    assert code == 0 and all(name in out for name in ("run", "compare", "report", "clean", "submit", "table"))
