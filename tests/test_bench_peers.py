"""`pleinair bench peers`: everybody on the same work, and a peer that fails is a row. No peer is needed for these."""

import json
import sys
from pathlib import Path

import pytest

from pleinair import cli
from pleinair.bundle import default_path
from pleinair.errors import RequestError
from pleinair_bench import peers
from pleinair_bench.peer_worker import PEERS, with_ddim
from pleinair_bench.records import problems, read

SOURCE = Path(__file__).parents[1] / "models" / "storybook" / "source"
OURS = ["pleinair openvino", "pleinair onnx"]


def test_ours_and_a_peer_that_fails(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    broken = f"optimum-onnx={sys.executable}"  # this environment has no optimum
    names = ",".join([*OURS, "optimum-onnx"])
    options = ["--steps", "3", "--size", "64x64", "--rounds", "2", "--peer", names, "--python", broken]
    code = cli.run(["bench", "peers", str(SOURCE), str(default_path()), *options])
    out = capsys.readouterr().out
    assert code == 0
    found, warnings = read([tmp_path / "pleinair-bench.jsonl"])
    assert warnings == [] and [list(problems(each)) for each in found] == [[], [], []]
    assert [each["status"] for each in found] == ["ok", "ok", "failed"]
    assert found[0]["picture"]["same"] and found[1]["picture"]["psnr_db"] > 60
    assert len(found[0]["measures"]["step"]["rounds"]) == 2 and len(found[0]["measures"]["step"]["rounds"][0]) == 2
    assert "ModuleNotFoundError" in found[2]["reason"] and "optimum-onnx" in out
    assert len({each["run"] for each in found}) == 1


def test_every_peer_is_looked_for():
    assert list(peers.MODULES) == list(PEERS)
    assert set(OURS) <= set(peers.available({}))
    assert "optimum-onnx" in peers.available({"optimum-onnx": "/venv/bin/python"})
    with pytest.raises(RequestError, match="choose from pleinair openvino"):
        peers.available({"word": "/venv/bin/python"})


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
