"""Pouring makes the bytes that the export makes of the same weights, in every format and kind of weights."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import original_names
from pleinair.pouring import names
from pleinair.pouring.checkpoints import Checkpoint
from pleinair.pouring.names import Named
from pleinair.pouring.pour import Plan, places, write
from pleinair.pouring.topologies import misfits, pack, unpack
from pleinair.sources.families import STABLE_DIFFUSION
from pleinair.sources.folder import STEMS, open_source
from pleinair_export.loading import load
from pleinair_export.tracing import WRITE
from tiny_pipeline import write_tiny_pipeline
from vectors import safetensors

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
CASES = [  # every kind of weights in every format on a UNet, and the other graphs in one each
    ("sd1", "unet", "fp32", "openvino"),
    ("sd1", "unet", "fp16", "onnx"),
    ("sd1", "unet", "int8", "openvino"),
    ("sd2", "unet", "fp32", "onnx"),
    ("sd2", "unet", "fp16", "openvino"),
    ("sd2", "unet", "int8", "onnx"),
    ("sd2", "text_encoder", "int8", "onnx"),
    ("sd1", "vae_encoder", "fp16", "onnx"),
    ("sd1", "vae_decoder", "int8", "openvino"),
]


@pytest.fixture(scope="module")
def script():
    sys.path.append(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("prove_topologies", BENCHMARKS / "prove_topologies.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
def test_poured_is_exported_to_the_byte(script, folders, tmp_path, family, graph, weights, form):
    """Into the graph of another model; that of SD 2 from a single file in original names."""
    folder = folders / family
    part = next(part for part in STABLE_DIFFUSION.parts if graph in part.graphs)
    configs = {
        each.folder: json.loads((folder / each.folder / "config.json").read_text()) for each in STABLE_DIFFUSION.parts
    }
    modules = script.sparse(part, configs[part.folder], tmp_path / "other", 1), load(open_source(folder), part)
    specs = [script.specified(graph, part, configs, module) for module in modules]
    topology = unpack(pack({"": script.proved(specs, weights, form, tmp_path)}))[""]
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
