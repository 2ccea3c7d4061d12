"""Pouring makes the bytes that the export makes of the same weights, in every format and kind of weights."""

import dataclasses
import inspect
import lzma
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file

import original_names
from fresh_models import network, wake
from pleinair.bundle.opening import open_bundle
from pleinair.pouring import kinds, names, topologies, vocabulary
from pleinair.pouring.checkpoints import Checkpoint
from pleinair.pouring.kinds import FileKind, Mark
from pleinair.pouring.names import Named
from pleinair.pouring.pour import pour
from pleinair.pouring.single_file import PLAIN_UNET
from pleinair.pouring.topologies import misfits, pack, unpack
from pleinair.pouring.writing import EmptyGraph, places, pour_graph
from pleinair.sources.architectures import ARCHITECTURES
from pleinair.sources.families import STABLE_DIFFUSION
from pleinair.sources.folder import STEMS, open_source
from pleinair_export import export
from pleinair_export.loading import load
from pleinair_export.single_file import is_model, open_single_file
from pleinair_export.tracing import TRACE, WRITE
from shelves import write_shelf
from tiny_pipeline import FLAT, TEXT, UNET, VAE, write_tiny_pipeline
from vectors import safetensors

CASES = [  # family, graph, format, kinds of weights: UNets in each for both formats, other graphs in one
    ("lcm", "unet", "openvino", ("fp32", "int8")),
    ("sd2", "unet", "onnx", ("fp32",)),
    ("sd2", "text_encoder", "onnx", ("int8",)),
    ("lcm", "vae_encoder", "openvino", ("int8",)),
    ("sdxs", "vae_decoder", "openvino", ("fp16",)),
    ("sdxl", "text_encoder_2", "openvino", ("fp16",)),
    ("sdxl", "unet", "onnx", ("int8",)),
    ("ssd-1b", "unet", "openvino", ("fp16",)),
    ("bk-sdm", "unet", "onnx", ("fp16",)),
    ("sdxl-refiner", "unet", "openvino", ("int8",)),
    ("sd1-inpaint", "unet", "onnx", ("fp16",)),
    ("vega", "unet", "onnx", ("fp32",)),
    ("sdxl-lcm", "unet", "openvino", ("fp16",)),
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Family -> a tiny folder with no parameter at the value that it is made with, as trained ones are."""
    root = tmp_path_factory.mktemp("pouring")
    rng = torch.Generator().manual_seed(3)
    for family in sorted({case[0] for case in CASES}):
        write_tiny_pipeline(root / family, family, seed=3)
        for file in sorted((root / family).glob("*/*.safetensors")):
            values = {
                name: each + 0.05 * torch.randn(each.shape, generator=rng) for name, each in load_file(file).items()
            }
            save_file(values, file, {"format": "pt"})
    return root


def moved(module):
    """Another model of the same network."""
    rng = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for each in module.parameters():
            each += 0.05 * torch.randn(each.shape, generator=rng)
    return module


def weights_in(folder):
    """Component -> its file."""
    return {part.folder: folder / part.folder / f"{STEMS[part.library]}.safetensors" for part in STABLE_DIFFUSION.parts}


def in_one_file(folder, file):
    """The weights of a folder of SD 2 in a single file, under the names that these have."""
    parts = {
        part: {name: each.numpy() for name, each in load_file(own).items()} for part, own in weights_in(folder).items()
    }
    tensors = original_names.single_file(parts, opened=True)
    file.write_bytes(safetensors(tensors))
    return Checkpoint([file])


@pytest.mark.parametrize("family, graph, form, every", CASES, ids=str)
def test_poured_is_exported_to_the_byte(proving, folders, tmp_path, family, graph, form, every):
    """Into the graph of another model; that of SD 2 from a single file in original names."""
    model = open_source(folders / family)
    part = next(part for part in model.family.parts if graph in part.graphs)
    modules = moved(load(model, part)), load(model, part)
    specs = [proving.specified(graph, part, model.configs, module, model.family) for module in modules]
    traced = [TRACE[form](spec) for spec in specs]
    if family == "sd2":
        checkpoint = in_one_file(model.path, tmp_path / "single.safetensors")
        rules, prefix = {
            "unet": (names.unet, "model.diffusion_model."),
            "text_encoder": (names.open_clip, "cond_stage_model.model."),
        }[part.folder]
        stored = Named(checkpoint, rules, prefix)
    else:
        stored = Named(Checkpoint([model.path / part.folder / f"{STEMS[part.library]}.safetensors"]))
    for weights in every:
        out = tmp_path / weights
        out.mkdir()
        topology = unpack(pack({"": proving.proved(specs, traced, weights, form, out)}))[""]
        assert misfits(topology, stored.shapes) == []
        empty, infos = EmptyGraph(part, graph, form, topology), {}
        assert sum(pour_graph(empty, stored, out / "poured", infos)) == empty.size
        exported = {file.name: file.read_bytes() for file in (out / "out1").iterdir()}
        assert {file.name: file.read_bytes() for file in (out / "poured").iterdir()} == exported
        assert {name.partition("/")[2] for name in infos} == set(exported)
    again = WRITE[form](specs[1], out / "poured", weights) if graph == "text_encoder" else None
    assert again is None or places(empty) == again.placed


class Mischief:
    def __reduce__(self):
        return Path.touch, (Path("mischief"),)


def test_a_single_file_is_exported_and_poured_alike(tmp_path, monkeypatch):
    """diffusers' converters read it for the export, our own names for pouring."""
    configs = {
        "text_encoder": TEXT | {"vocab_size": 515, "bos_token_id": 513, "eos_token_id": 2, "pad_token_id": 1},
        "unet": UNET | FLAT,
        "vae": VAE,
    }
    monkeypatch.setitem(ARCHITECTURES, "tiny", configs)
    monkeypatch.setattr(kinds, "KINDS", (FileKind("a tiny model", (Mark("unet.conv_in.weight"),), "tiny"),))
    monkeypatch.setattr(topologies, "TOPOLOGIES", tmp_path)
    monkeypatch.setattr(vocabulary, "MERGES", tmp_path / "merges.xz")  # of one merge: CLIP's own take long to convert
    vocabulary.MERGES.write_bytes(lzma.compress(b"t h\n"))
    torch.manual_seed(5)
    weights = {}
    for part in STABLE_DIFFUSION.parts:
        module = network(part, configs[part.folder])
        wake(module)
        module.save_pretrained(tmp_path / "folder" / part.folder)
        weights[part.folder] = {name: each.numpy() for name, each in module.state_dict().items() if "ids" not in name}
    file = tmp_path / "my tiny.safetensors"
    said = {"modelspec.license": "mit", "modelspec.title": "Tiny", "modelspec.trigger_phrase": "in my style"}
    file.write_bytes(safetensors(original_names.single_file(weights), said))
    for _ in export(file, tmp_path / "exported", weights="fp32"):
        pass
    write_shelf(tmp_path, tmp_path / "exported", tmp_path / "folder")
    for _ in pour(file, tmp_path / "poured", weights="fp32"):
        pass
    exported, poured = (open_bundle(tmp_path / each) for each in ("exported", "poured"))
    lacking = {"tokenizer/openvino_tokenizer.xml", "tokenizer/openvino_tokenizer.bin"}
    mine, theirs = poured.manifest, exported.manifest
    assert mine.files == {name: info for name, info in theirs.files.items() if name not in lacking}
    assert np.allclose(mine.latents.rgb, theirs.latents.rgb, atol=1e-3)
    assert (mine.name, mine.origin.licence, mine.origin.trigger) == ("Tiny", "mit", "in my style")
    own = {f"{folder}.{name}": each for folder, named in weights.items() for name, each in named.items()}
    layer = "unet.time_embedding.linear_1"
    own[f"{layer}.weight"] = np.full_like(own[f"{layer}.weight"], 0x38, np.uint8)
    own[f"{layer}.scale_weight"] = np.float32(0.5).reshape(())
    named = tmp_path / "diffusers.safetensors"
    named.write_bytes(safetensors(own))
    assert is_model(named) and not is_model(weights_in(tmp_path / "folder")["vae"])
    (tmp_path / "configs").mkdir()
    model = open_single_file(named, None, None, tmp_path / "configs")
    for part in STABLE_DIFFUSION.parts:
        module = load(model, part)
        for name, each in module.state_dict().items():
            wanted = 0.5 if "time_embedding.linear_1.weight" in name else weights[part.folder].get(name, each)
            assert np.array_equal(each, np.broadcast_to(wanted, each.shape)), name
    pickled = file.with_suffix(".ckpt")
    beside = {"epoch": np.float64(3), "callbacks": {Mischief: np.arange(3)}, "ema": {"x": torch.ones(3)}}
    torch.save({"state_dict": load_file(file), "mischief": Mischief(), **beside}, pickled)
    vae = tmp_path / "my tiny.pt"
    torch.save(load_file(weights_in(tmp_path / "folder")["vae"]), vae, _use_new_zipfile_serialization=False)
    steps = pour(pickled, tmp_path / "unpickled", vae=vae, weights="fp32", allow_pickle=True)
    notes = [step.words for step in steps if step.note]
    for note, suffix, words in zip(notes[-2:], ("ckpt", "pt"), (".*PosixPath", "nothing in it is run$"), strict=True):
        assert re.match(f"'my tiny.{suffix}' is a pickle: .*{words}", note)
    assert not (tmp_path / "mischief").exists()
    again = open_bundle(tmp_path / "unpickled").manifest
    assert again.files == mine.files and again.name == "my tiny"
    assert sorted(each.name for each in (tmp_path / "unpickled").iterdir()) == sorted(
        each.name for each in (tmp_path / "poured").iterdir()
    )
    for field in dataclasses.fields(mine):
        if field.name not in ("files", "graphs", "latents", "origin"):
            assert getattr(mine, field.name) == getattr(theirs, field.name), field.name


def test_the_plain_unet_is_diffusers_own():
    usual = inspect.signature(UNet2DConditionModel.__init__).parameters
    assert {key: usual[key].default for key in PLAIN_UNET} == PLAIN_UNET
