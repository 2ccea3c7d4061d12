"""Every command and example in docs/*.md is run as it stands, in the order in which the pages have them."""

import re
from pathlib import Path

import pytest

from bench_records import outcome, worker
from pleinair.engines.fake import FakeEngine
from pleinair.engines.openvino import OpenVINOEngine
from pleinair_bench import run as bench
from vectors import safetensors, some_vectors

REPOSITORY = Path(__file__).parents[2]
PAGES = {page.name: page.read_text(encoding="utf-8") for page in sorted((REPOSITORY / "docs").glob("*.md"))}


def told(page):
    """The lines of a page's shell blocks and its Python blocks."""
    for kind, block in re.findall(r"```(sh|python)\n(.*?)```", PAGES[page], re.S):
        yield from block.splitlines() if kind == "sh" else [block]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where a page's commands run: with the files they speak of, and what earlier commands wrote."""
    (tmp_path / "docs").symlink_to(REPOSITORY / "docs", target_is_directory=True)
    (tmp_path / "watercolour.safetensors").write_bytes(safetensors({"<watercolour>": some_vectors(2, 128)}))
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("page", [page for page in PAGES if [*told(page)]])
def test_what_a_page_tells_to_type_works(page, typed, monkeypatch):
    """On the fake engine: what networks and a benchmark's workers do is proven elsewhere, here it is what pages say."""
    fake = FakeEngine()
    monkeypatch.setattr(OpenVINOEngine, "open_graph", lambda engine, *what, **how: fake.open_graph(*what, **how))
    monkeypatch.setattr(bench, "WORKER", worker(f"json.dump({outcome([0.1, 0.1])!r}, sys.stdout)"))
    monkeypatch.setattr(bench.yardstick, "pace", lambda: 0.0025)
    for each in told(page):
        typed(each)


@pytest.mark.parametrize("page", PAGES)
def test_shell_blocks_hold_commands_alone(page):
    for block in re.findall(r"```sh\n(.*?)```", PAGES[page], re.S):
        assert all(line.startswith("pleinair ") for line in block.splitlines())


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)\)", PAGES[page]):
        assert target.startswith("http") or (REPOSITORY / "docs" / target).exists(), target
