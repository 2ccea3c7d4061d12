"""Names of layers that diffusers has converters for: what a file does to a layer is what its converted form does."""

import numpy as np
import pytest
import torch
from diffusers import FluxTransformer2DModel
from diffusers.loaders import lora_conversion_utils as converters
from diffusers.loaders.single_file_utils import convert_sd3_transformer_checkpoint_to_diffusers

from denoisers import asked, of_transformer
from loras import numbers, write_lora
from pleinair.adapters.lora_file import open_lora
from pleinair.adapters.matching import Networks, networks_in
from pleinair.adapters.merging import Use, planned
from pleinair.bundle.opening import open_bundle
from pleinair.engines.edits import Layer
from pleinair.engines.engine import engine_named
from pleinair.engines.graphs import open_graph

RANK, INNER, WIDTH = 3, 2, 3072  # of FLUX, which the converters take for granted
FLUX = {  # original name -> rows
    **dict.fromkeys(("img_in", "txt_in", "time_in.in_layer", "time_in.out_layer", "guidance_in.in_layer"), WIDTH),
    **dict.fromkeys(("guidance_in.out_layer", "vector_in.in_layer", "vector_in.out_layer"), WIDTH),
    "final_layer.linear": 64,
    "final_layer.adaLN_modulation.1": 2 * WIDTH,
    **{f"double_blocks.0.{side}_{name}": rows for side in ("img", "txt") for name, rows in (
        ("attn.qkv", 3 * WIDTH), ("attn.proj", WIDTH), ("mlp.0", 4 * WIDTH), ("mlp.2", WIDTH), ("mod.lin", 6 * WIDTH),
    )},
    "single_blocks.0.linear1": 7 * WIDTH,
    "single_blocks.0.linear2": WIDTH,
    "single_blocks.0.modulation.lin": 3 * WIDTH,
}  # fmt: skip
XLABS = {
    **{f"double_blocks.0.processor.qkv_lora{n}": 3 * WIDTH for n in (1, 2)},
    **{f"double_blocks.0.processor.proj_lora{n}": WIDTH for n in (1, 2)},
    "single_blocks.0.processor.qkv_lora": 3 * WIDTH,
    "single_blocks.0.processor.proj_lora": WIDTH,
}


def low_rank(names, down, up, alpha=None):
    """The tensors of a LoRA under these names."""
    rng, found = np.random.default_rng(0), {}
    for name, rows in names.items():
        found |= {f"{name}.{down}": numbers(rng, (RANK, INNER)), f"{name}.{up}": numbers(rng, (rows, RANK))}
        if alpha is not None and "final_layer" not in name:  # whose alpha diffusers leaves out
            found[f"{name}.alpha"] = np.array(alpha, np.float32)
    return found


def flat(names, prefix):
    return {prefix + name.replace(".", "_"): rows for name, rows in names.items()}


def dotted(names, prefix):
    return {prefix + name: rows for name, rows in names.items()}


FILES = {  # how a file is named -> its tensors, and diffusers' converter
    "kohya": (
        low_rank(flat(FLUX, "lora_unet_"), "lora_down.weight", "lora_up.weight", 1.5),
        converters._convert_kohya_flux_lora_to_diffusers,
    ),
    "ComfyUI": (
        low_rank(dotted(FLUX, "diffusion_model."), "lora_down.weight", "lora_up.weight", 1.5),
        converters._convert_kohya_flux_lora_to_diffusers,
    ),
    "XLabs": (low_rank(XLABS, "down.weight", "up.weight"), converters._convert_xlabs_flux_lora_to_diffusers),
}


def planned_for(file, denoiser, layers):
    model = Networks("storybook", denoiser, ())
    return planned(model, [Use(open_lora(file), 1.0, 1.0)], lambda graph: layers)


@pytest.mark.parametrize("spelling", FILES)
def test_names_of_flux_are_read_as_diffusers_reads_them(tmp_path, spelling):
    tensors, convert = FILES[spelling]
    file = write_lora(tmp_path / "style.safetensors", tensors)
    converted = convert({key: torch.from_numpy(array.copy()) for key, array in tensors.items()})
    expected = {
        key.removesuffix(".lora_B.weight").removeprefix("transformer."): (
            up @ converted[key.replace("lora_B", "lora_A")]
        ).numpy()
        for key, up in converted.items()
        if key.endswith(".lora_B.weight")
    }
    merge = planned_for(file, "transformer", {path: Layer(change.shape) for path, change in expected.items()})
    (applied,), (edit,) = merge.applied, merge.edits("transformer")
    assert applied.left_out == () and applied.layers == applied.of and set(edit.changes) == set(expected)
    assert len(expected) == {"kohya": 30, "ComfyUI": 30, "XLabs": 12}[spelling]
    for path, change in expected.items():
        found = edit.changes[path].weight(np.zeros(change.shape, np.float32))
        np.testing.assert_allclose(found, change, atol=1e-6, err_msg=path)


def sd3_shapes():
    """The original names of an SD 3 of two blocks and 8 channels, and their shapes."""
    shapes = {"pos_embed": (1, 4, 8), "x_embedder.proj": (8, 16, 2, 2), "context_embedder": (8, 12)}
    shapes |= {f"{name}_embedder.mlp.{n}": (8, 8) for name in "ty" for n in (0, 2)}
    shapes |= {"final_layer.linear": (64, 8), "final_layer.adaLN_modulation.1": (16, 8)}
    for block in range(2):
        name = f"joint_blocks.{block}"
        for side in ("x_block", "context_block"):
            last = block == 1 and side == "context_block"
            shapes |= {f"{name}.{side}.attn.qkv": (24, 8), f"{name}.{side}.adaLN_modulation.1": (48, 8)}
            if last:
                shapes[f"{name}.{side}.adaLN_modulation.1"] = (16, 8)
            else:
                mlp = {f"{name}.{side}.mlp.fc1": (32, 8), f"{name}.{side}.mlp.fc2": (8, 32)}
                shapes |= {f"{name}.{side}.attn.proj": (8, 8), **mlp}
    return shapes | {"joint_blocks.0.x_block.attn2.qkv": (24, 8), "joint_blocks.0.x_block.attn2.proj": (8, 8)}


def as_diffusers(weights):
    """Path -> array; `weights` are those of all layers, and their biases."""
    plain = {key: torch.from_numpy(array.copy()) for key, array in weights.items()}
    return {key: array.numpy() for key, array in convert_sd3_transformer_checkpoint_to_diffusers(plain).items()}


def test_names_of_sd3_are_read_as_diffusers_reads_them(tmp_path):
    """Weights and biases, of layers whose names and rows are otherwise."""
    rng, shapes = np.random.default_rng(1), sd3_shapes()
    before = {"pos_embed": numbers(rng, shapes.pop("pos_embed"))}
    before |= {f"{name}.weight": numbers(rng, shape) for name, shape in shapes.items()}
    before |= {f"{name}.bias": numbers(rng, shape[:1]) for name, shape in shapes.items()}
    after, tensors = dict(before), {}
    for name, shape in shapes.items():
        file = "lora_unet_" + name.replace(".", "_")
        tensors |= {f"{file}.diff": numbers(rng, shape), f"{file}.diff_b": numbers(rng, shape[:1])}
        after[f"{name}.weight"] = before[f"{name}.weight"] + tensors[f"{file}.diff"]
        after[f"{name}.bias"] = before[f"{name}.bias"] + tensors[f"{file}.diff_b"]
    old, expected = as_diffusers(before), as_diffusers(after)
    paths = [key.removesuffix(".weight") for key in old if key.endswith(".weight")]
    layers = {path: Layer(old[f"{path}.weight"].shape, bias=True) for path in paths}
    merge = planned_for(write_lora(tmp_path / "a.safetensors", tensors), "transformer", layers)
    (edit,) = merge.edits("transformer")
    assert merge.applied[0].left_out == () and set(edit.changes) == set(paths)
    for path, change in edit.changes.items():
        np.testing.assert_allclose(change.weight(old[f"{path}.weight"]), expected[f"{path}.weight"], err_msg=path)
        np.testing.assert_allclose(change.bias(old[f"{path}.bias"]), expected[f"{path}.bias"], err_msg=path)


@pytest.mark.parametrize("engine", ["openvino", "onnx"])
def test_a_flux_with_a_lora_says_what_torch_says(tiny_sources, exported, tmp_path, engine):
    """Query, key, value and more are one layer in its file, and one layer's halves lie the other way round."""
    bundle = open_bundle(exported("flux", "fp32"))
    flux = FluxTransformer2DModel.from_pretrained(tiny_sources["flux"] / "transformer").eval()
    parts = {
        "double_blocks.0.img_attn.qkv": [f"transformer_blocks.0.attn.to_{each}" for each in "qkv"],
        "double_blocks.0.txt_attn.qkv": [f"transformer_blocks.0.attn.add_{each}_proj" for each in "qkv"],
        "single_blocks.0.linear1": [
            *(f"single_transformer_blocks.0.attn.to_{each}" for each in "qkv"),
            "single_transformer_blocks.0.proj_mlp",
        ],
        "final_layer.adaLN_modulation.1": ["norm_out.linear"],
    }
    rng, tensors = np.random.default_rng(0), {}
    given = asked(bundle) | {"timestep": np.array([0.5], np.float32)}
    before = of_transformer(flux, given)
    with torch.no_grad():
        for name, paths in parts.items():
            weights = [flux.get_submodule(path).weight for path in paths]
            change = numbers(rng, (sum(map(len, weights)), weights[0].shape[1]))
            tensors[f"diffusion_model.{name}.diff"] = change
            rows = np.split(change, np.cumsum([len(weight) for weight in weights])[:-1])
            if name.startswith("final_layer"):
                rows = [np.roll(change, len(change) // 2, axis=0)]
            for weight, each in zip(weights, rows, strict=True):
                weight += torch.from_numpy(each.copy())
    file = write_lora(tmp_path / "style.safetensors", tensors)
    opened = engine_named(engine)
    merge = planned(
        networks_in(bundle.manifest), [Use(open_lora(file), 1.0, 1.0)], lambda graph: opened.layers(bundle, graph)
    )
    assert merge.applied[0].words == "style: 4 of 4 layers at 1"
    edited = open_graph(bundle, "transformer", engine, None, 1, edits=merge.edits("transformer"))
    expected = of_transformer(flux, given)
    assert np.abs(expected - before).max() > 0.05
    assert np.abs(edited(**given)["out_sample"] - expected).max() < 1e-4
