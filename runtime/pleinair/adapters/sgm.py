"""What CompVis and Stability call the layers of a UNet that diffusers calls otherwise."""

import re
from collections.abc import Iterable, Mapping

Pairs = tuple[tuple[str, str], ...]

RESNET: Pairs = (
    ("in_layers.0.", "norm1."),
    ("in_layers.2.", "conv1."),
    ("emb_layers.1.", "time_emb_proj."),
    ("out_layers.0.", "norm2."),
    ("out_layers.3.", "conv2."),
    ("skip_connection.", "conv_shortcut."),
)
ENDS: Pairs = (  # of a UNet
    ("time_embed.0.", "time_embedding.linear_1."),
    ("time_embed.2.", "time_embedding.linear_2."),
    ("time_embed.cond_proj.", "time_embedding.cond_proj."),
    ("label_emb.0.0.", "add_embedding.linear_1."),
    ("label_emb.0.2.", "add_embedding.linear_2."),
    ("input_blocks.0.0.", "conv_in."),
    ("out.0.", "conv_norm_out."),
    ("out.2.", "conv_out."),
)
MIDDLE = {
    "middle_block.0": "mid_block.resnets.0",
    "middle_block.1": "mid_block.attentions.0",
    "middle_block.2": "mid_block.resnets.1",
}
WITHIN = {ours.rstrip("."): theirs.rstrip(".") for theirs, ours in RESNET}
WHOLE = {ours.rstrip("."): theirs.rstrip(".") for theirs, ours in (*ENDS, *MIDDLE.items())}
BLOCK = re.compile(r"(down|up)_blocks\.(\d{1,4})\.(resnets|attentions|downsamplers|upsamplers)\.(\d{1,4})\.(.+)")


def original_names(paths: Iterable[str]) -> dict[str, str]:
    """The original name of each layer of a UNet, by diffusers' path; counted off the paths themselves."""
    paths = list(paths)
    found = {path: BLOCK.fullmatch(path) for path in paths}
    places = {match.groups()[:4] for match in found.values() if match}
    starts = first_blocks(places)
    attended = {(side, block) for side, block, kind, _ in places if kind == "attentions"}
    named = {}
    for path, match in found.items():
        name = in_block(match, starts, attended) if match else elsewhere(path)
        if name:
            named[path] = name
    return named


def first_blocks(places: Iterable[tuple[str, str, str, str]]) -> dict[tuple[str, str], tuple[int, int]]:
    """(side, block of diffusers') -> the number of its first block there, and how many it is, without a sampler."""
    counts: dict[tuple[str, int], int] = {}
    for side, block, kind, _ in places:
        counts[side, int(block)] = counts.get((side, int(block)), 0) + (kind == "resnets")
    found, at = {}, {"down": 1, "up": 0}  # the first input block is conv_in; a sampler going down is a block of its own
    for side, block in sorted(counts):
        found[side, str(block)] = at[side], counts[side, block]
        at[side] += counts[side, block] + (side == "down")
    return found


def in_block(match: re.Match, starts: Mapping[tuple[str, str], tuple[int, int]], attended: set[tuple[str, str]]) -> str:
    """ "down_blocks.1.attentions.0.proj_in" -> "input_blocks.4.1.proj_in"."""
    side, block, kind, number, rest = match.groups()
    start, count = starts[side, block]
    blocks = "input_blocks" if side == "down" else "output_blocks"
    if kind == "downsamplers":
        return f"{blocks}.{start + count}.0.op"
    if kind == "upsamplers":
        return f"{blocks}.{start + count - 1}.{2 if (side, block) in attended else 1}.{rest}"
    if kind == "resnets":
        return f"{blocks}.{start + int(number)}.0.{WITHIN.get(rest, rest)}"
    return f"{blocks}.{start + int(number)}.1.{rest}"


def elsewhere(path: str) -> str | None:
    """The name of a layer in the middle, or at an end."""
    if path in WHOLE:
        return WHOLE[path]
    middle = next((place for place in WHOLE if place.startswith("mid_block.") and path.startswith(f"{place}.")), None)
    if middle is None:
        return None
    rest = path.removeprefix(f"{middle}.")
    return f"{WHOLE[middle]}.{WITHIN.get(rest, rest) if '.resnets.' in middle else rest}"
