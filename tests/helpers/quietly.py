"""An export in a process of its own, where nothing may be printed, looked up on a network, or left changed."""

import json
import subprocess
import sys
from pathlib import Path

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
steps = pleinair_export.export(sys.argv[1], sys.argv[2], formats=("openvino", "onnx"), weights=sys.argv[3])
for step in steps:
    assert (sys.stdout, sys.stderr) == before[:2]
assert logging.root.manager.disable == before[3]
assert "openvino_telemetry" not in sys.modules, "telemetry was loaded"
assert not attempts, attempts
"""
OUTCOME = ".outcome"  # of a process, beside the bundle that it was to make


def export_quietly(source: Path, out: Path, weights: str) -> None:
    """Export, and write down what the process said; a test is to ask `outcome_of` for that."""
    command = [sys.executable, "-W", "default", "-c", SCRIPT, source, out, weights]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    told = {"out": done.stdout, "err": done.stderr}
    out.with_name(out.name.removesuffix(".part") + OUTCOME).write_text(json.dumps(told))


def outcome_of(bundle: Path) -> dict[str, str]:
    """What the process that made a bundle has printed."""
    return json.loads(bundle.with_name(bundle.name + OUTCOME).read_text())
