"""Make and prove runtime/pleinair/pouring/topologies/: the graphs of real models with holes where their weights were.

    python benchmarks/prove_topologies.py                              # all of MODELS
    python benchmarks/prove_topologies.py sd15 --graph unet --weights fp16 --format openvino
    python benchmarks/prove_topologies.py sdxl --real                  # compare what ships with an export of real size

Needs the export extra. Each graph is exported twice, of two models that differ in every weight, and a byte that differs
and is no parameter in a form that is known ends the script. Components of great depth are exported at two small widths,
and what differs becomes what it is at the real ones. Parameters are views of a file that is mostly empty.
"""

import argparse
import copy
import importlib.metadata
import inspect
import json
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from torch import nn

from fresh_models import sparse, unfilled
from narrow_models import NARROW, Narrow
from pleinair.pouring import topologies
from pleinair.pouring.checkpoints import Shape, Stored
from pleinair.pouring.forms import formed
from pleinair.pouring.topologies import KEY, Hole, Topology, as_json, file_of, open_topologies, pack
from pleinair.sources.architectures import CONTROLNETS, LONE_VAES, Config, components_of, family
from pleinair.sources.controlnets import CONTROLNET, GRAPH
from pleinair.sources.describing import Described
from pleinair.sources.families import STABLE_DIFFUSION, Component, Family
from pleinair.sources.unets import POOLED, TEXT
from pleinair_bench.recognise import STORED, Parameters, Recogniser, recognised, used
from pleinair_export.controlnets import controlnet
from pleinair_export.graphs import Spec
from pleinair_export.kinds import KINDS
from pleinair_export.tracing import FORMATS, STORE, TRACE
from pleinair_export.trials import Context
from widening import Widening, widened

MODELS = {  # of ARCHITECTURES, LONE_VAES and CONTROLNETS -> its graphs, but for those that are another's too
    "sd15": ("text_encoder", "unet", "vae_encoder", "vae_decoder"),
    "sd21": ("text_encoder", "unet"),
    "sdxl": ("text_encoder_2", "unet"),
    "sd15-inpaint": ("unet",),
    "sd15-edit": ("unet",),
    "sd15-lcm": ("unet",),
    "sd21-edit": ("unet",),
    "sd21-inpaint": ("unet",),
    "sdxl-inpaint": ("unet",),
    "sdxl-edit": ("unet",),
    "sdxl-lcm": ("unet",),
    "sdxl-refiner": ("unet",),
    "ssd-1b": ("unet",),
    "vega": ("unet",),
    "bk-sdm-base": ("unet",),
    "bk-sdm-small": ("unet",),
    "bk-sdm-tiny": ("unet",),
    "sdxs": ("unet", "vae_encoder", "vae_decoder"),
    **dict.fromkeys(LONE_VAES, ("vae_encoder", "vae_decoder")),
    **dict.fromkeys(CONTROLNETS, (GRAPH,)),
}
WEIGHTS = ("fp16", "int8", "fp32")
PACKED_WITH = {
    "sd15-lcm": "sd15",
    "sdxl-lcm": "sdxl",
    "flux-vae": "sd15",
}  # models that are like another: one file takes less room
TOKENS = 77
ALONE = (64, 64)  # latents that a VAE on its own is tried on
TOOLS = ("torch", "diffusers", "transformers", "openvino", "nncf", "onnx")
IDLE = (  # values of a config that are no part of a graph; a computation in float32 needs no upcast
    "sample_size",
    "scaling_factor",
    "shift_factor",
    "latents_mean",
    "latents_std",
    "force_upcast",
    "upcast_attention",
    "dropout",
    "global_pool_conditions",
    "controlnet_conditioning_channel_order",
)
ModelRow = dict[str, Any]
TELLING = ("hidden_act", "layer_norm_eps", "num_attention_heads")  # of a text encoder's config; shapes tell the rest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=list(MODELS), help=f"of {', '.join(MODELS)}")
    parser.add_argument("--graph", nargs="+")
    parser.add_argument("--weights", nargs="+", default=WEIGHTS)
    parser.add_argument("--format", nargs="+", default=FORMATS)
    parser.add_argument("--scratch", type=Path, help="a folder with room for two models")
    parser.add_argument("--real", action="store_true", help="compare with an export of real size, and write nothing")
    asked = parser.parse_args()
    mark = perf_counter()
    for graph, *names in groups(asked):
        for row, words in (compared if asked.real else made)(names, graph, asked):
            print(f"{file_of(row).name}: {words}, {perf_counter() - mark:.0f} s", flush=True)
            mark = perf_counter()


def groups(asked: argparse.Namespace) -> list[list[str]]:
    """A graph, and the models whose narrow ones are the same."""
    found: dict[str, list[str]] = {}
    for name in asked.models:
        for graph in asked.graph or MODELS[name]:
            narrow = narrowed(name, graph)
            alike = [sorted(config.items()) for config in narrow.configs] if narrow else name
            found.setdefault(f"{graph} {alike}", [graph]).append(name)
    return list(found.values())


def narrowed(name: str, graph: str) -> Narrow | None:
    part = part_of(name, graph)
    return NARROW[part.kind](configs_of(name)[part.folder]) if part.kind in NARROW else None


def made(names: list[str], graph: str, asked: argparse.Namespace) -> Iterator[tuple[ModelRow, str]]:
    """Write the topologies of a graph of these models in each format and kind of weights."""
    part, model, narrow = part_of(names[0], graph), configs_of(names[0]), narrowed(names[0], graph)
    configs = narrow.configs if narrow else [model[part.folder]] * 2
    with tempfile.TemporaryDirectory(dir=asked.scratch) as folder:
        specs = [
            specified(
                graph,
                part,
                model | {part.folder: config},
                sparse(part, config, Path(folder) / f"{n}", n),
                row_of(names[0]),
            )
            for n, config in enumerate(configs, 1)
        ]
        for form in asked.format:
            traced = [TRACE[form](spec) for spec in specs]
            for weights in asked.weights:
                with tempfile.TemporaryDirectory(dir=folder) as out:
                    written = stored(specs, traced, weights, form, Path(out))
                    recogniser = Recogniser(tuple(map(parameters_of, specs)), STORED[form, weights])
                    found = {}
                    for name in names:
                        spec = empty(name, graph)
                        if narrow:
                            widening = Widening(narrowed(name, graph), shapes_in(spec), recogniser.hole)
                            files = widened(written, weights, widening)
                        else:
                            files = recognised(*written, recogniser.hole)
                        found[name] = topology_of(spec, files)
                    yield enter(found, graph, weights, form)


def part_of(name: str, graph: str) -> Component:
    return next(part for part in (CONTROLNET, *row_of(name).parts) if graph in part.graphs)


def configs_of(name: str) -> dict[str, Config]:
    """Component folder -> its config."""
    return {GRAPH: CONTROLNETS[name]} if name in CONTROLNETS else components_of(name)


def row_of(name: str) -> Family:
    """The row of a model; a ControlNet, which is no model, stands in the first."""
    return STABLE_DIFFUSION if name in CONTROLNETS else family(name)


def specified(
    graph: str, part: Component, model: dict[str, Config], module: nn.Module, row: Family = STABLE_DIFFUSION
) -> Spec:
    """The Spec of a graph of a component, tried on texts of nothing."""
    if part == CONTROLNET:
        return controlnet(module)
    if not row.readers:
        return KINDS[part.graphs[graph]].spec(graph, module, Context(ALONE))
    described = Described(row, {}, model)
    ids = {}
    for each in row.readers:
        ids[each.folder] = np.full((3, TOKENS), model[each.folder]["eos_token_id"], np.int64)
    feeds = {TEXT: np.zeros((3, TOKENS, described.unet["cross_attention_dim"]), np.float32)}
    if described.pooled:
        feeds[POOLED] = np.zeros((3, described.pooled), np.float32)
    return KINDS[part.graphs[graph]].spec(graph, module, Context(described.size, ids, feeds))


def proved(specs: list[Spec], traced: list[Any], weights: str, form: str, folder: Path) -> Topology:
    """The topology that two traced graphs, written below `folder`, share; ValueError where they differ otherwise."""
    written = stored(specs, traced, weights, form, folder)
    recogniser = Recogniser(tuple(map(parameters_of, specs)), STORED[form, weights])
    return topology_of(specs[0], recognised(*written, recogniser.hole))


def stored(specs: list[Spec], traced: list[Any], weights: str, form: str, folder: Path) -> list[list[Path]]:
    """The files of two traced graphs, written below `folder`."""
    written = []
    for n, (spec, graph) in enumerate(zip(specs, traced, strict=True)):
        out = folder / f"out{n}"
        out.mkdir()
        written.append([out / file for file in STORE[form](copy.deepcopy(graph), spec, out, weights).files])
    return written


@cache
def empty(name: str, graph: str) -> Spec:
    """The Spec of a graph without numbers."""
    part, model = part_of(name, graph), configs_of(name)
    return specified(graph, part, model, unfilled(part, model[part.folder]), row_of(name))


def topology_of(spec: Spec, files: dict[str, tuple[topologies.Segment, ...]]) -> Topology:
    return Topology(files, used(files, shapes_in(spec)), telling(spec.module.model), spec.inputs, spec.outputs)


def compared(names: list[str], graph: str, asked: argparse.Namespace) -> Iterator[tuple[ModelRow, str]]:
    """Export a graph of real size and hold what ships against it; raises ValueError for the first byte that differs."""
    name, rows = names[0], topologies.read_topologies()["topologies"]
    part, model = part_of(name, graph), configs_of(name)
    with tempfile.TemporaryDirectory(dir=asked.scratch) as folder:
        spec = specified(graph, part, model, sparse(part, model[part.folder], Path(folder) / "real", 1), row_of(name))
        for form in asked.format:
            traced = TRACE[form](spec)
            for weights in asked.weights:
                key = dict(zip(KEY, (graph, weights, form), strict=True))
                row = next(row for row in rows if name in row["models"] and key.items() <= row.items())
                topology = open_topologies(row)[name]
                with tempfile.TemporaryDirectory(dir=folder) as out:
                    files = STORE[form](copy.deepcopy(traced), spec, Path(out), weights).files
                    agree(topology, parameters_of(spec), [Path(out) / file for file in files])
                yield row, "agrees"


def agree(topology: Topology, parameters: Parameters, files: list[Path]) -> None:
    """Raise ValueError unless these files are what a topology makes of the parameters."""
    if [file.name for file in files] != list(topology.files):
        raise ValueError(f"{[file.name for file in files]} instead of {list(topology.files)}")
    for file in files:
        data, done = np.memmap(file, np.uint8, "r"), 0
        for part in topology.files[file.name]:
            pieces = [part]
            if isinstance(part, Hole):
                pieces = formed(Stored("F32", parameters[part.key]), part.form, part.transposed)
            for piece in pieces:
                wanted = np.frombuffer(piece, np.uint8)
                if not np.array_equal(data[done : done + len(wanted)], wanted):
                    raise ValueError(
                        f"{file.name} differs at {done}, in {part if isinstance(part, Hole) else 'the graph'}"
                    )
                done += len(wanted)
        if done != len(data):
            raise ValueError(f"{file.name} has {len(data)} bytes instead of {done}")


def parameters_of(spec: Spec) -> Parameters:
    return {name: each.detach().numpy() for name, each in spec.module.model.named_parameters()}


def shapes_in(spec: Spec) -> dict[str, Shape]:
    return {name: tuple(each.shape) for name, each in spec.module.model.named_parameters()}


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


def enter(found: dict[str, Topology], graph: str, weights: str, form: str) -> tuple[ModelRow, str]:
    """Write topologies by model as one file, and put it into the index with the versions of the tools that made it.

    Those of other models that the file has already are kept.
    """
    key = dict(zip(KEY, (graph, weights, form), strict=True))
    tools = {tool: importlib.metadata.version(tool) for tool in TOOLS}
    index = topologies.TOPOLOGIES / topologies.INDEX
    rows = topologies.read_topologies()["topologies"] if index.exists() else []
    first = next(iter(found))
    place = file_of({"models": [PACKED_WITH.get(first, first)], **key})
    before = next((each for each in rows if file_of(each) == place), None)
    together = (open_topologies(before) if before else {}) | found
    row = {"models": list(together), **key, "tools": tools}
    file_of(row).write_bytes(pack(together))
    rows = sorted([*(each for each in rows if file_of(each) != file_of(row)), row], key=lambda each: file_of(each).name)
    index.write_text(json.dumps({"topologies": rows}, indent=1) + "\n", encoding="utf-8")
    return row, f"{file_of(row).stat().st_size / 1e3:.0f} kB"


if __name__ == "__main__":
    main()
