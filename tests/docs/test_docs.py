"""Every command and example in docs/*.md is run as it stands."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from vectors import safetensors, some_vectors

REPOSITORY = Path(__file__).parents[2]
PAGES = {page.name: page.read_text(encoding="utf-8") for page in sorted((REPOSITORY / "docs").glob("*.md"))}


def blocks(kind):
    return [(name, block) for name, text in PAGES.items() for block in re.findall(rf"```{kind}\n(.*?)```", text, re.S)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the pages' commands run: with the files they speak of, and what earlier commands wrote."""
    folder = tmp_path_factory.mktemp("pages")
    (folder / "docs").symlink_to(REPOSITORY / "docs", target_is_directory=True)
    (folder / "watercolour.safetensors").write_bytes(safetensors({"<watercolour>": some_vectors(2, 128)}))
    return folder


def run(folder, *command):
    return subprocess.run([sys.executable, *command], cwd=folder, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("page, line", [(page, line) for page, block in blocks("sh") for line in block.splitlines()])
def test_command_works(folder, page, line):
    assert line.startswith("pleinair ")
    done = run(folder, "-m", *shlex.split(line))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page, code", blocks("python"))
def test_example_works(folder, page, code):
    done = run(folder, "-c", code)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)\)", PAGES[page]):
        assert target.startswith("http") or (REPOSITORY / "docs" / target).exists(), target
