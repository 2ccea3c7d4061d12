"""Machine facts: complete on Linux, and never a name or a path."""

import getpass
import json
import socket
from pathlib import Path

import pytest

from pleinair_bench import machine, peak
from pleinair_bench.onnx_file import one_operator
from pleinair_bench.work import gflop


def test_facts_hold_no_name_and_no_path():
    text = json.dumps(machine.facts())
    for private in (socket.gethostname(), getpass.getuser(), str(Path.home()), str(Path.cwd())):
        assert len(private) < 3 or private.lower() not in text.lower()
    assert "\\\\" not in text and not [part for part in text.split('"') if part.startswith(("/", "~"))]


def test_facts_that_every_system_tells():
    facts = machine.facts()
    assert facts["cpu"] and facts["os"] and facts["python"].startswith("3.")
    assert facts["cores"]["usable"] >= 1 and facts["memory"]["gib"] > 0


@pytest.mark.parametrize("system", ["darwin", "win32", "linux", "freebsd14"])
def test_a_foreign_system_breaks_nothing(system, monkeypatch):
    """Nothing that the others' tools and files would tell is here, and that must be all that happens."""
    monkeypatch.setattr(machine.sys, "platform", system)
    assert set(machine.facts()) >= {"cpu", "cores", "caches_kib", "memory", "power", "virtualised"}
    (
        machine.power(),
        machine.throttle_events(),
        machine.busy_seconds(),
        machine.energy_joules(),
        machine.available_bytes(),
    )


@pytest.mark.parametrize(
    "text, expected",
    [
        ("cannot load '/home/ann/my models/unet/model.onnx' (bad)", "cannot load 'model.onnx' (bad)"),
        (r"no 'C:\Users\ann\x y\a.xml'; check", "no 'a.xml'; check"),
        ("at /tmp/x/y.py:3 and C:\\a\\b.bin", "at y.py:3 and b.bin"),
        ("3 s/step, fp32/int8 are kept", "3 s/step, fp32/int8 are kept"),
    ],
)
def test_messages_lose_their_folders(text, expected):
    assert machine.without_paths(text) == expected


def test_core_lists():
    assert machine.numbers("0-3,8") == {0, 1, 2, 3, 8}
    assert machine.numbers("") == set()
    assert [machine.kib(size) for size in ("32K", "8M", "1G")] == [32, 8192, 2**20]


def test_energy_counters_may_wrap_around():
    assert machine.joules_between({"a": (90.0, 100.0)}, {"a": (5.0, 100.0)}) == 15
    assert machine.joules_between({}, {}) is None


@pytest.mark.parametrize("engine", ["openvino", "onnx"])
def test_both_engines_have_a_peak_in_fp32_and_int8(engine, monkeypatch):
    monkeypatch.setattr(peak, "LEAST_S", 0.0)
    monkeypatch.setattr(peak, "REPEATS", 1)
    found = peak.measure(engine, "cpu", 1)
    assert all(found[kind] > 0 for kind in peak.KINDS)
    if engine == "openvino":  # quantized operations must run as such, or the peak is one of fp32
        assert "i8" in found["isa"]["conv_int8"].lower() and "f32" in found["isa"]["conv_fp32"].lower()


def test_arithmetic_is_counted(tmp_path):
    import numpy as np

    single = np.dtype(np.float32)
    conv = one_operator(
        "Conv",
        {"x": (single, (2, 3, 8, 8)), "w": np.ones((5, 3, 3, 3), single)},
        (single, (2, 5, 8, 8)),
        {"pads": [1, 1, 1, 1], "kernel_shape": [3, 3]},
    )
    (tmp_path / "conv.onnx").write_bytes(conv)
    assert gflop(tmp_path / "conv.onnx", {"x": (2, 3, 8, 8)}) == 2 * 2 * 5 * 8 * 8 * 3 * 9 / 1e9
    gemm = one_operator("MatMul", {"x": (single, (7, 4)), "w": np.ones((4, 6), single)}, (single, (7, 6)))
    (tmp_path / "gemm.onnx").write_bytes(gemm)
    assert gflop(tmp_path / "gemm.onnx", {"x": (7, 4)}) == 2 * 7 * 4 * 6 / 1e9
    assert gflop(tmp_path / "absent.onnx", {}) is None
