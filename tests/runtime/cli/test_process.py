"""The program among others: signals at any moment, missing, closed and full streams, and what a terminal shows."""

import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from functools import partial

import pytest
from PIL import Image

from pleinair.cli import app as cli
from pleinair.cli import progress
from pleinair.cli.progress import clock

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and descriptors as POSIX has them")

PNG_END = b"IEND\xaeB`\x82"
LINE = "pleinair: interrupted; only complete files were kept\n"
PLEINAIR = [sys.executable, "-m", "pleinair"]
SCRIPT = [sys.executable, "-c", "import sys; from pleinair.__main__ import main; sys.exit(main())"]
PAINT = ["generate", "a house", "--seed", "1", "--steps", "900", "-o", "a.png"]
MANY = ["generate", "a house", "--seed", "1", "--steps", "3", "--count", "2000", "--engine", "fake", "-o", "a.png"]
MANY += ["--film", "f.gif"]
# run by Python as it starts: sends a signal when a module is about to be imported
AT_IMPORT = """
import os, sys
def watch(event, arguments, module=os.environ["AT_IMPORT"], number=int(os.environ["SIGNAL"])):
    if event == "import" and arguments[0] == module:
        os.kill(os.getpid(), number)
sys.addaudithook(watch)
"""


def usual():
    """Signals as a shell leaves them: whoever runs the tests may have switched them off."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGPIPE"):
        signal.signal(getattr(signal, name), signal.SIG_DFL)


def start(command, cwd, **options):
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=cwd, stdout=pipe, stderr=pipe, text=True, preexec_fn=usual, **options)


def shell(script, cwd):
    return subprocess.run(["bash", "-c", script], cwd=cwd, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    "module, program, number",
    [
        ("pleinair.cli.process", SCRIPT, signal.SIGINT),
        ("signal", PLEINAIR, signal.SIGINT),
        ("pleinair.cli.terminal", SCRIPT, signal.SIGINT),
        ("pleinair.cli.app", PLEINAIR, signal.SIGINT),
        ("typer", PLEINAIR, signal.SIGHUP),
        ("numpy.linalg", SCRIPT, signal.SIGTERM),
        ("PIL.Image", SCRIPT, signal.SIGINT),
    ],
)
def test_a_signal_while_importing_is_one_line(tmp_path, module, program, number):
    (tmp_path / "sitecustomize.py").write_text(AT_IMPORT)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "AT_IMPORT": module, "SIGNAL": str(int(number))}
    outcome = start([*program, "samplers"], tmp_path, env=environment)
    out, err = outcome.communicate(timeout=60)
    assert (outcome.returncode, out, err) == (128 + number, "", LINE)


def ours(complaint):
    """Whether a traceback comes from anything later than the first line of __main__, before which nobody has power."""
    files = re.findall(r'File "[^"]*/((?:pleinair|numpy)/[^"]+)"', complaint)
    return not {*files} <= {"pleinair/__init__.py", "pleinair/version.py", "pleinair/__main__.py"}


@pytest.mark.parametrize(
    "program, delay",
    [
        *((PLEINAIR, delay) for delay in (0.0, 0.05, 0.15, 0.6, 1.0)),
        (SCRIPT, 0.03),  # which differs no longer once pleinair is imported
    ],
)
def test_a_ctrl_c_at_any_moment_is_one_line(tmp_path, program, delay):
    outcome = start([*program, *PAINT], tmp_path)
    time.sleep(delay)
    outcome.send_signal(signal.SIGINT)
    out, err = outcome.communicate(timeout=60)
    assert out == "" and list(tmp_path.iterdir()) == []
    if (outcome.returncode, err) != (130, LINE):  # before the first line of ours has run
        assert delay < 1 and outcome.returncode in (-signal.SIGINT, 1) and not ours(err), err


def painting(tmp_path, *options):
    """A process that is in the middle of writing pictures and films, one after the other."""
    outcome = start([*PLEINAIR, *MANY, *options], tmp_path)
    end = time.monotonic() + 60
    while not any(each.stat().st_size for each in tmp_path.iterdir()) and time.monotonic() < end:
        time.sleep(0.02)
    return outcome


def only_whole_files(folder):
    """Nothing but finished pictures and films."""
    for file in folder.iterdir():
        with Image.open(file) as picture:
            picture.load()
    return all(re.fullmatch(r"a-\d+\.png|f-\d+\.gif", file.name) for file in folder.iterdir())


def test_a_second_ctrl_c_changes_nothing(tmp_path):
    outcome = painting(tmp_path)
    outcome.send_signal(signal.SIGINT)
    time.sleep(0.02)
    outcome.send_signal(signal.SIGINT)
    out, err = outcome.communicate(timeout=60)
    assert (outcome.returncode, out, err) == (130, "", LINE) and only_whole_files(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_being_told_to_end_leaves_nothing_half_written(tmp_path, number):
    outcome = painting(tmp_path, "--json")
    outcome.send_signal(number)
    out, err = outcome.communicate(timeout=60)
    assert (outcome.returncode, err) == (128 + number, LINE) and only_whole_files(tmp_path)
    assert json.loads(out)["error"]["kind"] == "Cancelled"


def test_a_signal_that_is_switched_off_stays_off(tmp_path):
    """As under nohup, and behind `&` in a script."""
    outcome = shell(
        f"trap '' INT; '{sys.executable}' -m pleinair generate a --steps 200 --engine fake -o a.png & sleep 0.6;"
        " kill -INT $!; wait $!",
        tmp_path,
    )
    assert outcome.returncode == 0 and (tmp_path / "a.png").exists(), outcome.stderr


@pytest.mark.parametrize(
    "engine, streams",
    [
        ("fake", (">&-", "2>&-")),
        ("openvino", ("<&- >&- 2>&-",)),  # where a library of its own might write
        ("onnx", ("<&- >&- 2>&-", "2>/dev/full")),
    ],
)
def test_painting_needs_no_streams(sketch, tmp_path, streams, engine):
    arguments = ["generate", "a", "--model", str(sketch), "--steps", "1", "--seed", "1", "--engine", engine, "-o"]
    assert cli.run([*arguments, str(tmp_path / "usual.png")]) == 0
    for without in streams:
        done = shell(f"{shlex.join([*PLEINAIR, *arguments])} a.png {without}", tmp_path)
        assert done.returncode == 0, (without, done.stderr)
        assert (tmp_path / "a.png").read_bytes() == (tmp_path / "usual.png").read_bytes(), without
        (tmp_path / "a.png").unlink()


@pytest.mark.parametrize(
    "arguments, streams", [("doctor --json", "<&- >&- 2>&-"), ("generate --help", "<&- >&- 2>&-"), ("info", ">&-")]
)
def test_no_command_needs_streams(tmp_path, streams, arguments):
    done = shell(f"'{sys.executable}' -m pleinair {arguments} {streams}", tmp_path)
    assert done.returncode == 0 and "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", ["samplers", "samplers --help", "--show-completion bash"])
def test_a_closed_pipe_is_no_traceback(tmp_path, arguments):
    script = f"'{sys.executable}' -m pleinair {arguments} | true; exit ${{PIPESTATUS[0]}}"
    outcome = shell(script, tmp_path)
    assert outcome.returncode in (0, 1) and outcome.stderr == ""


@pytest.mark.parametrize("arguments", ["samplers --help", "generate a --engine fake --steps 1 -o a.png"])
@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full is Linux")
def test_a_full_disk_behind_stdout_is_said(tmp_path, arguments):
    outcome = shell(f"'{sys.executable}' -m pleinair {arguments} > /dev/full", tmp_path)
    assert outcome.returncode == 4 and outcome.stderr.count("\n") == 1 and "No space left" in outcome.stderr


def on_a_terminal(cwd, *arguments):
    """Exit code, stdout, what a terminal shows, and the seconds to its first words."""
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    began = time.monotonic()
    process = subprocess.Popen([*PLEINAIR, *arguments], cwd=cwd, stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    received, first = b"", None
    while True:
        try:
            piece = os.read(ours, 1 << 16)
        except OSError:  # what Linux says where the other side is closed
            break
        first = first or time.monotonic() - began
        received += piece
        if not piece:
            break
    os.close(ours)
    out = process.communicate(timeout=60)[0].decode()
    return process.returncode, out, without_moves(received.decode()), first


def without_moves(received):
    """What a terminal gets, but for what moves the cursor."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", received)


def test_a_terminal_is_told_what_is_loading_and_how_long_it_takes(tmp_path):
    arguments = ["generate", "a house", "--seed", "1", "--count", "2", "--steps", "9", "-o", "a.png"]
    arguments += ["--engine", "onnx", "--threads", "1", "--size", "64x64"]
    code, out, shown, first = on_a_terminal(tmp_path, *arguments)
    assert (code, out) == (0, "a-1.png\na-2.png\n")
    for words in ("loading the model ...", "loading unet ...", "picture 1 of 2", "picture 2 of 2"):
        assert words in shown
    assert re.search(r"step \d of 9  picture \d of 2  \d+\.\d\d s a step  \d:\d\d left", shown)
    assert first < 5


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def shown_by(tmp_path, monkeypatch):
    """Run a command in this process and on the fake engine; returns its code, and all that a terminal is told."""
    monkeypatch.chdir(tmp_path)
    drawn = progress._drawn

    def shown_at_once(words):
        bar, task = drawn(words)
        monkeypatch.setattr(bar, "update", partial(bar.update, refresh=True))
        return bar, task

    monkeypatch.setattr(progress, "_drawn", shown_at_once)

    def run(*arguments):
        monkeypatch.setattr("sys.stderr", Terminal())
        code = cli.run([*arguments, "--engine", "fake", "--size", "64x64"])
        return code, without_moves(sys.stderr.getvalue())

    return run


def test_a_terminal_counts_frames_and_pictures_of_a_list(shown_by, tmp_path):
    code, shown = shown_by("morph", "a", "b", "--frames", "2", "--steps", "3", "-o", "m.gif")
    assert code == 0 and "frame 1 of 2" in shown and "frame 2 of 2" in shown
    (tmp_path / "list.txt").write_text("a\nb\n")
    code, shown = shown_by("generate", "--prompts", "list.txt", "--steps", "3")
    assert code == 0 and "picture 1 " in shown and "picture 2 " in shown


def test_the_bar_is_gone_before_an_error_and_a_warning_are_said(shown_by):
    code, shown = shown_by("generate", "a", "--model", "nowhere")
    assert code == 3 and shown.splitlines()[-1].startswith("pleinair: no model folder")
    code, shown = shown_by("generate", "(a", "--steps", "2", "-o", "a.png")
    assert code == 0 and shown.splitlines()[-1].startswith("pleinair: warning: ")


@pytest.mark.parametrize("seconds, shown", [(0.2, "0:00"), (74.4, "1:14"), (3599.9, "1:00:00"), (3700, "1:01:40")])
def test_time_left_as_people_read_it(seconds, shown):
    assert clock(seconds) == shown
