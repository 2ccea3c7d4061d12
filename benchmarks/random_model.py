"""Write a diffusers folder of a real model's size with random weights, for `pleinair bench peers`.

    python benchmarks/random_model.py sd15 RANDOM        # 2.1 GB, needs the export extra
    pleinair export RANDOM BUNDLE --format both --weights fp16
    pleinair bench peers RANDOM BUNDLE --steps 4

The folder holds 16-bit weights, and so should the bundle, for equal work.
The tokenizer is storybook's; its ids all lie in the real model's table.
"""

import argparse
import inspect
from pathlib import Path
from typing import Any

import diffusers
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPTokenizer

from fresh_models import network, wake
from pleinair.sources.architectures import ARCHITECTURES, SAID, family
from pleinair.sources.families import CLIP_TEXT

TOKENIZER = Path(__file__).parents[1] / "models" / "storybook" / "source" / "tokenizer"
FORMAT = {"format": "pt"}
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", choices=ARCHITECTURES)
    parser.add_argument("folder", type=Path)
    asked = parser.parse_args()
    torch.manual_seed(0)
    pipeline(asked.model).save_pretrained(asked.folder)
    for part in family(asked.model).readers:
        if part.kind == CLIP_TEXT.kind:
            name_as_published(asked.folder / part.folder / "model.safetensors")


def pipeline(model: str) -> Any:
    """The diffusers pipeline of a model, its weights random and 16-bit; components that it does not have are None."""
    row, components = family(model), {}
    for part in row.parts:
        made = network(part, ARCHITECTURES[model][part.folder])
        wake(made)
        components[part.folder] = made.half()  # one component of 32 bits at a time
        if part.tokenizer:
            components[part.tokenizer] = CLIPTokenizer.from_pretrained(TOKENIZER)
    components["scheduler"] = diffusers.DDIMScheduler(
        **BETAS, steps_offset=1, clip_sample=False, set_alpha_to_one=False
    )
    kind = getattr(diffusers, row.pipelines[0])
    wanted = inspect.signature(kind).parameters
    absent = [name for name, each in wanted.items() if each.default is each.empty and name not in components]
    said = SAID.get(model, {}) | ({"requires_safety_checker": False} if "requires_safety_checker" in wanted else {})
    return kind(**components, **dict.fromkeys(absent), **said)


def name_as_published(file: Path) -> None:
    """Put "text_model." before the names, as in every published file; transformers 5 leaves it out."""
    tensors = load_file(file)
    save_file({f"text_model.{name.removeprefix('text_model.')}": each for name, each in tensors.items()}, file, FORMAT)


if __name__ == "__main__":
    main()
