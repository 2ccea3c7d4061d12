"""`<lora:NAME:WEIGHT>` in prompts, as A1111 reads them: no words, but LoRA files to be used.

The first number is for the text encoders, and for the denoiser where no second one says otherwise; `te=` and `unet=`
say either by name (A1111, extensions-builtin/Lora/extra_networks_lora.py). Without a number it is 1.
"""

import re
from math import nan
from typing import NamedTuple

from pleinair.checks import SHOWN, one_line, scalar, shown_value
from pleinair.errors import RequestError
from pleinair.text.syntax import shown

TAG = re.compile(r"<(?:lora|lyco):([^<>]{1,400})>")
NAMED = {"te": 0, "unet": 1}
MOST = 10.0  # beyond it, either way, no picture is left
USUAL = "most are made for 0.5 to 1"


class Tag(NamedTuple):
    """A LoRA that a prompt names, and its weights."""

    name: str
    text_weight: float
    weight: float


def without_tags(prompt: str) -> str:
    """What of a prompt is words."""
    return TAG.sub("", prompt)


def tags_in(prompt: str) -> list[Tag]:
    """The LoRAs that a prompt names; raises RequestError for weights that are none, and for one that is named twice."""
    found = [tag_of(said) for said in TAG.findall(prompt)]
    names = [tag.name for tag in found]
    for name in names:
        if names.count(name) > 1:
            raise RequestError(f"the prompt names the LoRA '{shown(name)}' twice; name it once, with its weight")
    return found


def name_in(said: str) -> str:
    """The name in what stands in a tag."""
    return said.partition(":")[0].strip()


def tag_of(said: str) -> Tag:
    name, rest = name_in(said), said.split(":")[1:]
    if not name:
        raise RequestError(f"'<lora:{shown(said)}>' names no LoRA; write <lora:NAME:0.8>")
    plain = [each for each in rest if "=" not in each]
    weights = [weight_of(name, each) for each in (plain or ["1"])[:2]]
    weights = weights * 2 if len(weights) == 1 else weights
    if len(plain) > 2:
        raise RequestError(f"LoRA '{shown(name)}' has more than two numbers; write <lora:NAME:TEXT:UNET>")
    for key, _, value in (each.partition("=") for each in rest if "=" in each):
        if key.strip() not in NAMED:
            odd = shown(key.strip())
            raise RequestError(f"LoRA '{shown(name)}' has the setting '{odd}', which is not supported; leave it out")
        weights[NAMED[key.strip()]] = weight_of(name, value)
    return Tag(name, *weights)


def weight_of(name: str, said: object) -> float:
    """The weight of a LoRA; RequestError for what is none, or out of range."""
    try:
        weight = float(scalar(said))
    except (TypeError, ValueError, OverflowError):
        weight = nan
    if -MOST <= weight <= MOST:
        return weight
    given = one_line(said, SHOWN) if isinstance(said, str) and said.strip() else shown_value(said)
    what = "so large a weight" if given == "that" else f"the weight {given}"
    raise RequestError(f"LoRA '{shown(name)}' cannot have {what}; choose {-MOST:g} to {MOST:g} ({USUAL})")
