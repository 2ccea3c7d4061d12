"""Write tiny bundles and the pictures diffusers makes of their sources, for open_bundle.py (needs the export extra).

    python tests/peers/prepare.py FOLDER

FOLDER/NAME/bundle is the export, FOLDER/NAME/reference.npz has `latents` (1, 4, h, w) and `picture` (H, W, 3).
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))
from pleinair_export import export
from tiny_pipeline import write_tiny_pipeline

REQUEST = {"prompt": "the red and", "num_inference_steps": 4, "guidance_scale": 5.0, "width": 80, "height": 56}


def prepare(folder: Path, family: str, weights: str) -> None:
    source = write_tiny_pipeline(folder / "source", family)
    for progress in export(source, folder / "bundle", formats=("openvino", "onnx"), weights=weights):
        print(folder.name, progress.graph, progress.stage, flush=True)
    shape = (1, 4, REQUEST["height"] // 8, REQUEST["width"] // 8)
    latents = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    pipe = StableDiffusionPipeline.from_pretrained(source, safety_checker=None)
    picture = pipe(latents=torch.from_numpy(latents), output_type="np", **REQUEST).images[0]
    np.savez(folder / "reference.npz", latents=latents, picture=picture)


if __name__ == "__main__":
    root = Path(sys.argv[1])
    root.mkdir(parents=True, exist_ok=True)
    for family, weights in (("sd1", "fp16"), ("sd2", "int8")):
        prepare(root / f"{family}-{weights}", family, weights)
    (root / "request.json").write_text(json.dumps(REQUEST))
