"""Every command and example in docs/*.md is run as it stands, in the order in which the pages have them."""

import itertools
import re
from pathlib import Path

import pytest
from PIL import Image

from bench_records import outcome, worker
from bundles import light_control, light_copy
from hub_server import Hub, Repo, diffusers_files, is_the_hub
from pleinair.engines.fake import FakeEngine
from pleinair.engines.openvino import OpenVINOEngine
from pleinair.library import choosing, preparing, pulling
from pleinair.pouring.topologies import read_topologies
from pleinair.system import install
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
    monkeypatch.setenv("PLEINAIR_HOME", str(tmp_path / "home"))
    (tmp_path / "home" / "models").mkdir(parents=True)
    light_control(tmp_path / "home" / "models" / "canny")
    for name in ("photo.png", "edges.png"):
        Image.new("RGB", (256, 256)).save(tmp_path / name)
    (tmp_path / "watercolour.safetensors").write_bytes(safetensors({"<watercolour>": some_vectors(2, 128)}))
    monkeypatch.chdir(tmp_path)


def exported(source, out, **how):
    """An export without PyTorch, and without weights."""
    light_copy(out)
    return []


def unmarked(bundle, source):
    """These files hold no weights."""


def all_files(repository, formats, weights, read, pickles):
    return choosing.files_of(repository, choosing.FOLDER, read, weights, pickles)


@pytest.fixture
def hub(folder, tmp_path, monkeypatch):
    """What docs/models.md downloads from, and an export and a pouring that need no weights."""
    import pleinair_export

    server = Hub()
    is_the_hub(server, tmp_path, monkeypatch)
    for id in ("stabilityai/sd-turbo", "stable-diffusion-v1-5/stable-diffusion-v1-5"):
        server.repos[id] = Repo(diffusers_files())
    server.repos["example/single-file"] = Repo({"model.safetensors": bytes(2000)})
    monkeypatch.setitem(install.PARTS, "model export", ((), ""))
    monkeypatch.setitem(vars(pleinair_export), "export", exported)  # which is imported when it is asked for
    monkeypatch.setattr(preparing, "pour", exported)
    monkeypatch.setattr(preparing, "mark", unmarked)
    monkeypatch.setitem(pulling.POURABLE, choosing.FOLDER, all_files)
    yield
    server.close()


@pytest.mark.usefixtures("folder", "hub")
@pytest.mark.parametrize("page", [page for page in PAGES if [*told(page)]])
def test_what_a_page_tells_to_type_works(page, typed, monkeypatch):
    """On the fake engine: what networks and a benchmark's workers do is proven elsewhere, here it is what pages say."""
    fake = FakeEngine()
    monkeypatch.setattr("pleinair.tasks.worker_count.physical_cores", list)  # workers would have the real engine
    monkeypatch.setattr("pleinair.preflight.RULES", {})  # there are no graphs whose memory could be told
    monkeypatch.setattr("pleinair.foreseeing.tabulated_bytes", lambda *_: 0.0)
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


def excerpts(text):
    """The blocks marked `py` (those marked `python` are run), each behind the file that is linked last before it."""
    for block in re.finditer(r"```py\n(.*?)```", text, re.S):
        yield re.findall(r"\]\(\.\./(\S+?\.py)\)", text[: block.start()])[-1], block[1]


def as_one_line(text):
    return " ".join(text.split())


def test_excerpts_are_what_the_linked_files_say():
    found = [each for text in PAGES.values() for each in excerpts(text)]
    code = {name: as_one_line((REPOSITORY / name).read_text(encoding="utf-8")) for name, _ in found}
    assert found and [(name, block) for name, block in found if as_one_line(block) not in code[name]] == []


POURED = {  # of docs/models.md -> a model in the index of topologies
    "Stable Diffusion 1.x, also for inpainting and editing": "sd15",
    "Stable Diffusion 2.x, also for inpainting and editing": "sd21",
    "Stable Diffusion XL, also for inpainting and editing": "sdxl",
    "its refiner": "sdxl-refiner",
    "SSD-1B, Vega": "ssd-1b",
    "latent consistency models (LCM) of Stable Diffusion 1.x": "sd15-lcm",
    "those of Stable Diffusion XL": "sdxl-lcm",
    "BK-SDM, also small and tiny": "bk-sdm-base",
    "SDXS-512": "sdxs",
}


def test_what_can_be_poured_is_what_ships():
    """The table of docs/models.md: models, and kinds of weights for OpenVINO and ONNX Runtime."""
    lines = PAGES["models.md"].splitlines()
    start = lines.index("| models | for OpenVINO | for ONNX Runtime |") + 2
    rows = [re.split(r" *\| *", line)[1:-1] for line in itertools.takewhile(bool, lines[start:])]
    told = {POURED[name]: [set(filter(None, cell.split(", "))) for cell in cells] for name, *cells in rows}
    found = {model: [set(), set()] for model in POURED.values()}
    for row in read_topologies()["topologies"]:
        for model in found.keys() & {*row["models"]} if row["graph"] == "unet" else ():
            found[model][row["format"] == "onnx"].add(row["weights"])
    assert told == found


def test_models_take_a_byte_or_two_a_parameter_on_disk():
    """The table of docs/models.md, with the VAE's encoder."""
    rows = [
        line.split("|")[1:-1] for line in PAGES["models.md"].splitlines() if re.search(r"\| \d+x\d+ \| \d+ \|", line)
    ]
    assert len(rows) > 3
    for name, _, *parts, disk in rows:
        parameters = sum(float(part) * 1e6 for part in parts) + 34e6
        stored = [parameters * size / 1e9 for size in (1, 2)]  # int8, fp16
        assert [float(cell) for cell in disk.split("/")] == pytest.approx(stored, abs=0.06, rel=0.03), name
