"""Files and folders that are given as models and are none, or strange: one line that leads on, and nothing left."""

import gzip
import io
import json
import os
import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from pleinair.cli import app as cli
from single_files import NETWORK, TEXT, network
from vectors import framed, safetensors

SOURCE = Path(__file__).parents[3] / "models" / "storybook" / "source"
VAE = {"first_stage_model.decoder.mid.block_1.norm1.weight": (8,)}
MODEL = {name: np.zeros(shape, np.float16) for name, shape in (TEXT | VAE | network(text=768)).items()}
WHOLE = safetensors(MODEL)
INDEX = "model_index.json"


def stored_as(kind, size):
    """The model's tensors as numbers of another kind, of `size` bytes."""
    header, at = {}, 0
    for name, each in MODEL.items():
        last = at + int(each.size * size)
        header[name] = {"dtype": kind, "shape": list(each.shape), "data_offsets": [at, last]}
        at = last
    return framed(json.dumps(header).encode(), bytes(at))


def zipped():
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("model.safetensors", WHOLE)
    return content.getvalue()


FILES = {  # name, content, what is said
    "an empty weight": ("m", safetensors(MODEL | {f"{NETWORK}out.2.bias": np.zeros(0, np.float16)}), "no graph is"),
    "a single number": ("m", safetensors(MODEL | {f"{NETWORK}out.2.bias": np.zeros((), np.float16)}), "no graph is"),
    "names that turn": ("m", safetensors(MODEL | {"\u202eünï名\n\x1b[31m": np.zeros(3, np.float16)}), "no graph is"),
    "a name of 1 MB": ("m", safetensors(MODEL | {"x" * (1 << 20): np.zeros(3, np.float16)}), "no graph is"),
    "64-bit numbers": (
        "m",
        safetensors({name: np.float64(each) for name, each in MODEL.items()}),
        "no graph is",
    ),
    "whole numbers": ("m", stored_as("I64", 8), "as I64, which cannot be poured; choose the file of 16-bit weights"),
    "4-bit numbers": ("m", stored_as("F4", 0.5), "as F4, which cannot be poured"),
    "complex numbers": ("m", stored_as("C64", 8), "as C64, which cannot be poured"),
    "12 MB said": ("m", safetensors(MODEL, {"x": "y" * (12 << 20)}), "no graph is"),
    "strange words": (
        "m",
        safetensors(MODEL, {"modelspec.title": "../../x\n\x1b[31m", "modelspec.resolution": "9999x9999"}),
        "no graph is",
    ),
    "only words": ("m", framed(b'{"__metadata__": {"format": "pt"}}'), "damaged or cut short"),
    "a header of nothing": ("m", framed(b'{"x": null}'), "impossible 'x'"),
    "GGUF": ("m", b"GGUF\x03\0\0\0" + bytes(99), "is a GGUF file, whose packed weights are not supported; take"),
    "gzip": ("m", gzip.compress(WHOLE), "is an archive; unpack it"),
    "a pointer": ("m", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
    "a page": ("m", b"<!DOCTYPE html><html>", "a page of a web site.*; log in there"),
    "a picture": ("m", b"\x89PNG\r\n\x1a\n" + bytes(99), "is a picture"),
    "an answer": ("m", b'{"error": "Unauthorized"}', "is a text and no weights"),
    "a zip": ("m.zip", zipped(), "is an archive; unpack it"),
    "a graph": ("m.onnx", b"\x08\x08" + bytes(99), "is a graph of a model; give the folder.*pleinair adopt"),
    "a graph's weights": ("openvino_model.bin", bytes(999), "is a graph of a model"),
    "half of a download": ("m.safetensors.part", WHOLE[:-50], "a download that has not ended; let it end"),
    "a config": ("config.json", b"{}", "give the folder the model is in"),
    "Keras": ("m.h5", b"\x89HDF\r\n\x1a\n" + bytes(99), "made for other frameworks; take"),
}


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    """`refused(given)`: what is said of a model by generate and by pour, which leave nothing, in one line each."""
    monkeypatch.setenv("PLEINAIR_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)

    def lines(given):
        before, said = sorted(tmp_path.rglob("*")), []
        for command in (["generate", "a house", "--model", given], ["pour", given, "out"]):
            assert cli.run(command) in (2, 3), given
            (line,) = capsys.readouterr().err.splitlines()
            assert "; " in line and len(line) < 600 and "\x1b" not in line, line
            said.append(line)
        assert sorted(tmp_path.rglob("*")) == before, given
        return said

    return lines


def test_files_are_told_what_they_are(refused, tmp_path):
    missed = []
    for case, (name, content, words) in FILES.items():
        file = tmp_path / (name if "." in name else f"{name}.safetensors")
        file.write_bytes(content)
        lines = refused(str(file))
        file.unlink()
        missed += [(case, line) for line in lines if not re.search(words, line)]
    assert missed == []


def unet_alone(folder):
    (folder / INDEX).unlink()
    for part in ("text_encoder", "vae", "tokenizer"):
        shutil.rmtree(folder / part)


def shards_that_are_not_there(folder):
    text = folder / "text_encoder"
    (text / "model.safetensors").rename(text / "model-00001-of-00002.safetensors")
    index = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (text / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))


def a_pointer_in_it(folder):
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.unlink()  # a link to a file that others use
    weights.write_bytes(FILES["a pointer"][1])


def weights_that_are_a_folder(folder):
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    (folder / "unet" / "diffusion_pytorch_model.safetensors").mkdir()


def a_link_to_itself(folder):
    shutil.rmtree(folder / "unet")
    (folder / "unet").symlink_to(folder / "unet")


def without_its_index(folder):
    (folder / INDEX).unlink()


def parts_without_their_index(folder):
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_name("diffusion_pytorch_model.fp16-00001-of-00001.safetensors"))


def without_a_vae(folder):
    index = json.loads((folder / INDEX).read_text())
    (folder / INDEX).write_text(json.dumps(index | {"vae": [None, None]}))


def a_cache_without_a_branch(folder):
    (folder / INDEX).unlink()
    for commit in ("a" * 40, "b" * 40):
        (folder / "snapshots" / commit).mkdir(parents=True)
    os.utime(folder / "snapshots" / ("a" * 40), (1 << 32, 1 << 32))


FOLDERS = {
    unet_alone: "no model_index.json",
    without_its_index: "no model_index.json",
    parts_without_their_index: "in parts and no diffusion_pytorch_model.safetensors.index.json; get that too",
    without_a_vae: "has nothing as vae; choose a model with AutoencoderKL there",
    a_cache_without_a_branch: "give one of its snapshots, the newest: .*/a{40}",
    shards_that_are_not_there: "model-00002-of-00002.safetensors' is missing; download",
    a_pointer_in_it: "git lfs pull",
    weights_that_are_a_folder: "is not an ordinary file; download",
    a_link_to_itself: "unet' is missing; download",
}


def test_folders_are_told_what_they_lack(refused, tmp_path):
    missed, whole = [], shutil.copytree(SOURCE, tmp_path / "whole")
    for change, words in FOLDERS.items():
        folder = shutil.copytree(whole, tmp_path / change.__name__, copy_function=os.link)
        change(folder)
        missed += [(change.__name__, line) for line in refused(str(folder)) if not re.search(words, line)]
    assert missed == []


def test_what_is_200_gigabytes_or_somewhere_else_is_not_read(refused, tmp_path):
    file, name, side = tmp_path / "large.safetensors", f"{NETWORK}input_blocks.0.0.weight", 1 << 35
    content = framed(json.dumps({name: {"dtype": "F16", "shape": [side, 3], "data_offsets": [0, 6 * side]}}).encode())
    file.write_bytes(content)
    os.truncate(file, len(content) + 6 * side)
    assert all("a UNet without a text encoder" in line for line in refused(str(file)))
    assert "is an address; download the file" in refused("https://civitai.com/api/download/models/1")[0]
