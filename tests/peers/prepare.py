"""Write tiny bundles and the pictures diffusers makes of their sources, for open_bundle.py (needs the export extra).

    python tests/peers/prepare.py FOLDER [TESTED]

FOLDER/NAME/bundle is the export, FOLDER/NAME/reference.npz has `latents` (1, 4, h, w) and `picture` (H, W, 3).
TESTED is the --basetemp of a run of the tests, which has made these bundles already.
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))
from pleinair_export import export
from tiny_pipeline import write_tiny_pipeline

REQUEST = {"prompt": "the red and", "num_inference_steps": 4, "guidance_scale": 5.0, "width": 80, "height": 56}


def prepare(folder: Path, family: str, weights: str, tested: Path | None) -> None:
    source, bundle = folder / "source", folder / "bundle"
    if tested:
        shutil.copytree(tested / "made" / "sources" / f"tiny-{family}", source)
        shutil.copytree(tested / "made" / "bundles" / f"{family}-{weights}", bundle)
    else:
        write_tiny_pipeline(source, family)
        for progress in export(source, bundle, formats=("openvino", "onnx"), weights=weights):
            print(folder.name, progress.graph, progress.stage, flush=True)
    shape = (1, 4, REQUEST["height"] // 8, REQUEST["width"] // 8)
    latents = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    pipe = StableDiffusionPipeline.from_pretrained(source, safety_checker=None)
    picture = pipe(latents=torch.from_numpy(latents), output_type="np", **REQUEST).images[0]
    np.savez(folder / "reference.npz", latents=latents, picture=picture)


if __name__ == "__main__":
    root, *tested = map(Path, sys.argv[1:])
    root.mkdir(parents=True, exist_ok=True)
    for family, weights in (("sd1", "fp16"), ("sd2", "int8")):
        prepare(root / f"{family}-{weights}", family, weights, *(tested or [None]))
    (root / "request.json").write_text(json.dumps(REQUEST))
