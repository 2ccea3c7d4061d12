"""What docs/embedding.md says: programs that paint, and folders with which they do."""

import importlib.util
import json
import os
import platform
import queue
import re
import runpy
import shutil
import subprocess
import sys
import threading
import tomllib
from concurrent.futures import CancelledError
from importlib.metadata import distribution
from pathlib import Path
from time import monotonic, sleep
from types import SimpleNamespace

import pytest

import pleinair
from pleinair.cli import app as cli
from pleinair.embedding import hook_folders
from pleinair.embedding.parts import OTHER_DEVICES, matches, needed
from pleinair.engines.engine import ENGINES
from pleinair.engines.fake import FakeEngine

REPOSITORY = Path(__file__).parents[2]
EXAMPLES = REPOSITORY / "docs" / "examples"
PATIENCE = 120  # seconds until a test gives up
MB = 1e6
LARGEST = {"onnx": 180 * MB, "openvino": 330 * MB}  # with storybook
PAINT = """
import importlib.util, json, sys
sys.path.append(sys.argv[1])
import pleinair
pipe = pleinair.load(threads=1)
result = pipe.generate("a red house", seed=1, steps=1, size="64x64")
others = ("openvino", "onnxruntime", "typer", "rich", "huggingface_hub", "packaging", "google")
print(json.dumps({
    "engine": pipe.engine, "pixels": result.pixels.tobytes().hex(), "bundle": result.settings["bundle"],
    "found": [name for name in others if importlib.util.find_spec(name)],
}))
"""


# ---- the smallest environment ----


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_a_folder_of_what_is_needed_paints_without_any_other_package(tmp_path, capsys, engine):
    """In a Python that sees nothing but its standard library and that folder; to the byte as all of pleinair does."""
    out = tmp_path / "painting"
    assert cli.run(["embed", str(out), "--engine", engine, "--cpu-only", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    files = {file.relative_to(out).as_posix(): file.stat().st_size for file in out.rglob("*") if file.is_file()}
    package = ENGINES[engine].requires
    devices = [file for file in distribution(package).files if matches(file.as_posix(), OTHER_DEVICES.get(package, ()))]
    whole = told["bytes"] + sum(file.locate().stat().st_size for file in devices)
    assert sum(files.values()) == told["bytes"] and whole < LARGEST[engine]
    if sys.platform == "linux" and platform.machine() == "x86_64":
        assert sizes("`pleinair embed`", engine) == pytest.approx(whole / MB, rel=0.05)
        assert sizes("`pleinair embed --cpu-only`", engine) == pytest.approx(told["bytes"] / MB, rel=0.05)
    names = ["numpy", "pillow", "platformdirs", "tokenizers", package, "pleinair", "storybook"]
    assert {part["name"]: bool(part["licence"]) for part in told["parts"]} == dict.fromkeys(names, True)
    assert licences(files) >= {"numpy", "pillow", "platformdirs", "pleinair"}
    assert "openvino" in licences(files) or "onnxruntime/ThirdPartyNotices.txt" in files
    assert not [name for name in files if name.endswith(("RECORD", "direct_url.json"))]  # which name this machine

    command = [sys.executable, "-I", "-S", "-B", "-c", PAINT, str(out)]
    done = subprocess.run(command, cwd=tmp_path, env={}, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    expected = pleinair.load(engine=engine, threads=1).generate("a red house", seed=1, steps=1, size="64x64")
    assert (found["engine"], found["found"]) == (engine, [package])
    assert found["pixels"] == expected.pixels.tobytes().hex() and found["bundle"] == expected.settings["bundle"]
    shutil.rmtree(out)


def sizes(row, engine):
    """MB, as docs/embedding.md has them."""
    page = (REPOSITORY / "docs" / "embedding.md").read_text()
    onnx, openvino = re.search(rf"\| {re.escape(row)} \| (\d+) MB \| (\d+) MB \|", page).groups()
    return float({"onnx": onnx, "openvino": openvino}[engine])


def licences(files):
    """The packages of which a folder has the text of a licence, as pip keeps it."""
    kept = [name.partition("-")[0] for name in files if ".dist-info/" in name and not name.endswith("METADATA")]
    return set(kept)


def test_another_model_lies_beside_the_packages(sketch, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("pleinair.embedding.gathering.LIBRARIES", ("platformdirs",))  # others take time to copy
    out = tmp_path / "painting"
    assert cli.run(["embed", str(out), "--engine", "onnx", "--model", str(sketch), "--json"]) == 0
    place = out / json.loads(capsys.readouterr().out)["model"]
    assert (
        place.is_relative_to(out / "models")
        and not list(place.rglob("openvino_model.*"))
        and not (out / "pleinair" / "models").exists()
    )
    assert pleinair.load(place, engine="onnx").generate("a house", steps=1, seed=1).images
    shutil.rmtree(out)


def test_what_is_needed_of_a_package():
    gpu = "openvino/libs/libopenvino_intel_gpu_plugin.so"
    assert needed("openvino", gpu) and not needed("openvino", gpu, cpu_only=True)
    assert needed("openvino", "openvino/libs/libopenvino_ir_frontend.so.2641")
    assert not needed("openvino", "openvino/libs/libopenvino_onnx_frontend.so.2641")
    assert not needed("numpy", "../../../bin/f2py") and not needed("numpy", "numpy/__pycache__/x.cpython-311.pyc")


@pytest.mark.parametrize(
    "arguments, code, words",
    [
        (["--engine", "fake"], 2, "openvino, onnx"),
        (["--model", "nothing-here"], 3, "no model folder"),
    ],
)
def test_a_folder_that_makes_no_sense_is_not_begun(tmp_path, capsys, arguments, code, words):
    assert cli.run(["embed", str(tmp_path / "out"), *arguments]) == code
    assert words in capsys.readouterr().err and not any(tmp_path.iterdir())


def test_a_folder_that_is_there_is_left_alone(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    assert cli.run(["embed", str(tmp_path), "--engine", "onnx"]) == 4
    assert "left alone" in capsys.readouterr().err and (tmp_path / "mine.txt").read_text() == "mine"


def test_the_command_line_says_what_an_environment_without_it_lacks():
    code = "import sys; sys.modules['typer'] = None; from pleinair.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 5 and len(done.stderr.splitlines()) == 1 and "pip install typer rich" in done.stderr


# ---- PyInstaller ----


class Freezing:
    """What PyInstaller hands to a hook: which modules are left out, and where data goes."""

    def __init__(self, *excludes):
        self.analysis, self.data = SimpleNamespace(excludes=excludes), set()

    def add_datas(self, pairs):
        assert all(Path(file).is_file() for file, _ in pairs)
        self.data |= {f"{folder}/{Path(file).name}" for file, folder in pairs}


@pytest.fixture
def hooks(monkeypatch):
    """`hooks(name)`: the names in one of our hooks, run with functions in PyInstaller's place."""
    helpers = SimpleNamespace(
        collect_submodules=lambda package, filter: [name for name in NAMES if filter(name)],
        collect_data_files=lambda package, **how: [],
        collect_dynamic_libs=lambda package, **how: [(f"/here/{name}", "openvino/libs") for name in LIBRARIES],
    )
    monkeypatch.setitem(sys.modules, "PyInstaller", SimpleNamespace(__path__=[]))
    monkeypatch.setitem(sys.modules, "PyInstaller.utils", SimpleNamespace(__path__=[]))
    monkeypatch.setitem(sys.modules, "PyInstaller.utils.hooks", helpers)
    group = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["entry-points"]["pyinstaller40"]
    assert group == {"hook-dirs": "pleinair.embedding:hook_folders"}
    (folder,) = hook_folders()
    return lambda name: runpy.run_path(f"{folder}/hook-{name}.py")


NAMES = ["pleinair", "pleinair.engines.onnx", "pleinair.cli.app", "pleinair.embedding.parts", "pleinair.__main__"]
LIBRARIES = ["libopenvino_ir_frontend.so.2641", "libopenvino_paddle_frontend.so.2641", "libopenvino.so.2641"]


def test_a_frozen_program_has_storybook_for_its_engine_and_all_notices(hooks):
    hook = hooks("pleinair")
    assert hook["hiddenimports"] == NAMES[:2]
    assert "numpy-" in str(hook["datas"]) and "METADATA" in str(hook["datas"]) and "RECORD" not in str(hook["datas"])
    frozen = Freezing("openvino")
    hook["hook"](frozen)
    storybook = "pleinair/models/storybook"
    assert {f"{storybook}/bundle.json", f"{storybook}/unet/model.onnx"} < frozen.data
    assert f"{storybook}/unet/openvino_model.bin" not in frozen.data
    assert "onnxruntime/ThirdPartyNotices.txt" in frozen.data
    assert any(name.startswith("onnxruntime-") for name in frozen.data)
    both = Freezing()
    hook["hook"](both)
    assert {f"{storybook}/unet/model.onnx", f"{storybook}/unet/openvino_model.bin"} < both.data


def test_a_frozen_program_has_openvinos_libraries_that_painting_opens(hooks):
    assert [Path(file).name for file, _ in hooks("openvino")["binaries"]] == [LIBRARIES[0], LIBRARIES[2]]


# ---- programs ----


def example(name):
    """A program of docs/examples as a module."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Gate:
    """A fake engine whose denoiser waits at its `number`th call until it is let go."""

    def __init__(self, number):
        self.reached, self.go = threading.Event(), threading.Event()
        self._left = number

    def load(self):
        return pleinair.load(engine=FakeEngine(self._called))

    def _called(self, name, inputs):
        self._left -= name == "unet"
        if self._left == 0:
            self.reached.set()
            assert self.go.wait(PATIENCE)


def test_a_batch_goes_on_after_a_bad_picture_and_where_it_stopped(tmp_path, capsys, monkeypatch):
    batch = example("batch")
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for name in ("a.png", "c.jpg"):
        shutil.copy(EXAMPLES / "sketch.png", source / name)
    (source / "b.png").write_text("no picture")
    (source / "notes.txt").write_text("no picture either")
    monkeypatch.setattr(pleinair, "load", lambda: pleinair.pipeline.load(engine="fake"))
    monkeypatch.setattr(sys, "argv", ["batch.py", str(source), str(out), "a castle"])
    assert batch.main() == 1
    first, second, third = capsys.readouterr().out.splitlines()
    assert (first, third) == (str(out / "a.png"), str(out / "c.png")) and "b.png" in second
    assert sorted(file.name for file in out.iterdir()) == ["a.png", "c.png"]
    (source / "b.png").unlink()
    assert batch.main() == 0 and capsys.readouterr().out == ""
    monkeypatch.setattr(sys, "argv", ["batch.py"])
    assert batch.main() == 2 and "python batch.py FOLDER" in capsys.readouterr().err


def test_a_worker_paints_in_turn_and_cancels_what_waits_and_what_runs():
    worker, gate = example("worker"), Gate(2)
    with worker.Worker(gate.load, most=2) as thread:
        running = thread.submit("a house", seed=1, steps=4)
        assert gate.reached.wait(PATIENCE)
        waiting = [thread.submit("a boat", seed=2, steps=1), thread.submit("a cat", seed=3, steps=0)]
        with pytest.raises(queue.Full):
            thread.submit("a tree")
        for job in (waiting[0], running):
            job.cancel()
        gate.go.set()
        for job in (running, waiting[0]):
            with pytest.raises(CancelledError):
                job.result(PATIENCE)
        with pytest.raises(pleinair.RequestError, match="steps"):
            waiting[1].result(PATIENCE)
        last = thread.submit("a cat", seed=4, steps=1)
    assert last.result(0).seeds == (4,)


def test_a_worker_tells_each_job_of_a_model_that_cannot_be_opened(tmp_path):
    with example("worker").Worker(lambda: pleinair.load(tmp_path)) as thread:
        jobs = [thread.submit("a house") for _ in range(2)]
    for job in jobs:
        with pytest.raises(pleinair.BundleError):
            job.result(0)


def test_a_worker_alone_paints_what_was_not_cancelled(tmp_path, monkeypatch):
    monkeypatch.setattr(pleinair, "load", lambda: pleinair.pipeline.load(engine="fake"))
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(EXAMPLES / "worker.py"), run_name="__main__")
    assert {"house-1.png", "house-3.png"} <= {file.name for file in tmp_path.iterdir()}


@pytest.fixture
def display(monkeypatch):
    """A screen that nobody sees."""
    pytest.importorskip("tkinter")
    if shutil.which("Xvfb") is None:
        if os.environ.get("CI"):
            pytest.fail("Xvfb is not installed, on which this test opens a window; apt-get install xvfb")
        pytest.skip("Xvfb is not installed")
    reading, writing = os.pipe()
    command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", "800x800x24", "-nolisten", "tcp"]
    with subprocess.Popen(command, pass_fds=[writing], stderr=subprocess.DEVNULL) as server:
        os.close(writing)
        with os.fdopen(reading) as stream:
            monkeypatch.setenv("DISPLAY", f":{stream.readline().strip()}")
        yield
        server.terminate()


@pytest.mark.usefixtures("display")
def test_a_window_shows_steps_and_can_stop():
    gate = Gate(3)
    window = example("window").Window(gate.load())

    def until(what):
        end = monotonic() + PATIENCE
        while not what():
            assert monotonic() < end, window.said.get()
            window.update()
            sleep(0.005)

    window.paint.invoke()
    until(lambda: window.said.get().startswith("step 2 of"))
    assert window.picture.width() == 512 and str(window.paint["state"]) == "disabled"
    window.cancel.invoke()
    gate.go.set()
    until(lambda: str(window.paint["state"]) == "normal")
    assert "cancelled" in window.said.get() and str(window.cancel["state"]) == "disabled"
    window.prompt.set("(a house")
    window.paint.invoke()
    until(lambda: window.said.get().startswith("seed"))
    window.leave()
