"""`pleinair bench`: options, exit codes, what is on stdout and what is in the file."""

import json
import os
import subprocess
import sys
import time

import pytest

from bench_records import case, outcome, record, worker
from pleinair.cli import app as cli
from pleinair_bench import cli as bench
from pleinair_bench import run as running
from pleinair_bench.records import append, read

OK = f"json.dump({outcome([0.1, 0.1])!r}, sys.stdout)"
STORY = ["--model", "storybook"]
POSIX = pytest.mark.skipif(os.name == "nt", reason="signals")


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
    """One line on stderr, and nothing on stdout but the same where JSON was asked for."""
    assert outcome[0] == code and (not outcome[1] or set(json.loads(outcome[1])) == {"error"}), outcome
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
    assert code == 0 and "storybook" in out and "GB of disk needed" in out
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


def planned(outcome):
    code, out, err = outcome
    assert code == 0, err
    return json.loads(out)["cases"]


PLAN = ["--dry-run", "-o", "json"]


@pytest.mark.parametrize("quick", [[], ["--quick"]])
@pytest.mark.parametrize(
    "options, field, expected",
    [
        (["--size", "256X256"], "width", {256}),
        (["--size", " 256x256 , 256X256"], "height", {256}),
        (["--sampler", "DPM++ 2M"], "sampler", {"dpmpp_2m"}),
        (["--sampler", "dpm++ 2m,DPMPP_2M"], "sampler", {"dpmpp_2m"}),
        (["--engine", "OpenVINO"], "engine", {"openvino"}),
        (["--engine", "ONNX, openvino,onnx"], "engine", {"openvino", "onnx"}),
        (["--model", "Storybook"], "model", {"storybook"}),
        (["--work", "UNet , COLD"], "work", {"unet", "cold"}),
        (["--weights", "FP16"], "weights", {"fp16"}),
        (["--precision", "AUTO"], "precision", {"auto"}),
        (["--device", "CPU"], "device", {"cpu"}),
        (["--threads", "auto"], "threads", {None}),
        (["--batch", "2"], "batch", {2}),
        (["--steps", "12, 12"], "steps", {12}),
    ],
)
def test_options_are_understood_as_elsewhere(run, quick, options, field, expected):
    found = planned(run("run", *PLAN, *quick, *options))
    assert {each[field] for each in found} == expected
    assert len({str(each) for each in found}) == len(found)


def test_devices_that_are_made_of_others(run):
    """As they are spelled everywhere, but for commas, which stand between two devices."""
    outcome = run("run", *PLAN, *STORY, "--work", "unet", "--device", "Auto, hetero:GPU+cpu,auto:gpu.1")
    assert {each["device"] for each in planned(outcome)} == {"auto", "hetero:gpu+cpu", "auto:gpu.1"}
    refused(run("run", *PLAN, "--device", "hetero"), 2, "must name each device exactly once")
    refused(run("run", *PLAN, "--device", "heter:gpu+cpu"), 2, "did you mean 'hetero'")


def test_quick_names_what_it_has(run):
    refused(run("run", *PLAN, "--quick", "--size", "128x128"), 2, "--quick has no case with size 128x128, only 256x256")
    refused(run("run", *PLAN, "--quick", "--threads", "2"), 2, "threads 2, only auto; choose")
    refused(run("run", *PLAN, "--quick", "--work", "cold", "--sampler", "Euler a"), 2, "euler_a, only dpmpp_2m")


def test_an_option_that_a_work_does_not_take_says_which_do(run):
    for quick in ([], ["--quick"]):
        outcome = run("run", *PLAN, *quick, "--work", "unet", "--sampler", "euler")
        refused(outcome, 2, "--sampler is for cold, warm and not for unet")
    code, out, err = run("run", *PLAN, *STORY, "--work", "unet,warm", "--steps", "5", "--batch", "1")
    assert {(each["work"], each["steps"], each["batch"]) for each in json.loads(out)["cases"]} == {
        ("unet", None, 1), ("warm", 5, 1),
    }  # fmt: skip
    assert (
        code == 0 and "--steps is for cold, warm; unet is measured without it" in err and "--batch is for unet" in err
    )


def test_what_no_case_has_is_said(run):
    code, _, err = run("run", *PLAN, "--model", "storybook,sd15", "--weights", "fp32")
    assert code == 0 and "warning: no case has model storybook" in err
    code, _, err = run("run", *PLAN, "--quick", "--size", "256x256,64x64")
    assert code == 0 and "warning: no case has size 64x64" in err
    code, _, err = run("run", *PLAN, *STORY, "--sampler", "DPM++ 2M Karras")
    assert code == 0 and "DPM++ 2M Karras is measured with the model's own spacing" in err


def test_how_weights_are_stored_is_no_precision(run):
    refused(run("run", *PLAN, "--precision", "fp16"), 2, "how weights are stored; write --weights fp16")
    found = planned(run("run", *PLAN, *STORY, "--work", "unet", "--precision", "f32,bf16", "--batch", "2"))
    assert {each["precision"] for each in found} == {"f32", "bf16"}


@POSIX
def test_a_run_that_is_killed_leaves_what_it_measured(run, tmp_path):
    """SIGKILL to the parent while the second case is in its second round; the next run adds what is left."""
    busy = (
        "import pathlib, time\nonce = pathlib.Path('once')\nif job['task'] == 'case' and job['case']['batch'] == 2:\n"
    )
    busy += "    if once.exists():\n        once.rename('twice'); time.sleep(20)\n    once.touch()\n"
    options = [*STORY, "--work", "unet", "--engine", "onnx", "--batch", "1,2", "--rounds", "3"]
    code = (
        f"import sys\nsys.argv = {['pleinair', 'bench', 'run', *options]!r}\nfrom pleinair_bench import run\n"
        f"run.WORKER = {worker(busy + OK)!r}\nfrom pleinair.__main__ import main\nmain()"
    )
    started = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(600):
        if (tmp_path / "twice").exists():
            break
        time.sleep(0.1)
    started.kill()
    started.wait(30)
    results = tmp_path / "pleinair-bench.jsonl"
    assert results.read_bytes() == b""
    left, _ = read([tmp_path / "pleinair-bench.jsonl.unfinished"])
    assert {each["case"]["batch"] for each in left} == {1, 2} and {each["status"] for each in left} == {"interrupted"}
    code, _, err = run("run", *STORY, "--work", "vae_decoder", "--engine", "onnx", "--rounds", "1")
    assert code == 0 and "2 unfinished cases of a run that was killed are added" in err
    assert [each["status"] for each in read([results])[0]] == ["interrupted", "interrupted", "ok"]
    assert [file.name for file in tmp_path.glob("pleinair-bench*")] == ["pleinair-bench.jsonl"]


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
    code, out, err = run("compare", both, "--by", " Engine ", "-o", "JSON")
    assert code == 0 and json.loads(out)[0]["word"] == "slower"
    refused(run("compare", both, "--by", "weigths"), 2, "did you mean 'weights'?")
    refused(run("compare", files[0]), 2, "two results files")
    refused(run("compare", *files, "--fail-if-slower", "much"), 2, "5%")
    refused(run("compare", files[0], tmp_path / "none.jsonl"), 2, "check the path")


def test_two_rounds_tell_nothing_of_how_processes_differ(run, tmp_path):
    append(tmp_path / "a.jsonl", [record([[0.1, 0.101]] * 2)])
    append(tmp_path / "b.jsonl", [record([[0.5, 0.501]] * 2)])
    code, out, err = run("compare", "a.jsonl", "b.jsonl", "--fail-if-slower", "5%")
    assert code == 0 and "**unknown**" in out and "slower" not in out and "--rounds 3 or more" in err
    assert json.loads(run("compare", "a.jsonl", "b.jsonl", "-o", "json")[1])[0]["verdict"]["low"] is None
    assert "| -  " in run("table", "a.jsonl")[1] and ".." not in run("table", "a.jsonl")[1]


def test_forms_in_any_case(run, files):
    assert run("table", files[0], "-o", "CSV")[1] == run("table", files[0], "-o", "csv")[1]
    refused(run("table", files[0], "-o", "jsonn"), 2, "did you mean 'json'?")


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
    assert run("clean") == (0, "0.00 GB freed\n", "")


def test_without_the_package_there_is_one_line(run, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pleinair_bench.cli", None)
    refused(run("run"), 5, "pip install")


def test_help_names_every_command(run):
    code, out, _ = run("--help")
    assert code == 0 and all(name in out for name in ("run", "compare", "report", "clean", "submit", "table"))
