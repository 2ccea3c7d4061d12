"""A filled topology is the export of the same pipeline but for its numbers; and the script that makes those we ship."""

import dataclasses
import importlib.util
from pathlib import Path

import numpy as np
import onnx
import openvino
import pytest
import torch

from pleinair.bundle.opening import open_bundle
from pleinair.bundle.verifying import Files
from pleinair.engines.graphs import open_graph
from pleinair_bench import topologies
from pleinair_bench.fill import Recipe, pack, unpack
from pleinair_bench.strip import strip

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "make_topologies.py"
GRAPHS = ("text_encoder", "unet", "vae_decoder")
FORMATS = ("openvino", "onnx")
TINY = {
    "text_encoder": {
        "vocab_size": 600,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "projection_dim": 32,
        "bos_token_id": 598,
        "eos_token_id": 599,
    },
    "unet": {
        "sample_size": 8,
        "cross_attention_dim": 32,
        "attention_head_dim": (2, 4),
        "use_linear_projection": True,
        "layers_per_block": 1,
        "block_out_channels": (32, 48),
        "norm_num_groups": 16,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    },
    "vae": {
        "sample_size": 64,
        "block_out_channels": (16, 16, 16, 32),
        "layers_per_block": 1,
        "norm_num_groups": 8,
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
    },
}


@pytest.fixture(scope="session")
def script():
    spec = importlib.util.spec_from_file_location("make_topologies", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ir(file):
    """Everything of an IR but the numbers of its constants."""
    nodes = []
    for node in openvino.Core().read_model(file).get_ordered_ops():
        outputs = [(str(port.get_partial_shape()), str(port.get_element_type())) for port in node.outputs()]
        nodes.append((node.get_type_name(), node.get_friendly_name(), outputs))
    return nodes, file.read_text()  # the text has the edges and the attributes


def onnx_graph(file):
    """Everything of an ONNX graph but the numbers of its initializers."""
    model = onnx.load(file)
    initializers = [(tensor.name, tensor.data_type, tuple(tensor.dims)) for tensor in model.graph.initializer]
    nodes = [node.SerializeToString() for node in model.graph.node]
    ports = [port.SerializeToString() for port in (*model.graph.input, *model.graph.output)]
    return initializers, nodes, ports, [str(entry) for entry in model.opset_import]


STRUCTURE = {"openvino": ir, "onnx": onnx_graph}


def feed(graph):
    rng = np.random.default_rng(0)
    if graph == "text_encoder":
        return {"input_ids": rng.integers(0, 500, (2, 77))}
    latents = rng.standard_normal((2, 4, 8, 8), np.float32)
    if graph == "vae_decoder":
        return {"latent_sample": latents}
    text = rng.standard_normal((2, 77, 32), np.float32)
    return {"sample": latents, "timestep": np.array([500], np.float32), "encoder_hidden_states": text}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("family, weights", [("sd1", "fp32"), ("sd2", "int8"), ("sd2", "fp16")])
def test_filled_is_the_export_but_for_the_numbers(exported, tmp_path, family, weights, form):
    bundle = open_bundle(exported(family, weights))
    for graph in GRAPHS:
        info = bundle.manifest.graphs[graph]
        outlines = unpack(pack(strip([bundle.path / file for file in info.files[form]])))
        folder = tmp_path / graph
        folder.mkdir()
        for name, outline in outlines.items():
            (folder / name).write_bytes(b"".join(outline.pieces()))
            assert (folder / name).stat().st_size == (bundle.path / graph / name).stat().st_size
        file = Path(info.files[form][0]).name
        assert STRUCTURE[form](folder / file) == STRUCTURE[form](bundle.path / graph / file)
        large = [part for outline in outlines.values() for part in outline.parts if isinstance(part, Recipe)]
        assert {"fp32": "float32", "fp16": "float16", "int8": "int8"}[weights] in {recipe.dtype for recipe in large}
    manifest = replaced(bundle.manifest, tmp_path)
    files = Files(tmp_path, manifest.files, hashed=False)
    random = dataclasses.replace(bundle, path=tmp_path, manifest=manifest, files=files)
    for graph in GRAPHS:
        answer, other = (open_graph(each, graph, form, None, 1)(**feed(graph)) for each in (random, bundle))
        for name, value in answer.items():
            assert np.isfinite(value).all()
            assert value.shape == other[name].shape
            assert 0.2 < value.std() / other[name].std() < 5, (graph, name)


def replaced(manifest, folder):
    """The manifest without the files that `folder` does not have."""
    files = {name: info for name, info in manifest.files.items() if (folder / name).is_file()}
    return type(manifest)(**{**vars(manifest), "files": files})


def test_the_script_makes_what_the_benchmark_fills(script, tmp_path, monkeypatch):
    shipped = tmp_path / "topologies"
    shipped.mkdir()
    monkeypatch.setattr(topologies, "TOPOLOGIES", shipped)
    monkeypatch.setattr(topologies, "INDEX", shipped / "index.json")
    monkeypatch.setattr(script, "WEIGHTS", ("int8",))
    keys = [("tiny", component, "int8", "onnx") for component in GRAPHS] + [("tiny", "unet", "int8", "openvino")]
    for component in GRAPHS:
        monkeypatch.setattr(script, "FORMATS", FORMATS if component == "unet" else ("onnx",))
        script.make("tiny", TINY, component, tmp_path / "ordinary")
    assert [each.key for each in topologies.available()] == sorted(keys)
    for key in keys:
        _, component, weights, form = key
        bundle = topologies.filled(*key, tmp_path / "cache")
        folder = tmp_path / "ordinary" / f"tiny-{weights}"
        files = Files(folder, bundle.manifest.files, hashed=False)
        ordinary = dataclasses.replace(bundle, path=folder, files=files)
        graphs = [open_graph(each, component, form, None, 1) for each in (bundle, ordinary)]
        answer, other = (list(graph(**feed(component)).values())[0] for graph in graphs)
        assert np.isfinite(answer).all()
        assert 0.2 < answer.std() / other.std() < 5
    assert (bundle.manifest.vae.downsample, bundle.manifest.defaults.width) == (8, 64)
    before = {file: file.read_bytes() for file in shipped.iterdir()}
    script.make("tiny", TINY, "unet", tmp_path / "ordinary")  # again, from what was kept
    assert {file: file.read_bytes() for file in shipped.iterdir()} == before


def test_fresh_parameters_are_moved_off_0_and_1(script):
    """A norm of ones and zeros would be left out by the engines, which no trained model's is."""
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.GroupNorm(4, 8))
    conv = module[0].weight.clone()
    script.wake(module)
    assert torch.equal(module[0].weight, conv)
    assert module[1].weight.std() > 0.01
    assert abs(module[1].weight.mean() - 1) < 0.1
    assert module[1].bias.std() > 0.01


def test_the_shipped_ones_are_those_of_the_script(script):
    keys = {
        (name, component, weights, form)
        for name in script.MODELS
        for component in script.GRAPHS
        for weights in script.WEIGHTS
        for form in FORMATS
    }
    assert {topology.key for topology in topologies.available()} == keys
