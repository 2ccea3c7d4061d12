"""LoRA files as callers name them, and as a request has them."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from pleinair.checks import items, shown_path, shown_value
from pleinair.errors import RequestError
from pleinair.request.value_types import ValueType, text
from pleinair.text.lora_tags import MOST, weight_of

MAX_LORAS = 32
WEIGHT = re.compile(r"(.+):([^:/\\]*)", re.DOTALL)  # no path of a drive, whose colon a separator follows
SAFE = ".safetensors"
ADDRESS = re.compile("https?:/")


class GivenLora(NamedTuple):
    """A LoRA as a caller names it: a file, or the name of one that is kept, and its weight."""

    file: Path
    weight: float


@dataclass(frozen=True)
class LoraUse:
    """A LoRA of a request, its weights for the denoiser and for text encoders, and whether the prompt names it."""

    file: Path
    weight: float
    text_weight: float
    in_prompt: bool = False

    @property
    def name(self) -> str:
        """What prompts and records call it."""
        return self.file.stem

    @property
    def weighs(self) -> bool:
        """Whether it does anything."""
        return bool(self.weight or self.text_weight)


@dataclass(frozen=True)
class Loras(ValueType):
    """A list of LoRA files, each FILE, FILE:WEIGHT or a pair of the two."""

    typed_as: ClassVar[type] = list[str]
    file: ClassVar[bool] = True

    def read(self, name: str, value: Any) -> tuple[GivenLora, ...]:
        try:
            listed = items(value, MAX_LORAS)
        except TypeError:
            raise RequestError(f"{name} must be a list of LoRA files; pass ['style.safetensors:0.8']") from None
        if len(listed) > MAX_LORAS:
            raise RequestError(f"there are more than {MAX_LORAS} {name}; leave some out")
        return tuple(given_lora(name, each) for each in listed)

    def span(self) -> str:
        return f"weights from {-MOST:g} to {MOST:g}"

    def schema(self) -> dict[str, Any]:
        pair = {
            "type": "array",
            "prefixItems": [{"type": "string"}, {"type": "number", "minimum": -MOST, "maximum": MOST}],
            "minItems": 2,
            "maxItems": 2,
        }
        return {"type": "array", "items": {"anyOf": [{"type": "string"}, pair]}, "maxItems": MAX_LORAS}


def given_lora(name: str, value: Any) -> GivenLora:
    """One entry of the list."""
    if isinstance(value, GivenLora):
        return value
    if isinstance(value, str | Path):
        return split_weight(name, value)
    try:
        file, weight = items(value, 2)
    except (TypeError, ValueError):
        file = weight = None
    if not isinstance(file, str | Path):
        raise RequestError(
            f"{name} must be files or pairs of a file and a weight, not {shown_value(value)}; pass for"
            " example ('style.safetensors', 0.8)"
        )
    return GivenLora(Path(file), weight_of(Path(file).stem, weight))


def split_weight(name: str, value: str | Path) -> GivenLora:
    """ "C:/loras/style.safetensors:0.8" -> the file and 0.8; without a weight it is 1."""
    said = text(name, str(value))
    if ADDRESS.match(said):
        raise RequestError(f"LoRA '{shown_path(said)}' is an address; download the file, and give its path")
    match = WEIGHT.fullmatch(said)
    if match is None or isinstance(value, Path) or (len(match[1]) == 1 and match[1].isalpha()):
        return GivenLora(Path(said), 1.0)
    return GivenLora(Path(match[1]), weight_of(Path(match[1]).stem, match[2]))
