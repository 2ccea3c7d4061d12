"""Every command and example in README.md is run as it stands."""

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
SHELL = [line for block in re.findall(r"```sh\n(.*?)```", README, re.S) for line in block.splitlines() if line.strip()]
PYTHON = re.findall(r"```python\n(.*?)```", README, re.S)


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A folder that looks like the repository's root to the commands, and takes what they write."""
    folder = tmp_path_factory.mktemp("readme")
    for name in ("models", "docs"):
        (folder / name).symlink_to(REPOSITORY / name, target_is_directory=True)
    return folder


@pytest.mark.parametrize("line", [line for line in SHELL if line.startswith("pleinair ")])
def test_command_works(clone, line):
    if importlib.util.find_spec("torch") is None and "my-bundle" in line:
        pytest.skip("the line needs the export extra, and this environment is without it")
    command = [sys.executable, "-m", *shlex.split(line)]
    outcome = subprocess.run(command, cwd=clone, capture_output=True, text=True, timeout=300)
    assert outcome.returncode == 0, outcome.stderr


@pytest.mark.parametrize("code", PYTHON)
def test_example_works(clone, code):
    outcome = subprocess.run([sys.executable, "-c", code], cwd=clone, capture_output=True, text=True, timeout=300)
    assert outcome.returncode == 0, outcome.stderr


def test_every_other_command_is_run_by_ci():
    ci = (REPOSITORY / ".ci" / "run").read_text()
    venv = ["python3 -m venv .venv", ". .venv/bin/activate"]
    work = [*venv, 'pip install -c constraints.txt -e ".[dev]"', "pytest"]
    assert [line for line in SHELL if not line.startswith("pleinair ")] == [*venv, "pip install .", *work]
    contributing = re.findall(r"```sh\n(.*?)```", (REPOSITORY / "CONTRIBUTING.md").read_text(), re.S)
    assert contributing == ["".join(f"{line}\n" for line in work)]
    assert work[2].removeprefix("pip install ") in ci and "\npytest\n" in ci and "python3 -m venv" in ci
    first = next(line for line in SHELL if line.startswith("pleinair "))
    assert first.removeprefix("pleinair ") in (REPOSITORY / "tests" / "install" / "check.sh").read_text()


def test_every_picture_on_show_can_be_painted_again():
    """Readers get what is shown: each command names its seed."""
    painting = [line for line in SHELL if re.match(r"pleinair (generate|morph) ", line) and "--prompts" not in line]
    assert len(painting) > 5 and all("--seed" in line for line in painting)


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("http") or (REPOSITORY / target).exists(), target
