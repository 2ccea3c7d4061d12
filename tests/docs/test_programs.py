"""The programs of docs/examples that docs/embedding.md names, on the fake engine."""

import importlib.util
import os
import queue
import runpy
import shutil
import subprocess
import sys
import threading
from concurrent.futures import CancelledError
from pathlib import Path
from time import monotonic, sleep

import pytest

import pleinair
from pleinair.engines.fake import FakeEngine

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
PATIENCE = 120  # seconds until a test gives up


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
