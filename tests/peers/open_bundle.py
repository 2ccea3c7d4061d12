"""Bundles of prepare.py opened with optimum, whose pictures are compared with diffusers'.

A bundle's two formats have the same ports and files around them: some are left to the other peer. Neither has pipelines
for PixArt-Sigma or for editing, nor optimum-onnx for Sana-Sprint.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

GATES_DB = {"fp32": 80, "fp16": 50, "int8": 28}  # of the picture, after two guided steps
LEFT = {
    "optimum-intel": (
        "flux-fp32",
        "flux-dev-fp32",
        "lcm-fp32",
        "ssd-1b-fp32",
        "sd2-inpaint-fp32",
        "sdxl-inpaint-fp32",
        "sdxl-lcm-fp32",
    ),
    "optimum-onnx": (
        "sd3-fp32",
        "sd1-inpaint-fp32",
        "sana-fp32",
        "sdxs-fp32",
        "sdxl-refiner-fp32",
        "vega-fp32",
        "bk-sdm-fp32",
    ),
}


def load(peer: str, bundle: Path) -> Any:
    if peer == "optimum-intel":
        from optimum.intel import OVDiffusionPipeline

        return OVDiffusionPipeline.from_pretrained(bundle, ov_config={"INFERENCE_PRECISION_HINT": "f32"})
    from optimum.onnxruntime import ORTDiffusionPipeline

    return ORTDiffusionPipeline.from_pretrained(bundle)


def paint(pipe: Any, request: dict, latents: np.ndarray | None = None, seed: int = 0) -> np.ndarray:
    """A picture (H, W, 3) of latents or else of a seed; one that repaints a photo, or a hole in it, is given that."""
    import torch

    pipe.set_progress_bar_config(disable=True)
    masked, more = "Inpaint" in type(pipe).__name__, {}
    if "strength" in request:
        shape = request["height"], request["width"]
        more["image"] = torch.from_numpy(np.random.default_rng(1).random((1, 3, *shape), dtype=np.float32))
    if masked:
        more["mask_image"] = torch.zeros(1, 1, *shape)
        more["mask_image"][..., 16:48, 16:48] = 1
    if latents is not None and (masked or "strength" not in request):  # which would take the photo's place
        more["latents"] = torch.from_numpy(latents)
    generator = torch.Generator().manual_seed(seed)
    return pipe(generator=generator, output_type="np", **request, **more).images[0]


def decibel(ours: np.ndarray, theirs: np.ndarray) -> float:
    return -10 * np.log10(max(np.mean((ours - theirs) ** 2), 1e-12))


def open_all(peer: str, root: Path) -> int:
    """Paint with the bundles; how many pictures are not diffusers'."""
    failed = 0
    for folder in sorted(file.parent for file in root.glob("*/reference.npz")):
        if folder.name in LEFT[peer]:
            continue
        reference, request = np.load(folder / "reference.npz"), json.loads((folder / "request.json").read_text())
        picture = paint(load(peer, folder / "bundle"), request, reference["latents"])
        found = decibel(picture, reference["picture"])
        passed = found >= GATES_DB[folder.name.rpartition("-")[2]]
        failed += not passed
        print(f"{'pass' if passed else 'FAIL'}  {peer}  {folder.name}  {found:.1f} dB from diffusers' picture")
    return failed
