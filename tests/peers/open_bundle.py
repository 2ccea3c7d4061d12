"""Open the bundles of prepare.py with optimum, compare the pictures with diffusers', and export a model of its own.

Runs in a peer's environment:

python tests/peers/open_bundle.py optimum-intel|optimum-onnx FOLDER
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from export_model import export_all

GATES_DB = {"fp16": 50, "int8": 28}  # of the picture, after four guided steps


def load(peer: str, bundle: Path):
    if peer == "optimum-intel":
        from optimum.intel import OVStableDiffusionPipeline

        return OVStableDiffusionPipeline.from_pretrained(bundle, ov_config={"INFERENCE_PRECISION_HINT": "f32"})
    from optimum.onnxruntime import ORTStableDiffusionPipeline

    return ORTStableDiffusionPipeline.from_pretrained(bundle)


def main(peer: str, root: Path) -> int:
    request = json.loads((root / "request.json").read_text())
    failed = 0
    for folder in sorted(file.parent for file in root.glob("*/reference.npz")):
        reference = np.load(folder / "reference.npz")
        pipe = load(peer, folder / "bundle")
        pipe.set_progress_bar_config(disable=True)
        picture = pipe(latents=torch.from_numpy(reference["latents"]), output_type="np", **request).images[0]
        decibel = -10 * np.log10(np.mean((picture - reference["picture"]) ** 2))
        passed = decibel >= GATES_DB[folder.name.split("-")[1]]
        failed += not passed
        print(f"{'pass' if passed else 'FAIL'}  {peer}  {folder.name}  {decibel:.1f} dB from diffusers' picture")
    return failed


if __name__ == "__main__":
    peer, root = sys.argv[1], Path(sys.argv[2])
    failed = main(peer, root)
    export_all(peer, root, load)
    sys.exit(failed)
