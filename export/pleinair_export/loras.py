"""LoRA files merged into a model's torch modules, before these are traced."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from importlib import import_module

import numpy as np
import torch
from torch import nn

from pleinair.adapters.few_steps import Suggested, suggested
from pleinair.adapters.lora_file import open_lora
from pleinair.adapters.matching import Networks
from pleinair.adapters.merging import Merge, Use, planned
from pleinair.engines.edits import Change, Layer
from pleinair.request.lora_types import GivenLora
from pleinair.sources.describing import denoiser
from pleinair.sources.families import Component
from pleinair.sources.folder import Source
from pleinair_export.single_file import network


def with_loras(model: Source, loras: Iterable[GivenLora]) -> Source:
    """The model with LoRAs to be merged into it; one for a few steps says what its bundle paints with unless told.

    A sampler that is asked for, and what the model's own pleinair.json says, hold before that.
    """
    model = replace(model, loras=tuple(loras))
    few = few_steps_of(model)
    if few is None:
        return model
    asked = dict(few.options) | model.settings.defaults
    if spacing := asked.pop("spacing", None):
        model = replace(model, scheduler=model.scheduler | {"timestep_spacing": spacing})
    if model.sampler is not None:
        asked["sampler"] = model.sampler
    steps = {name: asked[name] for name in ("sampler", "steps", "guidance") if name in asked}
    return replace(model, defaults=replace(model.defaults, timesteps=None, **steps))


def few_steps_of(model: Source) -> Suggested | None:
    """What the first of a model's LoRAs that is for a few steps asks for."""
    return next(filter(None, (suggested(each.file) for each in model.loras if each.weight)), None)


def said_of_loras(model: Source) -> Iterator[str]:
    """What of a model's LoRAs applies, before its weights are loaded; RequestError for one that is not for it."""
    for each in planned_merge(model).applied:
        yield from (each.words, *each.warnings)
    if few := few_steps_of(model):
        usual = model.defaults
        yield (
            f"with {few.kind} in it, it paints in {usual.steps} steps of {usual.sampler} at guidance"
            f" {usual.guidance:g} unless told"
        )


def merge_loras(module: nn.Module, model: Source, part: Component) -> None:
    """Change a component's weights in place, one layer at a time."""
    if not model.loras:
        return
    merge = planned_merge(model)
    for graph in part.graphs:
        for edit in merge.edits(graph):
            for path, change in edit.changes.items():
                merge_layer(module.get_submodule(path), change)


def merge_layer(layer: nn.Module, change: Change) -> None:
    """Numbers of 16 bits stay so, but for bfloat16, whose are too coarse for what a LoRA adds."""
    for name, make in (("weight", change.weight), ("bias", change.bias)):
        parameter = getattr(layer, name, None)
        if make is None or parameter is None:
            continue
        made = torch.from_numpy(np.ascontiguousarray(make(parameter.data.float().numpy())))
        half = parameter.dtype == torch.float16 and made.abs().max() <= torch.finfo(torch.float16).max
        parameter.data = made.half() if half else made


def planned_merge(model: Source) -> Merge:
    """What a model's LoRAs do to its graphs."""
    uses = [Use(open_lora(each.file), each.weight, each.weight) for each in model.loras if each.weight]
    return planned(networks_of(model), uses, partial(layers_of_graph, model)) if uses else Merge()


def networks_of(model: Source) -> Networks:
    """The graphs whose layers LoRAs change."""
    encoders = tuple(graph for part in model.family.readers for graph in part.graphs)
    return Networks(name=model.name, denoiser=denoiser(model).graph, encoders=encoders)


def layers_of_graph(model: Source, graph: str) -> dict[str, Layer]:
    """The layers of a graph's component, from its config alone."""
    part = next(part for part in model.family.parts if graph in part.graphs)
    with torch.device("meta"):
        module = network(getattr(import_module(part.library), part.kind), model.configs[part.folder])
    return {
        path: Layer(tuple(layer.weight.shape), getattr(layer, "bias", None) is not None)
        for path, layer in module.named_modules()
        if isinstance(getattr(layer, "weight", None), nn.Parameter) and not isinstance(layer, nn.Embedding)
    }
