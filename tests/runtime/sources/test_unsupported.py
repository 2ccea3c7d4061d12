"""Models that are not bundles, and what is said of each: always one line that leads on."""

import json
import os
import shlex
from pathlib import Path

import pytest

import pleinair
from bundles import light_copy
from pleinair.checks import quoted, quoted_for, shell
from pleinair.cli import app as cli
from pleinair.sources.unsupported import refuse_model


def diffusers(folder, kind):
    folder.mkdir(parents=True)
    (folder / "model_index.json").write_text(json.dumps({"_class_name": kind}))
    return folder


def holding(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


CASES = {
    "sdxl": (lambda at: diffusers(at / "m", "StableDiffusionXLPipeline"), "scheduler' is missing; download"),
    "pixart alpha": (lambda at: diffusers(at / "m", "PixArtAlphaPipeline"), "PixArtAlphaPipeline, which is not"),
    "cascade": (lambda at: diffusers(at / "m", "StableCascadeDecoderPipeline"), "Stable Diffusion 1.x, 2.x, XL and 3"),
    "empty": (lambda at: holding(at, "m.safetensors") / "m.safetensors", "is damaged or cut short"),
    "a typing error": (lambda at: "checkpoints/m.safetensors", "no model folder 'checkpoints/m.safetensors'; check"),
    "openvino of optimum": (
        lambda at: holding(diffusers(at / "m", "StableDiffusionPipeline"), "unet/openvino_model.xml"),
        "adopt it first: pleinair adopt ",
    ),
    "openvino": (lambda at: holding(at / "m", "openvino_model.xml"), "holds OpenVINO files"),
    "onnx": (
        lambda at: holding(at / "m", "unet/model.onnx"),
        "holds ONNX files of another tool and no bundle.json; adopt it",
    ),
    "old checkpoint": (lambda at: holding(at, "m.ckpt") / "m.ckpt", "--allow-pickle"),
    "folder of a checkpoint": (lambda at: holding(at / "m", "m.safetensors"), "m.safetensors' is damaged or cut short"),
    "of several": (lambda at: holding(at / "m", "b.safetensors", "a.safetensors"), "name one of them: "),
    "gguf": (lambda at: holding(at, "m.gguf") / "m.gguf", "GGUF"),
    "picture": (lambda at: holding(at, "a.PNG") / "a.PNG", "pleinair metadata"),
    "another file": (lambda at: holding(at, "m.xyz") / "m.xyz", "a model is a folder"),
    "manifest": (lambda at: light_copy(at / "m") / "bundle.json", "give the folder"),
    "folder of a bundle": (lambda at: light_copy(at / "outer" / "m").parent, "outer/m"),
    "hub id": (lambda at: "org/some-model", "pleinair pull org/some-model"),
    "hub address": (lambda at: "https://huggingface.co/org/some-model", "pleinair pull org/some-model"),
    "broken index": (lambda at: holding(at / "m", "model_index.json"), "malformed"),
}


@pytest.mark.parametrize("build, words", CASES.values(), ids=CASES)
def test_what_is_no_bundle_is_told_what_leads_on(tmp_path, capsys, build, words):
    model = build(tmp_path)
    with pytest.raises(pleinair.BundleError, match=words):
        pleinair.load(model)
    for arguments in (["info", model], ["generate", "a", "--model", model], ["prompt", "a", "--model", model]):
        assert cli.run([str(each) for each in arguments]) == 3
        out, err = capsys.readouterr()
        assert out == "" and err.count("\n") == 1 and words in err and ";" in err


@pytest.mark.skipif(os.name == "nt", reason="its files cannot be called so, and its shells quote otherwise")
def test_a_command_to_type_runs_nothing_in_a_path(tmp_path):
    for name in ("it's", 'a "b"', "a b", "$(touch x)", "`touch x`", "a\\", "!1", "~", "*", "a;b", "ü", "a=b"):
        paths = (
            holding(tmp_path, f"{name}.safetensors") / f"{name}.safetensors",
            holding(tmp_path / name, "model.onnx"),
            diffusers(tmp_path / f"{name} of diffusers", "StableDiffusionPipeline"),
        )
        for path in paths:
            with pytest.raises(pleinair.BundleError) as caught:
                refuse_model(path)
            assert shlex.split(str(caught.value).rpartition(": pleinair ")[2])[1:] == [str(path)]
    assert quoted("a\nb") == '"a?b"' and quoted(Path("-x")) == "./-x" and quoted("-x") == "-x"


@pytest.mark.parametrize(
    "text, cmd, powershell",
    [
        ("C:\\a\\b-1.safetensors", *["C:\\a\\b-1.safetensors"] * 2),
        ("C:\\a b", '"C:\\a b"', "'C:\\a b'"),
        ("$(calc) `n", '"$(calc) `n"', "'$(calc) `n'"),
        ("it's \u2019;calc", '"it\'s \u2019;calc"', "'it''s \u2019\u2019;calc'"),
        ('a" & calc', '"a"" & calc"', "'a\" & calc'"),
        ("a,@b", "a,@b", "'a,@b'"),
        ("", '""', "''"),
    ],
)
def test_a_command_to_type_runs_nothing_in_the_shells_of_windows_either(text, cmd, powershell):
    """PowerShell looks into double quotes, and ends single ones at curly quotes too; cmd knows no single ones."""
    assert (quoted_for("cmd", text), quoted_for("powershell", text)) == (cmd, powershell)
    found = [shell("nt", each) for each in ({"PROMPT": "$P$G"}, {}, {"MSYSTEM": "MINGW64", "PROMPT": "x"})]
    assert (*found, shell("posix", {"PROMPT": "x"})) == ("cmd", "powershell", "sh", "sh")


def test_bundles_and_unknown_folders_pass(tmp_path):
    (tmp_path / "empty").mkdir()
    for model in (None, light_copy(tmp_path / "m"), tmp_path / "empty", tmp_path / "nothing", "m" * 300, "./org/name"):
        refuse_model(model)
