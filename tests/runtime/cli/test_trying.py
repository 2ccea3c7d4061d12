"""`pleinair doctor --try-devices`: each part of a model on each device, and what fails is a row."""

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bundles import light_upscaler
from devices import DirectML, Machine
from pleinair.bundle.opening import open_bundle
from pleinair.cli import trying
from pleinair.cli.trying import DeviceTrial


def test_a_part_on_the_cpu_is_as_the_cpu(sketch):
    """In a real process."""
    row = trying.tried_alone(open_bundle(sketch), "onnx", "cpu", "vae")
    assert (row.problem, row.precision, row.db) == (None, "f32", None) and row.seconds > 0


@pytest.mark.parametrize(
    "code, words",
    [
        ("import os; os.abort()", "ended by signal 6, as when a driver crashes"),
        ("import sys; sys.exit(0xC5)", "ended with code 0xc5"),
        ("pass", "sent no answer"),
        ("print('{}nothing')", "sent no answer"),
        ("import time; time.sleep(60)", "took longer than 1 seconds"),
    ],
)
def test_a_process_that_does_not_answer_is_a_row(sketch, monkeypatch, code, words):
    @contextlib.contextmanager
    def child(*arguments):
        with subprocess.Popen([sys.executable, "-S", "-c", code], stdout=subprocess.PIPE) as process:
            yield process
            process.kill()

    monkeypatch.setattr(trying, "child", child)
    row = trying.tried_alone(open_bundle(sketch), "openvino", "gpu", "unet", seconds=1)
    assert words in row.problem and (row.device, row.component, row.precision) == ("gpu", "unet", None)


class Wrong(Machine):
    def answer(self, device, settings, array):
        factor = {"NPU": 1.5, "GPU": 1.001}.get(device, 1)
        return array * np.float32(factor)


def test_a_trial_says_how_near_a_device_comes(sketch, monkeypatch):
    """And what its driver says where it fails; parts that are not tried are not even compiled."""
    machine = Wrong(monkeypatch, "CPU", "GPU", "GPU.1", "NPU", broken=["GPU.1"])
    near = trying.trial(str(sketch), "openvino", "gpu", "unet")
    assert near["problem"] is None and near["precision"] == "f16" and 50 < near["db"] < 90
    assert {name for name, *_ in machine.compiled} == {"out_sample"}
    assert [device for _, device, *_ in machine.compiled] == ["GPU", "CPU"]
    assert "dB from the CPU's" in trying.trial(str(sketch), "openvino", "npu", "text")["problem"]
    assert "device removed" in trying.trial(str(sketch), "openvino", "gpu.1", "vae")["problem"]
    machine.compiled.clear()
    assert trying.trial(str(sketch), "openvino", "gpu", "vae")["problem"] is None
    assert {name for name, device, *_ in machine.compiled if device == "GPU"} == {"latent_parameters", "sample"}
    DirectML(monkeypatch, refuses=True)
    assert "887A0006" in trying.trial(str(sketch), "onnx", "dml", "vae")["problem"]


def test_what_is_sent_holds_no_path_and_no_name(sketched, run, monkeypatch):
    Machine(monkeypatch, "CPU", "NPU")
    DirectML(monkeypatch)
    problem = (
        f"cannot load '{Path.home()}/My models/unet/model.xml' (open /srv/ann/x.bin, D:\\ann\\y.bin, C:/ann/z: no)"
    )

    def tried(bundle, engine, device, part):
        failed = trying.without_paths(problem) if device == "npu" else None
        return DeviceTrial(engine, device, part, "f16", failed, 1.5, None if device == "cpu" else 61.0)

    monkeypatch.setattr(trying, "tried_alone", tried)
    code, out, err = run("doctor", "--try-devices", "--json")
    facts = json.loads(out)
    assert code == 0 and len(err.splitlines()) == len(facts["trials"]) == 12
    assert [row["device"] for row in facts["trials"]] == [
        each for each in ("cpu", "npu", "cpu", "dml") for _ in range(3)
    ]
    assert facts["engines"]["openvino"]["names"] == {"cpu": "A CPU", "npu": "A NPU, driver 17"}
    assert facts["trials"][3]["problem"] == "cannot load 'model.xml' (open x.bin, y.bin, z: no)"
    code, out, _ = run("doctor", "--try-devices")
    assert "onnx      dml      vae        f16            1.50  ok, 61.0 dB from the CPU in f32" in out.splitlines()
    assert str(Path.home()) not in out and "ann" not in out.replace("cannot", "") and "openvino  npu      text" in out


def test_what_makes_no_sense_is_one_line(run, tmp_path):
    code, _, err = run("doctor", "--model", "storybook")
    assert code == 2 and "only with --try-devices; add that" in err
    code, _, err = run("doctor", "--try-devices", "--model", light_upscaler(tmp_path / "larger"))
    assert code == 2 and "choose a --model that paints" in err
