"""Pouring makes the bytes that the export makes of the same weights, in every format and kind of weights."""

import dataclasses
import inspect
import json
import lzma
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file

import original_names
from fresh_models import network, wake
from pleinair.bundle.opening import open_bundle
from pleinair.errors import ExportError
from pleinair.pouring import kinds, names, topologies, vocabulary
from pleinair.pouring.checkpoints import Checkpoint
from pleinair.pouring.kinds import Kind, Mark
from pleinair.pouring.names import Named
from pleinair.pouring.pour import pour
from pleinair.pouring.single_file import PLAIN_UNET
from pleinair.pouring.topologies import misfits, pack, unpack
from pleinair.pouring.writing import Plan, places, write
from pleinair.sources.architectures import ARCHITECTURES
from pleinair.sources.families import STABLE_DIFFUSION
from pleinair.sources.folder import STEMS, open_source
from pleinair_export import export
from pleinair_export.loading import load
from pleinair_export.tracing import WRITE
from shelves import write_shelf
from tiny_pipeline import TEXT, UNET, VAE, write_tiny_pipeline
from vectors import safetensors

CASES = [  # every kind of weights in every format on a UNet, and the other graphs in one each
    ("sd1", "unet", "fp32", "openvino"),
    ("sd1", "unet", "int8", "openvino"),
    ("sd2", "unet", "fp16", "openvino"),
    ("sd2", "unet", "int8", "onnx"),
    ("sd2", "text_encoder", "int8", "onnx"),
    ("sd1", "vae_encoder", "fp16", "onnx"),
    ("sd1", "vae_decoder", "int8", "openvino"),
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Family -> a tiny folder with no parameter at the value that it is made with, as trained ones are."""
    root = tmp_path_factory.mktemp("pouring")
    rng = torch.Generator().manual_seed(3)
    for family in ("sd1", "sd2"):
        write_tiny_pipeline(root / family, family, seed=3)
        for part in STABLE_DIFFUSION.parts:
            file = root / family / part.folder / f"{STEMS[part.library]}.safetensors"
            moved = {
                name: each + 0.05 * torch.randn(each.shape, generator=rng) for name, each in load_file(file).items()
            }
            save_file(moved, file, {"format": "pt"})
    return root


def in_one_file(folder, file):
    """The weights of a folder of SD 2 in a single file, under the names that these have."""
    parts = {
        part.folder: {
            name: each.numpy()
            for name, each in load_file(folder / part.folder / f"{STEMS[part.library]}.safetensors").items()
        }
        for part in STABLE_DIFFUSION.parts
    }
    tensors = original_names.single_file(parts, opened=True)
    file.write_bytes(safetensors(tensors))
    return Checkpoint([file])


@pytest.mark.parametrize("family, graph, weights, form", CASES, ids=lambda value: value)
def test_poured_is_exported_to_the_byte(proving, folders, tmp_path, family, graph, weights, form):
    """Into the graph of another model; that of SD 2 from a single file in original names."""
    folder = folders / family
    part = next(part for part in STABLE_DIFFUSION.parts if graph in part.graphs)
    configs = {
        each.folder: json.loads((folder / each.folder / "config.json").read_text()) for each in STABLE_DIFFUSION.parts
    }
    modules = proving.sparse(part, configs[part.folder], tmp_path / "other", 1), load(open_source(folder), part)
    specs = [proving.specified(graph, part, configs, module) for module in modules]
    topology = unpack(pack({"": proving.proved(specs, weights, form, tmp_path)}))[""]
    if family == "sd2":
        checkpoint = in_one_file(folder, tmp_path / "single.safetensors")
        rules, prefix = {
            "unet": (names.unet, "model.diffusion_model."),
            "text_encoder": (names.open_clip, "cond_stage_model.model."),
        }[part.folder]
        stored = Named(checkpoint, rules, prefix)
    else:
        stored = Named(Checkpoint([folder / part.folder / f"{STEMS[part.library]}.safetensors"]))
    assert misfits(topology, stored.shapes) == []
    plan = Plan(part, graph, form, topology)
    infos = {}
    assert sum(write(plan, stored, tmp_path / "poured", infos)) == plan.size
    exported = {file.name: file.read_bytes() for file in (tmp_path / "out1").iterdir()}
    assert {file.name: file.read_bytes() for file in (tmp_path / "poured").iterdir()} == exported
    assert {name.partition("/")[2] for name in infos} == set(exported)
    again = WRITE[form](specs[1], tmp_path / "poured", weights) if graph == "text_encoder" else None
    assert again is None or places(plan) == again.placed


def test_a_single_file_is_exported_and_poured_alike(tmp_path, monkeypatch):
    """diffusers' converters read it for the export, our own names for pouring."""
    configs = {
        "text_encoder": TEXT | {"vocab_size": 515, "bos_token_id": 513, "eos_token_id": 2, "pad_token_id": 1},
        "unet": UNET,
        "vae": VAE,
    }
    monkeypatch.setitem(ARCHITECTURES, "tiny", configs)
    monkeypatch.setattr(kinds, "KINDS", (Kind("a tiny model", (Mark("unet.conv_in.weight"),), "tiny"),))
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
    pickled = file.with_suffix(".ckpt")
    torch.save({"state_dict": load_file(file), "epoch": 3}, pickled)
    notes = [
        step.words for step in pour(pickled, tmp_path / "unpickled", weights="fp32", allow_pickle=True) if step.note
    ]
    assert notes[0] == "takes the weights alone out of 'my tiny.ckpt'"
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


class Mischief:
    def __reduce__(self):
        return Path.touch, (Path("mischief"),)


def test_a_pickle_that_runs_something_is_refused_and_does_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "model.ckpt"
    for content, words in (({"x": Mischief()}, "as weights alone"), ([1], "holds no weights by name")):
        torch.save(content, file)
        with pytest.raises(ExportError, match=words) as caught:
            for _ in pour(file, tmp_path / "out", allow_pickle=True):
                pass
        assert "\n" not in str(caught.value)
    assert [each.name for each in tmp_path.iterdir()] == ["model.ckpt"]
