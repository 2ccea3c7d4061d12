"""`pleinair bench peers`: everybody on the same work, and a peer that fails is a row. No peer is needed for these."""

import json
import re
import struct
import sys
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest

from bench_records import case as bench_case
from bench_records import outcome, record
from pleinair.bundle.opening import open_bundle
from pleinair.bundle.shipped import default_path
from pleinair.cli import app as cli
from pleinair.errors import EngineError, RequestError
from pleinair_bench import peer_rows, peer_tables, peers, speeds, stored
from pleinair_bench.peer_painters import PEERS, with_scheduler
from pleinair_bench.records import problems, read

SOURCE = Path(__file__).parents[2] / "models" / "storybook" / "source"
OURS = ["pleinair openvino", "pleinair onnx"]


@pytest.fixture(scope="module")
def compared(sketch, tmp_path_factory):
    """(stdout, records) of two of ours and a peer that fails, with whole pictures through a small VAE, one round."""
    folder = tmp_path_factory.mktemp("peers")
    broken = f"stable-diffusion.cpp={sys.executable}"  # which this environment does not have
    names = ",".join([*OURS, "stable-diffusion.cpp"])
    options = ["--size", "64x64", "--rounds", "1", "--pictures", "1", "--peer", names, "--python", broken]
    command = ["bench", "peers", str(SOURCE), str(sketch), *options, "--results", str(folder / "r.jsonl")]
    told = StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(told):
        patch.setattr(peers.yardstick, "pace", lambda: 0.0025)
        assert cli.run(command) == 0
    found, warnings = read([folder / "r.jsonl"])
    assert warnings == []
    return told.getvalue(), found


def test_ours_and_a_peer_that_fails(compared):
    out, found = compared
    assert [list(problems(each)) for each in found] == [[]] * len(found)
    cases = [(each["case"]["engine"], each["case"]["precision"], each["status"]) for each in found[:4]]
    assert cases == [
        ("pleinair openvino", "auto", "ok"),
        ("pleinair openvino", "f32", "ok"),
        ("pleinair onnx", "f32", "ok"),  # on the CPU it computes in nothing else
        ("stable-diffusion.cpp", "auto", "failed"),
    ]
    assert {each["case"]["weights"] for each in found} == {"fp16"}
    held = [each["picture"] for each in found[1:3]]  # against ours in float32
    assert held[0]["same"] and (held[1]["same"] or held[1]["psnr_db"] > 60)
    assert found[0]["measures"]["step"]["low"] is None  # of one round
    assert [len(each) for each in found[0]["measures"]["step"]["rounds"]] == [2]
    assert "ModuleNotFoundError" in found[3]["reason"] and "stable-diffusion.cpp" in out
    assert len({each["run"] for each in found}) == 1


def test_what_is_measured_of_each_picture(compared):
    for each in compared[1][:3]:
        median = {name: measure["median"] for name, measure in each["measures"].items()}
        assert median["load"] < median["first_step"] < median["total"]
        assert median["load"] + median["picture"] == pytest.approx(median["total"], rel=1e-3)
        assert each["usage"]["disk_mb"]["median"] > 0.1 and each["engine"]["build"]


def test_whole_pictures_of_each_speed_and_of_few_steps(compared):
    whole = compared[1][4:]
    assert [(each["case"]["steps"], each["case"]["speed"], each["case"]["sampler"]) for each in whole] == [
        (20, "exact", "ddim"),
        (20, "balanced", "ddim"),
        (20, "fast", "ddim"),
        (4, "exact", "lcm"),
    ]
    taken = [len(each["measures"]["step"]["rounds"][0]) + 1 for each in whole]
    assert taken == [speeds.asked(each["case"]["speed"], each["case"]["steps"])["steps"] for each in whole]


def test_equal_stored_precision_stands_together(compared):
    out, _ = compared
    headings = ["Computing in what each chooses by itself:", "All asked to compute in float32:", "Whole pictures:"]
    places = [out.index(heading) for heading in headings]
    assert places == sorted(places)
    tables = [out[start:end] for start, end in zip(places, [*places[1:], None], strict=True)]
    assert all("pleinair onnx" in each for each in tables[:2]) and "stable-diffusion.cpp" not in tables[1]
    assert "4 steps (LCM)" in tables[2]


def made_up(engine, seconds, **case):
    """A record of a whole picture."""
    told = bench_case(model="peers: sd15", work="cold", engine=engine, steps=20, sampler="ddim", batch=1, **case)
    stages = {"total": [seconds + 5], "picture": [seconds], "load": [4.0], "first_step": [6.0]}
    return record([[1.0]], of=told, samples=stages, peak_anonymous_mb=2000.0, disk_mb=1500.0)


def test_four_lines_stand_beside_openvino_genai():
    ours, theirs = "pleinair openvino", "openvino-genai"
    few = {"sampler": "lcm", "steps": 4}
    found = [
        made_up(ours, 6.0),
        made_up(ours, 30.0, speed="balanced"),
        made_up(ours, 60.0),
        made_up(ours, 20.0, speed="fast"),
        made_up(theirs, 90.0),
        made_up(theirs, 15.0),
    ]
    for each in (found[0], found[5]):
        each["case"] |= few
    lines = [line for line in peer_tables.short(found).splitlines() if line.startswith("|")][2:]
    assert [line.split("|")[1].strip() for line in lines] == [
        "20 steps, exact", "20 steps, balanced", "20 steps, fast", "4 steps (LCM)",
    ]  # fmt: skip
    ratios = [float(re.search(r"([\d.]+) times", line)[1]) for line in lines]
    assert ratios == [1.5, 3.0, 4.5, 2.5]
    assert "**60 s**" in lines[0] and "2.10 GB" in lines[0] and "1.57 GB" in lines[0]
    assert peer_tables.short([]) == ""


@pytest.mark.parametrize(
    "paces, counted, left_out",
    [
        ([1, 1, 1, 2, 1, 1, 1, 1], 3, 1),  # the second round is disturbed
        ([1, 1, 1, 2, 1, 2, 1, 2, 1, 2], 5, 0),  # hardly any is calm: all count
    ],
)
def test_rounds_that_are_disturbed_are_repeated(monkeypatch, sketch, paces, counted, left_out):
    row, found = remeasured(monkeypatch, sketch, paces, peers.PeerLimits(wait_s=0.0))
    assert len(found["measures"]["total"]["rounds"]) == counted and len(found["left_out"]) == left_out
    assert counted + left_out <= row.rounds + peers.SPARE_ROUNDS


def test_a_slow_row_is_not_repeated(monkeypatch, sketch):
    found = remeasured(monkeypatch, sketch, [1] * 6, peers.PeerLimits(row_s=0.0))[1]
    assert len(found["measures"]["total"]["rounds"]) == 1


def remeasured(monkeypatch, sketch, paces, limits):
    """(a row of three rounds, its record) with these readings of the yardstick before and after each round."""
    readings = iter(paces)
    monkeypatch.setattr(peers.yardstick, "pace", lambda: next(readings))
    monkeypatch.setattr(peers.run, "answer", lambda *_, **__: outcome([]) | {"samples": {"total": [1.0]}})
    bundle = open_bundle(sketch)
    work = peer_rows.PeerWork(SOURCE, (bundle,), 64, 64, 2, 1.0, None)
    row = peer_rows.Row("pleinair onnx", bundle.path, "fp16", "f32", 2, 1.0, 3)
    *_, (words, found) = peers.measured(work, [row], {}, limits)
    assert words == "done"
    return row, found[0]


def test_who_paints_which_bundle(sketch):
    """What computes in int8 is measured once, as are programs to which precision is all the same."""
    bundle = open_bundle(sketch)
    narrow = replace(bundle, manifest=in_int8(bundle.manifest))
    work = peer_rows.PeerWork(SOURCE, (bundle, narrow), 64, 64, 3, 7.5, None)
    names = ["pleinair openvino", "pleinair onnx", "diffusers", "openvino-genai", "optimum-intel"]
    rows = peer_rows.rows_of(work, names, ["auto", "f32"], 3)
    assert [(row.peer, row.weights, row.precision) for row in rows] == [
        ("pleinair openvino", "fp16", "auto"),
        ("pleinair openvino", "fp16", "f32"),
        ("pleinair openvino", "w8a8", "auto"),
        ("pleinair onnx", "fp16", "f32"),
        ("pleinair onnx", "w8a8", "auto"),
        ("diffusers", "fp16", "f32"),
        ("openvino-genai", "fp16", "auto"),
        ("openvino-genai", "fp16", "f32"),
        ("openvino-genai", "w8a8", "auto"),
        ("optimum-intel", "fp16", "auto"),
    ]
    whole = list(peer_rows.pictures_of(work, names, 1))
    assert {row.weights for row in whole if row.peer == "pleinair openvino"} == {"w8a8"}
    assert {row.weights for row in whole if row.peer == "openvino-genai"} == {"fp16"}


def in_int8(manifest):
    """The same, as if its UNet computed in int8."""
    return replace(manifest, graphs=manifest.graphs | {"unet": replace(manifest.graphs["unet"], activations="int8")})


def test_files_in_another_format_take_no_disk(tmp_path):
    for name, size in (
        ("openvino_model.xml", 1),
        ("openvino_model.bin", 10),
        ("model.onnx", 100),
        ("config.json", 1000),
    ):
        (tmp_path / name).write_bytes(bytes(size))
    found = {form: sum(file.stat().st_size for file in peer_rows.files_for(tmp_path, form)) for form in peer_rows.READS}
    assert found == {"diffusers": 1111, "openvino": 1011, "onnx": 1100}


def test_every_peer_is_looked_for():
    assert list(peers.MODULES) == list(peers.INSTALL) == list(PEERS)
    assert set().union(*peer_rows.READS.values()) == set(PEERS)
    assert set(OURS) <= set(peers.chosen(None, {}))
    assert "optimum-onnx" in peers.chosen(None, {"optimum-onnx": "/venv/bin/python"})


def test_peers_are_named_in_any_case():
    assert peers.chosen(["Pleinair  OpenVINO", "pleinair onnx", "PLEINAIR ONNX"], {}) == OURS
    assert peers.pythons([f"Optimum-ONNX={sys.executable}"]) == {"optimum-onnx": sys.executable}


@pytest.mark.parametrize(
    "name, told",
    [
        ("optimum", "did you mean 'optimum-"),
        ("difusers", "did you mean 'diffusers'"),
        ("open-vino-genai", "did you mean 'openvino-genai'"),
        ("word", "choose from pleinair openvino"),
    ],
)
def test_a_misspelt_peer_is_told_with_the_nearest(name, told):
    with pytest.raises(RequestError, match=f"unknown peer '{name}'; .*{told}"):
        peers.chosen(["pleinair onnx", name], {})
    with pytest.raises(RequestError, match=f"unknown peer '{name}'"):
        peers.pythons([f"{name}={sys.executable}"])


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_that_is_not_installed_is_told_with_how_to_install_it(name, monkeypatch):
    monkeypatch.setattr(peers, "importable", lambda module: False)
    with pytest.raises(EngineError, match=f"peer '{name}' is not installed; install it with: pip install"):
        peers.chosen([name], {})
    with pytest.raises(EngineError, match="no other program is installed; install one with"):
        peers.chosen(None, {})


@pytest.mark.parametrize(
    "given, told",
    [
        (["optimum-onnx"], "not NAME=PYTHON"),
        (["optimum-onnx="], "not NAME=PYTHON"),
        (["optimum-onnx=/no/such/python"], "not a program"),
        (["optimum-onnx=."], "not a program"),
    ],
)
def test_a_python_that_is_none_is_told(given, told):
    with pytest.raises(RequestError, match=told):
        peers.pythons(given)


def test_a_python_for_a_peer_that_is_left_out_is_told():
    with pytest.raises(RequestError, match="'optimum-onnx', which --peer leaves out"):
        peers.chosen(["pleinair onnx"], {"optimum-onnx": sys.executable})


def safetensors(file, **tensors):
    """A file whose header says that tensors are of these kinds and sizes, and nothing behind it."""
    infos = {name: {"dtype": kind, "shape": [], "data_offsets": [0, size]} for name, (kind, size) in tensors.items()}
    header = json.dumps(infos)
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(struct.pack("<Q", len(header)) + header.encode())


def test_how_weights_are_stored_is_read_from_the_files(tmp_path):
    unet = tmp_path / "unet"
    safetensors(unet / "diffusion_pytorch_model.safetensors", a=("F16", 100), b=("F32", 10))
    assert stored.of_diffusers(unet) == "fp16"
    safetensors(unet / "diffusion_pytorch_model.fp16.safetensors", a=("BF16", 1000))
    assert stored.of_diffusers(unet) == "fp16"  # a variant is loaded on request only
    for form in ("openvino_model.xml", "model.onnx"):
        assert stored.of_graph(default_path() / "unet" / form) == "fp16"


@pytest.mark.parametrize("content", [b"", b"12345678", b"\xff" * 100, struct.pack("<Q", 2) + b"[]", b"\x00" * 100])
def test_weights_that_cannot_be_read_are_unknown(tmp_path, content):
    for name in ("unet.safetensors", "graph.xml", "graph.onnx"):
        (tmp_path / name).write_bytes(content)
    assert stored.of_diffusers(tmp_path) == "unknown" == stored.of_diffusers(tmp_path / "gone")
    assert [stored.of_graph(tmp_path / name) for name in ("graph.xml", "graph.onnx", "gone.xml")] == ["unknown"] * 3


def test_weights_that_are_not_stored_alike_are_told(tmp_path):
    for kind, told in (("F16", None), ("F32", "as fp16 and fp32, .* export the bundles with --weights")):
        safetensors(tmp_path / "unet" / "diffusion_pytorch_model.safetensors", a=(kind, 100))
        work = peer_rows.PeerWork(tmp_path, (open_bundle(None),), 64, 64, 2, 1.0, None)
        note = peers.stored_differently(peer_rows.rows_of(work, ["diffusers", "pleinair onnx"], ["f32"], 1))
        assert note is None if told is None else re.search(told, note)


def test_what_is_no_diffusers_folder_is_told(tmp_path):
    with pytest.raises(RequestError, match="not a diffusers folder"):
        peers.check(tmp_path, [default_path()], None, OURS)


def test_openvino_genai_is_given_a_scheduler_it_knows(tmp_path):
    config = default_path() / "scheduler" / "scheduler_config.json"
    before = config.read_text()
    found = with_scheduler(default_path(), tmp_path, "DDIMScheduler")
    assert "Infinity" not in (found / "scheduler" / "scheduler_config.json").read_text()
    assert json.loads((found / "model_index.json").read_text())["scheduler"] == ["diffusers", "DDIMScheduler"]
    assert (found / "unet" / "openvino_model.xml").is_file() and config.read_text() == before
