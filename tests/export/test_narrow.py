"""16-bit weights stay as they are while a model is traced, and it answers as if they were wide."""

import copy
import shutil
from pathlib import Path

import openvino
import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel

from pleinair.engines.openvino_weights import MARK
from pleinair.sources.folder import open_source
from pleinair_bench.anonymous import anonymous_mb
from pleinair_export.kinds import KINDS
from pleinair_export.loading import load
from pleinair_export.narrow import blank_weights, widen_at_use
from pleinair_export.tracing import STORE, TRACE
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


def test_blank_weights_take_no_memory():
    """Otherwise the largest part of an export would be a copy of the model in float32 that nobody reads."""
    model = widen_at_use(torch.nn.Sequential(torch.nn.Linear(4096, 4096)).half())
    before = anonymous_mb()
    with blank_weights(model):
        assert model[0].weight.dtype == torch.float32 and model[0].weight.shape == (4096, 4096)
        assert anonymous_mb() - before < 16  # of 64


@pytest.mark.parametrize(
    "family, kinds",
    [("least", {"openvino": ("fp16", "int8"), "onnx": ("int8",)}), ("sdxs", {"openvino": ("fp16",)})],
    ids=["VAE", "TAESD"],
)
def test_a_16_bit_source_becomes_the_bytes_of_a_wide_one(tmp_path, family, kinds):
    """In every kind of weights; 16-bit ones are marked as such in the file."""
    tiny = write_tiny_pipeline(tmp_path / "tiny", family)
    vae = Path("vae", "diffusion_pytorch_model.safetensors")
    both = {  # numbers that float16 and bfloat16 have alike
        name: torch.where(each.abs() < 1e-4, 0, each).bfloat16() for name, each in load_file(tiny / vae).items()
    }
    made = {}
    for folder, kind in {"wide": torch.float32, **DTYPES}.items():
        shutil.copytree(tiny, tmp_path / folder)
        save_file({name: each.to(kind) for name, each in both.items()}, tmp_path / folder / vae, {"format": "pt"})
        model = open_source(tmp_path / folder)
        part = model.family.part("vae")
        spec = KINDS[part.graphs["vae_decoder"]].spec("vae_decoder", load(model, part), Context(tried(model.size)))
        for form, weights in kinds.items():
            traced = TRACE[form](spec)
            for each in weights:
                out = tmp_path / folder / f"{form}-{each}"
                out.mkdir()
                STORE[form](copy.deepcopy(traced), spec, out, each)
                made[folder, out.name] = {file.name: file.read_bytes() for file in out.iterdir()}
    for name in {name for _, name in made}:
        assert made["float16", name] == made["bfloat16", name] == made["wide", name], name
    nodes = openvino.Core().read_model(tmp_path / "float16" / "openvino-fp16" / "openvino_model.xml").get_ops()
    widening = [node for node in nodes if node.get_type_name() == "Convert"]
    assert widening and all(MARK in node.rt_info for node in widening)
