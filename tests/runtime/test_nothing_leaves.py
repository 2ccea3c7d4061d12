"""Nothing leaves the machine: what a process that paints and then waits asks of the system, seen by strace.

onnxruntime waits ten seconds before it looks up its maker's host, and openvino reports from a process of its own, so
that looking from inside sees nothing.
"""

import os
import re
import shutil
import subprocess
import sys

import pytest

PAINT = """
import sys, time
import pleinair
pipe = pleinair.load(sys.argv[2], engine=sys.argv[1])
for wait in (10.5, 0.5):
    pipe.generate("a red house", seed=1, steps=2)
    time.sleep(wait)
"""
CALLS = "socket,connect,bind,sendto,sendmsg,open,openat,creat,mkdir,mkdirat,rename,renameat,renameat2"
WRITING = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TMPFILE")
SYSTEM = ("/dev/", "/proc/", "/sys/")


@pytest.fixture(scope="module")
def traces(sketch, tmp_path_factory):
    """engine -> the lines of strace, and the folder in which the process had its home and did its work."""
    if shutil.which("strace") is None:
        if os.environ.get("CI"):
            pytest.fail("strace is not installed, which this test looks through; apt-get install strace")
        pytest.skip("strace is not installed")
    running = {}
    for engine in ("openvino", "onnx"):
        folder = tmp_path_factory.mktemp(engine)
        home = folder / "home"
        home.mkdir()
        environment = {**os.environ, "HOME": str(home), "USERPROFILE": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
        for name in [name for name in environment if name.startswith(("XDG_", "ORT_"))]:
            del environment[name]
        command = ["strace", "-f", "-qq", "-o", str(folder / "trace"), "-e", f"trace={CALLS}"]
        painting = [sys.executable, "-c", PAINT, engine, sketch]
        running[engine] = folder, subprocess.Popen([*command, *painting], cwd=folder, env=environment)
    for folder, process in running.values():
        assert process.wait(timeout=600) == 0, folder
    return {engine: ((folder / "trace").read_text().splitlines(), folder) for engine, (folder, _) in running.items()}


@pytest.mark.parametrize("engine", ["openvino", "onnx"])
def test_no_socket_is_made(traces, engine):
    lines, _ = traces[engine]
    assert any("openat" in line for line in lines), "strace saw nothing"
    assert not [line for line in lines if re.search(r"\b(socket|connect|bind|sendto|sendmsg)\(", line)]


@pytest.mark.parametrize("engine", ["openvino", "onnx"])
def test_no_file_is_written(traces, engine):
    """Neither in the home nor anywhere else: a library that paints has no business on the disk."""
    lines, folder = traces[engine]
    written = [line for line in lines if WRITING.search(line) or re.search(r"\b(creat|mkdir|rename)\w*\(", line)]
    quoted = {path for line in written for path in re.findall(r'"([^"]*)"', line)}
    assert not {path for path in quoted if not path.startswith(SYSTEM)}
    assert not [*(folder / "home").rglob("*")]
