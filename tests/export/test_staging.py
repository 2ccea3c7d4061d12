"""A bundle appears whole or not at all, and an old one stays until then."""

import hashlib
import os
import signal
import subprocess
import sys
import time

import pytest

from pleinair.bundle import damaged_files, open_bundle
from pleinair.errors import QualityError, ResourceError
from pleinair_export import convert, export, quantize
from pleinair_export.staging import staged

CHILD = """
import sys
from pleinair_export import export
for progress in export(sys.argv[1], sys.argv[2], force=True):
    print(progress.graph, progress.stage, flush=True)
"""


def snapshot(folder):
    """Relative path -> hash for everything in a folder, hidden or not."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture
def old(tmp_path):
    """A folder that looks like a bundle, alone in its parent."""
    folder = tmp_path / "place" / "old"
    (folder / "unet").mkdir(parents=True)
    (folder / "bundle.json").write_text("{}")
    (folder / "unet" / "model.onnx").write_bytes(b"precious")
    return folder


def test_existing_out_is_refused_and_force_replaces_it(tiny_sources, old):
    before = snapshot(old.parent)
    with pytest.raises(ResourceError, match="exists; replace it with --force"):
        next(export(tiny_sources["sd1"], old))
    assert snapshot(old.parent) == before
    steps = list(export(tiny_sources["sd1"], old, formats=("onnx",), weights="fp32", force=True))
    assert [step.done for step in steps] == list(range(steps[-1].total + 1))
    assert [(step.graph, step.stage) for step in steps[:3]] == [
        ("tokenizer", "convert"),
        ("text_encoder", "load"),
        ("text_encoder", "onnx: convert"),
    ]
    assert {step.graph for step in steps if step.fidelity} == {"text_encoder", "unet", "vae_encoder", "vae_decoder"}
    assert damaged_files(open_bundle(old)) == []
    assert [path.name for path in old.parent.iterdir()] == ["old"]


def test_force_does_not_replace_what_is_no_bundle(tiny_sources, old):
    (old / "bundle.json").unlink()
    with pytest.raises(ResourceError, match="not a pleinair bundle"):
        next(export(tiny_sources["sd1"], old, force=True))
    assert (old / "unet" / "model.onnx").exists()


def test_closing_early_leaves_the_old_bundle(tiny_sources, old):
    before = snapshot(old.parent)
    steps = export(tiny_sources["sd1"], old, formats=("onnx",), force=True)
    for step in steps:
        if step.fidelity:
            break
    assert (old.parent / ".old.exporting" / "text_encoder" / "model.onnx").exists()
    steps.close()
    assert snapshot(old.parent) == before


def test_closing_early_leaves_nothing(tiny_sources, tmp_path):
    steps = export(tiny_sources["sd1"], tmp_path / "deep" / "er" / "out", formats=("onnx",))
    next(steps)
    steps.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="kill -9")
def test_killed_export_leaves_the_old_bundle_and_the_next_one_tidies_up(tiny_sources, old):
    before = snapshot(old)
    child = subprocess.Popen([sys.executable, "-c", CHILD, tiny_sources["sd1"], old], stdout=subprocess.PIPE, text=True)
    for line in child.stdout:
        if line.startswith("unet openvino: convert"):
            break
    with pytest.raises(ResourceError, match="another export"):
        next(export(tiny_sources["sd1"], old, force=True))
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert snapshot(old) == before
    assert (old.parent / ".old.exporting").exists()
    steps = export(tiny_sources["sd1"], old, force=True)
    next(steps)
    assert not (old.parent / ".old.exporting" / "text_encoder").exists()
    steps.close()
    assert [path.name for path in old.parent.iterdir()] == ["old"]
    assert snapshot(old) == before


def test_a_kill_between_the_two_renames_is_undone(old):
    before = snapshot(old)
    old.rename(old.with_name(".old.replaced"))
    with pytest.raises(RuntimeError), staged(old):
        assert snapshot(old) == before
        raise RuntimeError
    assert snapshot(old.parent) == {f"old/{name}": digest for name, digest in before.items()}


@pytest.mark.parametrize("form", ["openvino", "onnx"])
def test_gate_names_the_graph_and_leaves_the_old_bundle(tiny_sources, old, monkeypatch, form):
    before, quantized = snapshot(old.parent), []

    def spoil_onnx(model, weights):
        quantized.append(weights)
        for tensor in model.graph.initializer:
            if len(tensor.dims) > 1:
                tensor.raw_data = bytes(len(tensor.raw_data))

    def spoil_openvino(model, weights):
        from openvino import op

        quantized.append(weights)
        for node in model.get_ops():
            if isinstance(node, op.Constant) and node.data.size > 1000:
                blank = op.Constant(node.data * 0)
                for target in node.output(0).get_target_inputs():
                    target.replace_source_output(blank.output(0))
        return model

    monkeypatch.setattr(quantize, "compress_onnx", spoil_onnx)
    monkeypatch.setattr(quantize, "compress_openvino", spoil_openvino)
    with pytest.raises(QualityError, match=rf"^text_encoder \({form}, int8\) is .* gate is 35 dB.*--weights fp16$"):
        list(export(tiny_sources["sd1"], old, formats=(form,), weights="int8", force=True))
    assert quantized == ["int8"]
    assert snapshot(old.parent) == before


@pytest.mark.skipif(os.name == "nt", reason="RLIMIT_FSIZE")
@pytest.mark.parametrize("form", ["openvino", "onnx"])
def test_disk_that_fills_up(tiny_sources, tmp_path, form):
    """A file size limit stands for a full disk: both make writes fail halfway."""
    script = f"""
import resource, signal, sys
from pleinair.errors import ResourceError
from pleinair_export import export
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
try:
    list(export(sys.argv[1], sys.argv[2], formats=({form!r},)))
except ResourceError as error:
    print(error)
"""
    out = tmp_path / "place" / "out"
    done = subprocess.run([sys.executable, "-c", script, tiny_sources["sd1"], out], capture_output=True, text=True)
    assert "free some disk space" in done.stdout, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_disk_without_room_is_noticed_before_loading(tiny_sources, tmp_path, monkeypatch):
    monkeypatch.setattr(convert, "room_needed", lambda *_: 10**18)
    start = time.perf_counter()
    with pytest.raises(ResourceError, match="GB are free"):
        next(export(tiny_sources["sd1"], tmp_path / "out"))
    assert time.perf_counter() - start < 1
    assert list(tmp_path.iterdir()) == []
