"""Files of weights that are given as LoRAs and are none, told by the names of their tensors."""

import re
from collections.abc import Collection
from typing import NamedTuple

from pleinair.checks import one_line

UNSUPPORTED = "choose a LoRA"


class OtherFile(NamedTuple):
    """What a file with a name like this is, and what to do with it."""

    names: re.Pattern
    what: str
    remedy: str


OTHERS = (  # what is more particular stands before what it could be taken for
    OtherFile(re.compile(r"lora_controlnet"), "a Control-LoRA, which is not supported", UNSUPPORTED),
    OtherFile(re.compile(r"lllite_.*"), "a ControlNet-LLLite of kohya's, which is not supported", UNSUPPORTED),
    OtherFile(re.compile(r"(ip_adapter|image_proj)\..*"), "an IP-Adapter, which is not supported", UNSUPPORTED),
    OtherFile(re.compile(r".*motion_modules\..*"), "a motion module, which is not supported", UNSUPPORTED),
    OtherFile(
        re.compile(r"(.*\.)?(control_model|controlnet_\w+|input_hint_block|zero_convs)\..*"),
        "a ControlNet",
        "pour it, and give what becomes of it with --control",
    ),
    OtherFile(
        re.compile(r"emb_params|string_to_param.*|clip_[lg]|bundle_emb\..*"),
        "a textual inversion",
        "give it with --embedding",
    ),
    OtherFile(
        re.compile(r".*(input_blocks|down_blocks|(double|single|joint|transformer)_blocks)\.\d.*|cond_stage_model\..*"),
        "a model's own weights",
        "give a LoRA, or make a bundle of this file with: pleinair pour FILE",
    ),
    OtherFile(
        re.compile(r"(.*\.)?(encoder|decoder)\.(conv_in|layers|mid|down|up|\d)\b.*"), "a VAE", "give it with --vae"
    ),
)


def told_otherwise(names: Collection[str]) -> str:
    """What a file of these names is, and what to do with it, as the end of a sentence."""
    row = next((row for row in OTHERS if any(map(row.names.fullmatch, names))), None)
    if row is not None:
        return f"is {row.what} and no LoRA; {row.remedy}"
    some = one_line(next(iter(names), ""), 60)
    return f"holds nothing that a LoRA has{f', but such as {some}' if some else ''}; choose a LoRA"
