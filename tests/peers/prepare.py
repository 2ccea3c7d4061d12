"""Write tiny bundles and the pictures diffusers makes of their sources, for peer.py (needs the export extra).

    python tests/peers/prepare.py FOLDER [--tested TESTED]

FOLDER/NAME/bundle is an export of FOLDER/NAME/source, request.json what is asked for, reference.npz has `latents`
(1, C, h, w), or as a transformer takes them, and `picture` (H, W, 3). TESTED is the --basetemp of a run of the tests,
which has made most bundles already.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import torch
from diffusers import DiffusionPipeline

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))
from open_bundle import paint

import tiny_transformers
from pleinair_export import export
from tiny_pipeline import write_tiny_pipeline
from tiny_transformers import write_tiny_transformer

USUAL = {"prompt": "the red and", "num_inference_steps": 2, "guidance_scale": 5.0, "width": 64, "height": 64}
ODD = {"width": 80, "height": 56}  # sides whose latents are no multiples of each other
SMALL = {"width": 16, "height": 16}  # where one latent stands for 2 x 2 pixels
CASES = {  # bundle -> what is asked for in another way; one step of LCM, which draws new noise between two
    "least-fp16": {"width": 40, "height": 24},
    "sd2-int8": ODD,
    "sd1-inpaint-fp32": {"strength": 1.0},
    "lcm-fp32": {"num_inference_steps": 1},
    "sdxl-fp32": {},
    "sd3-fp32": SMALL | {"guidance_scale": 1.0},  # with more, optimum-onnx gives its graph two timesteps
    "flux-fp32": SMALL | {"guidance_scale": 1.0, "max_sequence_length": 256},
    "sana-fp32": {
        "width": 32,
        "height": 32,
        "guidance_scale": 4.5,
        "intermediate_timesteps": 1.3,
        "use_resolution_binning": False,
    },
    "sdxs-fp32": {},
    "ssd-1b-fp32": {},
    "vega-fp32": {},
    "bk-sdm-fp32": {},
    "sd2-inpaint-fp32": {"strength": 1.0},
    "sdxl-inpaint-fp32": {"strength": 1.0},
    "sdxl-lcm-fp32": {"num_inference_steps": 1},
    "sdxl-refiner-fp32": {"strength": 1.0},
    "flux-dev-fp32": SMALL | {"guidance_scale": 3.5, "max_sequence_length": 512},
}


def prepare(folder: Path, request: dict, tested: Path | None) -> None:
    source, bundle = folder / "source", folder / "bundle"
    family, _, weights = folder.name.rpartition("-")
    if tested and (tested / "made" / "bundles" / folder.name).is_dir():
        shutil.copytree(tested / "made" / "sources" / f"tiny-{family}", source)
        shutil.copytree(tested / "made" / "bundles" / folder.name, bundle)
    else:
        write = write_tiny_transformer if family in tiny_transformers.FAMILIES else write_tiny_pipeline
        write(source, family)
        for progress in export(source, bundle, formats=("openvino", "onnx"), weights=weights):
            print(folder.name, progress.graph, progress.stage, flush=True)
    for file in folder.glob("*/tokenizer*/tokenizer_config.json"):
        for_transformers_4(file)
    pipe = DiffusionPipeline.from_pretrained(source, safety_checker=None)
    latents = drawn(pipe, request["width"], request["height"])
    (folder / "request.json").write_text(json.dumps(request))
    np.savez(folder / "reference.npz", latents=latents, picture=paint(pipe, request, latents))


def for_transformers_4(file: Path) -> None:
    """Take a list out of a tokenizer's config that transformers 5 has written, and 4 cannot read; nothing needs it."""
    config = json.loads(file.read_text())
    config.pop("extra_special_tokens", None)
    file.write_text(json.dumps(config))


def drawn(pipe: DiffusionPipeline, width: int, height: int) -> np.ndarray:
    """Noise for a picture, packed where the pipeline packs it."""
    shape = (1, pipe.vae.config.latent_channels, height // pipe.vae_scale_factor, width // pipe.vae_scale_factor)
    latents = torch.from_numpy(np.random.default_rng(0).standard_normal(shape, dtype=np.float32))
    packed = pipe._pack_latents(latents, *shape) if hasattr(pipe, "_pack_latents") else latents
    return packed.numpy()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tested", type=Path)
    arguments = parser.parse_args()
    for name, request in CASES.items():
        prepare(arguments.folder / name, USUAL | request, arguments.tested)
