"""What Black Forest Labs, Stability and XLabs call the layers of FLUX and SD 3 that diffusers calls otherwise.

Theirs may be several of diffusers' in one, row below row: query, key and value. Checked against diffusers' converters.
"""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

Rows = tuple[tuple[str, tuple[str, ...]], ...]

BLOCK = re.compile(r"((?:single_)?transformer_blocks\.\d{1,4})\..+")
QKV, ADDED = ("attn.to_q", "attn.to_k", "attn.to_v"), ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj")
TIMES, POOLED, GUIDANCE = (f"time_text_embed.{each}_embedder.linear_" for each in ("timestep", "text", "guidance"))
NORM_OUT = "norm_out.linear"
FLUX_ENDS: Rows = (
    ("time_in.in_layer", (f"{TIMES}1",)),
    ("time_in.out_layer", (f"{TIMES}2",)),
    ("vector_in.in_layer", (f"{POOLED}1",)),
    ("vector_in.out_layer", (f"{POOLED}2",)),
    ("guidance_in.in_layer", (f"{GUIDANCE}1",)),
    ("guidance_in.out_layer", (f"{GUIDANCE}2",)),
    ("txt_in", ("context_embedder",)),
    ("img_in", ("x_embedder",)),
    ("final_layer.linear", ("proj_out",)),
    ("final_layer.adaLN_modulation.1", (NORM_OUT,)),
)
FLUX_DOUBLE: Rows = (
    ("img_mod.lin", ("norm1.linear",)),
    ("txt_mod.lin", ("norm1_context.linear",)),
    ("img_attn.qkv", QKV),
    ("txt_attn.qkv", ADDED),
    ("img_attn.proj", ("attn.to_out.0",)),
    ("txt_attn.proj", ("attn.to_add_out",)),
    ("img_mlp.0", ("ff.net.0.proj",)),
    ("img_mlp.2", ("ff.net.2",)),
    ("txt_mlp.0", ("ff_context.net.0.proj",)),
    ("txt_mlp.2", ("ff_context.net.2",)),
    ("processor.qkv_lora1", QKV),  # XLabs'
    ("processor.qkv_lora2", ADDED),
    ("processor.proj_lora1", ("attn.to_out.0",)),
    ("processor.proj_lora2", ("attn.to_add_out",)),
)
FLUX_SINGLE: Rows = (
    ("modulation.lin", ("norm.linear",)),
    ("linear1", (*QKV, "proj_mlp")),
    ("linear2", ("proj_out",)),
    ("processor.qkv_lora", QKV),
    ("processor.proj_lora", ("proj_out",)),
)
SD3_ENDS: Rows = (
    ("t_embedder.mlp.0", (f"{TIMES}1",)),
    ("t_embedder.mlp.2", (f"{TIMES}2",)),
    ("y_embedder.mlp.0", (f"{POOLED}1",)),
    ("y_embedder.mlp.2", (f"{POOLED}2",)),
    ("context_embedder", ("context_embedder",)),
    ("x_embedder.proj", ("pos_embed.proj",)),
    ("final_layer.linear", ("proj_out",)),
    ("final_layer.adaLN_modulation.1", (NORM_OUT,)),
)
SD3_JOINT: Rows = (
    ("x_block.attn.qkv", QKV),
    ("x_block.attn.proj", ("attn.to_out.0",)),
    ("x_block.attn2.qkv", ("attn2.to_q", "attn2.to_k", "attn2.to_v")),
    ("x_block.attn2.proj", ("attn2.to_out.0",)),
    ("x_block.adaLN_modulation.1", ("norm1.linear",)),
    ("x_block.mlp.fc1", ("ff.net.0.proj",)),
    ("x_block.mlp.fc2", ("ff.net.2",)),
    ("context_block.attn.qkv", ADDED),
    ("context_block.attn.proj", ("attn.to_add_out",)),
    ("context_block.adaLN_modulation.1", ("norm1_context.linear",)),
    ("context_block.mlp.fc1", ("ff_context.net.0.proj",)),
    ("context_block.mlp.fc2", ("ff_context.net.2",)),
)


class Original(NamedTuple):
    """Diffusers' paths of the layers that are one elsewhere; `swapped`: the halves of its rows lie otherwise."""

    paths: tuple[str, ...]
    swapped: bool = False


def original_layers(paths: Iterable[str]) -> dict[str, Original]:
    """The original names of a transformer's layers; none for transformers that diffusers' names belong to."""
    here = set(paths)
    blocks: dict[str, set[str]] = {}
    for path in here:
        if match := BLOCK.fullmatch(path):
            blocks.setdefault(match[1], set()).add(path.removeprefix(f"{match[1]}."))
    if not any(within & {*ADDED} for within in blocks.values()):
        return {}
    flux = any(block.startswith("single_") for block in blocks)
    found = {name: Original(theirs, theirs == (NORM_OUT,)) for name, theirs in (FLUX_ENDS if flux else SD3_ENDS)}
    for block, within in blocks.items():
        found |= dict(in_block(block, within, flux))
    return {name: each for name, each in found.items() if here.issuperset(each.paths)}


def in_block(block: str, within: set[str], flux: bool) -> Iterator[tuple[str, Original]]:
    """Those of a block. SD 3's last one ends with its text's norm, whose halves diffusers has the other way round."""
    kind, _, number = block.rpartition(".")
    single = kind.startswith("single_")
    rows = (FLUX_SINGLE if single else FLUX_DOUBLE) if flux else SD3_JOINT
    name = ("single_blocks" if single else "double_blocks") if flux else "joint_blocks"
    last = not flux and "ff_context.net.2" not in within
    for theirs, ours in rows:
        paths = tuple(f"{block}.{path}" for path in ours)
        yield f"{name}.{number}.{theirs}", Original(paths, last and ours == ("norm1_context.linear",))
