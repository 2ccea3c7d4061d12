"""A bundle appears whole or not at all, and an old one stays until then."""

import contextlib
import errno
import hashlib
import os
import signal
import subprocess
import sys

import pytest

from pleinair.bundle.opening import open_bundle
from pleinair.bundle.staging import beside, locked, staged, unwritable
from pleinair.errors import QualityError, ResourceError
from pleinair_export import convert, export, quantize

CHILD = """
import sys
from pathlib import Path
from pleinair.bundle.staging import staged
with staged(Path(sys.argv[1]), force=True, room=0) as stage:
    (stage.path / "text_encoder").mkdir()
    print("writing", flush=True)
    sys.stdin.read()
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


def test_existing_out_is_refused_and_force_replaces_it(tiny_sources, exporting, old):
    before = snapshot(old.parent)
    with pytest.raises(ResourceError, match="exists; replace it with --force"):
        next(export(tiny_sources["sd1"], old))
    assert snapshot(old.parent) == before
    steps = exporting(tiny_sources["sd1"], old, formats=("onnx",), weights="fp32", force=True)
    assert [step.done for step in steps] == list(range(steps[-1].total + 1))
    assert [(step.graph, step.stage) for step in steps[:3]] == [
        ("tokenizer", "convert"),
        ("text_encoder", "load"),
        ("text_encoder", "onnx: convert"),
    ]
    assert {step.graph for step in steps if step.fidelity} == {"text_encoder", "unet", "vae_encoder", "vae_decoder"}
    assert open_bundle(old).damage() == []
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
    command = [sys.executable, "-c", CHILD, old]  # as an export does, and without what it imports
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "writing\n"
        with pytest.raises(ResourceError, match="another process"):
            next(export(tiny_sources["sd1"], old, force=True))
        child.send_signal(signal.SIGKILL)
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
    with pytest.raises(RuntimeError), staged(old, force=True, room=0) as stage:
        assert snapshot(old) == before
        assert stage.tidied == ("put back 'old', which a killed process had set aside",)
        raise RuntimeError
    assert snapshot(old.parent) == {f"old/{name}": digest for name, digest in before.items()}


def test_what_is_put_back_is_not_replaced_without_force(tiny_sources, old):
    before = snapshot(old)
    old.rename(beside(old, "replaced"))
    with pytest.raises(ResourceError, match="exists; replace it with --force"):
        next(export(tiny_sources["sd1"], old))
    assert snapshot(old) == before
    assert [path.name for path in old.parent.iterdir()] == ["old"]


def test_what_killed_exports_to_the_same_folder_left_is_removed_and_said(tiny_sources, old):
    for name in ("old", "other", "running", "nobodys"):
        (beside(old.with_name(name), "exporting") / "unet").mkdir(parents=True)
        (beside(old.with_name(name), "exporting") / "unet" / "model.onnx").write_bytes(bytes(2_000_000))
    for name in ("old", "other"):
        beside(old.with_name(name), "lock").touch()
    with locked(old.with_name("running")):
        steps = export(tiny_sources["sd1"], old, force=True)
        said = [next(steps) for _ in range(3)]
        assert [step.stage for step in said[:2]] == [
            "removed '.old.exporting' of a killed process (2 MB)",
            "removed '.other.exporting' of a killed process (2 MB)",
        ]
        assert (said[2].graph, said[2].done) == ("tokenizer", 0)
        steps.close()
        left = {path.name for path in old.parent.iterdir()}
    assert left == {"old", ".running.exporting", ".running.lock", ".nobodys.exporting"}  # what has no lock is not ours


def test_everything_has_reached_the_disk_before_it_takes_a_name(old, monkeypatch):
    happened = []
    sync, rename = os.fsync, type(old).rename
    monkeypatch.setattr(os, "fsync", lambda number: (happened.append(os.fstat(number).st_ino), sync(number)))
    monkeypatch.setattr(type(old), "rename", lambda self, to: (happened.append(to.name), rename(self, to))[1])
    with staged(old, force=True, room=0) as stage:
        (stage.path / "unet").mkdir()
        written = stage.path / "unet" / "model.onnx"
        written.write_bytes(b"new")
        inodes = {written.stat().st_ino, written.parent.stat().st_ino, stage.path.stat().st_ino}
    first = next(place for place, what in enumerate(happened) if isinstance(what, str))
    assert inodes <= set(happened[:first])
    assert happened[first : first + 2] == [".old.replaced", "old"]
    assert old.parent.stat().st_ino in happened[first:]
    assert (old / "unet" / "model.onnx").read_bytes() == b"new"


@pytest.mark.parametrize(
    "number, remedy",
    [
        (errno.ENOSPC, "free some disk space"),
        (errno.EACCES, "check the permissions"),
        (errno.EROFS, "a disk that can be written"),
        (errno.ENAMETOOLONG, "a shorter name"),
        (errno.EMFILE, "close other programs"),
        (errno.EIO, "check the disk"),
    ],
)
def test_what_went_wrong_is_said_as_it_is(old, number, remedy):
    found = str(unwritable(old, OSError(number, os.strerror(number), str(old / "unet"))))
    assert found.startswith(f"cannot write '{old / 'unet'}' ({os.strerror(number)})") and remedy in found
    assert ("disk space" in found) == (number == errno.ENOSPC)
    assert str(unwritable(old, OSError(number, "x", "/elsewhere/model"))).startswith("cannot read '/elsewhere/model'")


def test_a_name_that_is_too_long(tiny_sources, tmp_path):
    with pytest.raises(ResourceError, match="choose a shorter name"):
        next(export(tiny_sources["sd1"], tmp_path / ("n" * 250)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="links and pipes")
@pytest.mark.parametrize("make", [os.mkfifo, lambda lock: lock.symlink_to("/dev/zero"), os.mkdir])
def test_a_lock_that_is_no_file(old, make):
    make(beside(old, "lock"))
    with contextlib.suppress(ResourceError), staged(old, force=True, room=0):
        pass
    assert (old.is_dir(), beside(old, "exporting").exists()) == (True, False)


@pytest.mark.parametrize("form", ["openvino", "onnx"])
def test_gate_names_the_graph_and_leaves_the_old_bundle(tiny_sources, old, monkeypatch, form):
    before, quantized = snapshot(old.parent), []

    def spoil_onnx(name, values, weights, axis):
        quantized.append(weights)
        return {name: values * 0 if values.ndim > 1 else values}, []

    def spoil_openvino(model, weights, narrow):
        from openvino import op

        quantized.append(weights)
        for node in model.get_ops():
            if isinstance(node, op.Constant) and node.data.size > 1000:
                blank = op.Constant(node.data * 0)
                for target in node.output(0).get_target_inputs():
                    target.replace_source_output(blank.output(0))
        return model

    monkeypatch.setattr(quantize, "stored", spoil_onnx)
    monkeypatch.setattr(quantize, "compress_openvino", spoil_openvino)
    with pytest.raises(QualityError, match=rf"^text_encoder \({form}, int8\) is .* gate is 35 dB.*--weights fp16$"):
        list(export(tiny_sources["sd1"], old, formats=(form,), weights="int8", force=True))
    assert set(quantized) == {"int8"}
    assert snapshot(old.parent) == before


@pytest.mark.skipif(os.name == "nt", reason="RLIMIT_FSIZE")
def test_disk_that_fills_up(tiny_sources, tmp_path):
    """A file size limit stands for a full disk: both make writes fail halfway."""
    import resource

    source, before = tiny_sources["sd1"], resource.getrlimit(resource.RLIMIT_FSIZE)
    for form in ("openvino", "onnx"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, before[1]))  # Python ignores the signal
        try:
            with pytest.raises(ResourceError, match="free some disk space"):
                list(export(source, tmp_path / "place" / "out", formats=(form,)))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_disk_without_room_is_noticed_before_loading(tiny_sources, tmp_path, monkeypatch):
    monkeypatch.setattr(convert, "room_needed", lambda *_: 10**18)
    with pytest.raises(ResourceError, match="GB are free"):
        next(export(tiny_sources["sd1"], tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []
