"""16-bit weights stay as they are while a model is traced, and it answers as if they were wide."""

import openvino
import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel

from pleinair.engines.openvino import MARK
from pleinair.sources.folder import open_source
from pleinair_export import graphs
from pleinair_export.loading import load
from pleinair_export.tracing import write_openvino
from pleinair_export.trials import Context, tried
from tiny_pipeline import write_tiny_pipeline

CLASSES = {"text_encoder": CLIPTextModel, "unet": UNet2DConditionModel, "vae": AutoencoderKL}
DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}


@pytest.fixture(scope="module", params=DTYPES)
def source(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("narrow") / request.param
    return open_source(write_tiny_pipeline(folder, dtype=request.param)), DTYPES[request.param]


def asked(component, model):
    torch.manual_seed(0)
    if component == "text_encoder":
        return model(torch.randint(0, 500, (2, 77))).last_hidden_state
    if component == "vae":
        return model.decode(torch.randn(1, 4, 9, 7), return_dict=False)[0]
    return model(torch.randn(2, 4, 9, 7), torch.tensor([500.0]), torch.randn(2, 77, 32), return_dict=False)[0]


@pytest.mark.parametrize("component", CLASSES)
def test_it_answers_as_the_wide_model(source, component):
    model, kind = source
    narrow = load(model, model.family.part(component))
    wide = CLASSES[component].from_pretrained(model.path / component, torch_dtype=torch.float32).eval()
    kinds = {name: each.dtype for name, each in narrow.named_parameters()}
    large = {name for name, each in wide.named_parameters() if each.ndim > 1 and each.numel() >= 1024}
    assert {kinds[name] for name in large} == {kind}
    assert {kinds[name] for name in kinds.keys() - large} == {torch.float32}
    with torch.no_grad():
        assert torch.equal(asked(component, narrow), asked(component, wide))


@pytest.mark.parametrize(
    "source, weights, stored",
    [("float16", "fp16", "f16"), ("bfloat16", "fp16", "f16"), ("bfloat16", "fp32", "f32")],
    indirect=["source"],
)
def test_graphs_hold_what_was_asked_for(source, tmp_path, weights, stored):
    """Whatever the source has; 16-bit weights are marked as such in the file."""
    model, _ = source
    spec = graphs.vae_decoder("vae_decoder", load(model, model.family.part("vae")), Context(tried(model.size)))
    write_openvino(spec, tmp_path, weights)
    nodes = openvino.Core().read_model(tmp_path / "openvino_model.xml").get_ops()
    large = [
        node for node in nodes if node.get_type_name() == "Constant" and node.data.ndim > 1 and node.data.size > 1023
    ]
    assert {node.get_element_type().get_type_name() for node in large} == {stored}
    widening = [node for node in nodes if node.get_type_name() == "Convert" and node.input_value(0).get_node() in large]
    assert len(widening) == (len(large) if weights == "fp16" else 0)
    assert all(MARK in node.rt_info for node in widening)
