"""Write a diffusers folder of a real model's size with random weights, for `pleinair bench peers`.

    python benchmarks/random_model.py sd15 RANDOM        # 2.1 GB, needs the export extra
    pleinair export RANDOM BUNDLE --format both --weights fp16
    pleinair bench peers RANDOM BUNDLE --steps 4

The folder holds 16-bit weights, and so should the bundle, for equal work.
The tokenizer is storybook's; its ids all lie in the real model's table.
"""

import argparse
from pathlib import Path

import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from safetensors.torch import load_file, save_file
from transformers import CLIPTokenizer

from make_topologies import MODELS, network, wake
from pleinair.sources.architectures import ARCHITECTURES
from pleinair.sources.families import STABLE_DIFFUSION

TOKENIZER = Path(__file__).parents[1] / "models" / "storybook" / "source" / "tokenizer"
FORMAT = {"format": "pt"}
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("folder", type=Path)
    asked = parser.parse_args()
    model = ARCHITECTURES[asked.model]
    torch.manual_seed(0)
    networks = {part.folder: network(part, model[part.folder]) for part in STABLE_DIFFUSION.parts}
    for each in networks.values():
        wake(each)
    pipe = StableDiffusionPipeline(
        **networks,
        tokenizer=CLIPTokenizer.from_pretrained(TOKENIZER),
        scheduler=DDIMScheduler(**BETAS, steps_offset=1, clip_sample=False, set_alpha_to_one=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.to(dtype=torch.float16).save_pretrained(asked.folder)
    name_as_published(asked.folder / "text_encoder" / "model.safetensors")


def name_as_published(file: Path) -> None:
    """Put "text_model." before the names, as in every published file; transformers 5 leaves it out."""
    tensors = load_file(file)
    save_file({f"text_model.{name.removeprefix('text_model.')}": each for name, each in tensors.items()}, file, FORMAT)


if __name__ == "__main__":
    main()
