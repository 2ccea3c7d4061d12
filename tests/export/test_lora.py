"""LoRA files in graphs: a network says what torch says with the same numbers in its weights."""

import shutil
from functools import partial

import numpy as np
import onnx
import openvino
import pytest
import torch
from diffusers import UNet2DConditionModel
from onnx import numpy_helper
from transformers import CLIPTextModel, CLIPTextModelWithProjection

import original_names
from bundles import edit_manifest, seal
from denoisers import asked, of_unet
from loras import added, kohya, write_lora
from pleinair.adapters.lora_file import open_lora
from pleinair.adapters.matching import networks_in
from pleinair.adapters.merging import Use, planned
from pleinair.bundle.opening import open_bundle
from pleinair.engines.engine import engine_named
from pleinair.engines.graphs import open_graph
from pleinair.errors import RequestError
from pleinair.request.lora_types import Loras
from pleinair.sources.folder import open_source
from pleinair_export import convert
from pleinair_export.loras import said_of_loras, with_loras

STRENGTH = 0.8
ENGINES = ("openvino", "onnx")
engines = pytest.mark.parametrize("engine", ENGINES)


def original(paths):
    """Diffusers' path -> Stability's name."""
    names = original_names.unet({f"{path}.weight": path for path in paths})
    return {path: key.removesuffix(".weight") for key, path in names.items()}


def shapes_of(module):
    """Path -> shape of its weight, of all layers but tables and norms: those of random models are all the same."""
    return {
        path: tuple(layer.weight.shape)
        for path, layer in module.named_modules()
        if isinstance(layer, torch.nn.Linear | torch.nn.Conv2d)
    }


def merge(bundle, engine, file):
    uses = [Use(open_lora(file), STRENGTH, STRENGTH)]
    return planned(networks_in(bundle.manifest), uses, partial(layers, bundle, engine))


def layers(bundle, engine, graph):
    return engine_named(engine).layers(bundle, graph)


def answer(bundle, engine, graph, given, merged=None):
    edits = merged.edits(graph) if merged else ()
    return open_graph(bundle, graph, engine, None, 1, edits=edits)(**given)


def changed(module, tensors, names):
    """The module with a LoRA in its weights; `names` are those of its layers in the file."""
    with torch.no_grad():
        for path, name in names.items():
            layer = module.get_submodule(path)
            layer.weight += STRENGTH * torch.from_numpy(added(tensors, name)).reshape(layer.weight.shape)
    return module.eval()


@engines
@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_a_network_with_a_lora_says_what_torch_says(tiny_sources, exported, tmp_path, family, engine):
    """All layers of the UNet and of the last text encoder; SDXL's in Stability's names."""
    bundle, source = open_bundle(exported(family, "fp32")), tiny_sources[family]
    encoder = bundle.manifest.text_encoders[-1].graph
    kind, prefix = (CLIPTextModelWithProjection, "lora_te2_") if family == "sdxl" else (CLIPTextModel, "lora_te_")
    unet, text = UNet2DConditionModel.from_pretrained(source / "unet"), kind.from_pretrained(source / encoder)
    named = original(shapes_of(unet)).__getitem__ if family == "sdxl" else str
    attentive = {path: shape for path, shape in shapes_of(text).items() if "encoder.layers" in path}
    full = {path: path if path.startswith("text_model.") else f"text_model.{path}" for path in attentive}
    tensors = kohya(shapes_of(unet), named=named) | kohya(attentive, prefix, seed=1, named=full.__getitem__)
    merged = merge(bundle, engine, write_lora(tmp_path / "style.safetensors", tensors))
    (applied,) = merged.applied
    assert applied.left_out == () and applied.layers == applied.of == len(shapes_of(unet)) + len(attentive)

    given, ids = asked(bundle), {"input_ids": np.arange(77, dtype=np.int64)[None] % 50}
    before = of_unet(unet.eval(), given)
    changed(unet, tensors, {path: "lora_unet_" + named(path).replace(".", "_") for path in shapes_of(unet)})
    changed(text, tensors, {path: prefix + full[path].replace(".", "_") for path in attentive})
    expected = of_unet(unet, given)
    assert np.abs(expected - before).max() > 0.05
    assert np.abs(answer(bundle, engine, "unet", given, merged)["out_sample"] - expected).max() < 1e-4
    with torch.no_grad():
        told = text(torch.from_numpy(ids["input_ids"])).last_hidden_state.numpy()
    assert np.abs(answer(bundle, engine, encoder, ids, merged)["last_hidden_state"] - told).max() < 1e-4


def dequantized(bundle, engine, graph="unet"):
    """Path -> weight as the engine computes with it, found with the makers' own tools."""
    file, found = bundle.graph_file(graph, engine), {}
    if engine == "onnx":
        made = onnx.load(file).graph
        arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in made.initializer}
        wide = {node.output[0]: node for node in made.node if node.op_type == "DequantizeLinear"}
        turned = {node.input[1] for node in made.node if node.op_type == "MatMul"}
        for name, node in wide.items():
            stored, axis = arrays[node.input[0]], node.attribute[0].i
            shape = [-1 if each == axis else 1 for each in range(stored.ndim)]
            weight = stored * arrays[node.input[1]].reshape(shape)
            found[name.removeprefix("model.").removesuffix(".weight")] = weight.T if name in turned else weight
        return found
    model, ends = openvino.Core().read_model(file), {}
    for node in model.get_ordered_ops():
        if node.get_type_name() in ("MatMul", "Convolution") and "aten::" in node.get_friendly_name():
            path = node.get_friendly_name().removeprefix("__module.model.").partition("/aten::")[0]
            if path in bundle.manifest.weights[graph]:
                ends[path] = node.input_value(1)
    answers = openvino.compile_model(openvino.Model(list(ends.values()), []), "CPU")([]).values()
    return dict(zip(ends, (np.array(each) for each in answers), strict=True))


@engines
def test_weights_of_8_bits_are_merged_as_they_are_computed_with(tiny_sources, exported, tmp_path, engine):
    """torch is given the same rounded weights. What ONNX Runtime makes of those of 8 bits by itself is no LoRA's."""
    bundle = open_bundle(exported("sd2", "int8"))
    unet = UNet2DConditionModel.from_pretrained(tiny_sources["sd2"] / "unet").eval()
    small = dequantized(bundle, engine)
    assert len(small) > 20
    with torch.no_grad():
        for path, weight in small.items():
            layer = unet.get_submodule(path)
            layer.weight.copy_(torch.from_numpy(weight.copy()).reshape(layer.weight.shape))
    given = asked(bundle)
    own = np.abs(answer(bundle, engine, "unet", given)["out_sample"] - of_unet(unet, given)).max()
    shapes = {path: shape for path, shape in shapes_of(unet).items() if "attn" in path or "conv1" in path}
    tensors = kohya(shapes)
    merged = merge(bundle, engine, write_lora(tmp_path / "style.safetensors", tensors))
    assert merged.applied[0].left_out == ()
    changed(unet, tensors, {path: "lora_unet_" + path.replace(".", "_") for path in shapes})
    found = answer(bundle, engine, "unet", given, merged)["out_sample"]
    assert np.abs(found - of_unet(unet, given)).max() < own + 2e-3


def test_weights_beside_a_graph_stay_there_but_for_those_that_change(sketch, tmp_path):
    """Numbers of large ONNX graphs lie in files of their own; as those of adopted ones, under any name."""
    folder = shutil.copytree(sketch, tmp_path / "large")
    model = onnx.load(folder / "unet" / "model.onnx")
    onnx.save(
        model,
        folder / "unet" / "model.onnx",
        save_as_external_data=True,
        location="weights.pb",
        size_threshold=0,
        convert_attribute=False,
    )

    def list_it(raw):
        raw["graphs"]["unet"]["files"]["onnx"].append("unet/weights.pb")
        raw["files"]["unet/weights.pb"] = {}

    edit_manifest(folder, list_it)
    large, small = open_bundle(seal(folder)), open_bundle(sketch)
    file = write_lora(tmp_path / "style.safetensors", kohya({"conv_in": (8, 4, 3, 3)}))
    given = asked(small)
    found = [answer(each, "onnx", "unet", given, merge(each, "onnx", file))["out_sample"] for each in (small, large)]
    assert np.array_equal(*found)
    assert not np.array_equal(found[0], answer(large, "onnx", "unet", given)["out_sample"])


def test_an_export_with_a_lora_in_it_is_what_is_painted_with_it(tiny_sources, exporting, tmp_path, monkeypatch):
    """Its text encoder says what the plain one says with the LoRA, and its origin has the file's name."""
    monkeypatch.setattr(convert, "compare_pictures", no_pictures)
    source, path = tiny_sources["sd1"], "encoder.layers.0.mlp.fc1"
    text = CLIPTextModel.from_pretrained(source / "text_encoder")
    prefix = "text_model." if hasattr(text, "text_model") else ""
    shape = tuple(text.get_submodule(prefix + path).weight.shape)
    tensors = kohya({path: shape}, "lora_te_text_model_")
    file = write_lora(tmp_path / "style.safetensors", tensors)
    steps = exporting(source, tmp_path / "out", ("onnx",), formats=("onnx",), weights="fp32", loras=[(file, STRENGTH)])
    assert any(step.stage == f"style: 1 of 1 layers at {STRENGTH}" for step in steps)
    bundle = open_bundle(tmp_path / "out")
    assert "--lora style.safetensors:0.8" in bundle.manifest.origin.command
    changed(text, tensors, {prefix + path: "lora_te_text_model_" + path.replace(".", "_")})
    ids = {"input_ids": np.arange(77, dtype=np.int64)[None] % 50}
    with torch.no_grad():
        told = text(torch.from_numpy(ids["input_ids"])).last_hidden_state.numpy()
    assert np.abs(answer(bundle, "onnx", "text_encoder", ids)["last_hidden_state"] - told).max() < 1e-4
    other = write_lora(tmp_path / "other.safetensors", kohya({"nowhere": (4, 4)}))
    with pytest.raises(RequestError, match="LoRA 'other' is not for"):
        exporting(source, tmp_path / "no", ("onnx",), formats=("onnx",), loras=[other])
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    ("name", "sampler", "asked", "spacing"),
    [
        ("lcm-lora", None, ("lcm", 4, 1.0), "leading"),
        ("sdxl_lightning_8step", None, ("euler", 8, 1.0), "trailing"),
        ("lcm-lora", "dpmpp_2m", ("dpmpp_2m", 4, 1.0), "leading"),
        ("calm", None, None, "leading"),
    ],
)
def test_what_a_bundle_paints_with_follows_a_lora_for_few_steps(tiny_sources, tmp_path, name, sampler, asked, spacing):
    """But for a sampler that is asked for."""
    plain = open_source(tiny_sources["sd1"], sampler)
    file = write_lora(tmp_path / f"{name}.safetensors", kohya({"conv_in": (32, 4, 3, 3)}))
    model = with_loras(plain, Loras().read("loras", [file]))
    usual = plain.defaults
    found = model.defaults
    assert (found.sampler, found.steps, found.guidance) == (asked or (usual.sampler, usual.steps, usual.guidance))
    assert (found.width, found.height) == (usual.width, usual.height)
    assert model.scheduler.get("timestep_spacing", "leading") == spacing
    said = list(said_of_loras(model))
    assert said[0] == f"{name}: 1 of 1 layers at 1" and len(said) == 1 + bool(asked)


def no_pictures(*what):
    return iter(())


NORMS = ("encoder.layers.1.layer_norm2", "final_layer_norm")


@engines
def test_norms_and_biases_change_as_torchs_do(tmp_path, engine):
    """In storybook's text encoder, whose weights are trained: no two of its norms are the same."""
    bundle = open_bundle()
    text = CLIPTextModel.from_pretrained(bundle.path.parent / "source" / "text_encoder").float()
    path, prefix = "encoder.layers.0.mlp.fc2", "text_model." if hasattr(text, "text_model") else ""
    rng = np.random.default_rng(2)
    sizes = {path: ("diff_b",), **dict.fromkeys(NORMS, ("w_norm", "b_norm"))}
    tensors = {
        f"lora_te_text_model_{name.replace('.', '_')}.{role}": rng.normal(0, 0.2, 128).astype(np.float32)
        for name, roles in sizes.items()
        for role in roles
    }
    merged = merge(bundle, engine, write_lora(tmp_path / "style.safetensors", tensors))
    assert merged.applied[0].left_out == ()
    with torch.no_grad():
        for key, array in tensors.items():
            name = next(each for each in sizes if each.replace(".", "_") in key)
            layer = text.get_submodule(prefix + name)
            numbers = layer.weight if key.endswith("w_norm") else layer.bias
            numbers += STRENGTH * torch.from_numpy(array)
        ids = {"input_ids": np.arange(77, dtype=np.int64)[None] % 50}
        told = text.eval()(torch.from_numpy(ids["input_ids"])).last_hidden_state.numpy()
    plain = answer(bundle, engine, "text_encoder", ids)["last_hidden_state"]
    found = answer(bundle, engine, "text_encoder", ids, merged)["last_hidden_state"]
    assert np.abs(plain - told).max() > 0.05 and np.abs(found - told).max() < 2e-3
