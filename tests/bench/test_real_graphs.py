"""Graphs of real size that are filled here: what with, what a bundle says of them, and what is left on the disk."""

import errno
import hashlib
import importlib.util
import json
import os
import shutil
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from pleinair.bundle.opening import default_path
from pleinair.bundle.verifying import file_info
from pleinair.engines.graphs import open_graph
from pleinair.errors import BundleError, RequestError, ResourceError
from pleinair.pouring import topologies
from pleinair.sources.architectures import ARCHITECTURES, family
from pleinair_bench import real_graphs
from pleinair_bench.fill import BLOCK, RandomWeights, numbers
from pleinair_bench.models import GFLOP, STORYBOOK
from shelves import write_shelf

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "models" / "storybook" / "source"
SHIPPED = real_graphs.available()
FORMATS = ("openvino", "onnx")
SMALLEST = ("tiny", "text_encoder", "fp16", "onnx")
TWO_FILES = ("tiny", "vae_decoder", "fp16", "openvino")


@pytest.fixture(scope="session")
def script():
    spec = importlib.util.spec_from_file_location("write_filled", ROOT / "benchmarks" / "write_filled.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def shelf(tmp_path_factory):
    """Storybook's graphs without their weights."""
    folder = tmp_path_factory.mktemp("topologies")
    write_shelf(folder, default_path(), SOURCE)
    return folder


@pytest.fixture
def tiny(monkeypatch, tmp_path, shelf, script):
    """A model of storybook's size, so that filling takes no time."""
    configs = {
        folder: json.loads((SOURCE / folder / "config.json").read_text()) for folder in ("text_encoder", "unet", "vae")
    }
    monkeypatch.setitem(ARCHITECTURES, "tiny", configs)
    monkeypatch.setattr(topologies, "TOPOLOGIES", shelf)
    monkeypatch.setattr(real_graphs, "FILLED", tmp_path / "filled.json")
    found = [
        script.filled("tiny", part, graph, "fp16", form)
        for part in family("tiny").parts
        for graph, form in product(part.graphs, FORMATS)
    ]
    write(found)


def write(found):
    real_graphs.FILLED.write_text(json.dumps([asdict(each) for each in found]))


def left(cache):
    """Files of graphs, whole or not, by name."""
    small = {"bundle.json", "tokenizer.json", "scheduler_config.json", "filled.json"}
    return sorted(file.name for file in cache.rglob("*") if file.is_file() and file.name not in small)


def test_every_graph_can_be_filled_in_both_formats_and_all_kinds_of_weights():
    graphs = {
        (name, graph) for name in GFLOP if name != STORYBOOK for part in family(name).parts for graph in part.graphs
    }
    keys = {(*pair, weights, form) for pair, weights, form in product(graphs, ("fp32", "fp16", "int8"), FORMATS)}
    assert {graph.key for graph in SHIPPED} == keys
    for graph in SHIPPED:
        topology = graph.plan.topology
        sizes = {f"{graph.component}/{name}": topology.size(name) for name in topology.files}
        assert sizes == {file: info.size for file, info in graph.files.items()}


def test_the_same_numbers_on_every_machine():
    made = [numbers((1000, 1100), 3, 0.0, 0.04), numbers((320,), 4, 1.0, 0.1), numbers((BLOCK + 3,), 7, 0.0, 1.0)]
    assert [hashlib.sha256(each.tobytes()).hexdigest()[:16] for each in made] == ["16146d62c815f868", "SECOND", "THIRD"]


def test_numbers_are_as_ordinary_as_fresh_weights():
    """Spread as torch spreads them, none of them 0 or denormal, and no two rows of a matrix alike."""
    weights = RandomWeights({"a.weight": (1280, 1280), "a.bias": (1280,), "b.norm.weight": (64,), "b.norm.bias": (64,)})
    wide = weights["a.weight"].raw
    assert abs(np.abs(wide).max() * 1280**0.5 - 1) < 0.01
    assert abs(wide.std() * (3 * 1280) ** 0.5 - 1) < 0.01
    assert np.abs(wide).min() > 1e-10
    assert len(np.unique(wide[:, 0])) > 1200
    alike = np.corrcoef(wide[:64])[np.triu_indices(64, 1)]
    assert np.abs(alike).max() < 0.2
    assert abs(weights["a.bias"].raw.std() / wide.std() - 1) < 0.1
    middle, moved = (weights[f"b.norm.{kind}"].raw for kind in ("weight", "bias"))
    assert abs(middle.mean() - 1) < 0.05 < 0.1 < np.ptp(middle)
    assert abs(moved.mean()) < 0.05 < 0.1 < np.ptp(moved)


@pytest.mark.parametrize("form", FORMATS)
def test_a_graph_runs_with_filled_weights(tiny, tmp_path, form):
    bundle = real_graphs.filled("tiny", "text_encoder", "fp16", form, tmp_path)
    file = bundle.graph_file("text_encoder", form)
    assert file_info(file) == bundle.manifest.files[file.relative_to(bundle.path).as_posix()]
    ids = np.random.default_rng(0).integers(0, 500, (2, 77))
    hidden = open_graph(bundle, "text_encoder", form, None, None)(input_ids=ids)["last_hidden_state"]
    assert np.isfinite(hidden).all()
    assert 0.5 < hidden.std() < 2
    assert np.abs(hidden[0] - hidden[1]).mean() > 0.1


def test_a_filled_bundle_paints(tiny, tmp_path):
    for graph, form in product(("text_encoder", "unet", "vae_decoder"), FORMATS):
        bundle = real_graphs.filled("tiny", graph, "fp16", form, tmp_path / "cache")
    import pleinair

    for engine in FORMATS:
        result = pleinair.load(bundle.path, engine=engine).generate("a red house", seed=1, steps=2)
        assert 0.02 < result.pixels.std() < 0.5
        assert (result.pixels.shape[1:3], result.warnings) == ((128, 128), ())


def test_sizes_are_known_before_and_clean_gives_them_back(tiny, tmp_path):
    graph = real_graphs.find(*SMALLEST)
    assert real_graphs.size_on_disk(*SMALLEST) == graph.size == real_graphs.still_needed([graph] * 2, tmp_path)
    assert (real_graphs.cached(tmp_path), list(tmp_path.iterdir())) == (0, [])
    (tmp_path / "mine.txt").write_text("not pleinair's")
    real_graphs.filled(*SMALLEST, tmp_path)
    assert real_graphs.still_needed([graph], tmp_path) == 0
    assert graph.size < real_graphs.cached(tmp_path) < graph.size + 100_000
    used = real_graphs.cached(tmp_path)
    assert real_graphs.clean(tmp_path) == used
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]
    assert real_graphs.clean(tmp_path) == 0


def test_filling_again_writes_nothing(tiny, tmp_path):
    bundle = real_graphs.filled(*SMALLEST, tmp_path)
    file = bundle.graph_file("text_encoder", "onnx")
    before = file.stat().st_mtime_ns
    graph = real_graphs.find(*SMALLEST)
    assert list(real_graphs.filling(graph, tmp_path)) == [graph.size]
    assert file.stat().st_mtime_ns == before


def test_a_broken_off_filling_leaves_nothing_and_is_taken_up_again(tiny, tmp_path):
    graph = real_graphs.find(*TWO_FILES)
    running = real_graphs.filling(graph, tmp_path)
    assert [next(running) for _ in range(5)][0] == 0
    assert len(left(tmp_path)) == 1
    running.close()
    assert left(tmp_path) == []
    running = real_graphs.filling(graph, tmp_path)
    next(running), next(running)
    with pytest.raises(KeyboardInterrupt):
        running.throw(KeyboardInterrupt)
    assert left(tmp_path) == []
    progress = list(real_graphs.filling(graph, tmp_path))
    assert progress == sorted(progress)
    assert progress[-1] == graph.size
    assert left(tmp_path) == ["openvino_model.bin", "openvino_model.xml"]


def test_a_damaged_file_is_filled_anew(tiny, tmp_path):
    bundle = real_graphs.filled(*SMALLEST, tmp_path)
    file = bundle.graph_file("text_encoder", "onnx")
    os.truncate(file, 1000)
    real_graphs.filled(*SMALLEST, tmp_path)
    assert file_info(file) == bundle.manifest.files["text_encoder/model.onnx"]


def test_what_another_version_has_filled_is_removed(tiny, tmp_path):
    bundle = real_graphs.filled(*SMALLEST, tmp_path)
    manifest = bundle.path / "bundle.json"
    text = manifest.read_text()
    manifest.write_text(text.replace("float32", "float64", 1))
    (bundle.path / "unet").mkdir()
    (bundle.path / "unet" / "old.bin").write_bytes(b"old")
    real_graphs.filled(*SMALLEST, tmp_path)
    assert manifest.read_text() == text
    assert left(tmp_path) == ["model.onnx"]


def test_parts_of_killed_processes_are_removed(tiny, tmp_path):
    bundle = real_graphs.filled(*SMALLEST, tmp_path)
    old, fresh = (bundle.path / "unet" / f".model.onnx.{number}.part" for number in (1, 2))
    old.parent.mkdir()
    for part in (old, fresh):
        part.write_bytes(b"half")
    os.utime(old, (1e9, 1e9))
    real_graphs.filled(*SMALLEST, tmp_path)
    assert (old.exists(), fresh.exists()) == (False, True)  # the other process may still be writing


def test_a_full_disk_is_said_beforehand(tiny, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(real_graphs.shutil, "disk_usage", lambda folder: usage._replace(free=1_000_000))
    with pytest.raises(
        ResourceError, match=r"needs 0\.\d\d GB and 0\.00 GB are free; free some disk space, or set PLEI"
    ):
        real_graphs.filled(*SMALLEST, tmp_path)
    assert left(tmp_path) == []


def test_a_disk_that_fills_up_meanwhile_leaves_no_half_file(tiny, tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(real_graphs.os, "fsync", full)
    with pytest.raises(ResourceError, match="No space left on device.*free some disk space, or set PLEINAIR_CACHE"):
        real_graphs.filled(*SMALLEST, tmp_path)
    assert left(tmp_path) == []


def test_a_cache_that_cannot_be_written(tiny, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="cannot write .*; set PLEINAIR_CACHE to a folder"):
        real_graphs.filled(*SMALLEST, tmp_path / "file")


def test_unknown_and_damaged_topologies(tiny, tmp_path, monkeypatch):
    with pytest.raises(RequestError, match="no graph tiny/unet/fp8/onnx; choose from: tiny/"):
        real_graphs.filled("tiny", "unet", "fp8", "onnx", tmp_path)
    graphs = real_graphs.available()
    write(
        [
            replace(each, files={file: replace(info, sha256="0" * 64) for file, info in each.files.items()})
            for each in graphs
        ]
    )
    with pytest.raises(BundleError, match="came out different from what was meant; install pleinair again"):
        real_graphs.filled(*SMALLEST, tmp_path)
    write([replace(each, of="another") for each in graphs])
    with pytest.raises(BundleError, match="no topology of 'another' ships .*; install pleinair again"):
        real_graphs.filled(*SMALLEST, tmp_path)
    real_graphs.FILLED.write_text("nothing of the kind")
    with pytest.raises(BundleError, match="cannot read .*; install pleinair again"):
        real_graphs.filled(*SMALLEST, tmp_path)
    assert left(tmp_path) == []


def test_the_cache_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(real_graphs.sys, "platform", "linux")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("PLEINAIR_CACHE", raising=False)
    assert real_graphs.cache_folder() == tmp_path / ".cache" / "pleinair" / "bench-models"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert real_graphs.cache_folder() == tmp_path / "xdg" / "pleinair" / "bench-models"
    monkeypatch.setattr(real_graphs.sys, "platform", "darwin")
    assert real_graphs.cache_folder() == tmp_path / "Library" / "Caches" / "pleinair" / "bench-models"
    monkeypatch.setattr(real_graphs.sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "Local"))
    assert real_graphs.cache_folder() == tmp_path / "Local" / "pleinair" / "Cache" / "bench-models"
    monkeypatch.setenv("PLEINAIR_CACHE", str(tmp_path / "big disk"))
    assert real_graphs.cache_folder() == tmp_path / "big disk" / "bench-models"
    assert real_graphs.cache_folder(tmp_path / "told") == Path(tmp_path / "told" / "bench-models")
