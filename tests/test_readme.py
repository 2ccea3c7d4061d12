"""Every command and example in README.md is run as it stands."""

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
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
    others = [part.strip() for line in SHELL for part in line.split("&&") if not line.startswith("pleinair ")]
    assert others == [
        "pip install .",
        'pleinair generate "a red house on a snowy hill at night"',
        'pip install -c constraints.txt -e ".[dev]"',
        "pytest",
    ]
    assert others[2].removeprefix("pip install ") in ci and "\npytest\n" in ci
    assert others[1].removeprefix("pleinair ") in (REPOSITORY / "tests" / "install" / "check.sh").read_text()


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("http") or (REPOSITORY / target).exists(), target
