"""A folder or a single file becomes a bundle without PyTorch: the bytes of the export, or nothing at all."""

import errno
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import pleinair
from pickled import torch_archive
from pleinair.bundle.opening import open_bundle
from pleinair.bundle.shipped import default_path
from pleinair.bundle.verifying import file_info
from pleinair.checks import quoted
from pleinair.cli import app as cli
from pleinair.cli.given import at_hand
from pleinair.cli.info import description
from pleinair.engines import engine as engines
from pleinair.engines.engine import installed
from pleinair.errors import ExportError, RequestError, ResourceError
from pleinair.pouring.checkpoints import Checkpoint
from pleinair.pouring.pour import pour
from pleinair.system import install
from vectors import framed, safetensors

SOURCE = Path(__file__).parents[3] / "models" / "storybook" / "source"
CONV_IN = "model.diffusion_model.input_blocks.0.0.weight"
pytestmark = pytest.mark.usefixtures("known", "without_engines")


def poured(source, out, **options):
    """What is said while it is poured."""
    return [step.words for step in pour(source, out, **options) if step.note]


def graphs(bundle):
    """The files of all graphs, with their hashes."""
    infos = open_bundle(bundle).manifest.graphs.values()
    return {name: file_info(bundle / name) for info in infos for files in info.files.values() for name in files}


def test_a_folder_becomes_the_bytes_of_its_export_and_paints_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(engines, "installed", lambda name: name == "onnx")
    out = tmp_path / "out"
    steps = list(pour(SOURCE, out, formats=("openvino", "onnx")))
    assert steps[-1].done == steps[-1].total == sum(info.size for info in graphs(default_path()).values())
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    assert graphs(out) == graphs(default_path())
    norm = "text_encoder/final_layer_norm.npy"
    assert (out / norm).read_bytes() == (default_path() / norm).read_bytes()
    assert open_bundle(out).damage() == []
    mine, theirs = open_bundle(out).manifest, open_bundle(None).manifest
    assert np.allclose(mine.latents.rgb, theirs.latents.rgb, atol=0.03)  # that was fitted to more pictures
    for field in ("text_encoders", "conditioning", "denoisers", "vaes", "defaults", "vocabulary", "sizes", "tasks"):
        assert getattr(mine, field) == getattr(theirs, field), field
    assert mine.origin.command == "pleinair pour source --format both --weights fp16"
    assert not {str(out), str(SOURCE)} & set(json.dumps(mine.origin.tools).split('"'))
    asked = {"seed": 1, "steps": 2, "width": 64, "height": 64}
    wanted, found = (pleinair.load(each).generate("a red house", **asked).images[0] for each in (None, out))
    assert np.array_equal(np.asarray(wanted), np.asarray(found))


def test_a_single_file_becomes_the_same_bytes_as_the_folder(tmp_path, single):
    def add(tensors):
        tensors["model_ema.diffusion_modelinput_blocks00weight"] = np.zeros(3, np.float32)
        tensors["extra.weight"] = np.zeros(3, np.float32)
        tensors["cond_stage_model.transformer.text_model.embeddings.position_ids"] = np.arange(77).reshape(1, 77)

    said = {"modelspec.license": "mit", "modelspec.title": "Mine: a/b", "modelspec.trigger_phrase": "in my style"}
    out = tmp_path / "out"
    notes = poured(single(add, said), out, formats=("openvino", "onnx"))
    assert graphs(out) == graphs(default_path())
    assert "not used: extra.weight" in notes
    assert "it was trained on the words: in my style" in notes
    manifest = open_bundle(out).manifest
    told = description(open_bundle(out))
    assert (told["name"], told["origin"]["licence"], told["origin"]["trigger"]) == ("Mine- a-b", "mit", "in my style")
    assert told["graphs"]["unet"]["fidelity_db"] == {}  # nothing has measured it
    assert manifest.text_encoders[0].bos_id == 2 * 256 + 400
    index = json.loads((out / "model_index.json").read_text())
    assert index["_class_name"] == "StableDiffusionPipeline" and index["safety_checker"] == [None, None]
    scheduler = json.loads((out / "scheduler" / "scheduler_config.json").read_text())
    assert scheduler["_class_name"] == "PNDMScheduler" and scheduler["prediction_type"] == "epsilon"


def test_numbers_of_other_kinds_are_widened_and_8_bits_are_spoken_of(tmp_path, single):
    norm = "model.diffusion_model.out.0.weight"

    def narrow(tensors):
        tensors[CONV_IN] = (tensors[CONV_IN].astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
        tensors[norm] = np.full(tensors[norm].shape, 0x40, np.uint8)  # 2
        tensors[norm.replace("weight", "scale_weight")] = np.array(0.5, np.float32)
        tensors[norm.replace("weight", "scale_input")] = tensors["scaled_fp8"] = np.zeros(0, np.uint8)

    def wide(tensors):
        narrow(tensors)
        tensors[CONV_IN] = (tensors[CONV_IN].astype(np.uint32) << 16).view(np.float32)
        tensors[norm] = np.ones(tensors[norm].shape, np.float32)
        del tensors[norm.replace("weight", "scale_weight")]

    eight = "its weights have 8 bits, and are widened: a file of 16-bit weights makes better pictures"
    assert eight in poured(single(narrow), tmp_path / "out")
    assert eight not in poured(single(wide), tmp_path / "wide")
    assert graphs(tmp_path / "out") == graphs(tmp_path / "wide")


def test_a_variant_and_shards_are_the_same_weights(tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(SOURCE, folder)
    unet, text = folder / "unet" / "diffusion_pytorch_model", folder / "text_encoder" / "model"
    unet.with_suffix(".safetensors").rename(unet.with_suffix(".fp16.safetensors"))
    stored = Checkpoint([text.with_suffix(".safetensors")])
    names, index = sorted(stored), {}
    for part, some in enumerate((names[::2], names[1::2])):
        shard = f"model-0000{part + 1}-of-00002.safetensors"
        (folder / "text_encoder" / shard).write_bytes(
            safetensors({name: np.asarray(stored[name].raw) for name in some})
        )
        index |= dict.fromkeys(some, shard)
    text.with_suffix(".safetensors").unlink()
    text.with_suffix(".safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    poured(folder, tmp_path / "out", formats=("openvino", "onnx"))
    assert graphs(tmp_path / "out") == graphs(default_path())


def test_pickles_are_the_same_weights(tmp_path, weights):
    """In a folder of .bin, some in shards and some of a variant, and in a .ckpt with what a training keeps."""
    folder = tmp_path / "model"
    shutil.copytree(SOURCE, folder)
    for part, stem in (
        ("unet", "diffusion_pytorch_model"),
        ("vae", "diffusion_pytorch_model"),
        ("text_encoder", "model"),
    ):
        file = folder / part / f"{stem}.safetensors"
        stored = {name: np.asarray(each.raw) for name, each in Checkpoint([file]).items()}
        bins = file.with_name("pytorch_model.bin" if stem == "model" else f"{stem}.fp16.bin")
        bins.write_bytes(torch_archive(stored))
        file.unlink()
        if part == "unet":
            names = sorted(stored)
            for number, some in enumerate((names[::2], names[1::2])):
                file.with_name(f"{number}.bin").write_bytes(torch_archive({name: stored[name] for name in some}))
            index = {name: f"{names.index(name) % 2}.bin" for name in names}
            file.with_name(f"{stem}.bin.index.json").write_text(json.dumps({"weight_map": index}))
            bins.unlink()
    with pytest.raises(ExportError, match="no model.safetensors but a pickle, .*--allow-pickle$") as caught:
        poured(folder, tmp_path / "out")
    assert caught.value.option == "--allow-pickle"
    notes = poured(folder, tmp_path / "out", allow_pickle=True)
    assert graphs(tmp_path / "out") == {k: v for k, v in graphs(default_path()).items() if ".onnx" not in k}
    assert (
        len([note for note in notes if "is a pickle: only its weights are read, and nothing in it is run" in note]) == 4
    )
    file = tmp_path / "model.ckpt"
    file.write_bytes(torch_archive(weights, b"(X\x01\x00\x00\x00xcposix\nsystem\n(X\x07\x00\x00\x00touch xtR"))
    notes = poured(file, tmp_path / "ckpt", allow_pickle=True)
    assert graphs(tmp_path / "ckpt") == graphs(tmp_path / "out") and "run, not posix.system either" in notes[-1]
    file.write_bytes(torch_archive(weights, b"(", compressed=True))
    with pytest.raises(ExportError, match="it is compressed or encrypted"):
        poured(file, tmp_path / "again", allow_pickle=True)


def test_a_file_that_predicts_velocities_says_so_by_a_tensor(tmp_path, single):
    def mark(tensors):
        tensors["v_pred"] = tensors["ztsnr"] = np.zeros(0, np.float32)

    poured(single(mark), tmp_path / "out")
    config = open_bundle(tmp_path / "out").scheduler_config
    assert (config["prediction_type"], config["rescale_betas_zero_snr"]) == ("v_prediction", True)
    poured(single(mark), tmp_path / "told", prediction="epsilon")
    assert open_bundle(tmp_path / "told").scheduler_config["prediction_type"] == "epsilon"


def test_a_vae_of_its_own_takes_the_place_of_the_models(tmp_path, single, weights):
    prefix = "first_stage_model."

    def without(tensors):
        for name in [name for name in tensors if name.startswith(prefix)]:
            del tensors[name]

    bare = single(without)
    with pytest.raises(ExportError, match="has no vae; give one with --vae FILE"):
        poured(bare, tmp_path / "out")
    vae = tmp_path / "vae.safetensors"
    vae.write_bytes(safetensors({k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}))
    notes = poured(bare, tmp_path / "out", vae=vae)
    assert graphs(tmp_path / "out") == {k: v for k, v in graphs(default_path()).items() if ".onnx" not in k}
    assert not [note for note in notes if note.startswith("not used")]
    poured(SOURCE, tmp_path / "too", vae=SOURCE / "vae" / "diffusion_pytorch_model.safetensors")
    assert graphs(tmp_path / "too") == graphs(tmp_path / "out")


def spoil(value):
    def change(tensors):
        tensors[CONV_IN] = tensors[CONV_IN].astype(np.float32)
        tensors[CONV_IN].flat[5] = value

    return change


BAD = {
    "nan": (spoil(np.nan), "conv_in.weight of its unet is not a finite number everywhere; download"),
    "infinite": (spoil(-np.inf), "conv_in.weight of its unet is not a finite number everywhere"),
    "too large for fp16": (spoil(70000), "too large a number for 16 bits; pour with --weights fp32 or int8"),
    "missing": (lambda tensors: tensors.pop("model.diffusion_model.out.2.bias"), r"its unet lacks 1 weights \(conv_o"),
    "another size": (
        lambda tensors: tensors.update({"model.diffusion_model.out.2.bias": np.zeros(5, np.float32)}),
        "no graph is included for its unet",
    ),
    "no text encoder": (
        lambda tensors: [tensors.pop(name) for name in [*tensors] if name.startswith("cond_stage_model")],
        "has no text_encoder; choose a file of the whole model",
    ),
}


@pytest.mark.parametrize("change, words", BAD.values(), ids=BAD)
def test_bad_weights_are_one_line_and_nothing_on_the_disk(tmp_path, single, change, words):
    file = single(change)
    with pytest.raises(ExportError, match=words):
        poured(file, tmp_path / "deep" / "out")
    assert [each.name for each in tmp_path.iterdir()] == [file.name]


def test_a_file_that_another_program_cuts_is_one_line(tmp_path, single):
    """What was mapped would end the process with SIGBUS."""
    file = single()
    steps = pour(file, tmp_path / "out")
    with pytest.raises(ExportError, match=r"became shorter while it was read; try again when no other program writes"):
        for step in steps:
            if not step.note:
                os.truncate(file, 100_000)
    assert [each.name for each in tmp_path.iterdir()] == [file.name]


FILES = {
    "named twice": (
        lambda whole: framed(b'{"x": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}, "x": {}}', bytes(4)),
        "not a safetensors file",
    ),
    "lying on each other": (
        lambda whole: framed(
            b'{"x": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]},'
            b' "y": {"dtype": "U8", "shape": [2], "data_offsets": [2, 4]}}',
            bytes(4),
        ),
        "has weights that overlap",
    ),
    "cut short": (lambda whole: whole[:-100], "damaged or cut short"),
    "longer": (lambda whole: whole + b"x", "damaged or cut short"),
    "a header of 4 GB": (lambda whole: (1 << 32).to_bytes(8, "little") + whole[8:], "damaged or cut short"),
    "a header of no object": (lambda whole: framed(b"[1, 2]"), "not a safetensors file"),
    "a header too deep": (lambda whole: framed(b"[" * 100_000), "not a safetensors file"),
    "impossible offsets": (
        lambda whole: framed(b'{"x": {"dtype": "F32", "shape": [4], "data_offsets": [0, 1099511627776]}}', bytes(16)),
        "impossible 'x' in its header",
    ),
    "impossible shape": (
        lambda whole: framed(b'{"x": {"dtype": "F32", "shape": [9, 9], "data_offsets": [0, 16]}}', bytes(16)),
        "impossible 'x' in its header",
    ),
    "empty": (lambda whole: b"", "damaged or cut short"),
    "a pickle in disguise": (lambda whole: b"\x80\x02}q\x00." + bytes(64), "is a pickle, which can run"),
    "very many tensors": (
        lambda whole: safetensors({str(number): np.zeros(1, np.float16) for number in range(1 << 15)}),
        "has 32,768 tensors, more than any model",
    ),
    "another model": (lambda whole: whole, "not a model that its weights"),
}


@pytest.mark.parametrize("change, words", FILES.values(), ids=FILES)
def test_files_that_are_no_checkpoints_are_one_line(tmp_path, change, words):
    file = tmp_path / "model.safetensors"
    file.write_bytes(change(safetensors({"weight": np.zeros(100, np.float32)})))
    with pytest.raises(ExportError, match=words) as caught:
        poured(file, tmp_path / "out")
    assert "\n" not in str(caught.value) and "; " in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_what_is_not_poured_is_told_what_leads_on(tmp_path, single, capsys, monkeypatch):
    monkeypatch.setattr(install, "missing", lambda modules: ["torch"] if "torch" in modules else [])
    pickled, file = tmp_path / "model.ckpt", single()
    pickled.write_bytes(b"x")
    for arguments, words in (
        ([pickled, "out"], "its maker in other tools; take .safetensors files, or pour its weights alone, with --al"),
        ([file, "out", "--vae", pickled], "its maker in other tools; take .safetensors files, or pour its weights"),
        ([pickled, "out", "--allow-pickle"], "cannot read 'model.ckpt' as weights alone ("),
        ([tmp_path / "absent.safetensors", "out"], "no folder or file"),
        ([tmp_path / "storybook"], "'storybook' ships with pleinair; say where to write this one"),
        ([file, "out", "--weights", "int4"], "unknown weights 'int4'"),
        ([file, "out", "--format", "gguf"], "unknown format 'gguf'; choose openvino, onnx or both"),
        ([file, "out", "--prediction", "noise"], "unknown prediction 'noise'"),
        ([file, "out", "--vae", tmp_path / "absent"], "no file"),
        ([file, "out", "--weights", "int8"], "no graph is included for its text_encoder"),
        ([SOURCE.parent, "out"], "not a diffusers folder (no model_index.json); give one that save_pretrained wrote"),
        (
            [SOURCE / "unet", "out"],
            f"not a diffusers folder (no model_index.json); give the folder it is in: {SOURCE}",
        ),
        ([tmp_path, "out"], f"give a file of weights: {quoted(file)}, or one of 1 more"),
        ([SOURCE, SOURCE / "out"], "overlap"),
    ):
        assert cli.run(["pour", *map(str, arguments)]) in (2, 3, 5)
        out, err = capsys.readouterr()
        assert out == "" and err.count("\n") == 1 and words in err, err


def test_a_text_encoder_with_another_end_of_texts_is_refused(tmp_path):
    """Graphs look for the last of the vocabulary, which old configs call 2."""
    folder = tmp_path / "model"
    shutil.copytree(SOURCE, folder)
    config = json.loads((folder / "text_encoder" / "config.json").read_text())
    (folder / "text_encoder" / "config.json").write_text(json.dumps(config | {"eos_token_id": 2}))
    poured(folder, tmp_path / "old")
    (folder / "text_encoder" / "config.json").write_text(json.dumps(config | {"eos_token_id": 7}))
    with pytest.raises(ExportError, match="its text_encoder ends a text with 7 and not with 823"):
        poured(folder, tmp_path / "out")


def test_links_that_leave_a_folder_are_not_followed(tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(SOURCE, folder)
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(tmp_path / "elsewhere")
    weights.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ExportError, match="is a link that leaves the model's folder"):
        poured(folder, tmp_path / "out")


def test_another_network_of_the_same_shapes_is_refused(tmp_path):
    """Heads do not show in the shapes of weights, and would paint another picture."""
    folder = tmp_path / "model"
    shutil.copytree(SOURCE, folder)
    config = json.loads((folder / "unet" / "config.json").read_text())
    (folder / "unet" / "config.json").write_text(json.dumps(config | {"attention_head_dim": [2, 2, 2]}))
    with pytest.raises(ExportError, match="no graph is included for its unet"):
        poured(folder, tmp_path / "out")


@pytest.mark.parametrize(
    "error, kind, words",
    [
        (OSError(errno.ENOSPC, "No space left on device"), ResourceError, "free some disk space"),
        (KeyboardInterrupt(), KeyboardInterrupt, None),
    ],
    ids=["full disk", "Ctrl-C"],
)
def test_whatever_ends_it_early_leaves_what_was_there(tmp_path, error, kind, words):
    out = tmp_path / "out"
    poured(SOURCE, out)
    before = graphs(out)
    steps = pour(SOURCE, out, force=True)
    while not next(steps).words.startswith("vae_encoder"):
        pass
    assert (tmp_path / ".out.exporting" / "unet" / "openvino_model.bin").exists()
    with pytest.raises(kind, match=words):
        steps.throw(error)
    assert [each.name for each in tmp_path.iterdir()] == ["out"] and graphs(out) == before


def test_an_existing_bundle_is_replaced_only_by_force(tmp_path, single):
    poured(SOURCE, tmp_path / "out")
    with pytest.raises(ResourceError, match="exists; replace it with --force"):
        poured(single(), tmp_path / "out")
    poured(single(), tmp_path / "out", force=True)
    assert open_bundle(tmp_path / "out").manifest.name == "my model"


def test_the_command_prints_the_bundle_on_stdout_and_the_rest_on_stderr(tmp_path, single, capsys):
    out = tmp_path / "out"
    assert cli.run(["pour", str(single()), str(out)]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{out}\n"
    assert "pleinair: it is a storybook\n" in printed.err and "MB] unet openvino\n" in printed.err


def test_formats_and_weights_are_checked_before_anything_is_read(tmp_path):
    with pytest.raises(RequestError, match="unknown format none"):
        next(pour(tmp_path, tmp_path / "out", formats=()))


def test_what_is_named_as_a_model_is_poured_once_and_found_wherever_it_lies(tmp_path, single, capsys, monkeypatch):
    home = tmp_path / "home"
    monkeypatch.setenv("PLEINAIR_HOME", str(home))

    def opened(source, engine="openvino"):
        bundle = at_hand(source, engine)
        return bundle.name, "making a model of 0." in capsys.readouterr().err

    file = single()
    assert [opened(file, engine) for engine in ("openvino", "openvino", "onnx")] == [
        ("my model", True),
        ("my model", False),
        ("my model", True),  # for the other engine its graphs are added
    ]
    assert graphs(home / "models" / "my model") == graphs(default_path())
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert opened(shutil.copy2(file, elsewhere / "other.safetensors")) == ("my model", False)
    os.utime(file, (1, 1))  # it may have been mended
    assert [opened(file) for _ in range(2)] == [("my model", True), ("my model", False)]
    other = single(
        lambda tensors: tensors.update({CONV_IN: tensors[CONV_IN] * 2}), name="elsewhere/my model.safetensors"
    )
    name, made = opened(other)
    assert made and name.startswith("my model-") and opened(other) == (name, False)
    other.write_bytes(file.read_bytes())
    assert opened(other) == (name, True)
    pickled = tmp_path / "my model.ckpt"
    pickled.write_bytes(b"\x80\x02}.")
    for _ in range(2):  # a pickle is not even read for what it is, with its name or without
        with pytest.raises(ExportError, match=r"is a pickle, which .*: pleinair pour .* --allow-pickle$"):
            opened(pickled)
        pickled = pickled.rename(tmp_path / "another.ckpt")
    monkeypatch.setattr(engines, "installed", installed)
    # real tokens, which storybook's text encoder does not know: it is the bundle that is refused, and not the file
    assert cli.run(["generate", "a red house", "--model", str(file)]) == 3
    assert "knows 824 tokens" in capsys.readouterr().err
