"""Large components are exported by processes of their own, which end with the one that waits for them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pleinair.bundle.opening import open_bundle
from pleinair.errors import ExportError, ResourceError
from pleinair.sources.folder import open_source
from pleinair_export import apart, export, memory
from tiny_pipeline import write_tiny_pipeline

EXPORT = """
import sys
from pleinair_export import apart, export
apart.SMALL = 0
for progress in export(sys.argv[1], sys.argv[2]):
    print(progress.graph, progress.stage, flush=True)
"""


@pytest.fixture
def processes_for_all(monkeypatch):
    monkeypatch.setattr(apart, "SMALL", 0)


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    """A folder of 16-bit weights, which are traced as they are."""
    return write_tiny_pipeline(tmp_path_factory.mktemp("half") / "sd1", dtype="float16")


def test_a_bundle_is_the_same_wherever_it_is_made(half, tmp_path, monkeypatch):
    """The UNet and the pictures are made apart, each kind of task once or twice: a process takes seconds to start."""
    sizes, steps = open_source(half).sizes, {}
    assert sizes["unet"] > sizes["vae"] > sizes["text_encoder"]
    for name, small in (("here", apart.SMALL), ("apart", sizes["vae"])):
        monkeypatch.setattr(apart, "SMALL", small)
        made = export(half, tmp_path / name, formats=("onnx",))
        steps[name] = [(step.done, step.graph, step.stage.partition("  ")[0]) for step in made]
    assert steps["here"] == steps["apart"]
    one, other = (open_bundle(tmp_path / name).manifest for name in steps)
    assert (one.files, one.weights) == (other.files, other.weights)


def test_what_goes_wrong_there_is_told_here(half, tmp_path, processes_for_all):
    import shutil

    from safetensors.torch import load_file, save_file

    source = shutil.copytree(half, tmp_path / "model")
    file = source / "text_encoder" / "model.safetensors"
    weights = load_file(file)
    del weights[sorted(weights)[0]]
    save_file(weights, file, {"format": "pt"})
    with pytest.raises(ExportError, match="'text_encoder' of 'model' lacks 1 weights"):
        list(export(source, tmp_path / "out"))
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


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


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_processes_end_with_the_one_that_waits(half, tmp_path, number):
    out = tmp_path / "out"
    with subprocess.Popen([sys.executable, "-c", EXPORT, half, out], stdout=subprocess.PIPE, text=True) as waiting:
        while waiting.stdout.readline() != "text_encoder load\n":
            pass
        (working,) = children(waiting.pid)
        os.kill(waiting.pid, number)
    deadline = time.monotonic() + 60
    while not ended(working) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert ended(working)
    if number == signal.SIGINT:
        assert list(tmp_path.iterdir()) == []


def test_leaving_early_ends_the_process_and_leaves_nothing(half, tmp_path, processes_for_all):
    steps = export(half, tmp_path / "out")
    while (step := next(steps)).stage != "load":
        assert step.graph == "tokenizer"
    steps.close()
    assert list(tmp_path.iterdir()) == []


def test_memory_is_asked_for_before_anything_is_read(half, tmp_path, processes_for_all, monkeypatch):
    monkeypatch.setattr(memory, "SMALL", 0)
    monkeypatch.setattr(memory, "memory_left", lambda: 500_000_000)
    with pytest.raises(ResourceError, match=r"needs about 1\.0 GB of memory and 0\.5 GB are left; close"):
        next(export(half, tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="RLIMIT_DATA")
def test_a_limit_of_the_system_counts(half, tmp_path):
    script = f"""
import resource, sys
from pleinair.errors import ResourceError
from pleinair_export import memory
memory.SMALL = 0
memory.BESIDE = 10**12
resource.setrlimit(resource.RLIMIT_DATA, (2 * 10**9, 2 * 10**9))
memory.memory_left = lambda: 10**13
from pleinair_export import export
try:
    next(export({str(half)!r}, {str(tmp_path / "out")!r}))
except ResourceError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "needs about 1000.0 GB of memory and 2.0 GB are left" in done.stdout, done.stderr
