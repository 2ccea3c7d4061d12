"""Adopting against diffusers, transformers and the export itself: the same model by another tool is the same bundle."""

import json
from dataclasses import replace

import diffusers
import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from tokenizers import Tokenizer
from transformers import CLIPTokenizer

import pleinair
from foreign import as_olive, as_optimum, edit_json
from pleinair.bundle.opening import open_bundle

HALF = TensorProto.FLOAT16
PROMPTS = (
    "",
    "the red and (on:1.2) & 30 gulls!",
    "naïve café ÀÉ  ẞ İstanbul",
    "日本の猫 🐱🎨 emoji",
    "it's we'll DON'T 12345",
    "tabs\tand\nnew  lines  ",
    "<|endoftext|> x <|startoftext|>",
    "ﬁ ligature ½ ² e\u0301",
)


def told(manifest):
    """What adopting finds out as exporting knows it: all but files, origins, and what is measured."""
    graphs = {
        name: (
            info.weights,
            info.inputs,
            {port: each for port, each in info.outputs.items() if port != "pooler_output"},
        )
        for name, info in manifest.graphs.items()
    }
    latents = replace(manifest.latents, rgb=None)
    return replace(manifest, name="", graphs=graphs, latents=latents, files={}, origin=None, weights={})


@pytest.mark.parametrize("family", ["sdxl", "lcm", "pix2pix", "sd3", "flux", "pixart", "sana"])
def test_an_adopted_folder_is_described_as_its_export_is(tmp_path, exported, family):
    bundle = open_bundle(exported(family, "fp32"))
    for form in bundle.formats:
        folder = as_optimum(bundle.path, tmp_path / form / "model", form)
        edit_json(folder / "model_index.json", vae=None)  # a tool may list its halves
        adopted = pleinair.adopt(folder)
        assert told(adopted.manifest) == told(bundle.manifest), form
        assert adopted.scheduler_config == bundle.scheduler_config, form


@pytest.mark.parametrize("pad, listed", [("!", {}), ("<|endoftext|>", {}), ("!", {"added_tokens_decoder": {}})])
def test_a_rebuilt_tokenizer_is_that_of_transformers(tmp_path, exported, pad, listed):
    """special_tokens_map.json names the padding where the config lists no tokens, as that of SD 2 does."""
    folder = as_optimum(exported("lcm", "fp32"), tmp_path / "model", "onnx")
    (folder / "tokenizer" / "tokenizer.json").unlink(missing_ok=True)
    (folder / "tokenizer" / "special_tokens_map.json").write_text(json.dumps({"pad_token": pad}))
    edit_json(folder / "tokenizer" / "tokenizer_config.json", pad_token="<|endoftext|>", **listed)
    theirs = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    pad_id = theirs.pad_token_id
    (encoder,) = pleinair.adopt(folder).manifest.text_encoders
    assert (encoder.bos_id, encoder.eos_id, encoder.pad_id) == (theirs.bos_token_id, theirs.eos_token_id, pad_id)
    ours = Tokenizer.from_file(str(folder / "tokenizer" / "tokenizer.json"))
    again = CLIPTokenizer.from_pretrained(folder / "tokenizer")  # which takes the file that was written
    for prompt in PROMPTS:
        assert ours.encode(prompt).ids == theirs(prompt)["input_ids"] == again(prompt)["input_ids"]


def through_casts(model, ports, outside, reshape=()):
    """A model whose inputs or outputs of these names have other numbers outside, and no sides if in `reshape`."""
    graph = model.graph
    for value in [*graph.input, *graph.output]:
        if value.name not in ports:
            continue
        name, kind, taken = value.name, value.type.tensor_type.elem_type, value in graph.input
        inner = f"inner_{name}"
        for node in graph.node:
            names = node.input if taken else node.output
            for place, each in enumerate(names):
                names[place] = inner if each == name else each
            if not taken:  # whoever reads the output inside
                for place, each in enumerate(node.input):
                    node.input[place] = inner if each == name else each
        value.type.tensor_type.elem_type = outside
        if not taken:
            graph.node.append(helper.make_node("Cast", [inner], [name], to=outside))
            continue
        added = [helper.make_node("Cast", [name], [f"cast_{name}"], to=kind)]
        if name in reshape:
            graph.initializer.append(helper.make_tensor(f"row_{name}", TensorProto.INT64, [1], [1]))
            added.append(helper.make_node("Reshape", [f"cast_{name}", f"row_{name}"], [inner]))
            value.type.tensor_type.shape.CopyFrom(onnx.TensorShapeProto())
        else:
            added[0].output[0] = inner
        for place, node in enumerate(added):
            graph.node.insert(place, node)
    return model


def with_mean_alone(model):
    """A VAE encoder that answers with the mean of the latents, as `latent_sample`."""
    graph, (answer,) = model.graph, model.graph.output
    for name, value in (("start", 0), ("end", 4), ("axis", 1)):
        graph.initializer.append(helper.make_tensor(name, TensorProto.INT64, [1], [value]))
    graph.node.append(helper.make_node("Slice", [answer.name, "start", "end", "axis"], ["latent_sample"]))
    answer.name = "latent_sample"
    answer.type.tensor_type.shape.dim[1].dim_value = 4
    return model


def test_half_precision_ports_scalars_and_scattered_weights(tmp_path, exported, tiny_sources):
    """Every oddity of published ONNX folders at once, against diffusers on the folder that the graphs are of."""
    folder = as_olive(exported("sd1", "fp32"), tmp_path / "model")
    graphs = {name: onnx.load(folder / name / "model.onnx") for name in ("text_encoder", "unet", "vae_encoder")}
    through_casts(graphs["text_encoder"], ["input_ids"], TensorProto.INT32)
    through_casts(graphs["text_encoder"], ["last_hidden_state"], HALF)
    through_casts(graphs["unet"], ["timestep"], TensorProto.INT64, reshape=["timestep"])
    through_casts(graphs["unet"], ["sample", "encoder_hidden_states", "out_sample"], HALF)
    del graphs["text_encoder"].graph.output[1:]
    with_mean_alone(graphs["vae_encoder"])
    scattered = {"unet": {"location": "weights.pb"}, "text_encoder": {"all_tensors_to_one_file": False}}
    for name, model in graphs.items():
        where = {"save_as_external_data": True, "size_threshold": 200, **scattered[name]} if name in scattered else {}
        (folder / name / "model.onnx").unlink()
        onnx.save_model(model, folder / name / "model.onnx", **where)
    bundle = pleinair.adopt(folder)
    unet = bundle.manifest.graphs["unet"]
    assert unet.files["onnx"] == ("unet/model.onnx", "unet/weights.pb") and unet.inputs["timestep"].shape == ()
    assert len(bundle.manifest.graphs["text_encoder"].files["onnx"]) > 20
    assert bundle.manifest.vae.kind == "plain"
    theirs = diffusers.StableDiffusionPipeline.from_pretrained(tiny_sources["sd1"], safety_checker=None)
    theirs.set_progress_bar_config(disable=True)
    expected = theirs(
        "the red one",
        negative_prompt="and on",
        num_inference_steps=4,
        guidance_scale=4.0,
        width=72,
        height=56,
        generator=torch.Generator().manual_seed(5),
        output_type="np",
    ).images
    pipe = pleinair.load(folder, engine="onnx")
    how = {"steps": 4, "guidance": 4.0, "seed": 5, "width": 72, "height": 56}
    painted = pipe.generate("the red one", "and on", **how)
    assert painted.pixels.dtype == np.float32 and np.abs(painted.pixels - expected).max() < 2e-2
    assert not painted.warnings
    fractions = pipe.generate("the red one", sampler="euler", spacing="karras", **how)
    assert any("whole timesteps" in each for each in fractions.warnings)
