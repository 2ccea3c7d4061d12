"""LoRA files that make a model paint in a few steps, told by their names, and what they are to be used with.

The words are those of the file's name and of the title in its metadata, as the makers publish them: nothing in the
weights tells such a LoRA from another. Steps are in the name ("4steps", "8-step").
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pleinair.adapters.lora_file import lora_header

TITLES = ("ss_output_name", "modelspec.title")  # in metadata
STEPS = re.compile(r"(\d{1,2})[ _-]?steps?")
WORD = re.compile(r"[a-z0-9]+")
GUIDED = "cfg"  # in the name of one that was trained with guidance


@dataclass(frozen=True)
class FewSteps:
    """A kind of such LoRAs: the words that tell it, and what its maker says to paint with."""

    name: str
    words: frozenset[str]
    counted: bool  # whether its name says for how many steps
    options: Mapping[str, Any]


ROWS = (
    FewSteps("an LCM-LoRA", frozenset({"lcm"}), False, {"sampler": "lcm", "steps": 4, "guidance": 1.0}),
    FewSteps("a TCD-LoRA", frozenset({"tcd"}), False, {"sampler": "tcd", "steps": 4, "guidance": 1.0}),
    FewSteps(
        "a Lightning-LoRA",
        frozenset({"lightning"}),
        True,
        {"sampler": "euler", "spacing": "trailing", "steps": 4, "guidance": 1.0},
    ),
    FewSteps(
        "a Hyper-LoRA",
        frozenset({"hyper"}),
        True,
        {"sampler": "ddim", "spacing": "trailing", "steps": 4, "guidance": 1.0},
    ),
)


@dataclass(frozen=True)
class Suggested:
    """What a LoRA is to be used with."""

    kind: str
    options: Mapping[str, Any]


def suggested(file: Path) -> Suggested | None:
    """What a file asks for, where it is a LoRA for a few steps; RequestError for what is no LoRA file."""
    metadata = lora_header(file).metadata
    for title in (file.stem, *(metadata[key] for key in TITLES if key in metadata)):
        words, count = set(WORD.findall(title.lower())), STEPS.search(title.lower())
        for row in ROWS:
            if row.words <= words and (count or not row.counted):
                steps = {"steps": max(1, int(count[1]))} if count and row.counted else {}
                options = {**row.options, **steps}
                if GUIDED in words:
                    del options["guidance"]
                return Suggested(row.name, options)
    return None
