"""The results file: whole lines whatever happens, and records as the schema says."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench_records import case, record
from pleinair.errors import RequestError, ResourceError
from pleinair_bench import records
from pleinair_bench.records import append, newest, problems, read, upgraded


def test_a_record_is_as_the_schema_says():
    assert list(problems(record([[0.1, 0.11, 0.12]] * 3))) == []
    assert list(problems(record([[0.1]], cut="interrupted"))) == []


@pytest.mark.parametrize(
    "change, told",
    [
        (lambda r: r.pop("case"), "lacks 'case'"),
        (lambda r: r.update(extra=1), "has 'extra'"),
        (lambda r: r.update(status="fine"), "none of ok"),
        (lambda r: r.update(run="host"), "does not look like"),
        (lambda r: r["case"].update(batch=0), "below 1"),
        (lambda r: r["case"].update(threads="2"), "is not integer or null"),
        (lambda r: r["case"].update(threads=True), "is not integer or null"),
        (lambda r: r["measures"]["run"].update(median=None), "is not number"),
        (lambda r: r["measures"]["run"].update(rounds=[]), "too short"),
        (lambda r: r["flags"].append("lucky"), "none of on battery"),
        (lambda r: r["machine"].update(host="x"), "has 'host'"),
    ],
)
def test_the_validator_sees_what_is_wrong(change, told):
    wrong = json.loads(json.dumps(record([[0.1]])))
    change(wrong)
    assert any(told in problem for problem in problems(wrong))


def test_the_schema_uses_nothing_that_the_validator_does_not_know():
    known = {"$schema", "$id", "$ref", "$defs", "title", "description", "type", "const", "enum", "minimum", "maximum",
             "pattern", "required", "properties", "additionalProperties", "items", "minItems"}  # fmt: skip

    def check(rule):
        assert set(rule) <= known, set(rule) - known
        for part in (*rule.get("properties", {}).values(), *rule.get("$defs", {}).values()):
            check(part)
        for name in ("items", "additionalProperties"):
            if isinstance(rule.get(name), dict):
                check(rule[name])

    check(records.schema())


def test_what_is_appended_is_read_back(tmp_path):
    file = tmp_path / "r.jsonl"
    first, second = record([[0.1]]), record([[0.2]], of=case(batch=1))
    append(file, [first])
    append(file, [second])
    assert read([file]) == ([first, second], [])
    both = tmp_path / "both.jsonl"
    both.write_bytes(file.read_bytes() + file.read_bytes())  # merging is cat
    assert newest(read([both])[0]) == [first, second]


def test_a_torn_line_loses_itself_alone(tmp_path):
    file = tmp_path / "r.jsonl"
    append(file, [record([[0.1]])])
    file.write_text(file.read_text() + '{"schema": 1, "run": "ab')
    append(file, [record([[0.2]])])
    found, warnings = read([file])
    assert [each["measures"]["run"]["median"] for each in found] == [0.1, 0.2]
    assert len(warnings) == 1 and "line 2" in warnings[0]


def test_two_writers_at_once_lose_nothing(tmp_path):
    file = tmp_path / "r.jsonl"
    code = (
        "import sys, pathlib\nfrom bench_records import record\nfrom pleinair_bench.records import append\n"
        "one = record([[float(sys.argv[2])]] * 3)\n"
        "one['reason'] = 'long ' * 20_000\n"  # lines that are not written in one go by chance
        "for _ in range(25): append(pathlib.Path(sys.argv[1]), [one, one])"
    )
    path = os.pathsep.join([str(Path(__file__).parents[1] / "helpers"), *filter(None, [os.environ.get("PYTHONPATH")])])
    writers = [
        subprocess.Popen([sys.executable, "-c", code, file, str(number)], env={**os.environ, "PYTHONPATH": path})
        for number in (1, 2)
    ]
    assert [writer.wait(120) for writer in writers] == [0, 0]
    found, warnings = read([file])
    assert warnings == [] and len(found) == 100


def test_a_full_disk_is_said_and_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    file = tmp_path / "r.jsonl"
    append(file, [record([[0.1]])])
    before, write = file.read_bytes(), os.write

    state = {"left": 100}

    def filling(descriptor, data):
        if state["left"] <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = write(descriptor, data[: state["left"]])
        state["left"] -= taken
        return taken

    monkeypatch.setattr(records.os, "write", filling)
    with pytest.raises(ResourceError, match="disk is full; free space"):
        append(file, [record([[0.2]])])
    assert file.read_bytes() == before


def test_a_folder_that_is_not_there_is_said(tmp_path):
    with pytest.raises(ResourceError, match="--results"):
        append(tmp_path / "no" / "r.jsonl", [])
    with pytest.raises(RequestError, match="check the path"):
        read([tmp_path / "no.jsonl"])


@pytest.mark.parametrize(
    "line, told",
    [
        ("[1]", "not a benchmark"),
        ('{"a": 1}', "not a benchmark"),
        ('{"schema": 99}', "update pleinair"),
        ("}", "line 1"),
        ('{"schema": 1}', "lacks"),
    ],
)
def test_lines_that_are_no_records_are_told(tmp_path, line, told):
    file = tmp_path / "r.jsonl"
    file.write_text(line + "\n")
    with pytest.raises(RequestError, match=f"'r.jsonl' holds no benchmark records .*{told}"):
        read([file])
    append(file, [record([[0.1]])])
    found, warnings = read([file])
    assert len(found) == 1 and len(warnings) == 1 and told in warnings[0]


def test_records_of_version_1_stay_readable():
    """A file that an early version has written; it is never changed, only added to."""
    found, warnings = read([Path(__file__).parents[1] / "golden" / "bench-1.jsonl"])
    assert warnings == [] and len(found) == 2
    assert found[0]["case"]["model"] == "storybook" and found[0]["measures"]["total"]["median"] > 0


def version_2(rounds, **changed):
    """A record as version 2 wrote it: `precision` was how weights are stored."""
    raw = record(rounds)
    raw["case"] |= {"precision": raw["case"].pop("weights")} | changed
    del raw["commit"], raw["engine"]["precision"], raw["engine"]["build"]
    for name in ("speed", "memory", "vae"):
        del raw["case"][name]
    for measure in (*raw["measures"].values(), *raw["usage"].values()):
        measure |= {"low": 0.1, "high": 0.2}
    return raw | {"schema": 2}


def test_version_2_told_how_weights_are_stored_and_computed_in_float32():
    found = upgraded(version_2([[0.1]] * 3))
    assert found["case"] == case(precision="f32").to_dict()
    assert found["commit"] is None and found["engine"]["precision"] is None
    assert found["measures"]["run"]["low"] == 0.1
    assert upgraded(version_2([[0.1]], device="gpu"))["case"]["precision"] == "f16"
    assert upgraded(version_2([[0.1]], device="npu"))["case"]["precision"] == "auto"


def test_version_2_had_intervals_of_two_rounds():
    found = upgraded(version_2([[0.1]] * 2))
    kinds = [*found["measures"].values(), *found["usage"].values()]
    assert kinds and all(each["low"] is None and each["high"] is None for each in kinds)


def test_version_2_did_not_look_at_what_peers_had_stored():
    peers = {"model": "peers: x", "precision": "fp32"}
    assert upgraded(version_2([[0.1]], engine="diffusers", **peers))["case"]["weights"] == "unknown"
    assert upgraded(version_2([[0.1]], engine="openvino-genai", **peers))["case"]["weights"] == "fp32"
    told = upgraded(version_2([[0.1]], engine="stable-diffusion.cpp", **peers))["case"]
    assert told["weights"] == "unknown" and told["precision"] == "auto"


def test_version_4_measured_the_first_step_of_a_second_picture():
    raw = record([[0.1]] * 3, of=case(model="peers: x"))
    raw["measures"] |= {"first_step": raw["measures"]["run"], "again": raw["measures"]["run"]}
    for name in ("speed", "memory", "vae"):
        del raw["case"][name]
    del raw["engine"]["build"]
    found = upgraded(raw | {"schema": 4})
    assert {"picture", "run"} <= set(found["measures"]) and not {"first_step", "again"} & set(found["measures"])
    assert found["case"] == case(model="peers: x").to_dict()


def test_an_old_version_goes_through_every_step(monkeypatch):
    with pytest.raises(ValueError, match="not a benchmark"):
        upgraded({"schema": 0})  # there was none
    monkeypatch.setattr(records, "VERSION", records.VERSION + 1)
    monkeypatch.setitem(records.UPGRADES, records.VERSION - 1, lambda raw: raw | {"schema": records.VERSION})
    old = {name: value for name, value in version_2([[0.1]]).items() if name not in ("pace", "left_out")}
    with pytest.raises(ValueError, match="is not 5"):  # all steps ran; the schema here is still that of version 5
        upgraded(old | {"schema": 1})
