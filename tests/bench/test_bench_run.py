"""A run: whatever happens to a case's process becomes a row, and what is done is kept."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from itertools import chain, cycle, repeat

import numpy as np
import pytest

from bench_records import PEAKS, case, outcome, record, worker
from pleinair.bundle.opening import open_bundle
from pleinair.engines import engine as engines
from pleinair.engines.openvino import OpenVINOEngine
from pleinair.errors import EngineError, RequestError
from pleinair_bench import cases, models, reference, run
from pleinair_bench import commit as commits
from pleinair_bench.records import problems
from pleinair_bench.run import CaseProgress, Limits, Run, answer, died

OK = f"json.dump({outcome([0.1, 0.1])!r}, sys.stdout)"
POSIX = pytest.mark.skipif(os.name == "nt", reason="signals")


@pytest.fixture
def stand_in(monkeypatch):
    """Make all workers do what some code says, on a machine that is left alone; `job` is what they were given."""
    monkeypatch.setattr(run.yardstick, "pace", lambda: 0.0025)
    return lambda code: monkeypatch.setattr(run, "WORKER", worker(code))


def rows(running):
    return [found for _, found in running.steps() if found]


@POSIX
@pytest.mark.parametrize(
    "code, status, told",
    [
        ("os.kill(os.getpid(), 9)", "killed", "SIGKILL"),
        ("os.kill(os.getpid(), 11)", "crashed", "SIGSEGV"),
        ("os.abort()", "crashed", "SIGABRT"),
        ("sys.exit('the engine gave up')", "crashed", "exit code 1: the engine gave up"),
        ("1 / 0", "crashed", "ZeroDivisionError"),
        ("x = [0] * 10**15", "out of memory", "MemoryError"),
        ("print('terminate called: std::bad_alloc', file=sys.stderr); os.abort()", "out of memory", "bad_alloc"),
        ("sys.exit()", "crashed", "without an answer"),
        ("print('nonsense')", "crashed", "without an answer"),
        ("sys.exit(\"no '/home/ann/model.xml'\")", "crashed", "no 'model.xml'"),
    ],
)
def test_a_worker_that_dies_is_a_row_and_the_run_goes_on(stand_in, code, status, told):
    stand_in(f"if job['task'] == 'case' and job['case']['batch'] == 1:\n    {code}\n{OK}")
    found = rows(Run([case(batch=1), case(batch=2)], Limits(rounds=2)))
    assert [each["status"] for each in found] == [status, "ok"]
    assert told in found[0]["reason"] and "/home" not in found[0]["reason"]
    assert [list(problems(each)) for each in found] == [[], []]


def test_a_worker_killed_by_the_system_for_memory_is_told_from_another(monkeypatch):
    assert died(-9, "", True)["status"] == "out of memory"
    counts = iter([3, 4])
    monkeypatch.setattr(run.machine, "oom_kills", lambda: next(counts))
    monkeypatch.setattr(run, "WORKER", worker("os.kill(os.getpid(), 9)"))
    assert answer({}, 60)["status"] == "out of memory"


@pytest.mark.skipif(sys.platform != "linux", reason="no limit of address space, or none that is counted in /proc")
def test_a_real_worker_without_memory_is_a_row(monkeypatch):
    """The engine meets a limit of address space in the middle of a real case."""
    # what libraries reserve differs by machine, so the limit lies above what they hold once they are there
    limit = (
        "import io, resource\nimport openvino\nfrom pathlib import Path\n"
        "pages = int(Path('/proc/self/statm').read_text().split()[0])\n"
        "most = pages * resource.getpagesize() + 600_000_000\nresource.setrlimit(resource.RLIMIT_AS, (most, most))\n"
        "sys.stdin = io.StringIO(json.dumps(job))\nfrom pleinair_bench.worker import main\nmain()"
    )
    monkeypatch.setattr(run, "WORKER", worker(limit))
    large = case(work="vae_decoder", batch=1, width=2048, height=2048, threads=1)
    job = {"task": "case", "case": large.to_dict(), "seconds": 0.1, "count": False}
    found = answer(job, 120, spawned=True)
    assert found["status"] == "out of memory", found


def test_a_worker_that_hangs_is_ended(stand_in):
    stand_in("import time; time.sleep(60)")
    started = time.monotonic()
    assert answer({}, 0.5)["status"] == "timed out"
    assert time.monotonic() - started < 20


def test_a_case_that_does_not_fit_is_not_begun(stand_in, monkeypatch):
    stand_in(OK)
    monkeypatch.setattr(run.machine, "available_bytes", lambda: 1000)
    found = rows(Run([case()]))[0]
    assert found["status"] == "skipped" and "close programs" in found["reason"] and list(problems(found)) == []


def test_rounds_go_through_all_cases_in_turn_and_back(stand_in):
    stand_in(OK)
    running = Run([case(batch=1), case(batch=2)], Limits(rounds=3))
    said = [words for words, found in running.steps() if found is None and words.startswith("round")]
    assert [words.split(" b")[1][0] for words in said] == ["1", "2", "2", "1", "1", "2"]
    assert running.unfinished() == []


def test_samples_of_all_rounds_are_kept_apart(stand_in):
    stand_in(OK)
    found = rows(Run([case()], Limits(rounds=3)))[0]
    assert found["measures"]["run"]["rounds"] == [[0.1, 0.1]] * 3
    assert found["usage"]["peak_rss_mb"]["rounds"] == [[200.0]] * 3
    assert found["speed"]["gflops"] == pytest.approx(12.0)


@pytest.mark.parametrize("work, rounds", [("unet", cases.ROUNDS), ("blocks", cases.ROUNDS_LARGE)])
@pytest.mark.parametrize("seconds", ["0.1", "0.1 + os.getpid() % 9"])
def test_rounds_are_as_many_whether_they_agree_or_not(stand_in, work, rounds, seconds):
    """Stopping when they do would make intervals narrower than they are."""
    stand_in(OK.replace("[0.1, 0.1]", f"[{seconds}]"))
    running = Run([case(work=work)])
    rows(running)
    assert len(running.cases[0].outcomes) == rounds


@pytest.fixture
def slowed(monkeypatch):
    """Make rounds as much slower as the numbers say, again and again, and the machine with them."""

    def start(*factors):
        turn = cycle(factors)

        def answer(job, *_, **__):
            slow = next(turn) if job["task"] == "case" else 1
            return outcome([0.1 * slow] * 3, pace=0.0025 * slow) if job["task"] == "case" else {}

        monkeypatch.setattr(run, "answer", answer)
        monkeypatch.setattr(run.yardstick, "pace", lambda: 0.0025)
        running = Run([case()])
        return rows(running)[0], running.cases[0]

    return start


def test_disturbed_rounds_are_left_out_and_made_up_for(slowed):
    found, progress = slowed(1.0, 2.0)
    assert found["measures"]["run"]["rounds"] == [[0.1] * 3] * cases.ROUNDS
    assert [each["samples"]["run"] for each in found["left_out"]] == [[0.2] * 3] * (cases.ROUNDS - 1)
    assert len(progress.outcomes) == 2 * cases.ROUNDS - 1 and found["flags"] == []
    assert found["pace"] == [[0.0025, 0.0025]] * cases.ROUNDS and list(problems(found)) == []


def test_where_hardly_any_round_is_calm_all_count(slowed):
    found, progress = slowed(1.0, *[2.0] * 20)
    assert found["left_out"] == [] and "disturbed" in found["flags"]
    assert len(found["measures"]["run"]["rounds"]) == len(progress.outcomes) == cases.ROUNDS + run.SPARE_ROUNDS
    assert list(problems(found)) == []


def test_a_round_waits_for_a_calm_machine(monkeypatch):
    """Readings before and after the first round, twice slow before the second, and then calm."""
    readings = chain([1.0, 1.0, 2.0, 2.0], repeat(1.0))
    monkeypatch.setattr(run.yardstick, "pace", lambda: next(readings))
    waits = []
    monkeypatch.setattr(run.yardstick, "sleep", waits.append)
    monkeypatch.setattr(run, "WORKER", worker(OK))
    running = Run([case()], Limits(rounds=2))
    assert rows(running)[0]["pace"] == [[1.0, 1.0]] * 2 and waits == [run.yardstick.PAUSE_S] * 2
    readings = chain([1.0, 1.0], repeat(2.0))
    running = Run([case()], Limits(rounds=2, wait_s=1.0))
    assert rows(running)[0]["pace"] == [[1.0, 1.0], [2.0, 2.0]] and len(waits) == 4


def test_a_little_slower_is_not_disturbed(slowed):
    found, _ = slowed(1.0, 1.03)
    assert found["left_out"] == [] and found["flags"] == []


def test_time_bounds():
    two = CaseProgress(case(), [outcome([1.0]), outcome([9.0])], spent_s=50)
    assert not two.is_done(Limits(case_s=40), 0) and not two.is_done(Limits(run_s=10), 20)  # no interval without three
    three = CaseProgress(case(), [outcome([1.0]), outcome([9.0]), outcome([4.0])], spent_s=50)
    assert three.is_done(Limits(case_s=40), 0) and not three.is_done(Limits(case_s=60), 0)
    assert three.is_done(Limits(run_s=10), 20) and not three.is_done(Limits(run_s=10), 5)
    assert not three.is_done(Limits(rounds=4, case_s=1), 0)  # who asks for rounds gets them
    assert three.is_done(Limits(quick=True), 0) and not three.is_done(Limits(), 0)


def test_what_was_begun_is_kept_when_the_run_is_cut(stand_in):
    stand_in(OK)
    running = Run([case(batch=1), case(batch=2), case(batch=3)], Limits(rounds=2))
    for words, _ in running.steps():
        if words.startswith("round 1") and " b3" in words:
            break  # as Ctrl-C would, before the third
    rest = running.unfinished()
    assert [each["case"]["batch"] for each in rest] == [1, 2]
    assert all(each["status"] == "interrupted" and "interrupted" in each["flags"] for each in rest)
    assert [list(problems(each)) for each in rest] == [[], []]


@POSIX
def heeding_ctrl_c():
    """Whoever runs the tests may have switched it off, as shells do for what runs in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_in_the_middle_of_a_case_keeps_the_others(tmp_path):
    """The real thing: SIGINT to the process group while a worker works."""
    busy = "if job['task'] == 'case' and job['case']['work'] == 'vae_decoder':\n"
    busy += "    open('working', 'w').close()\n    import time; time.sleep(60)\n"
    options = [
        "--model",
        "storybook",
        "--work",
        "unet,vae_decoder",
        "--engine",
        "onnx",
        "--batch",
        "2",
        "--rounds",
        "1",
    ]
    code = (
        f"import sys\nsys.argv = {['pleinair', 'bench', 'run', '--results', 'r.jsonl', *options]!r}\n"
        f"from pleinair_bench import run\nrun.WORKER = {worker(busy + OK)!r}\n"
        "from pleinair.__main__ import main\nmain()"
    )
    started = subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, preexec_fn=heeding_ctrl_c,
    )  # fmt: skip
    for _ in range(600):
        if (tmp_path / "working").exists():
            break
        time.sleep(0.1)
    os.killpg(started.pid, signal.SIGINT)
    out, complaint = started.communicate(timeout=30)
    assert started.returncode == 130, complaint
    assert complaint.splitlines()[1:] == [
        "pleinair: interrupted; 1 cases are complete and 0 in part in r.jsonl"
    ]  # after a note on --batch
    assert [json.loads(line)["case"]["work"] for line in (tmp_path / "r.jsonl").read_text().splitlines()] == ["unet"]
    assert "unet" in out


@pytest.mark.parametrize("work, engine, steps", [("unet", "onnx", 0), ("warm", "openvino", 2), ("cold", "onnx", 20)])
def test_a_real_case_with_sockets_blocked(work, engine, steps, tmp_path, monkeypatch):
    """Through the real worker, which inherits the block; the record is complete and the picture is the right one."""
    (tmp_path / "sitecustomize.py").write_text(
        "import socket\ndef forbidden(*_, **__):\n    raise SystemExit('a socket was opened')\n"
        "socket.socket.connect = socket.socket.bind = socket.create_connection = socket.getaddrinfo = forbidden\n"
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.setattr(run.yardstick, "pace", lambda: 0.0025)
    picture = {"batch": 1, "steps": steps, "sampler": "dpmpp_2m"} if steps else {}
    running = Run([case(work=work, engine=engine, **picture)], Limits(rounds=1, round_s=0.05))
    running.machine_limits = lambda: iter(())  # measured in test_bench_machine
    found = rows(running)[0]
    assert found["status"] == "ok", found["reason"]
    assert list(problems(found)) == []
    stages = {
        "unet": {"import", "load", "first", "run"},
        "cold": {"import", "load", "text", "first_step", "step", "decode", "total"},
    }
    stages["warm"] = stages["cold"] | {"first"}
    assert set(found["measures"]) - {"compile"} == stages[work]
    assert ("compile" in found["measures"]) == (engine == "openvino")
    fastest = {"f32", *OpenVINOEngine().offered(None)} if engine == "openvino" else {"f32"}
    assert {*found["engine"]["precision"].split("+")} in ({"f32"}, fastest)
    assert len(found["graphs"]) == (1 if work == "unet" else 3)
    assert found["usage"]["peak_rss_mb"]["median"] > 20 and found["speed"]["gflop"] > 0.5
    if not steps:
        assert found["output"]["std"] > 0
        return
    assert found["speed"]["gflop"] == pytest.approx(1.19, rel=0.5)
    picture = found["picture"]
    if steps == open_bundle(None).manifest.defaults.steps:  # as the reference was painted
        assert picture["same"] or (picture["psnr_db"] > 60 and picture["ssim"] > 0.999), picture


def test_workers_are_told_to_send_nothing(stand_in):
    names = ("ORT_DISABLE_TELEMETRY", "HF_HUB_OFFLINE")
    code = f"json.dump({{'found': [os.environ.get(name) for name in {names!r}]}}, sys.stdout)"
    stand_in(code)
    assert answer({}, 60)["found"] == ["1", "1"] and "ORT_DISABLE_TELEMETRY" not in os.environ


def test_a_record_says_what_it_was_computed_in_and_which_commit_ran():
    told = record([[0.1]] * 3, precision="bf16")
    assert told["engine"]["precision"] == "bf16" and told["flags"] == []
    assert told["speed"]["limit_gflops"] is None  # there is none of bf16 here, and none other will do
    assert record([[0.1]] * 3, of=case(precision="bf16"), precision="f32")["flags"] == ["other precision"]
    assert record([[0.1]] * 3, of=case(precision="f16"), precision="f16+f32")["flags"] == []
    assert told["commit"] is None or re.fullmatch("[0-9a-f]{40}(-dirty)?", told["commit"])


def test_a_commit_is_of_our_clone_alone(tmp_path, monkeypatch):
    """A package inside another repository, such as a project with its environment in it, has none."""
    here = tmp_path / "lib" / "site-packages" / "pleinair" / "__init__.py"
    here.parent.mkdir(parents=True)
    for folder in (tmp_path, tmp_path / "lib"):
        subprocess.run(["git", "init", "-q", folder], check=True)
    monkeypatch.setattr(commits.pleinair, "__file__", str(here))
    assert commits.commit.__wrapped__() is None


def test_a_clone_has_its_commit_and_says_whether_files_differ(tmp_path, monkeypatch):
    package = tmp_path / "runtime" / "pleinair" / "__init__.py"
    package.parent.mkdir(parents=True)
    for name in commits.MEASURED:
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    package.touch()
    git = ["git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@b"]
    monkeypatch.setattr(commits.pleinair, "__file__", str(package))
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    assert commits.commit.__wrapped__() is None  # nothing is committed yet
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-qm", "a"], check=True)
    found = commits.commit.__wrapped__()
    assert re.fullmatch("[0-9a-f]{40}", found)
    (tmp_path / "results.jsonl").touch()
    assert commits.commit.__wrapped__() == found  # no part of what is measured
    package.write_text("changed")
    assert commits.commit.__wrapped__() == f"{found}-dirty"
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert commits.commit.__wrapped__() == f"{found}-dirty"


def test_flags():
    def flags(**more):
        return record([[0.1] * 9] * 3, **more)["flags"]

    assert flags() == []
    assert flags(power="battery") == ["on battery"]
    assert flags(throttled=True) == ["throttled"]
    assert flags(others=0.3) == ["loaded"]
    wrong = {"sha256": "0" * 64, "same": False, "psnr_db": 12.0, "ssim": 0.2}
    assert flags(picture=wrong) == ["wrong picture"]
    assert record([[0.1, 0.2, 0.1]] * 3)["flags"] == ["noisy"]
    assert record([[0.1 + 0.0012 * n for n in range(12)]] * 3)["flags"] == ["throttled"]


def test_the_limit_is_the_best_of_all_engines():
    more = PEAKS | {("onnx", "cpu", None): PEAKS["openvino", "cpu", None] | {"gemm_fp32": 240.0}}
    found = run.make_record(CaseProgress(case(), [outcome([0.1])]), "0" * 12, record([[1]])["machine"], {}, more)
    assert found["speed"]["limit_gflops"] == 240 and found["speed"]["percent_of_limit"] == 5.0


def test_the_matrix_is_every_combination():
    given = cases.PLAIN | dict(model=["storybook"], engine=["openvino", "onnx"], threads=[1, 2], batch=[1, 2],
                               steps=[5, 10])  # fmt: skip
    assert len(list(cases.matrix(work=["unet"], **given))) == 8
    assert len(list(cases.matrix(work=["vae_decoder"], **given))) == 4  # in batches of one
    assert len(list(cases.matrix(work=["warm"], **given))) == 8
    assert len(list(cases.matrix(work=["unet", "unet"], **given))) == 8


@pytest.mark.parametrize(
    "change, told",
    [
        ({"model": ["sd99"]}, "unknown model 'sd99'; choose from storybook"),
        ({"model": ["storybok"]}, "did you mean 'storybook'"),
        ({"work": ["dance"]}, "unknown work"),
        ({"engine": ["fake"]}, "unknown engine"),
        ({"weights": ["int3"]}, "choose --weights from"),
        ({"steps": [5], "batch": [1]}, "no work takes all of --batch, --steps"),
        ({"size": [(100, 100)]}, "not a multiple of 8"),
    ],
)
def test_a_matrix_of_nothing_is_refused(change, told):
    given = cases.PLAIN | dict(model=["storybook"], work=None, engine=["openvino"])
    with pytest.raises(RequestError, match=told):
        list(cases.matrix(**given | change))


def test_an_engine_that_is_not_installed_is_told_with_its_remedy(monkeypatch):
    monkeypatch.setattr(engines, "installed", lambda name: name == "openvino")
    given = cases.PLAIN | dict(model=["storybook"], work=None, engine=["openvino", "onnx"])
    with pytest.raises(EngineError, match="'onnx' is not installed; install it with: pip install"):
        list(cases.matrix(**given))


def test_quick_is_estimated_at_less_than_three_minutes():
    assert sum(each.seconds * run.FEWEST_ROUNDS / each.rounds for each in cases.quick()) < 180
    assert {each.model for each in cases.quick()} >= {"storybook"}
    assert set(cases.quick()) <= set(cases.standard())
    assert models.names()[0] == "storybook"


def test_the_reference_is_of_the_storybook_that_ships():
    """`python -m pleinair_bench.reference` makes it again after a retraining."""
    assert json.loads(reference.FACTS.read_text()) == reference.facts_of(open_bundle(None))


def test_likeness():
    picture = np.array(reference.Image.open(reference.PICTURE)) / 255
    bundle = open_bundle(None)
    defaults = bundle.manifest.defaults
    as_asked = {"bundle": bundle, "steps": defaults.steps, "sampler": defaults.sampler}
    found = reference.likeness(picture, **as_asked)
    assert found["same"] and found["psnr_db"] is None and found["ssim"] == 1
    dull = reference.likeness(picture * 0.5, **as_asked)
    assert dull["same"] is False and dull["psnr_db"] < 20 and dull["ssim"] < 0.9
    assert reference.likeness(picture, **as_asked | {"steps": 3})["psnr_db"] is None
    assert reference.likeness(picture[:64], **as_asked)["ssim"] is None


def test_ssim_and_psnr_of_known_pictures():
    random = np.random.default_rng(0)
    one = random.integers(0, 256, (40, 40, 3)).astype(np.uint8)
    assert reference.ssim(one, one) == pytest.approx(1)
    assert abs(reference.ssim(one, random.integers(0, 256, one.shape).astype(np.uint8))) < 0.1
    assert reference.psnr(one, np.where(one < 128, one + 1, one - 1).astype(np.uint8)) == pytest.approx(48.13, abs=0.01)
