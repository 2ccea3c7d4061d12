"""One pass of sampling in a graph of ComfyUI's: its words, its model, its settings and what it starts from."""

import re
from functools import partial
from typing import Any

from pleinair.files.foreign.node_graph import SIDES, TEXTS, NodeGraph, size_of
from pleinair.files.foreign.record import (
    ForeignRecord,
    real,
    take,
    take_eta,
    take_sampler,
    whole_or_none,
)

PARTS = ("noise", "guider", "sampler", "sigmas")  # inputs of SamplerCustom that lead to nodes with its settings
CONDITIONS = ("conditioning", "conditioning_to", "conditioning_1", "conditioning1", "cond1", "base_positive")
SCHEDULES = {
    "KarrasScheduler": "karras",
    "ExponentialScheduler": "exponential",
    "BetaSamplingScheduler": "beta",
    "AlignYourStepsScheduler": "ays",
}
MODELS = ("ckpt_name", "unet_name")
SEEDS = ("seed", "noise_seed")
SETTINGS = ("steps", "cfg", "sampler_name", "scheduler", "denoise", "add_noise", "start_at_step", "eta", "s_noise")
UNUSED_SETTINGS = ("add_noise", "start_at_step")  # read, and named where they ask for something
INPAINTING = ("VAEEncodeForInpaint", "SetLatentNoiseMask", "InpaintModelConditioning")


def read_pass(graph: NodeGraph, name: str, record: ForeignRecord) -> None:
    """Put what a sampler node and those behind it ask for into the record."""
    found = record.settings = _settings(graph, name)
    record.prompt, encoder = _text(graph, name, "positive")
    record.negative, _ = _text(graph, name, "negative")
    if encoder:
        _take_clip_skip(graph, encoder, record)
    if draws_noise(graph, name):
        take(record, "seed", found.get("seed", found.get("noise_seed")), whole_or_none)
    else:
        graph.read[name] -= set(SEEDS)
    take(record, "steps", found.get("steps"), whole_or_none)
    take(record, "guidance", found.get("cfg"), real, "cfg")
    guider = graph.link(name, ("guider",))
    if guider and graph.kind(guider) == "BasicGuider":
        record.options["guidance"] = 1.0
    take_sampler(record, found.get("sampler_name"), found.get("scheduler"), what="sampler_name")
    take_eta(record, found.get("eta"))
    take(record, "s_noise", found.get("s_noise"), real)
    record.options["noise"] = "torch"
    if model := _model(graph, name):
        found["model"] = re.split(r"[\\/]", model)[-1]
    for setting in UNUSED_SETTINGS:
        graph.read[name].discard(setting)
    _read_start(graph, name, record)


def _parts(graph: NodeGraph, name: str) -> list[str]:
    """A sampler and the nodes that hold its settings."""
    seen, waiting = {name: None}, [name]
    while waiting:
        current = waiting.pop()
        for each in PARTS:
            found = graph.link(current, (each,))
            if found is not None and found not in seen:
                seen[found] = None
                waiting.append(found)
    return list(seen)


def _settings(graph: NodeGraph, name: str) -> dict[str, Any]:
    """The settings of a pass, its own or those of the nodes behind it."""
    found: dict[str, Any] = {}
    parts = _parts(graph, name)
    for wanted in (*SEEDS, *SETTINGS):
        holder = next((each for each in parts if graph.inputs(each).get(wanted) is not None), None)
        value = graph.value(holder, wanted) if holder else None
        if value is not None:
            found[wanted] = value
    for each in parts[1:]:
        kind = graph.kind(each)
        if kind in SCHEDULES:
            found.setdefault("scheduler", SCHEDULES[kind])
            graph.mark(each)
        elif kind.startswith("Sampler") and "sampler_name" not in found:
            found["sampler_name"] = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.removeprefix("Sampler")).lower()
            graph.mark(each)
        elif kind in ("CFGGuider", "BasicGuider"):
            graph.mark(each)
    return found


def draws_noise(graph: NodeGraph, name: str) -> bool:
    """Whether a pass begins with new noise."""
    noise = graph.link(name, ("noise",))
    return graph.inputs(name).get("add_noise") not in ("disable", False) and not (
        noise and graph.kind(noise) == "DisableNoise"
    )


def meaning(graph: NodeGraph, name: str) -> tuple[Any, ...]:
    """What a pass says and with which model."""
    texts = [_text(graph, name, which, mark=False)[0] for which in ("positive", "negative")]
    return (*texts, _model(graph, name, mark=False))


def _read_start(graph: NodeGraph, name: str, record: ForeignRecord) -> None:
    """Size, and what a pass started from: an empty latent, a picture from elsewhere, or another pass."""
    chain = graph.trunk(name)[1:]
    source = chain[-1] if chain else None
    size = size_of(graph, chain) if chain else None
    if size:
        record.settings |= {"width": size[0], "height": size[1]}
        record.options |= {"width": size[0], "height": size[1]}
    if source and any(side in graph.inputs(source) for pair in SIDES for side in pair):
        for side in (side for pair in SIDES for side in pair if side in graph.inputs(source)):
            graph.value(source, side)
        if (whole_or_none(graph.value(source, "batch_size")) or 1) > 1:
            graph.read[source].discard("batch_size")
            record.lose("the picture is one of a batch, which ComfyUI draws from one seed; only the first will match")
    elif not any(map(graph.samples, chain)) and any(map(partial(_encodes, graph), chain)):
        _read_picture(graph, name, chain, record)
        return
    denoise = real(record.settings.get("denoise"))
    if denoise is not None and denoise != 1:
        graph.read[name].discard("denoise")


def _encodes(graph: NodeGraph, name: str) -> bool:
    return graph.kind(name).startswith(("VAEEncode", *INPAINTING))


def _read_picture(graph: NodeGraph, name: str, chain: list[str], record: ForeignRecord) -> None:
    """A pass over a picture that no record holds; ComfyUI walks `steps` of a longer path, pleinair the end of one."""
    masked = any(graph.kind(each).startswith(INPAINTING) for each in chain)
    record.inputs = ("image", "mask") if masked else ("image",)
    for each in chain:
        if _encodes(graph, each):
            graph.mark(each)
    graph.mark(chain[-1], "image")
    if masked:
        for each in chain:
            mask = graph.link(each, ("mask",))
            if mask and graph.kind(mask).startswith("LoadImage"):
                graph.mark(mask, "image", "channel")
    steps, denoise = record.options.get("steps"), real(record.settings.get("denoise", 1.0))
    skipped = whole_or_none(record.settings.get("start_at_step", 0))
    record.options["strength"] = 1.0
    if steps and skipped and skipped < steps:
        record.options["strength"] = 1 - skipped / steps
        graph.mark(name, "start_at_step")
    elif steps and denoise and 0.001 <= denoise <= 1:
        record.options |= {"strength": denoise, "steps": int(steps / denoise)}
    elif denoise != 1:
        graph.read[name].discard("denoise")


def _text(graph: NodeGraph, name: str, which: str, mark: bool = True) -> tuple[str, str | None]:
    """The text behind a sampler's positive or negative input, and the node that encodes it."""
    guider = graph.link(name, ("guider",))
    current, seen = name if which in graph.inputs(name) or guider is None else guider, set()
    names = (which, "conditioning") if which == "positive" else (which,)
    while current is not None and current not in seen:
        seen.add(current)
        if isinstance(graph.inputs(current).get(which), str):  # a loader that encodes as well
            return str(graph.value(current, which, mark)), current
        behind = graph.link(current, names)
        if behind is None and current != name:
            return _encoded(graph, current, mark)
        names = (which, *CONDITIONS)
        current = behind
        if behind and graph.kind(behind) == "ConditioningZeroOut":
            break
    return "", None


def _encoded(graph: NodeGraph, encoder: str, mark: bool) -> tuple[str, str | None]:
    inputs = graph.inputs(encoder)
    wanted = next((each for each in TEXTS if each in inputs), None)
    if wanted is None:
        return "", None
    text = graph.value(encoder, wanted, mark)
    if mark:
        graph.mark(encoder, *(each for each in TEXTS if inputs.get(each) == text))
    return text if isinstance(text, str) else "", encoder


def _take_clip_skip(graph: NodeGraph, encoder: str, record: ForeignRecord) -> None:
    seen, current = set(), encoder
    while current is not None and current not in seen:
        seen.add(current)
        inputs = graph.inputs(current)
        for wanted in ("stop_at_clip_layer", "clip_skip"):
            layer = real(graph.value(current, wanted, mark=False)) if wanted in inputs else None
            if layer is not None and -12 <= layer <= -1 and layer == int(layer):
                graph.value(current, wanted)
                if layer < -1 and "clip_skip" not in record.options:
                    record.options["clip_skip"] = int(-layer)
        current = graph.link(current, ("clip",))


def _model(graph: NodeGraph, name: str, mark: bool = True) -> str | None:
    """The file that the model of a pass was loaded from."""
    guider = graph.link(name, ("guider",))
    current, seen = name if "model" in graph.inputs(name) or guider is None else guider, set()
    while current is not None and current not in seen:
        seen.add(current)
        loaded = next((each for each in MODELS if each in graph.inputs(current)), None)
        if loaded:
            value = graph.value(current, loaded, mark)
            return value if isinstance(value, str) else None
        current = graph.link(current, ("model",))
    return None
