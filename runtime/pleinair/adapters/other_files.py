"""Files of weights that are given as LoRAs and are none, told by the names of their tensors."""

import re
from collections.abc import Collection
from typing import NamedTuple

from pleinair.checks import one_line

CHOOSE = "choose a LoRA"


class OtherFile(NamedTuple):
    """What a file with a name like this is, and what to do with it."""

    names: re.Pattern
    what: str
    remedy: str = CHOOSE


OTHERS = (  # what is more particular stands before what it could be taken for
    OtherFile(re.compile(r"lora_controlnet"), "a Control-LoRA, which is not supported"),
    OtherFile(re.compile(r"lllite_.*"), "a ControlNet-LLLite of kohya's, which is not supported"),
    OtherFile(re.compile(r"(ip_adapter|image_proj)\..*"), "an IP-Adapter, which is not supported"),
    OtherFile(re.compile(r"(.*\.)?(control_type_proj|task_embedding).*"), "a ControlNet Union, which is not supported"),
    OtherFile(re.compile(r"(adapter\.)?body\.\d+\..*"), "a T2I-Adapter, which is not supported"),
    OtherFile(re.compile(r".*motion_modules\..*"), "a motion module of AnimateDiff, which is not supported"),
    OtherFile(re.compile(r".*\.[ab][12]\.weight"), "a GLoRA, which is not supported"),
    OtherFile(re.compile(r".*\.lambda_layer"), "a T-LoRA, whose changes depend on the step, which is not supported"),
    OtherFile(re.compile(r".*\.boft_R"), "a BOFT, which is not supported"),
    OtherFile(re.compile(r".*\.oft_R(\.weight)?"), "an OFT as peft writes it, which is not supported"),
    OtherFile(re.compile(r".*\.ia3_l"), "an IA3 as peft writes it, which is not supported"),
    OtherFile(re.compile(r".*\.vera_lambda_b"), "a VeRA, which is not supported"),
    OtherFile(
        re.compile(r"(.*\.)?(control_model|controlnet_\w+|input_hint_block|zero_convs)\..*"),
        "a ControlNet, not a LoRA",
        "pour it, and give what becomes of it with --control",
    ),
    OtherFile(
        re.compile(r"emb_params|string_to_param.*|clip_[lg]|bundle_emb\..*"),
        "a textual inversion, not a LoRA",
        "give it with --embedding",
    ),
    OtherFile(
        re.compile(
            r"(?!.*(en|de)coder\.).*(input_blocks|down_blocks|(double|single|joint|transformer)_blocks)\.\d.*"
            r"|cond_stage_model\..*"
        ),
        "a model's own weights, not a LoRA",
        "choose a LoRA, or make a bundle of this file: pleinair pour FILE",
    ),
    OtherFile(re.compile(r"(.*\.)?text_model\..*"), "a text encoder, not a LoRA"),
    OtherFile(
        re.compile(r"(.*\.)?(encoder|decoder)\.(conv_in|layers|mid|down|up|down_blocks|up_blocks|\d+)\..*"),
        "a VAE, not a LoRA",
        "give it with --vae",
    ),
)


def what_else(names: Collection[str]) -> OtherFile | None:
    """What a file of these names is, where it is known."""
    return next((row for row in OTHERS if any(map(row.names.fullmatch, names))), None)


def told_otherwise(names: Collection[str]) -> str:
    """What a file of these names is, and what to do with it, as the end of a sentence."""
    if row := what_else(names):
        return f"is {row.what}; {row.remedy}"
    some = one_line(next(iter(names), ""), 60)
    return f"changes no weights, as a LoRA does{f': it holds {some}' if some else ''}; {CHOOSE}"
