"""Tests below tests/export need the export extra; without it they are not collected, and the header says so."""

import gc
import importlib.util
import os
from collections import Counter
from pathlib import Path

import pytest
from filelock import FileLock

from bundles import silent_copy
from pleinair.bundle.shipped import default_path
from shelves import write_shelf

HEAVY = ("torch", "diffusers", "transformers", "openvino_tokenizers", "nncf", "onnx")
missing = [name for name in HEAVY if importlib.util.find_spec(name) is None]
collect_ignore = ["export"] if missing else []
collect_ignore.append("peers")  # has environments of its own: python tests/peers/run.py
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"  # torch's threads, here and in what tests start, would wait for each other's cores
os.environ["NNCF_DISABLE_OPTIMIZED_COMPRESSION"] = "1"  # else it compiles a graph for every shape, for the same bytes
gc.disable()  # while tests are collected: what is imported for them stays


def pytest_collection_finish():
    """What there is now is never looked through again."""
    gc.freeze()
    gc.enable()


def pytest_report_header():
    return f"tests/export left out, not installed: {', '.join(missing)}" if missing else "with tests/export"


@pytest.fixture(scope="session", autouse=True)
def disks_that_wait_for_nobody():
    """What a test has written need not outlive a power cut, and waiting for that takes longer than painting."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """`once(name, make)`: a folder of this name as `make(folder)` leaves it; do not write there."""
    own = tmp_path_factory.getbasetemp()
    root = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own  # the one that all processes of a run see

    def folder(name, make) -> Path:
        made = root / "made" / name
        made.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(made.with_name(f"{made.name}.lock")):
            if not made.exists():
                part = made.with_name(f"{made.name}.part")
                make(part)
                part.rename(made)
        return made

    return folder


@pytest.fixture(scope="session")
def shelf(once):
    """The topologies of storybook's graphs, as those of real models ship."""
    storybook = default_path()
    return once("topologies/story", lambda folder: write_shelf(folder, storybook, storybook.parent / "source"))


@pytest.fixture(scope="module")
def silent_storybook(tmp_path_factory):
    """Where no model is named, a storybook that takes any words and sizes without a warning."""
    folder = silent_copy(tmp_path_factory.mktemp("models") / "storybook")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pleinair.bundle.shipped.default_path", lambda: folder)
        yield folder


@pytest.fixture(scope="session")
def sketch(tmp_path_factory):
    """A bundle in both formats that the real engines open in no time; nobody writes into it."""
    from sketch import sketch

    return sketch(tmp_path_factory.mktemp("models") / "sketch")


@pytest.fixture
def sketched(sketch, monkeypatch):
    """The sketch, where no model is named."""
    monkeypatch.setattr("pleinair.bundle.shipped.default_path", lambda: sketch)


tried: Counter[str] = Counter()  # hostile inputs by kind: each test of a test_attack_*.py is one


def pytest_runtest_logreport(report):
    file = Path(report.nodeid.partition("::")[0]).stem
    if report.when == "call" and file.startswith("test_attack_"):
        tried[file.removeprefix("test_attack_")] += 1


def pytest_terminal_summary(terminalreporter):
    if tried:
        kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(tried.items()))
        terminalreporter.write_line(f"hostile inputs tried: {tried.total()} ({kinds})")
