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
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from make_topologies import MODELS, wake

TOKENIZER = Path(__file__).parents[1] / "models" / "storybook" / "source" / "tokenizer"
FORMAT = {"format": "pt"}
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", choices=list(MODELS))
    parser.add_argument("folder", type=Path)
    asked = parser.parse_args()
    model = MODELS[asked.model]
    torch.manual_seed(0)
    text, unet = CLIPTextModel(CLIPTextConfig(**model["text_encoder"])), UNet2DConditionModel(**model["unet"])
    vae = AutoencoderKL(**model["vae_decoder"])
    for network in (text, unet, vae):
        wake(network)
    pipe = StableDiffusionPipeline(
        vae=vae,
        text_encoder=text,
        tokenizer=CLIPTokenizer.from_pretrained(TOKENIZER),
        unet=unet,
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
