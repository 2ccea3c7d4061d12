"""The export prints nothing, opens no socket, and leaves the process as it was."""

import subprocess
import sys

import pytest

from pleinair_export.quiet import quiet

SCRIPT = """
import logging, socket, sys, warnings

def forbidden(*args, **kwargs):
    attempts.append(args)
    raise OSError("no network")

attempts = []
socket.socket.connect = socket.socket.connect_ex = forbidden
socket.create_connection = socket.getaddrinfo = forbidden
import pleinair_export

before = sys.stdout, sys.stderr, list(warnings.filters), logging.root.manager.disable
steps = pleinair_export.export(sys.argv[1], sys.argv[2], formats=("openvino", "onnx"), weights="int8")
for step in steps:
    assert (sys.stdout, sys.stderr) == before[:2]
assert logging.root.manager.disable == before[3]
assert "openvino_telemetry" not in sys.modules, "telemetry was loaded"
assert not attempts, attempts
"""


def test_export_is_silent_and_offline(tiny_sources, tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "default", "-c", SCRIPT, tiny_sources["sd2"], tmp_path / "out"],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_telemetry_that_is_loaded_already_is_muted_and_restored():
    sender = pytest.importorskip("openvino_telemetry.utils.sender").TelemetrySender
    send, sent = sender.send, []
    sender.send = lambda self, backend, message: sent.append(message)
    try:
        replaced = sender.send
        with quiet():
            sender.send(None, None, "usage")
        assert (sent, sender.send) == ([], replaced)
    finally:
        sender.send = send


def test_the_runtime_needs_no_torch():
    script = """
import sys
import pleinair, pleinair.cli.app, pleinair.engines.openvino, pleinair.engines.onnx
heavy = {"torch", "diffusers", "transformers", "nncf", "onnx", "pleinair_export"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", script], check=True)
