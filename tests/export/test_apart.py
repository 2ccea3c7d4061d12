"""Large components are exported by processes of their own, which end with the one that waits for them."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pleinair.bundle.opening import open_bundle
from pleinair.errors import QualityError, ResourceError
from pleinair.sources.folder import open_source
from pleinair_export import apart, export, memory
from pleinair_export.trials import WORK, Context, Trial, trial_file, write_trial
from tiny_pipeline import write_tiny_pipeline

SIZE, LARGE = (8, 8), apart.SMALL + 1
WAITING = """
import signal, sys
from pathlib import Path
from pleinair_export import apart
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have switched it off
for progress in apart.do("check", Path(sys.argv[1]), "unet", None, "onnx", parameters=apart.SMALL + 1):
    print(progress.graph, progress.stage, flush=True)
"""


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    """A folder of 16-bit weights, which are traced as they are."""
    return open_source(write_tiny_pipeline(tmp_path_factory.mktemp("half") / "sd1", dtype="float16"))


@pytest.fixture
def endless(tmp_path):
    """A folder of a bundle, the check of whose UNet never ends: what it is tried on is a pipe that nobody fills."""
    (tmp_path / WORK).mkdir()
    os.mkfifo(trial_file(tmp_path, "unet"))
    return tmp_path


def done(task, *arguments, parameters):
    """The steps of a task, and what it found."""
    steps, running = [], apart.do(task, *arguments, parameters=parameters)
    while True:
        try:
            steps.append(next(running))
        except StopIteration as end:
            return steps, end.value


def test_what_is_large_is_done_apart(half, tmp_path, monkeypatch):
    began = []

    def begun_apart(task, arguments):
        began.append((task, arguments[1].folder))
        return apart.begun(task, arguments)

    monkeypatch.setattr(apart, "begun_apart", begun_apart)
    monkeypatch.setattr(apart, "SMALL", half.sizes["text_encoder"])
    assert half.sizes["unet"] > half.sizes["text_encoder"]
    steps = export(half.path, tmp_path / "out", formats=("onnx",))
    while (step := next(steps)).graph != "unet":
        assert not began
    assert (step.stage, began) == ("load", [("convert", "unet")])
    steps.close()


def test_a_graph_is_the_same_wherever_it_is_made(half, tmp_path):
    part, found = half.family.part("text_encoder"), []
    context = Context(SIZE, {"text_encoder": np.ones((3, 77), np.int64)})
    for name, parameters in (("here", 0), ("apart", LARGE)):
        (tmp_path / name).mkdir()
        how = (context, tmp_path / name, ("onnx",), "fp16")
        found.append(done("convert", half, part, *how, parameters=parameters))
    assert found[0] == found[1] and [step.stage for step in found[0][0]][:2] == ["load", "onnx: convert"]
    files = {file.relative_to(tmp_path / "here") for file in (tmp_path / "here").rglob("*") if file.is_file()}
    assert {Path(file) for graph in found[0][1].values() for file in graph.files["onnx"]} < files
    for file in files:
        assert (tmp_path / "apart" / file).read_bytes() == (tmp_path / "here" / file).read_bytes(), file


def test_what_is_found_is_the_same_wherever_it_is_looked_for(exported):
    """A picture by an engine: whatever is sent and comes back."""
    task = "paint by engine", exported("sd1", "fp32"), "onnx", "fp32", (64, 64)
    (steps, here), (told, there) = (done(*task, parameters=size) for size in (0, LARGE))
    assert told == steps and np.array_equal(there, here)


def test_what_goes_wrong_there_is_told_here(exported, tmp_path):
    """The same error as here, and nothing but that."""
    bundle = open_bundle(exported("sd1", "fp32"))
    shutil.copytree(bundle.path / "text_encoder", tmp_path / "text_encoder")
    (tmp_path / "text_encoder" / "model.onnx").write_bytes(b"damaged")
    write_trial(trial_file(tmp_path, "text_encoder"), Trial([{"input_ids": np.zeros((1, 77), np.int64)}], [{}], 1))
    task = "check", tmp_path, "text_encoder", bundle.manifest.graphs["text_encoder"], "onnx"
    told = []
    for parameters in (0, LARGE):
        with pytest.raises(QualityError, match=r"^text_encoder \(onnx, fp32\) .*nothing was written") as caught:
            done(*task, parameters=parameters)
        told.append(str(caught.value))
    assert told[0] == told[1]


def children(number):
    """The processes that a process has started and that still run (Linux)."""
    found = Path(f"/proc/{number}/task/{number}/children").read_text().split()
    return [int(each) for each in found]


def ended(number):
    """Whether a process is gone, or waits for nobody but its parent to notice."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def ends(number):
    deadline = time.monotonic() + 60
    while not ended(number) and time.monotonic() < deadline:
        time.sleep(0.05)
    return ended(number)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_processes_end_with_the_one_that_waits(endless, number):
    command = [sys.executable, "-c", WAITING, endless]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as waiting:
        assert waiting.stdout.readline() == "unet onnx: compare with torch\n"
        (working,) = children(waiting.pid)
        os.kill(waiting.pid, number)
    assert ends(working)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_leaving_early_ends_the_process(endless):
    before = set(children(os.getpid()))
    steps = apart.do("check", endless, "unet", None, "onnx", parameters=LARGE)
    assert next(steps).stage == "onnx: compare with torch"
    (working,) = set(children(os.getpid())) - before
    assert not ended(working)
    steps.close()
    assert ends(working)


@pytest.fixture
def all_are_large(monkeypatch):
    monkeypatch.setattr(memory, "SMALL", 0)


def test_memory_is_asked_for_before_anything_is_read(half, tmp_path, all_are_large, monkeypatch):
    monkeypatch.setattr(memory, "memory_left", lambda: 500_000_000)
    with pytest.raises(ResourceError, match=r"needs about 1\.0 GB of memory and 0\.5 GB are left; close"):
        next(export(half.path, tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="RLIMIT_DATA")
def test_a_limit_of_the_system_counts(half, tmp_path, all_are_large, monkeypatch):
    """A limit beyond what this process has, which goes on, and below what it is told to need."""
    import resource

    monkeypatch.setattr(memory, "BESIDE", 10**15)
    monkeypatch.setattr(memory, "memory_left", lambda: 10**16)
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (10**13, before[1]))
    try:
        with pytest.raises(ResourceError, match=r"needs about 1000000\.0 GB of memory and 10000\.0 GB are left"):
            next(export(half.path, tmp_path / "out"))
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)
