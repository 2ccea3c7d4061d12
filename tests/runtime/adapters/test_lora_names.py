"""Names of layers in LoRA files, held against a table of Stability's names that was written otherwise."""

import numpy as np
import pytest

import original_names
from loras import write_lora
from pleinair.adapters.lora_file import open_lora
from pleinair.adapters.matching import Networks
from pleinair.adapters.merging import Use, planned
from pleinair.adapters.sgm import original_names as names_there
from pleinair.engines.edits import Layer
from pleinair.pouring.topologies import open_topologies, read_topologies


def unet_paths(model):
    """Layer paths of a UNet whose graph ships."""
    rows = (row for row in read_topologies()["topologies"] if model in row["models"] and row["graph"] == "unet")
    shapes = open_topologies(next(rows))[model].shapes
    return [key.removesuffix(".weight") for key in shapes if key.endswith(".weight")]


@pytest.mark.parametrize("model", ["sd15", "sdxl", "ssd-1b"])
def test_every_layer_of_a_unet_has_its_original_name(model):
    paths = unet_paths(model)
    keys = original_names.unet({f"{path}.weight": path for path in paths})
    assert names_there(paths) == {path: key.removesuffix(".weight") for key, path in keys.items()}


BLOCK = "down_blocks.0.attentions.0.transformer_blocks.0"
CLIP, T5 = "encoder.layers.0.self_attn.q_proj", "encoder.block.0.layer.0.SelfAttention.q"
GRAPHS = {  # of a model that has all: graph -> paths
    "unet": (f"{BLOCK}.attn1.to_q", f"{BLOCK}.attn1.to_out.0", "conv_in", "down_blocks.0.resnets.0.conv1"),
    "text_encoder": (CLIP,),
    "text_encoder_2": (CLIP,),
    "text_encoder_3": (T5,),
}
FLAT = BLOCK.replace(".", "_")
KEYS = {  # the two keys of a layer in a file, as a tool writes them -> graph and path that they mean
    # diffusers, old and new, and peft
    f"unet.{BLOCK}.attn1.processor.to_q_lora.(down|up).weight": ("unet", f"{BLOCK}.attn1.to_q"),
    f"{BLOCK}.attn1.processor.to_q_lora.(down|up).weight": ("unet", f"{BLOCK}.attn1.to_q"),
    f"{BLOCK}.attn1.processor.to_out_lora.(down|up).weight": ("unet", f"{BLOCK}.attn1.to_out.0"),
    f"unet.{BLOCK}.attn1.to_q.lora.(down|up).weight": ("unet", f"{BLOCK}.attn1.to_q"),
    f"unet.{BLOCK}.attn1.to_out.0.lora_(A|B).weight": ("unet", f"{BLOCK}.attn1.to_out.0"),
    f"base_model.model.{BLOCK}.attn1.to_q.lora_(A|B).weight": ("unet", f"{BLOCK}.attn1.to_q"),
    f"unet.base_model.model.{BLOCK}.attn1.to_q.lora_(A|B).default.weight": ("unet", f"{BLOCK}.attn1.to_q"),
    "text_encoder.text_model.encoder.layers.0.self_attn.to_q_lora.(down|up).weight": ("text_encoder", CLIP),
    "text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_linear_layer.(down|up).weight": (
        "text_encoder",
        CLIP,
    ),
    f"text_encoder_2.text_model.{CLIP}.lora_(A|B).weight": ("text_encoder_2", CLIP),
    # kohya, in diffusers' names and Stability's, and its OFT's prefix
    f"lora_unet_{FLAT}_attn1_to_out_0.lora_(down|up).weight": ("unet", f"{BLOCK}.attn1.to_out.0"),
    "lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q.lora_(down|up).weight": (
        "unet",
        f"{BLOCK}.attn1.to_q",
    ),
    "lora_unet_input_blocks_0_0.lora_(down|up).weight": ("unet", "conv_in"),
    f"oft_unet_{FLAT}_attn1_to_q.lora_(down|up).weight": ("unet", f"{BLOCK}.attn1.to_q"),
    "oft_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q.lora_(down|up).weight": ("unet", f"{BLOCK}.attn1.to_q"),
    "lora_te1_text_model_encoder_layers_0_self_attn_q_proj.lora_(down|up).weight": ("text_encoder", CLIP),
    "lora_te2_text_model_encoder_layers_0_self_attn_q_proj.lora_(down|up).weight": ("text_encoder_2", CLIP),
    "lora_te3_encoder_block_0_layer_0_SelfAttention_q.lora_(down|up).weight": ("text_encoder_3", T5),
    # LyCORIS and ComfyUI
    f"lycoris_{FLAT}_attn1_to_q.lora_(down|up).weight": ("unet", f"{BLOCK}.attn1.to_q"),
    "diffusion_model.input_blocks.1.0.in_layers.2.lora_(A|B).weight": ("unet", "down_blocks.0.resnets.0.conv1"),
    f"diffusion_model.{BLOCK}.attn1.to_q.lora_(A|B).weight": ("unet", f"{BLOCK}.attn1.to_q"),
    f"text_encoders.clip_l.transformer.text_model.{CLIP}.lora_(A|B).weight": ("text_encoder", CLIP),
    f"text_encoders.clip_g.transformer.text_model.{CLIP}.lora_(A|B).weight": ("text_encoder_2", CLIP),
    f"text_encoders.t5xxl.transformer.{T5}.lora_(A|B).weight": ("text_encoder_3", T5),
}


def test_keys_of_all_tools_mean_their_layers(tmp_path):
    """One layer a file, so that no name hides another."""
    model = Networks("storybook", "unet", tuple(GRAPHS)[1:])
    rng, wrong = np.random.default_rng(0), {}
    for number, (keys, meant) in enumerate(KEYS.items()):
        head, pair, tail = keys.replace("(", ")").split(")")
        tensors = {head + part + tail: rng.normal(size=(4, 4)).astype(np.float32) for part in pair.split("|")}
        file = open_lora(write_lora(tmp_path / f"{number}.safetensors", tensors))
        layers = {graph: dict.fromkeys(paths, Layer((4, 4))) for graph, paths in GRAPHS.items()}
        merge = planned(model, [Use(file, 1.0, 1.0)], layers.__getitem__)
        down, up = tensors.values()
        (found,) = [(graph, *merge.steps[graph]) for graph in merge.steps]
        change = merge.edits(found[0])[0].changes[found[1]].weight(np.zeros((4, 4), np.float32))
        if found != meant or not np.allclose(change, up @ down, atol=1e-6):
            wrong[keys] = found
    assert wrong == {}


def test_the_one_text_encoder_of_a_model_needs_no_number(tmp_path):
    rest, wrong = "text_model_encoder_layers_0_self_attn_q_proj", []
    for prefix in ("lora_te_", "lora_te1_", "lycoris_"):
        file = write_lora(tmp_path / "a.safetensors", {f"{prefix}{rest}.diff": np.ones((4, 4), np.float32)})
        layers = {"unet": {"conv_in": Layer((4, 4))}, "text_encoder": {CLIP: Layer((4, 4))}}
        merge = planned(
            Networks("storybook", "unet", ("text_encoder",)), [Use(open_lora(file), 1.0, 1.0)], layers.__getitem__
        )
        wrong += [prefix] if [*merge.steps] != ["text_encoder"] else []
    assert wrong == []
