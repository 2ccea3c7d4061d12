"""Graphs that OpenVINO compiled for the CPU, kept without their weights: the same answers, and never a damaged one."""

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import pleinair
from bundles import seal
from loras import kohya, write_lora
from pleinair.engines import openvino, openvino_kept
from pleinair.system import compiled

JOB = {"negative": "fog", "seed": 1, "steps": 2}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where compiled graphs are kept; it is not there yet."""
    monkeypatch.setenv("PLEINAIR_HOME", str(tmp_path / "home"))
    return compiled.compiled_folder()


@pytest.fixture
def read(monkeypatch):
    """The graphs that were read and compiled, by the names of their folders."""
    names, plain = [], openvino.read_model

    def noted(core, file):
        names.append(file.parent.name)
        return plain(core, file)

    monkeypatch.setattr(openvino, "read_model", noted)
    return names


def painted(model, **how):
    with pleinair.load(model, **{"engine": "openvino", "cache": True, **how}) as pipe:
        return pipe.generate("a house", **JOB).pixels


def files(folder):
    return sorted(folder.glob(f"*{compiled.SUFFIX}"))


def test_a_second_start_compiles_nothing_and_paints_the_same(sketch, folder, read):
    first = painted(sketch)
    assert sorted(read) == ["text_encoder", "unet", "vae_decoder"] and len(files(folder)) == 3
    read.clear()
    assert np.array_equal(painted(sketch), first) and read == []


def test_weights_are_not_among_what_is_kept(sketch, folder):
    painted(sketch)
    weights = (sketch / "unet" / "openvino_model.bin").read_bytes()
    assert all(weights[:4096] not in each.read_bytes() for each in files(folder))


@pytest.mark.parametrize("how", [{"cache": None}, {"cache": False}, {"verify": False}])
def test_nothing_is_written_unless_asked_for_or_of_what_nobody_has_verified(sketch, folder, how):
    painted(sketch, **how)
    assert not folder.exists()


def test_other_shapes_precisions_and_engines_are_kept_apart(sketch, folder, read, monkeypatch):
    painted(sketch)
    for change in ({"threads": 1}, {}):
        read.clear()
        painted(sketch, **change)
        assert bool(read) == bool(change)
    read.clear()
    monkeypatch.setattr(openvino_kept.ov, "get_version", lambda: "another")
    painted(sketch)
    assert len(read) == 3
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    read.clear()
    painted(sketch)
    assert len(read) == 3


def test_a_changed_bundle_is_compiled_anew(sketch, folder, read, tmp_path):
    painted(sketch)
    other = shutil.copytree(sketch, tmp_path / "other")
    weights = bytearray((other / "unet" / "openvino_model.bin").read_bytes())
    weights[-8:] = bytes(8)
    (other / "unet" / "openvino_model.bin").write_bytes(weights)
    seal(other)
    read.clear()
    painted(other)
    assert "unet" in read


DAMAGES = {
    "cut short": lambda content: content[: len(content) // 2],
    "one bit": lambda content: content[:-9] + bytes([content[-9] ^ 1]) + content[-8:],
    "empty": lambda content: b"",
    "another format": lambda content: content.replace(b"graph 1", b"graph 9", 1),
    "no digest": lambda content: content[: len(compiled.BEGINNING)] + content[len(compiled.BEGINNING) + 65 :],
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_graph_is_compiled_again(sketch, folder, read, damage):
    first = painted(sketch)
    for each in files(folder):
        each.write_bytes(damage(each.read_bytes()))
    read.clear()
    assert np.array_equal(painted(sketch), first) and len(read) == 3
    read.clear()
    assert np.array_equal(painted(sketch), first) and read == []


def test_what_openvino_does_not_take_is_compiled_again(sketch, folder, read):
    """Whole files, by their digests, of something else."""
    first = painted(sketch)
    for each in files(folder):
        compiled.write_compiled(each.name, compiled.read_compiled(each.name).facts, b"no graph")
    read.clear()
    assert np.array_equal(painted(sketch), first) and len(read) == 3


def test_edited_graphs_are_not_kept(sketch, folder, read):
    painted(sketch)
    before = len(files(folder))
    lora = write_lora(folder.parent / "style.safetensors", kohya({"conv_in": (8, 4, 3, 3)}))
    with pleinair.load(sketch, engine="openvino", cache=True) as pipe:
        pipe.generate("a house", loras=[lora], **JOB)
    assert len(files(folder)) == before


def test_a_folder_that_cannot_be_written_costs_nothing_but_the_time(sketch, folder, read):
    folder.parent.mkdir(parents=True)
    folder.write_text("no folder")
    painted(sketch)
    assert len(read) == 3


def test_many_may_keep_the_same_graph_at_once(folder):
    content = os.urandom(1 << 16)

    def keep(_):
        compiled.write_compiled("same.graph", {"model": "x"}, content)
        return compiled.read_compiled("same.graph").content == content

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(keep, range(64)))
    assert [each.name for each in folder.iterdir()] == ["same.graph"]


def test_what_was_used_longest_ago_goes_first(folder, monkeypatch):
    monkeypatch.setattr(compiled, "MOST", 1 << 30)
    for age, name in enumerate(("new.graph", "old.graph")):
        compiled.write_compiled(name, {}, bytes(1000))
        os.utime(folder / name, (1e9 - age, 1e9 - age))
    assert compiled.read_compiled("old.graph") is not None  # and is the newest now
    compiled.trim(1500)
    assert [each.name for each in folder.iterdir()] == ["old.graph"]


def test_the_command_lists_and_clears(run, sketch, folder, tmp_path):
    code, out, _ = run("cache", "list", "--json")
    assert code == 0 and json.loads(out)["files"] == []
    assert run("generate", "a house", "--model", sketch, "--engine", "openvino", "-o", tmp_path / "a.png")[0] == 0
    (folder / "OPENVINO.blob").write_bytes(bytes(10))
    (folder / "damaged.graph").write_bytes(b"x")
    _, out, _ = run("cache", "list", "--json")
    told = json.loads(out)
    assert {row.get("graph") for row in told["files"]} == {"text_encoder", "unet", "vae_decoder", None}
    assert told["bytes"] == sum(each.stat().st_size for each in folder.iterdir())
    _, out, _ = run("cache", "list")
    assert f"{json.loads((sketch / 'bundle.json').read_text())['name']} unet" in out and "OPENVINO.blob" in out
    code, out, _ = run("cache", "clear", "--json")
    assert code == 0 and json.loads(out)["files"] == 5 and not list(folder.iterdir())


def test_no_cache_writes_nothing(run, sketch, folder, tmp_path):
    told = ("--model", sketch, "--engine", "openvino", "--no-cache", "-o", tmp_path / "a.png")
    assert run("generate", "a house", *told)[0] == 0
    assert not folder.exists()
