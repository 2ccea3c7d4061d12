"""The export prints nothing, opens no socket, and leaves the process as it was."""

import subprocess
import sys

import pytest

from pleinair_export.quiet import quiet
from quietly import outcome_of


def test_export_is_silent_and_offline(exported):
    """In a process of its own that warns of everything and has no network: see tests/helpers/quietly.py."""
    assert outcome_of(exported("sd2", "int8")) == {"out": "", "err": ""}


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
