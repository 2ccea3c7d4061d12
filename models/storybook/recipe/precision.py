"""What int8 does to the pictures, measured through the exported bundles: as stored weights, and computed in (W8A8)."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

import pleinair
from pleinair.bundle.opening import open_bundle
from pleinair.quantizing.quantize import quantize
from pleinair_export import export
from recipe.captions import caption
from recipe.classifier import judged, load_classifier
from recipe.evaluate import COLUMNS, SCENE_SEED, rounded
from recipe.labels import accuracies
from recipe.prompts import SHOWN
from recipe.scenes import labels_of, random_scene
from recipe.training import state_file

PROMPTS = 50
CALIBRATED = 8  # pictures of prompts that are not among those
ENGINES = ("openvino", "onnx")
FORMS: dict[str, tuple[str, dict[str, Any]]] = {  # what is measured: a bundle, and how it paints
    "int8": ("int8", {}),
    "w8a8": ("w8a8", {}),
    "w8a8, last step wide": ("w8a8", {"wide_steps": 1}),
}
WINDOW, WIDTH = 11, 1.5


def compare_weights(work: Path, source: Path, report: Path) -> None:
    """Paint the same prompts with the same seeds from fp32, int8 and w8a8 bundles; print and write PSNR and SSIM.

    Of w8a8 the worst single step of its calibration stands there too, as PSNR of the noise estimate. Where the judge
    was trained, so does the mean share of what prompts tell that it finds right.
    """
    random = Random(SCENE_SEED)
    scenes, prompts = [], []
    for _ in range(PROMPTS):
        scenes.append(random_scene(random, 1))
        prompts.append(caption(scenes[-1], random, complete=True))
    told = told_right(work, torch.tensor([labels_of(scene) for scene in scenes]))
    result: dict = {"prompts": PROMPTS, "fp32": {}} | {f"{form} against fp32": {} for form in FORMS}
    with tempfile.TemporaryDirectory() as folder:
        for weights in ("fp32", "int8"):
            for _ in export(source, Path(folder) / weights, formats=ENGINES, weights=weights):
                pass
        w8a8, listed = Path(folder) / "w8a8", Path(folder) / "prompts.txt"
        listed.write_text("\n".join(SHOWN), encoding="utf-8")
        for _ in quantize(Path(folder) / "fp32", w8a8, prompts=listed, pictures=CALIBRATED):
            pass
        fidelity = open_bundle(w8a8).manifest.graphs["unet"].fidelity
        for engine in ENGINES:
            exact = painted(Path(folder) / "fp32", engine, prompts, {})
            result["fp32"][engine] = told(exact)
            for form, (bundle, how) in FORMS.items():
                small = painted(Path(folder) / bundle, engine, prompts, how)
                found = {"psnr": spread(psnr(exact, small)), "ssim": spread(ssim(exact, small))} | told(small)
                found |= {"step psnr": fidelity[engine].psnr_db} if form == "w8a8" else {}
                result[f"{form} against fp32"][engine] = found
                print(engine, form, rounded(found), flush=True)
    report.write_text(json.dumps(rounded(result), indent=1) + "\n")


def told_right(work: Path, labels: Tensor) -> Callable[[Tensor], dict[str, float]]:
    """What measures how well pictures follow prompts with these labels; it says nothing where no judge was trained."""
    if not state_file(work, "classifier").exists():
        return lambda pictures: {}
    judge = load_classifier(work)

    def adherence(pictures: Tensor) -> dict[str, float]:
        found = accuracies(judged(judge, pictures * 2 - 1), labels)
        return {"adherence": sum(found[column] for column in COLUMNS) / len(COLUMNS)}

    return adherence


def painted(bundle: Path, engine: str, prompts: list[str], how: dict[str, Any]) -> Tensor:
    """A picture for every prompt, seed 0, 1, 2, ...: (n, 3, H, W) in 0..1."""
    pipe = pleinair.load(bundle, engine=engine, precision="f32")
    pictures = [pipe.generate(prompt, seed=seed, **how).pixels for seed, prompt in enumerate(prompts)]
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
