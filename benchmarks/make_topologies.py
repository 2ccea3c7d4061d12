"""Make benchmarks/pleinair_bench/topologies/: the graphs of real models, exported as pleinair exports, without weights.

    python benchmarks/make_topologies.py                     # all of MODELS; 15 GB of memory, half an hour
    python benchmarks/make_topologies.py sd15 --graph unet --keep /tmp/random

Needs the export extra. The models have their published sizes and random weights, so nothing is downloaded. A model, a
kind of weights or a format joins by a line in the tables below. --keep leaves the exported graphs there with their
ordinary weights, for `benchmarks/same_speed.py`, and takes those that lie there already instead of exporting again.
"""

import argparse
import gc
import importlib.metadata
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from torch import nn

from pleinair.bundle.manifest import Latents
from pleinair.bundle.verifying import FileInfo
from pleinair_bench import topologies
from pleinair_bench.fill import pack
from pleinair_bench.strip import strip
from pleinair_export import graphs
from pleinair_export.convert import FORMATS, WRITE
from pleinair_export.quiet import quiet

WEIGHTS = ("fp32", "int8")
CLIP = {"vocab_size": 49408, "max_position_embeddings": 77, "bos_token_id": 49406, "eos_token_id": 49407}
CLIP_L = CLIP | {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
                 "projection_dim": 768, "hidden_act": "quick_gelu"}  # fmt: skip
CLIP_H = CLIP | {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 23, "num_attention_heads": 16,
                 "projection_dim": 512, "hidden_act": "gelu"}  # fmt: skip
UNET = {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8}  # diffusers' defaults are SD 1.5's
VAE = {"latent_channels": 4, "sample_size": 512, "block_out_channels": (128, 256, 512, 512), "layers_per_block": 2,
       "down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}  # fmt: skip
MODELS = {
    "sd15": {"family": "sd1", "size": (64, 64), "text_encoder": CLIP_L, "unet": UNET, "vae_decoder": VAE},
    "sd21": {"family": "sd2", "size": (96, 96), "text_encoder": CLIP_H, "vae_decoder": VAE,
             "unet": UNET | {"sample_size": 96, "cross_attention_dim": 1024, "attention_head_dim": (5, 10, 20, 20),
                             "use_linear_projection": True}},
}  # fmt: skip
NAMES = {"openvino": ("openvino_model.xml", "openvino_model.bin"), "onnx": ("model.onnx", "model.onnx_data")}
TOOLS = ("torch", "diffusers", "transformers", "openvino", "nncf", "onnx")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=list(MODELS), help=f"of {', '.join(MODELS)}")
    parser.add_argument("--graph", nargs="+", default=list(BUILD), help=f"of {', '.join(BUILD)}")
    parser.add_argument("--keep", type=Path, help="a folder for the exported graphs with their weights")
    asked = parser.parse_args()
    for name in asked.models:
        for component in asked.graph:
            make(name, MODELS[name], component, asked.keep)


def make(name: str, model: dict, component: str, keep: Path | None) -> None:
    """Export one graph in every kind of weights and format, and write what is left of it without them."""
    mark = perf_counter()
    torch.manual_seed(0)
    with quiet():
        spec = BUILD[component](model)
    wake(spec.module)
    for weights in WEIGHTS:
        for form in FORMATS:
            with tempfile.TemporaryDirectory() as scratch:
                folder = (keep or Path(scratch)) / f"{name}-{weights}" / component
                folder.mkdir(parents=True, exist_ok=True)
                made = write(spec, folder, name, weights, form)
            describe(name, model, spec, made)
            print(f"{made.name} {component} {weights} {form}: {made.packed.stat().st_size / 1e3:.0f} kB for"
                  f" {made.size / 1e6:.0f} MB, {perf_counter() - mark:.0f} s", flush=True)  # fmt: skip
            gc.collect()


def wake(module: nn.Module) -> None:
    """Move parameters that are all equal, as a fresh norm's are, off 1 and 0.

    Both engines drop multiplications by 1 and additions of 0: a trained model has neither.
    """
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.numel() > 1 and parameter.min() == parameter.max():
                parameter += torch.empty_like(parameter).uniform_(-0.1, 0.1)
    module.eval().requires_grad_(False)


def write(spec: graphs.Spec, folder: Path, name: str, weights: str, form: str) -> topologies.Topology:
    """Export into `folder`, unless that is done, and write the packed topology."""
    files = [folder / file for file in NAMES[form]]
    if not files[0].exists():
        WRITE[form](spec, folder, weights)
    files = [file for file in files if file.exists()]  # a small model.onnx has no second file
    outlines = strip(files)
    infos = {f"{spec.name}/{file}": FileInfo(each.size, each.sha256()) for file, each in outlines.items()}
    made = topologies.Topology(name, spec.name, weights, form, infos)
    made.packed.write_bytes(pack(outlines))
    return made


def describe(name: str, model: dict, spec: graphs.Spec, made: topologies.Topology) -> None:
    """Enter a topology, and the model it is of, into the index."""
    index = topologies.read_index() if topologies.INDEX.exists() else {"models": {}, "topologies": []}
    row = index["models"].setdefault(name, {"graphs": {}})
    row["family"] = model["family"]
    row["latents"] = asdict(Latents(4, 8, 0.18215, 0.0))
    row["width"], row["height"] = (8 * side for side in reversed(model["size"]))
    row["tools"] = {tool: importlib.metadata.version(tool) for tool in TOOLS}
    ports = {"inputs": spec.inputs, "outputs": spec.outputs}
    row["graphs"][spec.name] = {
        side: {port: asdict(info) for port, info in named.items()} for side, named in ports.items()
    }
    others = [each for each in topologies.available() if each.key != made.key] if index["topologies"] else []
    rows = sorted([*others, made], key=lambda each: each.key)
    index["topologies"] = [asdict(each) for each in rows]
    topologies.write_index(index)


def text_encoder(model: dict) -> graphs.Spec:
    from transformers import CLIPTextConfig, CLIPTextModel

    ids = np.full((2, 77), model["text_encoder"]["eos_token_id"], np.int64)
    return graphs.text_encoder(CLIPTextModel(CLIPTextConfig(**model["text_encoder"])), [ids])


def unet(model: dict) -> graphs.Spec:
    from diffusers import UNet2DConditionModel

    text = np.zeros((3, 77, model["unet"]["cross_attention_dim"]), np.float32)
    return graphs.unet(UNet2DConditionModel(**model["unet"]), model["size"], text)


def vae_decoder(model: dict) -> graphs.Spec:
    from diffusers import AutoencoderKL

    return graphs.vae_decoder(AutoencoderKL(**model["vae_decoder"]), model["size"])


BUILD: dict[str, Callable[[dict], graphs.Spec]] = {
    "text_encoder": text_encoder,
    "unet": unet,
    "vae_decoder": vae_decoder,
}

if __name__ == "__main__":
    main()
