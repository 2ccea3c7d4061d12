"""Make and prove runtime/pleinair/pouring/topologies/: the graphs of real models with holes where their weights were.

    python benchmarks/prove_topologies.py                              # all of MODELS
    python benchmarks/prove_topologies.py sd15 --graph unet --weights fp16 --format openvino

Needs the export extra. Each graph is exported twice, of two models that differ in every weight, and a byte that differs
and is no parameter in a form that is known ends the script. The models have their published sizes and take little
memory: their parameters are views of a file that is mostly empty.
"""

import argparse
import gc
import importlib.metadata
import inspect
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import nn

from make_topologies import TOOLS, network, specified
from pleinair.pouring import topologies
from pleinair.pouring.topologies import KEY, Topology, as_json, file_of, pack
from pleinair.sources.architectures import ARCHITECTURES, Config
from pleinair.sources.families import STABLE_DIFFUSION, Part
from pleinair_bench.recognise import STORED, Parameters, recognised, shapes_of
from pleinair_export.graphs import Spec
from pleinair_export.quiet import quiet
from pleinair_export.tracing import FORMATS, WRITE

MODELS = {  # of ARCHITECTURES -> its graphs, but for those that are another's too
    "sd15": ("text_encoder", "unet", "vae_encoder", "vae_decoder"),
    "sd21": ("text_encoder", "unet"),
}
WEIGHTS = ("fp32", "fp16", "int8")
SMALL = 1 << 14  # numbers up to which a parameter is random throughout
ROWS = 16  # of the others that are random: fewer would give some of them the same scales
ALIGNED = 4096
SPREAD = 0.02
IDLE = (  # values of a config that are no part of a graph; a computation in float32 needs no upcast
    "sample_size",
    "scaling_factor",
    "shift_factor",
    "latents_mean",
    "latents_std",
    "force_upcast",
    "upcast_attention",
    "dropout",
)
TELLING = ("hidden_act", "layer_norm_eps", "num_attention_heads")  # of a text encoder's config; shapes tell the rest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=list(MODELS), help=f"of {', '.join(MODELS)}")
    parser.add_argument("--graph", nargs="+")
    parser.add_argument("--weights", nargs="+", default=WEIGHTS)
    parser.add_argument("--format", nargs="+", default=FORMATS)
    parser.add_argument("--scratch", type=Path, help="a folder with room for two models")
    asked = parser.parse_args()
    stored = [(weights, form) for weights in asked.weights for form in asked.format]
    for name in asked.models:
        for graph in asked.graph or MODELS[name]:
            make(name, ARCHITECTURES[name], graph, stored, asked.scratch)


def make(
    name: str, model: dict[str, Config], graph: str, stored: list[tuple[str, str]], scratch: Path | None = None
) -> None:
    """Export a graph of two models in each kind of weights and format, and write what the two share."""
    part = next(part for part in STABLE_DIFFUSION.parts if graph in part.graphs)
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        specs = [specified(graph, part, model, sparse(part, model, Path(folder) / f"{n}", n)) for n in (1, 2)]
        for weights, form in stored:
            mark = perf_counter()
            row = dict(zip(KEY, (name, graph, weights, form), strict=True))
            with tempfile.TemporaryDirectory(dir=folder) as out:
                packed = pack(proved(specs, weights, form, Path(out)))
            file_of(row).write_bytes(packed)
            enter(row)
            gc.collect()
            print(f"{file_of(row).name}: {len(packed) / 1e3:.0f} kB, {perf_counter() - mark:.0f} s", flush=True)


def proved(specs: list[Spec], weights: str, form: str, folder: Path) -> Topology:
    """The topology that two graphs, exported below `folder`, share; raises ValueError where they differ otherwise."""
    written = []
    for n, spec in enumerate(specs):
        out = folder / f"out{n}"
        out.mkdir()
        written.append([out / file for file in WRITE[form](spec, out, weights).files])
    parameters = tuple(map(parameters_of, specs))
    files = recognised(*written, parameters, STORED[form, weights])
    spec = specs[0]
    shapes = shapes_of(files, parameters[0])
    return Topology(files, shapes, telling(spec.module.model), spec.inputs, spec.outputs)


def parameters_of(spec: Spec) -> Parameters:
    return {name: each.detach().numpy() for name, each in spec.module.model.named_parameters()}


def telling(module: nn.Module) -> dict[str, dict[str, Any]]:
    """What of a component's config tells its graph, with the values that its class takes unless told apart."""
    if hasattr(module, "register_to_config"):
        usual = {name: each.default for name, each in inspect.signature(type(module).__init__).parameters.items()}
        config = {key: value for key, value in module.config.items() if key in usual and key not in IDLE}
    else:
        usual = module.config_class().to_dict()
        config = {key: getattr(module.config, key) for key in TELLING}
    config = {key: as_json(value) for key, value in config.items()}
    same = {key for key, value in config.items() if as_json(usual[key]) == value}
    return {
        "own": {key: value for key, value in config.items() if key not in same},
        "usual": {key: value for key, value in config.items() if key in same},
    }


def sparse(part: Part, model: dict[str, Config], file: Path, seed: int) -> nn.Module:
    """A component with random numbers in some places of every parameter and zeros in the others, which are not stored.

    No two parameters are alike, or the exporters would store them once.
    """
    with torch.device("meta"), quiet():
        module = network(part, model[part.folder])
    parameters = dict(module.named_parameters())
    sizes = [-(-each.numel() // ALIGNED) * ALIGNED for each in parameters.values()]
    with file.open("wb") as stream:
        stream.truncate(4 * sum(sizes))
    flat = torch.from_file(str(file), shared=True, size=sum(sizes), dtype=torch.float32)
    rng, at = torch.Generator().manual_seed(seed), 0
    for (name, parameter), size in zip(parameters.items(), sizes, strict=True):
        values = flat[at : at + parameter.numel()].view(parameter.shape)
        at += size
        some = values if parameter.numel() <= SMALL else values[:ROWS]
        some.copy_(torch.randn(some.shape, generator=rng) * SPREAD + (1.0 if is_norm(name) else 0.0))
        put(module, name, nn.Parameter(values, requires_grad=False))
    for name, buffer in buffers(module):
        owner, _, leaf = name.rpartition(".")
        positions = torch.arange(buffer.shape[-1]).expand(buffer.shape)
        module.get_submodule(owner).register_buffer(leaf, positions, persistent=False)
    return module.eval()


def is_norm(name: str) -> bool:
    return "norm" in name and name.endswith("weight")


def put(module: nn.Module, name: str, parameter: nn.Parameter) -> None:
    owner, _, leaf = name.rpartition(".")
    setattr(module.get_submodule(owner), leaf, parameter)


def buffers(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """The buffers, which are positions; ValueError for any other."""
    for name, buffer in list(module.named_buffers()):
        if not name.endswith("position_ids"):
            raise ValueError(f"no rule for the buffer {name}")
        yield name, buffer


def enter(row: dict[str, Any]) -> None:
    """Put a topology into the index, with the versions of the tools that made it."""
    file = topologies.TOPOLOGIES / topologies.INDEX
    rows = topologies.read_index()["topologies"] if file.exists() else []
    others = [each for each in rows if any(each[part] != row[part] for part in KEY)]
    tools = {tool: importlib.metadata.version(tool) for tool in TOOLS}
    rows = sorted([*others, row | {"tools": tools}], key=lambda each: [each[part] for part in KEY])
    file.write_text(json.dumps({"topologies": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
