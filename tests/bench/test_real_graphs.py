"""Graphs of real size with random weights: which there are, what they are filled with, and what is left on the disk."""

import errno
import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import pleinair
from pleinair.bundle.manifest import MANIFEST
from pleinair.bundle.opening import open_bundle
from pleinair.bundle.shipped import default_path
from pleinair.bundle.verifying import file_info
from pleinair.engines.graphs import open_graph
from pleinair.errors import BundleError, RequestError, ResourceError
from pleinair.pouring import topologies
from pleinair.pouring.forms import formed
from pleinair.pouring.topologies import agrees
from pleinair.sources.architectures import ARCHITECTURES
from pleinair_bench import filling, models, real_graphs
from pleinair_bench.cache import cache_folder, cached, clean
from pleinair_bench.random_weights import BLOCK, RandomCheckpoint

SOURCE = default_path().parent / "source"
STORY = ("story", "vae_decoder", "fp16", "openvino")
FORMATS = ("openvino", "onnx")


def forget():
    """What was read of the index."""
    for read in (real_graphs.available, real_graphs.rows_of, real_graphs.opened, filling.revision):
        read.cache_clear()


@pytest.fixture(scope="module")
def filled_once(shelf, tmp_path_factory):
    """A folder of topologies, storybook's, and a cache in which one of them is filled."""
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        ship_storybook(patch, shelf)
        filling.filled(*STORY, cache)
    forget()
    return shelf, cache


def ship_storybook(patch, shelf):
    configs = {
        each: json.loads((SOURCE / each / "config.json").read_text()) for each in ("text_encoder", "unet", "vae")
    }
    patch.setattr(topologies, "TOPOLOGIES", shelf)
    patch.setitem(ARCHITECTURES, "story", configs)
    forget()


@pytest.fixture
def story(filled_once, tmp_path, monkeypatch):
    """A cache with one graph of a model of storybook's size."""
    shelf, cache = filled_once
    ship_storybook(monkeypatch, shelf)
    shutil.copytree(cache, tmp_path / "cache")
    yield tmp_path / "cache"
    forget()


def left(cache):
    """Files of graphs by name, whole or not."""
    return sorted(file.name for file in cache.rglob("*") if file.suffix in (".bin", ".xml", ".onnx"))


def folder(cache):
    return filling.bundle_folder(real_graphs.find(*STORY), cache)


def test_whatever_is_poured_and_paints_can_be_measured():
    assert models.names()[:2] == ["storybook", "sd15"]  # what is measured unless told
    assert {"sd21", "bk-sdm-tiny", "sdxl", "vega"} <= set(models.names())
    assert not {"sd15-inpaint", "sd15-edit", "sdxl-refiner"} & set(models.names())
    keys = {each.key for each in real_graphs.available()}
    for weights in ("fp32", "fp16", "int8"):
        assert {("sd15", graph, weights, form) for graph in models.COMPONENTS for form in FORMATS} <= keys
        assert ("sdxl", "unet", weights, "openvino") in keys
    assert models.painting("sdxl") == ("text_encoder", "text_encoder_2", "unet", "vae_decoder")
    assert real_graphs.find("sdxl", "vae_decoder", "fp16", "onnx").of == "sd15"


def test_a_graph_is_of_the_architecture_that_it_is_called_after():
    for each in real_graphs.available():
        empty = each.empty
        assert agrees(ARCHITECTURES[each.model][empty.part.folder], empty.topology.config), each
        assert each.size == empty.size == sum(each.sizes.values())


def test_the_same_bytes_on_every_machine():
    weights = RandomCheckpoint(
        {"embedding.weight": (1000, 1100), "norm1.weight": (320,), "conv.weight": (640, 320, 3, 3)}
    )
    digests = {
        ("embedding.weight", "f32"): "f7d7aa7d50c739a1",
        ("norm1.weight", "f16"): "54233e9fe063ee87",
        ("conv.weight", "nncf_int8"): "f86796218dace7e0",
        ("conv.weight", "nncf_scale"): "8f7a5d283694dc90",
        ("conv.weight", "onnx_int8"): "01915e364245af85",
    }
    made = {key: hashlib.sha256(b"".join(map(bytes, formed(weights[key[0]], key[1])))) for key in digests}
    assert {key: digest.hexdigest()[:16] for key, digest in made.items()} == digests


def test_numbers_are_as_ordinary_as_fresh_weights():
    """Spread as a layer's are at torch, none of them 0 or denormal, no two rows alike, and a norm's off 1 and 0."""
    shapes = {"linear.weight": (1280, 1280), "linear.bias": (1280,), "norm.weight": (640,), "norm.bias": (640,)}
    found = {name: each.raw for name, each in RandomCheckpoint(shapes).items()}
    assert {name: each.shape for name, each in found.items()} == shapes
    weights = found["linear.weight"]
    assert abs(weights.std() * 3**0.5 * 1280**0.5 - 1) < 0.01
    assert abs(weights.mean()) < 1e-4 and np.abs(weights).min() > 1e-10
    assert len(np.unique(weights[:, 0])) > 1200
    assert np.abs(np.corrcoef(weights[:64])[np.triu_indices(64, 1)]).max() < 0.2
    assert np.abs(found["linear.bias"]).max() <= 1280**-0.5
    for name, middle in (("norm.weight", 1), ("norm.bias", 0)):
        assert 0.05 < np.abs(found[name] - middle).max() <= 0.1 and not np.any(found[name] == middle)
    for count in (BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 3):
        assert RandomCheckpoint({"a": (count,)})["a"].raw.size == count


def test_a_filled_bundle_is_whole_and_paints(story):
    """Graphs give numbers as large as storybook's own do, in either format, and the rest is what a picture needs."""
    feeds = {
        "text_encoder": {"input_ids": np.arange(77)[None] % 50},
        "vae_decoder": {"latent_sample": np.random.default_rng(0).standard_normal((1, 4, 8, 8), np.float32)},
    }
    for form in FORMATS:
        for graph in models.COMPONENTS:
            bundle = filling.filled("story", graph, "fp16", form, story)
            files = bundle.manifest.graphs[graph].files[form]
            assert all(file_info(bundle.path / file) == bundle.manifest.files[file] for file in files)
        for graph, feed in feeds.items():
            mine, other = (
                next(iter(open_graph(each, graph, form, None, 1)(**feed).values()))
                for each in (bundle, open_bundle(None))
            )
            assert np.isfinite(mine).all() and 0.1 < mine.std() / other.std() < 10, (form, graph)
    assert models.identities(bundle, "onnx", ("unet",)) != models.identities(bundle, "openvino", ("unet",))
    assert {info.sha256 for name, info in bundle.manifest.files.items() if name.startswith("vae_encoder/open")} == {
        filling.UNFILLED
    }
    result = pleinair.load(bundle.path, engine="fake").generate("a red house", seed=1, steps=2)
    assert (result.pixels.shape[1:3], result.warnings) == ((256, 256), ())


def test_a_graph_of_real_size_runs(tmp_path):
    bundle = filling.filled("sd15", "text_encoder", "int8", "openvino", tmp_path)
    ids = np.random.default_rng(0).integers(0, 49400, (2, 77))
    hidden = open_graph(bundle, "text_encoder", "openvino", None, None)(input_ids=ids)["last_hidden_state"]
    assert hidden.shape == (2, 77, 768) and 0.5 < hidden.std() < 2
    assert np.abs(hidden[0] - hidden[1]).mean() > 0.1


def test_sizes_are_known_before_and_clean_gives_them_back(story, tmp_path):
    graph = real_graphs.find(*STORY)
    assert filling.still_needed([graph], tmp_path / "empty") == graph.size
    assert (filling.still_needed([graph], story), cached(tmp_path / "empty")) == (0, 0)
    (story / "mine.txt").write_text("not pleinair's")
    used = cached(story)
    assert graph.size < used < graph.size + 10_000_000
    assert clean(story) == used
    assert [file.name for file in story.iterdir()] == ["mine.txt"]
    assert clean(story) == 0


def test_filling_again_writes_nothing(story):
    before = {file: file.stat().st_mtime_ns for file in story.rglob("*")}
    graph = real_graphs.find(*STORY)
    assert list(filling.fill(graph, story)) == [graph.size]
    assert {file: file.stat().st_mtime_ns for file in story.rglob("*")} == before


def test_a_broken_off_filling_leaves_nothing_and_is_taken_up_again(story):
    graph, before = real_graphs.find("story", "unet", "fp16", "openvino"), left(story)
    running = filling.fill(graph, story)
    assert next(running) == 0 and next(running) > 0
    with pytest.raises(ResourceError, match="another process is filling .*; wait for it"):
        filling.filled("story", "unet", "fp16", "onnx", story)
    running.close()
    assert left(story) == before
    running = filling.fill(graph, story)
    next(running), next(running)
    with pytest.raises(KeyboardInterrupt):
        running.throw(KeyboardInterrupt)
    assert left(story) == before
    progress = list(filling.fill(graph, story))
    assert progress == sorted(progress) and progress[-1] == graph.size
    assert left(story) == ["openvino_model.bin", "openvino_model.bin", "openvino_model.xml", "openvino_model.xml"]
    assert [file.name for file in folder(story).parent.iterdir()] == ["story-fp16"]  # and no lock


def test_what_is_damaged_or_of_another_version_is_filled_anew(story):
    expected = file_info(folder(story) / "vae_decoder/openvino_model.bin")
    os.truncate(folder(story) / "vae_decoder/openvino_model.bin", 1000)
    bundle = filling.filled(*STORY, story)
    assert file_info(bundle.path / "vae_decoder/openvino_model.bin") == expected
    manifest = json.loads((bundle.path / MANIFEST).read_text())
    manifest["origin"]["revision"] = "another"
    (bundle.path / MANIFEST).write_text(json.dumps(manifest))
    (bundle.path / "unet" / "openvino_model.bin").write_bytes(b"old")
    assert filling.still_needed([real_graphs.find(*STORY)], story)
    assert filling.filled(*STORY, story).manifest == bundle.manifest
    assert left(story) == ["openvino_model.bin", "openvino_model.xml"]


def test_a_full_disk_is_said_beforehand(story, monkeypatch):
    usage, before = shutil.disk_usage(story), left(story)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=1_000_000))
    with pytest.raises(ResourceError, match=r"needs 0\.02 GB and 0\.00 GB are free; free some disk space, or set PLEI"):
        filling.filled("story", "unet", "fp16", "onnx", story)
    assert left(story) == before


def test_a_disk_that_fills_up_meanwhile_leaves_no_half_file(story, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = left(story)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResourceError, match="No space left on device.*free some disk space, or set PLEINAIR_CACHE"):
        filling.filled("story", "unet", "fp16", "onnx", story)
    assert left(story) == before


def test_a_cache_that_cannot_be_written(story, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="cannot write .*; set PLEINAIR_CACHE to a folder"):
        filling.filled(*STORY, tmp_path / "file")


def test_unknown_graphs_and_damaged_topologies(story, tmp_path, monkeypatch):
    with pytest.raises(RequestError, match="no graph sd15/unet/fp8/onnx; choose from: story/"):
        filling.filled("sd15", "unet", "fp8", "onnx", story)
    shelf = shutil.copytree(topologies.TOPOLOGIES, tmp_path / "shelf")
    monkeypatch.setattr(topologies, "TOPOLOGIES", shelf)
    forget()
    (shelf / "story-unet-fp16-onnx.xz").write_bytes(b"nothing of the kind")
    with pytest.raises(BundleError, match="cannot read .*; install pleinair again"):
        filling.filled("story", "unet", "fp16", "onnx", story)


def test_the_cache_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("PLEINAIR_CACHE", raising=False)
    assert cache_folder().name == "bench-models" and "pleinair" in cache_folder().parts
    monkeypatch.setenv("PLEINAIR_CACHE", str(tmp_path / "big disk"))
    assert cache_folder() == tmp_path / "big disk" / "bench-models"
    assert cache_folder(tmp_path / "told") == tmp_path / "told" / "bench-models"
    monkeypatch.delenv("PLEINAIR_CACHE")
    monkeypatch.setattr(Path, "home", lambda: Path("~nobody-at-all").expanduser())
    with pytest.raises(ResourceError, match="no home folder to keep a cache in; set PLEINAIR_CACHE"):
        cache_folder()
