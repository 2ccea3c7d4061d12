"""What storing weights as int8 does to the pictures, measured through the exported bundles."""

import json
import tempfile
from pathlib import Path
from random import Random

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

import pleinair
from pleinair_export import export
from recipe.captions import caption
from recipe.evaluate import SCENE_SEED, rounded
from recipe.scenes import random_scene

PROMPTS = 20
WINDOW, WIDTH = 11, 1.5


def compare_weights(source: Path, report: Path) -> None:
    """Paint the same prompts with the same seeds from fp32 and int8 bundles; print and write PSNR and SSIM."""
    random = Random(SCENE_SEED)
    prompts = [caption(random_scene(random, 1), random, complete=True) for _ in range(PROMPTS)]
    result = {}
    with tempfile.TemporaryDirectory() as folder:
        for weights in ("fp32", "int8"):
            for _ in export(source, Path(folder) / weights, formats=("openvino", "onnx"), weights=weights):
                pass
        for engine in ("openvino", "onnx"):
            exact, small = (painted(Path(folder) / weights, engine, prompts) for weights in ("fp32", "int8"))
            result[engine] = {"psnr": spread(psnr(exact, small)), "ssim": spread(ssim(exact, small))}
            print(engine, rounded(result[engine]), flush=True)
    report.write_text(json.dumps(rounded({"prompts": PROMPTS, "int8 against fp32": result}), indent=1) + "\n")


def painted(bundle: Path, engine: str, prompts: list[str]) -> Tensor:
    """A picture for every prompt, seed 0, 1, 2, ...: (n, 3, H, W) in 0..1."""
    pipe = pleinair.load(bundle, engine=engine)
    pictures = [pipe.generate(prompt, seed=seed).pixels for seed, prompt in enumerate(prompts)]
    return torch.from_numpy(np.concatenate(pictures)).permute(0, 3, 1, 2)


def psnr(one: Tensor, other: Tensor) -> Tensor:
    """Decibels of each picture, peak 1."""
    return -10 * (one - other).square().mean((1, 2, 3)).clamp(min=1e-12).log10()


def ssim(one: Tensor, other: Tensor) -> Tensor:
    """Structural similarity of each picture, mean of the channels (Wang et al. 2004: Gaussian window of 11, 1.5)."""
    channels = one.shape[1]
    bell = torch.exp(-((torch.arange(WINDOW) - WINDOW // 2) ** 2) / (2 * WIDTH**2))
    window = (torch.outer(bell, bell) / bell.sum() ** 2).expand(channels, 1, WINDOW, WINDOW)

    def mean(picture: Tensor) -> Tensor:
        return functional.conv2d(picture, window, groups=channels)

    x, y = mean(one), mean(other)
    xx, yy, xy = mean(one * one) - x * x, mean(other * other) - y * y, mean(one * other) - x * y
    alike = (2 * x * y + 0.01**2) * (2 * xy + 0.03**2) / ((x * x + y * y + 0.01**2) * (xx + yy + 0.03**2))
    return alike.mean((1, 2, 3))


def spread(values: Tensor) -> dict[str, float]:
    """Smallest, median and largest."""
    return {"min": values.min().item(), "median": values.median().item(), "max": values.max().item()}
