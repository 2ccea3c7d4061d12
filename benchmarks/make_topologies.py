"""Make benchmarks/pleinair_bench/topologies/: the graphs of real models, exported as pleinair exports, without weights.

    python benchmarks/make_topologies.py                     # all of MODELS; 15 GB of memory, half an hour
    python benchmarks/make_topologies.py sd15 --graph unet --keep /tmp/random

Needs the export extra. The models have their published sizes and random weights, so nothing is downloaded. A model, a
kind of weights or a format joins by a word in the tables below. --keep leaves the exported graphs there with their
ordinary weights, for `benchmarks/same_speed.py`, and takes those that lie there already instead of exporting again.
"""

import argparse
import gc
import importlib.metadata
import tempfile
from dataclasses import asdict
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from torch import nn

from pleinair.bundle.verifying import FileInfo
from pleinair.sources.architectures import ARCHITECTURES, Config
from pleinair.sources.describing import TEXT, Described, autoencoder, generation
from pleinair.sources.families import STABLE_DIFFUSION, Part
from pleinair_bench import topologies
from pleinair_bench.fill import pack
from pleinair_bench.strip import strip
from pleinair_export import graphs
from pleinair_export.quiet import quiet
from pleinair_export.tracing import FORMATS, WRITE
from pleinair_export.trials import Context

WEIGHTS = ("fp32", "int8")
MODELS = ("sd15", "sd21")  # of ARCHITECTURES
GRAPHS = {"text_encoder": "text_encoder", "unet": "unet", "vae_decoder": "vae"}  # graph -> its component
TOKENS = 77
NAMES = {"openvino": ("openvino_model.xml", "openvino_model.bin"), "onnx": ("model.onnx", "model.onnx_data")}
TOOLS = ("torch", "diffusers", "transformers", "openvino", "nncf", "onnx")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=MODELS, help=f"of {', '.join(MODELS)}")
    parser.add_argument("--graph", nargs="+", default=list(GRAPHS), help=f"of {', '.join(GRAPHS)}")
    parser.add_argument("--keep", type=Path, help="a folder for the exported graphs with their weights")
    asked = parser.parse_args()
    for name in asked.models:
        for component in asked.graph:
            make(name, ARCHITECTURES[name], component, asked.keep)


def make(name: str, model: dict[str, Config], component: str, keep: Path | None) -> None:
    """Export one graph in every kind of weights and format, and write what is left of it without them."""
    mark = perf_counter()
    torch.manual_seed(0)
    with quiet():
        spec = build(component, model)
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


def describe(name: str, model: dict[str, Config], spec: graphs.Spec, made: topologies.Topology) -> None:
    """Enter a topology, and the model it is of, into the index."""
    index = topologies.read_index() if topologies.INDEX.exists() else {"models": {}, "topologies": []}
    row = index["models"].setdefault(name, {"graphs": {}})
    described = Described(STABLE_DIFFUSION, {}, model)
    vae = autoencoder(described)
    row["family"] = generation(described)
    row["latents"] = {
        "channels": described.channels,
        "downsample": vae.downsample,
        "scale": vae.scale,
        "shift": vae.shift,
    }
    row["height"], row["width"] = (vae.downsample * side for side in described.size)
    row["tools"] = {tool: importlib.metadata.version(tool) for tool in TOOLS}
    ports = {"inputs": spec.inputs, "outputs": spec.outputs}
    row["graphs"][spec.name] = {
        side: {port: asdict(info) for port, info in named.items()} for side, named in ports.items()
    }
    others = [each for each in topologies.available() if each.key != made.key] if index["topologies"] else []
    rows = sorted([*others, made], key=lambda each: each.key)
    index["topologies"] = [asdict(each) for each in rows]
    topologies.write_index(index)


def build(graph: str, model: dict[str, Config]) -> graphs.Spec:
    """The Spec of a graph with random weights."""
    part = STABLE_DIFFUSION.part(GRAPHS[graph])
    return specified(graph, part, model, network(part, model[part.folder]))


def specified(graph: str, part: Part, model: dict[str, Config], module: nn.Module) -> graphs.Spec:
    """The Spec of a graph of a component, tried on texts of nothing."""
    described = Described(STABLE_DIFFUSION, {}, model)
    ids = np.full((3, TOKENS), model["text_encoder"]["eos_token_id"], np.int64)
    text = np.zeros((3, TOKENS, described.unet["cross_attention_dim"]), np.float32)
    context = Context(described.size, {"text_encoder": ids}, {TEXT: text})
    return graphs.SPECS[part.graphs[graph]](graph, module, context)


def network(part: Part, config: Config) -> nn.Module:
    """A component of random weights."""
    import diffusers
    import transformers

    if part.library == "diffusers":
        return getattr(diffusers, part.kind)(**config)
    kind = getattr(transformers, part.kind)
    return kind(kind.config_class(**config))


if __name__ == "__main__":
    main()
