"""Every command and example in README.md is run as it stands."""

import importlib.util
import re
from pathlib import Path

import pytest

from pleinair.engines.fake import FakeEngine
from pleinair.engines.openvino import OpenVINOEngine

REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
SHELL = [line for block in re.findall(r"```sh\n(.*?)```", README, re.S) for line in block.splitlines() if line.strip()]
PYTHON = re.findall(r"```python\n(.*?)```", README, re.S)
COMMANDS = [line for line in SHELL if line.startswith("pleinair ")]


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A working folder that looks like the repository's root to the commands, and takes what they write."""
    for name in ("models", "docs"):
        (tmp_path / name).symlink_to(REPOSITORY / name, target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("clone")
def test_commands_and_examples_work(typed, monkeypatch):
    """The first on the real engine and the rest on the fake one: what graphs do does not depend on who asks."""
    first, *rest = [line for line in COMMANDS if "my-bundle" not in line]
    typed(first)
    fake = FakeEngine()
    monkeypatch.setattr(OpenVINOEngine, "open_graph", lambda engine, *what, **how: fake.open_graph(*what, **how))
    for each in [*rest, *PYTHON]:
        typed(each)


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="exporting needs the export extra")
def test_commands_about_an_export_work(typed, tmp_path, monkeypatch):
    """On a tiny model in the place of storybook's source, of which the bundle that ships is the export (test_pour)."""
    from tiny_pipeline import write_tiny_pipeline

    write_tiny_pipeline(tmp_path / "models" / "storybook" / "source", "least")
    monkeypatch.chdir(tmp_path)
    exporting = [line for line in COMMANDS if "my-bundle" in line]
    assert exporting[0].startswith("pleinair export ")
    for line in exporting:
        typed(line)


def test_every_other_command_is_run_by_ci():
    ci = (REPOSITORY / ".ci" / "run").read_text()
    venv = ["python3 -m venv .venv", ". .venv/bin/activate"]
    work = [*venv, 'pip install -c constraints.txt -e ".[dev]"', "pytest"]
    assert [line for line in SHELL if not line.startswith("pleinair ")] == [*venv, "pip install .", *work]
    contributing = re.findall(r"```sh\n(.*?)```", (REPOSITORY / "CONTRIBUTING.md").read_text(), re.S)
    assert contributing == ["".join(f"{line}\n" for line in work)]
    assert work[2].removeprefix("pip install ") in ci and "\npytest\n" in ci and "python3 -m venv" in ci
    assert COMMANDS[0].removeprefix("pleinair ") in (REPOSITORY / "tests" / "install" / "check.sh").read_text()


def test_every_picture_on_show_can_be_painted_again():
    """Readers get what is shown: each command names its seed."""
    painting = [line for line in SHELL if re.match(r"pleinair (generate|morph) ", line) and "--prompts" not in line]
    assert len(painting) > 5 and all("--seed" in line for line in painting)


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("http") or (REPOSITORY / target).exists(), target
