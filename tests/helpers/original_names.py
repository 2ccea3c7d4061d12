"""The weights of a diffusers model under their original names, as single files have them.

Written from the positions of blocks, not as pleinair.pouring.names reads them: each checks the other.
"""

from collections.abc import Mapping

import numpy as np

Weights = dict[str, np.ndarray]

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
ENDS = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
CLIP = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}


def single_file(parts: Mapping[str, Weights], opened: bool = False) -> Weights:
    """A checkpoint of the weights of a model's components; `opened` for OpenCLIP's names in SD 2."""
    named = {"model.diffusion_model.": unet(parts["unet"]), "first_stage_model.": vae(parts["vae"])}
    texts = {
        folder: {key.removeprefix("text_model."): value for key, value in parts[folder].items()}
        for folder in ("text_encoder", "text_encoder_2")
        if folder in parts
    }
    if "text_encoder_2" in texts:
        place = len(texts) - 1  # behind the first encoder, which a refiner does not have
        named[f"conditioner.embedders.{place}.model."] = open_clip(texts["text_encoder_2"], spare=0)
    if "text_encoder" in texts and len(texts) == 2:
        named["conditioner.embedders.0.transformer.text_model."] = texts["text_encoder"]
    elif opened:
        named["cond_stage_model.model."] = open_clip(texts["text_encoder"])
    elif "text_encoder" in texts:
        named["cond_stage_model.transformer.text_model."] = texts["text_encoder"]
    return {prefix + name: value for prefix, weights in named.items() for name, value in weights.items()}


def unet(state: Weights) -> Weights:
    layers: dict[tuple[str, int], int] = {}
    for key in state:
        side, number, kind, layer, *_ = (*key.split("."), "", "", "")
        if kind == "resnets":
            layers[side, int(number)] = max(layers.get((side, int(number)), 0), int(layer) + 1)
    first = {}
    for side, start, beside in (("down_blocks", 1, 1), ("up_blocks", 0, 0)):
        for block in sorted(number for each, number in layers if each == side):
            first[side, block] = start
            start += layers[side, block] + beside
    return {original_of(key, state, layers, first): value for key, value in state.items()}


def original_of(key: str, state: Weights, layers: dict, first: dict) -> str:
    path, leaf = key.rsplit(".", 1)
    side, *rest = path.split(".")
    if path in ENDS:
        return f"{ENDS[path]}.{leaf}"
    if side == "mid_block":
        kind, number, *inner = rest
        if kind == "resnets":
            return f"middle_block.{2 * int(number)}.{RESNET[inner[0]]}.{leaf}"
        return ".".join(("middle_block.1", *inner, leaf))
    block, kind, number, *inner = int(rest[0]), *rest[1:]
    name, at = {"down_blocks": "input_blocks", "up_blocks": "output_blocks"}[side], first[side, block]
    if kind == "downsamplers":
        return f"{name}.{at + layers[side, block]}.0.op.{leaf}"
    if kind == "upsamplers":
        attended = any(each.startswith(f"{side}.{block}.attentions.") for each in state)
        return f"{name}.{at + layers[side, block] - 1}.{2 if attended else 1}.conv.{leaf}"
    if kind == "resnets":
        return f"{name}.{at + int(number)}.0.{RESNET[inner[0]]}.{leaf}"
    return ".".join((f"{name}.{at + int(number)}.1", *inner, leaf))


def vae(state: Weights) -> Weights:
    """Attention is of 1x1 convolutions here."""
    levels = 1 + max(int(key.split(".")[2]) for key in state if key.startswith("decoder.up_blocks."))
    found = {}
    for key, value in state.items():
        new = key
        for level in range(levels):
            new = new.replace(f"up_blocks.{level}.", f"UP.{levels - 1 - level}.")
        for old, name in (
            ("UP.", "up."),
            ("down_blocks.", "down."),
            ("downsamplers.0", "downsample"),
            ("upsamplers.0", "upsample"),
            ("mid_block.resnets.0", "mid.block_1"),
            ("mid_block.resnets.1", "mid.block_2"),
            (".resnets.", ".block."),
            ("conv_shortcut", "nin_shortcut"),
            ("conv_norm_out", "norm_out"),
        ):
            new = new.replace(old, name)
        if "mid_block.attentions.0" in new:
            for old, name in ATTENTION.items():
                new = new.replace(f"mid_block.attentions.0.{old}.", f"mid.attn_1.{name}.")
            value = value[:, :, None, None] if value.ndim == 2 else value
        found[new] = value
    return found


def open_clip(state: Weights, spare: int = 1) -> Weights:
    """With one layer more than the model, as in the files of SD 2, or as many as it has, and what nothing reads."""
    layers = 1 + max(int(key.split(".")[2]) for key in state if key.startswith("encoder.layers."))
    width = len(state["final_layer_norm.weight"])
    found = {
        "positional_embedding": state["embeddings.position_embedding.weight"],
        "token_embedding.weight": state["embeddings.token_embedding.weight"],
        "ln_final.weight": state["final_layer_norm.weight"],
        "ln_final.bias": state["final_layer_norm.bias"],
        "text_projection": np.ascontiguousarray(state.get("text_projection.weight", np.eye(width, dtype=np.float32)).T),
        "logit_scale": np.ones((1,), np.float32),
    }
    for layer in range(layers + spare):
        old, new = f"encoder.layers.{min(layer, layers - 1)}.", f"transformer.resblocks.{layer}."
        for leaf in ("weight", "bias"):
            projections = [state[f"{old}self_attn.{each}_proj.{leaf}"] for each in "qkv"]
            found[f"{new}attn.in_proj_{leaf}"] = np.concatenate(projections)
            found |= {f"{new}{name}.{leaf}": state[f"{old}{key}.{leaf}"] for key, name in CLIP.items()}
    return found
