"""What OpenVINO does not load at a start on the CPU: its converter of other frameworks' models, and other devices."""

import subprocess
import sys

import pytest

import pleinair
from pleinair.engines.openvino import OpenVINOEngine
from pleinair.errors import RequestError

SCRIPT = """
import sys
import pleinair.engines.openvino
import openvino
assert "openvino.tools.ovc" not in sys.modules
assert not hasattr(openvino, "nothing")
from openvino import convert_model
assert callable(convert_model) and openvino.convert_model is convert_model
assert "openvino_telemetry" not in sys.modules
import openvino.tools.ovc
"""


def test_the_converter_is_imported_when_it_is_asked_for():
    subprocess.run([sys.executable, "-c", SCRIPT], check=True)


def test_no_device_is_looked_for_beside_the_cpu(sketch, monkeypatch):
    def looked_for(self):
        raise AssertionError("other devices were looked for")

    monkeypatch.setattr(OpenVINOEngine, "devices", looked_for)
    for device in (None, "cpu"):
        pleinair.load(sketch, engine="openvino", device=device, threads=1).generate("a house", steps=1)
    monkeypatch.setattr(OpenVINOEngine, "devices", lambda self: ["CPU"])
    with pytest.raises(RequestError, match="gpu"):
        pleinair.load(sketch, engine="openvino", device="gpu")
