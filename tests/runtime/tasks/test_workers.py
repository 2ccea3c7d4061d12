"""Lists that several processes paint: the same pictures, whatever becomes of the processes."""

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import pleinair
import saving
from pleinair.cli import app as cli
from pleinair.errors import Cancelled, EngineError, RequestError, ResourceError
from pleinair.pipeline import Pipeline
from pleinair.system import cores
from pleinair.system.cores import Core, core_groups
from pleinair.system.limits import Room
from pleinair.tasks import crews, worker_count, workers
from pleinair.tasks import lists as jobs
from pleinair.tasks.lines import BadLine, read_lines

pytestmark = [
    pytest.mark.usefixtures("silent_storybook", "in_a_folder"),
    pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX does"),
]
QUICK = {"steps": 1, "width": 32, "height": 32, "seed": 1}
FAKE = ["--engine", "fake", "--steps", "1", "--size", "32x32", "--seed", "1"]


@pytest.fixture(scope="module")
def pipe():
    return pleinair.load(engine="fake")


def paint(pipe, text, **how):
    lines = read_lines(io.BytesIO(text.encode()), pipe.bundle, QUICK)
    return jobs.run(lines, pipe, Path(), ledger=Path("list.pictures.jsonl"), **{"workers": 2} | how)


def pictures(folder="."):
    return {path.name: path.read_bytes() for path in sorted(Path(folder).glob("*.png"))}


def gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_two_workers_paint_the_bytes_of_one_process_and_only_what_is_missing(sketch, capsys):
    Path("list").write_text('one\n{"prompt": "a", "steps": 0}\n{"prompt": "two", "count": 3, "batch": 2}\nthree\n')
    same = ["--model", str(sketch), "--engine", "onnx", "--threads", "1", *FAKE[2:]]
    command = ["generate", "--prompts", "list", *same]
    assert cli.run([*command, "-o", "alone"]) == cli.run([*command, "-o", "both", "--workers", "2"]) == 7
    assert pictures("both") == pictures("alone") and len(pictures("alone")) == 5
    out, err = capsys.readouterr()
    assert sorted(out.splitlines()[5:]) == [f"both/{name}" for name in pictures("both")]
    assert err.count("line 2: steps 0") == 2
    for name in ("0001-one-1.png", "0003-two-2.png"):
        Path("both", name).unlink()
    assert cli.run([*command, "-o", "both", "--workers", "2"]) == 7
    out, err = capsys.readouterr()
    assert [*pictures("both")] == [*pictures("alone")] and len(out.splitlines()) == 2 and "already there: 3" in err
    count = ["generate", "two", *same, "--count", "3", "-o"]
    assert cli.run([*count, "c.png"]) == cli.run([*count, "d.png", "--workers", "2"]) == 0
    assert [*pictures().values()][:3] == [*pictures().values()][3:]


def test_a_worker_that_dies_costs_its_line_and_leaves_nothing_half_written(pipe):
    reports = list(paint(pipe, "one\ncut\ntwo\nthree", save=saving.killed))
    (bad,) = (each for each in reports if isinstance(each, BadLine))
    assert bad.line == 2 and "SIGKILL" in bad.reason and "--workers" in bad.reason
    assert [*pictures()] == ["0001-one-1.png", "0003-two-1.png", "0004-three-1.png"]
    assert sorted(path.name for path in Path().iterdir()) == [*pictures(), "list.pictures.jsonl"]
    assert len(list(paint(pipe, "one\ncut\ntwo\nthree"))) == len(pictures()) == 4


def test_workers_that_die_one_after_the_other_are_given_up(pipe, monkeypatch):
    monkeypatch.setattr(workers, "MOST_DEATHS", 2)
    with pytest.raises(EngineError, match="in a row.*leave --workers out"):
        list(paint(pipe, "cut 1\ncut 2", save=saving.killed))
    assert sorted(path.name for path in Path().iterdir()) == ["list.pictures.jsonl"]


def test_a_full_disk_and_a_wish_to_stop_end_the_list(pipe):
    with pytest.raises(ResourceError, match="free space"):
        list(paint(pipe, "a\nb", save=saving.full))
    with pytest.raises(Cancelled):
        list(paint(pipe, "a\nb", stop=lambda: True))
    assert sorted(path.name for path in Path().iterdir()) == ["list.pictures.jsonl"]


def test_a_picture_is_reported_before_the_next_line_is_there(pipe):
    """As a program does that writes one line after the other, and waits for each picture."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb", buffering=0) as lines, os.fdopen(reading, "rb") as stream:
        lines.write(b"a\n")
        reports = jobs.run(read_lines(stream, pipe.bundle, QUICK), pipe, Path(), workers=2)
        assert next(reports).line == 1
        lines.write(b"b\n")
        assert next(reports).line == 2
        lines.close()
        assert list(reports) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_worker_outlives_the_program(number):
    script = (
        "import io, pathlib, pleinair, saving, signal\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # what a shell starts with & ignores Ctrl-C
        "from pleinair.tasks.lines import read_lines\n"
        "from pleinair.tasks.lists import run\n"
        "pipe = pleinair.load(engine='fake')\n"
        f"lines = read_lines(io.BytesIO(b'a\\n' * 400), pipe.bundle, {QUICK})\n"
        "list(run(lines, pipe, pathlib.Path(), workers=2, save=saving.slow))\n"
    )  # without `if __name__`, as a program may be that somebody types
    path = os.pathsep.join(filter(None, sys.path))
    program = subprocess.Popen([sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": path})
    pids = awaited(lambda: {int(file.suffixes[-2][1:]) for file in Path().glob("*.pid")}, 2)
    program.send_signal(number)
    program.wait(30)
    awaited(lambda: [pid for pid in pids if gone(pid)], 2)
    assert len(pids) == 2 and not [path for path in Path().iterdir() if path.name.startswith(".0")]
    count = len(pictures())
    time.sleep(0.4)
    assert len(pictures()) == count


def awaited(found, count):
    """What is found, when it is so many."""
    end = time.monotonic() + 30
    while len(found()) < count and time.monotonic() < end:
        time.sleep(0.02)
    return found()


def test_memory_bounds_the_workers(pipe, monkeypatch):
    request = jobs.resolve(pipe.bundle, "a", **QUICK)
    monkeypatch.setattr(worker_count, "physical_cores", lambda: [Core((number,), ("0",)) for number in range(4)])
    monkeypatch.setattr(worker_count, "core_quota", lambda: None)
    monkeypatch.setattr(Pipeline, "memory_needed", lambda *_, memory="": 100e6 if memory == "low" else 300e6)

    def planned(number, room):
        monkeypatch.setattr(worker_count, "room_left", lambda: Room(room))
        return worker_count.planned_workers(pipe, request, number, said.append)

    said = []
    monkeypatch.setattr(pipe, "threads", 2)
    assert [(setup.cpus, setup.how["threads"]) for setup in planned(4, 10e9)] == [((), 2)] * 4
    assert [(setup.cpus, setup.how["threads"]) for setup in planned("auto", 10e9)] == [((0, 1), 2), ((2, 3), 2)]
    monkeypatch.setattr(pipe, "threads", None)
    assert [setup.cpus for setup in planned("auto", 10e9)] == [(0,), (1,), (2,), (3,)]
    assert len(planned("auto", 700e6)) == 2 and planned("auto", 500e6) == [] and said == []
    assert {setup.how["threads"] for setup in planned(2, 10e9)} == {2}
    monkeypatch.setattr(worker_count, "core_quota", lambda: 2.5)
    assert len(planned("auto", 10e9)) == 2 and len(planned(3, 10e9)) == 3
    assert {setup.how["memory"] for setup in planned(4, 500e6)} == {"low"} and "each worker" in said[0]
    with pytest.raises(ResourceError, match="6 workers take about 600 MB.*choose 5 with --workers"):
        planned(6, 500e6)
    monkeypatch.setattr(Pipeline, "memory_needed", lambda *_, memory="": 3e9)
    assert planned("auto", 100e9) == [] and len(planned(3, 100e9)) == 3
    monkeypatch.setattr(worker_count, "physical_cores", lambda: [Core((number,), ("0",)) for number in range(16)])
    monkeypatch.setattr(worker_count, "core_quota", lambda: None)
    assert [setup.how["threads"] for setup in planned("auto", 100e9)] == [4] * 4 and len(planned("auto", 7e9)) == 2


def test_workers_that_spare_memory_paint_side_by_side(pipe, monkeypatch):
    monkeypatch.setattr(Pipeline, "memory_needed", lambda *_, memory="": 100e6 if memory == "low" else 300e6)
    for module in (worker_count, crews):
        monkeypatch.setattr(module, "room_left", lambda: Room(250e6))
    given, give = [], workers.Seat.give

    def noted(seat, job):
        given.append((seat, job.memory))
        give(seat, job)

    monkeypatch.setattr(workers.Seat, "give", noted)
    assert len(list(paint(pipe, "a\nb\nc\nd"))) == 4
    assert {memory for _, memory in given} == {100e6} and len({seat for seat, _ in given}) == 2


def test_what_no_number_of_workers_makes_is_refused(capsys):
    for wrong in ("0", "few", "1.5", "1000"):
        assert cli.run(["generate", "a", *FAKE, "--workers", wrong]) == 2
    for wrong in (["--film", "f.gif"], ["-o", "a.npz"]):
        assert cli.run(["generate", "a", *FAKE, "--count", "2", "--workers", "2", *wrong]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 6 and not [*Path().iterdir()]


def test_a_frozen_program_and_an_engine_of_its_own_are_told(pipe, monkeypatch):
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    with pytest.raises(RequestError, match="frozen.*leave workers out"):
        list(paint(pipe, "a"))
    assert len(list(paint(pipe, "a", workers="auto"))) == 1


def test_a_job_that_does_not_fit_beside_the_others_waits_for_them():
    two = workers.Workers([worker_count.WorkerSetup(Path(), {})] * 2, room=100)
    first, second = two._seats
    first.claim, second.claim = 60, 30
    job = workers.WorkerJob(1, "", None, {}, (1,), (Path(),), print, memory=50)
    assert not two._fits(second, job) and two._fits(first, job)


TWO_NODES = [Core((2 * n, 2 * n + 1), (str(n // 4),)) for n in range(8)]


@pytest.mark.parametrize(
    "count, sizes", [(1, [8]), (2, [4, 4]), (3, [2, 2, 4]), (4, [2] * 4), (8, [1] * 8), (16, [1] * 16), (17, [0] * 17)]
)
def test_groups_of_cores_keep_to_their_node(count, sizes):
    groups = core_groups(TWO_NODES, count)
    assert sorted(map(len, groups)) == sorted(sizes)
    assert all(len({core.place for core in group}) <= 1 for group in groups) or count == 1
    cpus = [cpu for group in groups for core in group for cpu in core.cpus]
    assert len(cpus) == len(set(cpus)) == (16 if count < 17 else 0)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /sys as Linux has it")
def test_threads_of_one_core_are_one_core(tmp_path, monkeypatch):
    monkeypatch.setattr(cores, "CPUS", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 4, 5, 6})
    for cpu in range(8):
        (tmp_path / f"cpu{cpu}" / "topology").mkdir(parents=True)
        (tmp_path / f"cpu{cpu}" / f"node{cpu % 4 // 2}").mkdir()
        (tmp_path / f"cpu{cpu}" / "topology" / "thread_siblings_list").write_text(f"{cpu % 4},{cpu % 4 + 4}\n")
        (tmp_path / f"cpu{cpu}" / "topology" / "physical_package_id").write_text("0\n")
    found = cores.physical_cores()
    assert [core.cpus for core in found] == [(0, 4), (1, 5), (2, 6)] and found[0].place == found[1].place
    assert found[2].place != found[0].place


@pytest.mark.parametrize("limits, cores_left", [({}, None), ({"a/b": "150000 100000", "a": "max 100000"}, 1.5),
                                               ({"": "400000 100000", "a/b": "800000 100000"}, 4)])  # fmt: skip
def test_a_container_may_use_less_than_the_cores_that_it_sees(tmp_path, monkeypatch, limits, cores_left):
    monkeypatch.setattr(cores, "GROUPS", tmp_path)
    monkeypatch.setattr(cores, "OWN_GROUP", tmp_path / "own")
    (tmp_path / "own").write_text("1:name=systemd:/x\n0::/a/b\n")
    (tmp_path / "a" / "b").mkdir(parents=True)
    for folder, limit in limits.items():
        (tmp_path / folder / "cpu.max").write_text(limit + "\n")
    assert cores.core_quota() == cores_left
