"""Names of weights: bundle.json says where every layer's lies, and another array put there is another layer."""

from functools import partial

import numpy as np
import onnx
import openvino
import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from onnx import numpy_helper
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from denoisers import asked, of_unet
from pleinair.bundle.opening import open_bundle
from pleinair.engines.edits import Change, NewWeights
from pleinair.engines.graphs import open_graph

COMPONENTS = {
    "text_encoder": ("text_encoder", CLIPTextModel),
    "text_encoder_2": ("text_encoder_2", CLIPTextModelWithProjection),
    "unet": ("unet", UNet2DConditionModel),
    "vae_encoder": ("vae", AutoencoderKL),
    "vae_decoder": ("vae", AutoencoderKL),
}
BLOCK = "mid_block.attentions.0.transformer_blocks.1"
LAYERS = [f"{BLOCK}.attn1.to_q", f"{BLOCK}.ff.net.2", "conv_in", "time_embedding.linear_2", "add_embedding.linear_1"]
engines = pytest.mark.parametrize("engine", ["openvino", "onnx"])


@pytest.fixture(scope="module")
def source(tiny_sources):
    return tiny_sources["sdxl"]


@pytest.fixture(scope="module")
def bundle(exported):
    return open_bundle(exported("sdxl", "fp32"))


def component(source, graph):
    folder, kind = COMPONENTS[graph]
    return kind.from_pretrained(source / folder).eval()


def stored(bundle, graph, form):
    """Name -> array, of all weights of a graph."""
    file = bundle.graph_file(graph, form)
    if form == "onnx":
        return {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(file).graph.initializer}
    nodes = openvino.Core().read_model(file).get_ops()
    return {node.get_friendly_name(): node.data for node in nodes if node.get_type_name() == "Constant"}


@engines
@pytest.mark.parametrize("graph", COMPONENTS)
def test_named_weights_hold_the_layers(bundle, source, graph, engine):
    module, arrays = component(source, graph), stored(bundle, graph, engine)
    weights = dict(module.named_parameters())
    placed = bundle.manifest.weights[graph]
    half = {"vae_encoder": ("encoder.", "quant_conv"), "vae_decoder": ("decoder.", "post_quant_conv")}.get(graph, "")
    layers = {name.removesuffix(".weight") for name, each in weights.items() if name.endswith(".weight")}
    layers = {path for path in layers if path.startswith(half) and weights[f"{path}.weight"].ndim > 1}
    assert set(placed) == layers
    for path, places in placed.items():
        place, weight = places[engine], weights[f"{path}.weight"].detach().numpy()
        assert np.array_equal(arrays[place.name], weight.T if place.transposed else weight), path


def given_instead(array, weight):
    assert weight.shape == array.shape
    return array


@engines
def test_other_weights_change_what_torch_changes(bundle, source, engine):
    """All kinds of layers at once: a product of tokens, of vectors, a kernel."""
    unet, given = component(source, "unet"), asked(bundle, batch=2)
    before, changes = of_unet(unet, given), {}
    for path in LAYERS:
        weight = unet.get_submodule(path).weight
        with torch.no_grad():
            weight += 0.3 * weight.std() * torch.randn(weight.shape, generator=torch.Generator().manual_seed(len(path)))
        changes[path] = Change(partial(given_instead, weight.detach().numpy()))
    expected = of_unet(unet, given)
    assert np.abs(expected - before).max() > 0.05
    edited = open_graph(bundle, "unet", engine, None, 1, edits=[NewWeights("test", changes)])(**given)["out_sample"]
    plain = open_graph(bundle, "unet", engine, None, 1)(**given)["out_sample"]
    assert np.abs(edited - expected).max() < 1e-4
    assert np.abs(plain - before).max() < 1e-4
