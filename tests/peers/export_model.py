"""Export a source of prepare.py with optimum itself, and keep its picture, for adopt_folders.py.

FOLDER/PEER-WEIGHTS/exported is what the peer wrote, FOLDER/PEER-WEIGHTS/picture.npy (H, W, 3) what it paints with that.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

SOURCE = "sd1-fp16/source"
MORE = {"height": 64}  # of the request: what optimum exports is halved and doubled again, and takes no odd latents
SEED = 11
WEIGHTS = {"optimum-intel": ("fp32", "int8"), "optimum-onnx": ("fp32",)}


def export_all(peer: str, root: Path, load: Callable[[str, Path], Any]) -> None:
    """Everything that a peer exports; `load` opens a folder with it."""
    request = json.loads((root / "request.json").read_text()) | MORE
    source = root / SOURCE
    for weights in WEIGHTS[peer]:
        folder = root / f"{peer}-{weights}"
        export(peer, source, weights, folder / "exported")
        source = folder / "exported"  # so that the second need not be traced
        pipe = load(peer, source)
        pipe.set_progress_bar_config(disable=True)
        generator = torch.Generator().manual_seed(SEED)
        np.save(folder / "picture.npy", pipe(generator=generator, output_type="np", **request).images[0])


def export(peer: str, source: Path, weights: str, out: Path) -> None:
    """Export a diffusers folder, or, to int8, make the weights of an OpenVINO one smaller."""
    if peer == "optimum-onnx":
        from optimum.onnxruntime import ORTStableDiffusionPipeline

        ORTStableDiffusionPipeline.from_pretrained(str(source), export=True).save_pretrained(out)
        return
    from optimum.intel import OVStableDiffusionPipeline, OVWeightQuantizationConfig

    how = {"quantization_config": OVWeightQuantizationConfig(bits=8)} if weights == "int8" else {"load_in_8bit": False}
    exporting = not (source / "vae_decoder").is_dir()
    OVStableDiffusionPipeline.from_pretrained(str(source), export=exporting, compile=False, **how).save_pretrained(out)
