"""`pleinair bench peers`: everybody on the same work, and a peer that fails is a row. No peer is needed for these."""

import json
import re
import struct
import sys
from pathlib import Path

import pytest

from pleinair.bundle.opening import open_bundle
from pleinair.bundle.shipped import default_path
from pleinair.cli import app as cli
from pleinair.errors import EngineError, RequestError
from pleinair_bench import peers, stored
from pleinair_bench.peer_worker import PEERS, with_ddim
from pleinair_bench.records import problems, read

SOURCE = Path(__file__).parents[2] / "models" / "storybook" / "source"
OURS = ["pleinair openvino", "pleinair onnx"]


def test_ours_and_a_peer_that_fails(sketch, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(peers.yardstick, "pace", lambda: 0.0025)
    broken = f"stable-diffusion.cpp={sys.executable}"  # which this environment does not have
    names = ",".join([*OURS, "stable-diffusion.cpp"])
    options = ["--steps", "3", "--size", "64x64", "--rounds", "1", "--peer", names, "--python", broken]
    code = cli.run(["bench", "peers", str(SOURCE), str(sketch), *options])
    out = capsys.readouterr().out
    assert code == 0
    found, warnings = read([tmp_path / "pleinair-bench.jsonl"])
    assert warnings == [] and [list(problems(each)) for each in found] == [[]] * 6
    assert [each["status"] for each in found] == ["ok", "ok", "failed"] * 2
    assert [each["case"]["precision"] for each in found] == ["auto"] * 3 + ["f32"] * 3
    assert [each["case"]["weights"] for each in found] == ["fp16"] * 6
    assert all(each["engine"]["precision"] == "f32" for each in found[3:5])
    held = [each["picture"] for each in found[3:5]]  # against ours in float32
    assert held[0]["same"] and (held[1]["same"] or held[1]["psnr_db"] > 60)
    assert found[0]["measures"]["step"]["low"] is None  # of one round
    assert [len(each) for each in found[0]["measures"]["step"]["rounds"]] == [2]
    assert "ModuleNotFoundError" in found[2]["reason"] and "stable-diffusion.cpp" in out
    assert len({each["run"] for each in found}) == 1
    assert "Computing in what each chooses by itself:" in out and "All asked to compute in float32:" in out


def test_every_peer_is_looked_for():
    assert list(peers.MODULES) == list(peers.INSTALL) == list(PEERS)
    assert set().union(*peers.LOADS.values()) == set(PEERS)
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
    with pytest.raises(EngineError, match="no peer is installed; install one with"):
        peers.chosen(None, {})


@pytest.mark.parametrize(
    "given, told",
    [
        (["optimum-onnx"], "not NAME=PYTHON"),
        (["optimum-onnx="], "not NAME=PYTHON"),
        (["optimum-onnx=/no/such/python"], "no program"),
        (["optimum-onnx=."], "no program"),
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
    for kind, told in (("F16", None), ("F32", "as fp16 and fp32, as each row says; .* --weights fp32")):
        safetensors(tmp_path / "unet" / "diffusion_pytorch_model.safetensors", a=(kind, 100))
        work = peers.PeerJob(tmp_path, open_bundle(None), 64, 64, 2, 1.0, None)
        rows = [peers.Row("diffusers", "f32"), peers.Row("pleinair onnx", "f32")]
        note = peers.stored_differently(work, rows)
        assert note is None if told is None else re.search(told, note)


def test_what_is_no_diffusers_folder_is_told(tmp_path):
    with pytest.raises(RequestError, match="not a diffusers folder"):
        peers.check(tmp_path, default_path(), OURS)


def test_openvino_genai_is_given_a_scheduler_it_knows(tmp_path):
    config = default_path() / "scheduler" / "scheduler_config.json"
    before = config.read_text()
    found = with_ddim(default_path(), tmp_path)
    assert "Infinity" not in (found / "scheduler" / "scheduler_config.json").read_text()
    assert json.loads((found / "model_index.json").read_text())["scheduler"] == ["diffusers", "DDIMScheduler"]
    assert (found / "unet" / "openvino_model.xml").is_file() and config.read_text() == before
