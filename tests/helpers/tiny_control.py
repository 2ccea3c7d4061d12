"""A tiny ControlNet with random weights for the UNet of a tiny pipeline."""

from pathlib import Path

import torch
from diffusers import ControlNetModel, UNet2DConditionModel

SEEN = (8, 8, 8, 8)  # widths of what makes latents of a picture, each half as large as the one before


def write_tiny_control(source: Path, folder: Path, seed: int = 0, **config) -> None:
    """Write a ControlNet for the pipeline in `source`; `config` are values of its config."""
    unet = UNet2DConditionModel.from_pretrained(source / "unet")
    torch.manual_seed(seed)
    made = ControlNetModel.from_unet(unet, conditioning_channels=3, conditioning_embedding_out_channels=SEEN)
    if unet.config.in_channels != made.config.in_channels or unet.config.in_channels != 4:
        made = ControlNetModel.from_config({**made.config, "in_channels": 4})
    made.register_to_config(**config)
    own = (made.controlnet_down_blocks, made.controlnet_mid_block, made.controlnet_cond_embedding)
    with torch.no_grad():
        for parameter in (each for part in own for each in part.parameters()):
            torch.nn.init.normal_(parameter, std=0.2)
        for parameter in made.parameters():  # none is at the value that it is made with, as trained ones are
            parameter += 0.05 * torch.randn(parameter.shape)
    made.save_pretrained(folder)
