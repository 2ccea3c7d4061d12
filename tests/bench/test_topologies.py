"""Graphs that ship without weights: what is in the files, what they are filled with, and what is left on the disk."""

import errno
import hashlib
import json
import os
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from pleinair.bundle.opening import default_path, open_bundle
from pleinair.bundle.verifying import file_info
from pleinair.engines.graphs import open_graph
from pleinair.errors import BundleError, RequestError, ResourceError
from pleinair_bench import topologies
from pleinair_bench.fill import BLOCK, Outline, Recipe, grown, pack, unpack
from pleinair_bench.strip import strip

SHIPPED = topologies.available()
SMALLEST = ("sd15", "vae_decoder", "int8", "onnx")
COMPONENTS = {"text_encoder", "unet", "vae_decoder"}
each = pytest.mark.parametrize("topology", SHIPPED, ids=lambda topology: "-".join(topology.key))


def numbers(recipe):
    return np.frombuffer(b"".join(grown(recipe)), recipe.dtype).reshape(recipe.shape)


def left(cache):
    """Files of graphs, whole or not, by name."""
    small = {"bundle.json", "tokenizer.json", "scheduler_config.json"}
    return sorted(file.name for file in cache.rglob("*") if file.is_file() and file.name not in small)


def test_every_graph_ships_in_both_formats_and_precisions():
    keys = {topology.key for topology in SHIPPED}
    for name in ("sd15", "sd21"):
        for component in COMPONENTS:
            for precision in ("fp32", "int8"):
                assert {(name, component, precision, form) for form in ("openvino", "onnx")} <= keys


@each
def test_shipped_file_is_small_and_parses(topology):
    assert topology.packed.stat().st_size < 2_000_000
    outlines = unpack(topology.packed.read_bytes())
    assert {f"{topology.component}/{name}": outline.size for name, outline in outlines.items()} == {
        file: info.size for file, info in topology.files.items()
    }
    recipes = [part for outline in outlines.values() for part in outline.parts if isinstance(part, Recipe)]
    stored = {recipe.dtype for recipe in recipes if len(recipe.shape) > 1 and recipe.size > 1 << 16}
    assert ("int8" in stored) == (topology.precision == "int8")
    assert len({recipe.seed for recipe in recipes}) == len(recipes)
    assert sum(len(outline.kept) for outline in outlines.values()) < 0.05 * topology.size
    if topology.format == "openvino":
        ElementTree.fromstring(bytes(outlines["openvino_model.xml"].kept))


def test_all_together_are_small_and_nothing_else_lies_there():
    assert sum(file.stat().st_size for file in topologies.TOPOLOGIES.iterdir()) < 12_000_000
    assert set(topologies.TOPOLOGIES.iterdir()) == {topologies.INDEX, *(topology.packed for topology in SHIPPED)}


@pytest.mark.parametrize(
    "recipe, sha256",
    [
        (Recipe("float32", (1000, 1100), 3, 0.0, 0.04), "16146d62c815f868"),
        (Recipe("float32", (320,), 4, 0.998, 0.1), "5f1e83f71ce9b784"),
        (Recipe("float16", (640, 1), 5, 0.0006, 1e-5), "a04e3776be0f3f67"),
        (Recipe("int8", (640, 320, 3, 3), 6, 0.0, 127.4), "65de5a333a15167a"),
    ],
    ids=lambda value: value.dtype if isinstance(value, Recipe) else "",
)
def test_the_same_bytes_on_every_machine(recipe, sha256):
    assert hashlib.sha256(numbers(recipe).tobytes()).hexdigest()[:16] == sha256


@pytest.mark.parametrize("count", [BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 2 * BLOCK + 3])
def test_recipes_make_as_many_numbers_as_they_say(count):
    assert numbers(Recipe("int8", (count,), 7, 0.0, 100.0)).size == count


def test_numbers_are_as_ordinary_as_fresh_weights():
    """Spread as asked, none of them 0 or denormal, and no two rows of a matrix alike."""
    weights = numbers(Recipe("float32", (1280, 1280), 11, 0.0, 0.05))
    assert abs(weights.std() * 3**0.5 / 0.05 - 1) < 0.01
    assert abs(weights.mean()) < 1e-4
    assert np.abs(weights).min() > 1e-10
    assert len(np.unique(weights[:, 0])) > 1200
    alike = np.corrcoef(weights[:64])[np.triu_indices(64, 1)]
    assert np.abs(alike).max() < 0.2
    small = numbers(Recipe("int8", (1280, 1280), 12, 0.0, 130.0))
    assert (small.min(), small.max()) == (-127, 127)
    assert np.mean(small == 0) < 0.01
    assert (numbers(Recipe("float16", (512,), 13, 0.001, 0.0)) == np.float16(0.001)).all()


@pytest.mark.parametrize("form", ["openvino", "onnx"])
def test_the_text_encoder_runs_with_filled_weights(tmp_path, form):
    bundle = topologies.filled("sd15", "text_encoder", "int8", form, tmp_path)
    file = bundle.graph_file("text_encoder", form)
    assert file_info(file) == bundle.manifest.files[file.relative_to(bundle.path).as_posix()]
    ids = np.random.default_rng(0).integers(0, 49400, (2, 77))
    answer = open_graph(bundle, "text_encoder", form, None, None)(input_ids=ids)
    hidden = answer["last_hidden_state"]
    assert hidden.shape == (2, 77, 768)
    assert np.isfinite(hidden).all()
    assert 0.5 < hidden.std() < 2
    assert np.abs(hidden[0] - hidden[1]).mean() > 0.1


def test_a_filled_bundle_paints(tmp_path, monkeypatch):
    """Of storybook's size, so that it takes no time: stripped, filled, and opened as a bundle of another name."""
    monkeypatch.setattr(topologies, "TOPOLOGIES", tmp_path / "topologies")
    monkeypatch.setattr(topologies, "INDEX", tmp_path / "topologies" / "index.json")
    write_storybook()
    for component in COMPONENTS:
        for form in ("openvino", "onnx"):
            bundle = topologies.filled("tiny", component, "fp16", form, tmp_path / "cache")
    import pleinair

    for engine in ("openvino", "onnx"):
        result = pleinair.load(bundle.path, engine=engine).generate("a red house", seed=1, steps=2)
        assert 0.02 < result.pixels.std() < 0.5
        assert (result.pixels.shape[1:3], result.warnings) == ((128, 128), ())


def write_storybook():
    """The three graphs of storybook as topologies of a model "tiny"."""
    topologies.TOPOLOGIES.mkdir()
    story = open_bundle(default_path()).manifest
    made, graphs = [], {}
    for component in COMPONENTS:
        info = story.graphs[component]
        graphs[component] = json.loads(json.dumps({"inputs": vars_of(info.inputs), "outputs": vars_of(info.outputs)}))
        for form, files in info.files.items():
            outlines = strip([default_path() / file for file in files])
            infos = {f"{component}/{name}": {"size": o.size, "sha256": o.sha256()} for name, o in outlines.items()}
            assert [info["size"] for info in infos.values()] == [story.files[file].size for file in files]
            row = {"name": "tiny", "component": component, "precision": "fp16", "format": form, "files": infos}
            (topologies.TOPOLOGIES / f"tiny-{component}-fp16-{form}.xz").write_bytes(pack(outlines))
            made.append(row)
    scaling = {"downsample": story.vae.downsample, "scale": story.vae.scale, "shift": story.vae.shift}
    latents = {"channels": story.latents.channels, **scaling}
    model = {"family": "sd1", "latents": latents, "width": 128, "height": 128, "graphs": graphs}
    topologies.write_index({"models": {"tiny": model | {"tools": {}}}, "topologies": made})


def vars_of(ports):
    return {name: vars(port) for name, port in ports.items()}


def test_stripping_keeps_tables_and_takes_weights():
    for form in ("openvino", "onnx"):
        files = [default_path() / file for file in open_bundle(None).manifest.graphs["unet"].files[form]]
        outlines = strip(files)
        taken = [part for outline in outlines.values() for part in outline.parts if isinstance(part, Recipe)]
        assert sum(recipe.size for recipe in taken) > 0.99 * 2 * 5_400_000
        assert {recipe.dtype for recipe in taken} == {"float16", "float32"}
        assert len(pack(outlines)) < 200_000
        for file in files:
            assert outlines[file.name].size == file.stat().st_size


def test_packing_and_unpacking():
    files = {
        "a": Outline((3, Recipe("int8", (4, 5), 1, 0.0, 9.0), 2), b"abcde"),
        "b": Outline((1,), b"f"),
        "c": Outline((Recipe("float32", (2,), 2, 1.0, 0.5),), b""),
    }
    found = unpack(pack(files))
    assert {name: (outline.parts, bytes(outline.kept)) for name, outline in found.items()} == {
        name: (outline.parts, outline.kept) for name, outline in files.items()
    }
    assert [outline.size for outline in found.values()] == [25, 1, 8]
    whole = b"".join(found["a"].pieces())
    assert (whole[:3], whole[-2:], len(whole)) == (b"abc", b"de", 25)
    assert hashlib.sha256(whole).hexdigest() == found["a"].sha256()


def test_sizes_are_known_before_and_clean_gives_them_back(tmp_path):
    topology = topologies.find(*SMALLEST)
    assert topologies.size_on_disk(*SMALLEST) == topology.size == topologies.still_needed([topology] * 2, tmp_path)
    assert (topologies.cached(tmp_path), list(tmp_path.iterdir())) == (0, [])
    (tmp_path / "mine.txt").write_text("not pleinair's")
    topologies.filled(*SMALLEST, tmp_path)
    assert topologies.still_needed([topology], tmp_path) == 0
    assert topology.size < topologies.cached(tmp_path) < topology.size + 100_000
    used = topologies.cached(tmp_path)
    assert topologies.clean(tmp_path) == used
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]
    assert topologies.clean(tmp_path) == 0


def test_filling_again_writes_nothing(tmp_path):
    bundle = topologies.filled(*SMALLEST, tmp_path)
    file = bundle.graph_file("vae_decoder", "onnx")
    before = file.stat().st_mtime_ns
    topology = topologies.find(*SMALLEST)
    assert list(topologies.filling(topology, tmp_path)) == [topology.size]
    assert file.stat().st_mtime_ns == before


def test_a_broken_off_filling_leaves_nothing_and_is_taken_up_again(tmp_path):
    topology = topologies.find("sd15", "vae_decoder", "int8", "openvino")
    running = topologies.filling(topology, tmp_path)
    assert [next(running) for _ in range(5)][0] == 0
    assert len(left(tmp_path)) == 1
    running.close()
    assert left(tmp_path) == []
    running = topologies.filling(topology, tmp_path)
    next(running), next(running)
    with pytest.raises(KeyboardInterrupt):
        running.throw(KeyboardInterrupt)
    assert left(tmp_path) == []
    progress = list(topologies.filling(topology, tmp_path))
    assert progress == sorted(progress)
    assert progress[-1] == topology.size
    assert left(tmp_path) == ["openvino_model.bin", "openvino_model.xml"]


def test_a_damaged_file_is_filled_anew(tmp_path):
    bundle = topologies.filled(*SMALLEST, tmp_path)
    file = bundle.graph_file("vae_decoder", "onnx")
    os.truncate(file, 1000)
    topologies.filled(*SMALLEST, tmp_path)
    assert file_info(file) == bundle.manifest.files["vae_decoder/model.onnx"]


def test_what_another_version_has_filled_is_removed(tmp_path):
    bundle = topologies.filled(*SMALLEST, tmp_path)
    manifest = bundle.path / "bundle.json"
    text = manifest.read_text()
    manifest.write_text(text.replace("float32", "float64", 1))
    (bundle.path / "unet").mkdir()
    (bundle.path / "unet" / "old.bin").write_bytes(b"old")
    topologies.filled(*SMALLEST, tmp_path)
    assert manifest.read_text() == text
    assert left(tmp_path) == ["model.onnx"]


def test_parts_of_killed_processes_are_removed(tmp_path):
    bundle = topologies.filled(*SMALLEST, tmp_path)
    old, fresh = (bundle.path / "unet" / f".model.onnx.{number}.part" for number in (1, 2))
    old.parent.mkdir()
    for part in (old, fresh):
        part.write_bytes(b"half")
    os.utime(old, (1e9, 1e9))
    topologies.filled(*SMALLEST, tmp_path)
    assert (old.exists(), fresh.exists()) == (False, True)  # the other process may still be writing


def test_a_full_disk_is_said_beforehand(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(topologies.shutil, "disk_usage", lambda folder: usage._replace(free=1_000_000))
    with pytest.raises(ResourceError, match=r"needs 0\.05 GB and 0\.00 GB are free; free some disk space, or set PLEI"):
        topologies.filled(*SMALLEST, tmp_path)
    assert left(tmp_path) == []


def test_a_disk_that_fills_up_meanwhile_leaves_no_half_file(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(topologies.os, "fsync", full)
    with pytest.raises(ResourceError, match="No space left on device.*free some disk space, or set PLEINAIR_CACHE"):
        topologies.filled(*SMALLEST, tmp_path)
    assert left(tmp_path) == []


def test_a_cache_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="cannot write .*; set PLEINAIR_CACHE to a folder"):
        topologies.filled(*SMALLEST, tmp_path / "file")


def test_unknown_and_damaged_topologies(tmp_path, monkeypatch):
    with pytest.raises(RequestError, match="no topology sd15/unet/fp8/onnx; choose from: sd15/"):
        topologies.filled("sd15", "unet", "fp8", "onnx", tmp_path)
    copy = tmp_path / "topologies"
    shutil.copytree(topologies.TOPOLOGIES, copy)
    monkeypatch.setattr(topologies, "TOPOLOGIES", copy)
    packed = topologies.find(*SMALLEST).packed
    outlines = unpack(packed.read_bytes())
    parts = [part for part in outlines["model.onnx"].parts]
    place = next(n for n, part in enumerate(parts) if isinstance(part, Recipe))
    parts[place] = Recipe(**{**vars(parts[place]), "seed": 77})
    packed.write_bytes(pack({"model.onnx": Outline(tuple(parts), outlines["model.onnx"].kept)}))
    with pytest.raises(BundleError, match="came out different from what was meant; install pleinair again"):
        topologies.filled(*SMALLEST, tmp_path)
    packed.write_bytes(b"nothing of the kind")
    with pytest.raises(BundleError, match="cannot read .*; install pleinair again"):
        topologies.filled(*SMALLEST, tmp_path)
    assert left(tmp_path / "bench-models") == []


def test_the_cache_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(topologies.sys, "platform", "linux")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("PLEINAIR_CACHE", raising=False)
    assert topologies.cache_folder() == tmp_path / ".cache" / "pleinair" / "bench-models"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert topologies.cache_folder() == tmp_path / "xdg" / "pleinair" / "bench-models"
    monkeypatch.setattr(topologies.sys, "platform", "darwin")
    assert topologies.cache_folder() == tmp_path / "Library" / "Caches" / "pleinair" / "bench-models"
    monkeypatch.setattr(topologies.sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "Local"))
    assert topologies.cache_folder() == tmp_path / "Local" / "pleinair" / "Cache" / "bench-models"
    monkeypatch.setenv("PLEINAIR_CACHE", str(tmp_path / "big disk"))
    assert topologies.cache_folder() == tmp_path / "big disk" / "bench-models"
    assert topologies.cache_folder(tmp_path / "told") == Path(tmp_path / "told" / "bench-models")
