"""The container image, the compose file and the systemd unit of docs/deploy, as far as neither daemon is needed."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from serving import Asking

REPOSITORY = Path(__file__).parents[2]
FOLDER = REPOSITORY / "docs" / "deploy"
DOCKERFILE = (FOLDER / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", "")
COMPOSE = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
UNIT = (FOLDER / "pleinair.service").read_text(encoding="utf-8")
KEY = "0123456789abcdef"
APART = ["unshare", "--map-root-user", "--mount"]


def told(instruction):
    """What the lines of an instruction say, in the image's order."""
    return [line.split(None, 1)[1].strip() for line in DOCKERFILE.splitlines() if line.startswith(f"{instruction} ")]


COPIED = [source for line in told("COPY") if not line.startswith("--") for source in line.split()[:-1]]
ENVIRONMENT = dict(word.split("=", 1) for line in told("ENV") for word in line.split())
COMMAND = json.loads(told("CMD")[-1])
CHECK = json.loads(told("HEALTHCHECK")[0].partition("CMD ")[2])


def test_the_image_is_built_of_files_that_are_here_and_all_that_the_wheel_needs():
    assert [source for source in COPIED if not (REPOSITORY / source).exists()] == []
    ignored = (FOLDER / "Dockerfile.dockerignore").read_text(encoding="utf-8").split()
    assert {line.removeprefix("!") for line in ignored if line.startswith("!")} == {*COPIED}
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = [*wheel["packages"], *wheel["force-include"], project["project"]["readme"], "LICENSE"]
    assert [each for each in needed if not any(Path(each).is_relative_to(source) for source in COPIED)] == []
    extras = re.search(r'"\.\[(.*?)\]"', DOCKERFILE)[1].split(",")
    assert {*extras} <= {*project["project"]["optional-dependencies"]}


def test_the_compose_file_and_the_image_fit_together():
    service = COMPOSE["services"]["pleinair"]
    assert (FOLDER / service["build"]["context"] / service["build"]["dockerfile"]).samefile(FOLDER / "Dockerfile")
    assert told("EXPOSE") == [service["ports"][0].rpartition(":")[2]]
    assert f"data:{ENVIRONMENT['PLEINAIR_HOME']}" in service["volumes"] and "data" in COMPOSE["volumes"]
    assert any(each.startswith(f"{ENVIRONMENT['HOME']}:") for each in service["tmpfs"])
    (secret,) = service["secrets"]
    assert COMMAND[COMMAND.index("--api-key-file") + 1] == f"/run/secrets/{secret}" and secret in COMPOSE["secrets"]
    ignored = (REPOSITORY / ".gitignore").read_text(encoding="utf-8").split()
    assert f"docs/deploy/{Path(COMPOSE['secrets'][secret]['file']).parent}/" in ignored
    grace = float(COMMAND[COMMAND.index("--grace") + 1])
    assert grace < float(service["stop_grace_period"].rstrip("s"))
    assert service["read_only"] and service["cap_drop"] == ["ALL"]
    assert int(told("USER")[-1].partition(":")[0]) > 0


@pytest.fixture
def contained(tmp_path, sketch):
    """The image's command with a read-only file system, but for its two writable folders: its address, and those."""
    if shutil.which("unshare") is None or subprocess.run([*APART, "true"], capture_output=True).returncode:
        pytest.skip("needs namespaces of Linux")
    home, scratch = tmp_path / "home", tmp_path / "scratch"
    home.mkdir()
    scratch.mkdir()
    (tmp_path / "key").write_text(KEY)
    arguments = [str(tmp_path / "key") if word.startswith("/run/secrets/") else word for word in COMMAND]
    more = ["--port", "0", "--model", str(sketch), "--engine", "onnx"]
    command = shlex.join([sys.executable, "-m", "pleinair", *arguments, *more])
    bind = [f"mount --bind {shlex.quote(str(each))} {shlex.quote(str(each))}" for each in (tmp_path, home, scratch)]
    close = [f"mount -o bind,remount,ro {shlex.quote(str(each))}" for each in (tmp_path, "/")]
    script = " && ".join([*bind, *close, f"! touch {shlex.quote(str(tmp_path / 'x'))}", f"exec {command}"])
    given = {**ENVIRONMENT, "PLEINAIR_HOME": str(home), "HOME": str(scratch), "TMPDIR": str(scratch)}
    del given["PATH"]
    with (scratch / "log").open("wb") as log:
        process = subprocess.Popen(
            [*APART, "bash", "-c", script],
            stdout=subprocess.PIPE,
            stderr=log,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **given},
        )
    url = process.stdout.readline().decode().strip().rstrip("/")
    assert url, (scratch / "log").read_text()
    yield url, home, scratch
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    process.stdout.close()


def test_the_image_s_command_paints_on_a_read_only_file_system_and_its_health_check_tells(contained):
    url, home, scratch = contained
    check = [sys.executable, *(word.replace("127.0.0.1:7860", url.removeprefix("http://")) for word in CHECK[1:])]
    assert CHECK[0] == "python" and check[-1] != CHECK[-1]
    proxies = dict.fromkeys(("http_proxy", "HTTP_PROXY", "all_proxy"), "http://127.0.0.1:1")
    assert subprocess.run(check, env={**os.environ, **proxies}).returncode == 0
    body = {"prompt": "a house", "size": "64x64", "seed": 1}
    status, job = Asking(url).ask("/api/v1/jobs?wait=true", body, Authorization=f"Bearer {KEY}")
    assert (status, job["status"]) == (200, "done")
    assert Asking(url).ask("/api/v1/capabilities")[0] == 401
    assert {path.name for path in home.iterdir()} <= {"serve", "compiled"}
    assert [path.name for path in scratch.iterdir()] == ["log"]
    nobody = [word.replace(url.removeprefix("http://"), "127.0.0.1:1") for word in check]
    assert subprocess.run(nobody, capture_output=True).returncode != 0


def test_the_unit_is_one_that_systemd_takes(tmp_path):
    start = re.search(r"^ExecStart=(\S+) (.*)$", UNIT, re.M)
    assert start[2].split() == [word.replace("/run/secrets/pleinair-key", "%d/key") for word in COMMAND]
    grace, patience = float(COMMAND[-1]), float(re.search(r"^TimeoutStopSec=(\d+)$", UNIT, re.M)[1])
    assert COMMAND[-2] == "--grace" and grace < patience
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    file = tmp_path / "pleinair.service"
    file.write_text(UNIT.replace(start[1], sys.executable))
    found = subprocess.run(["systemd-analyze", "verify", str(file)], capture_output=True, text=True)
    assert (found.returncode, found.stderr) == (0, "")
