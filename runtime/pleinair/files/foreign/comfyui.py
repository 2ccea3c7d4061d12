"""ComfyUI's `prompt`: the graph of nodes that made the picture, walked back from what it saved.

A graph may save several pictures, and a picture may take several passes of sampling. The output is chosen by the file's
size; of its passes one is read; everything else behind the output is named. A graph larger than any tool writes is not
followed.
"""

import re
from functools import partial
from typing import Any

from pleinair.checks import one_line
from pleinair.files.foreign.node_graph import SIDES, TEXTS, NodeGraph, saved, size_of
from pleinair.files.foreign.record import (
    MAX_LISTED,
    ForeignRecord,
    check_prompt,
    lost_fields,
    parsed,
    real,
    shown,
    take,
    take_eta,
    take_sampler,
    text_of,
    whole_or_none,
)

MAX_NODES = 2_000
MAX_INPUTS = 20_000
MAX_PASSES = 32
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
HARMLESS_NODES = ("Reroute", "Note", "MarkdownNote")
HARMLESS = ("control_after_generate", "upload", "speak_and_recognation", "choose file to upload")
USUAL = {  # input -> the values with which it asks for nothing
    "batch_size": (1,),
    "denoise": (1,),
    "add_noise": ("enable", True),
    "start_at_step": (0,),
    "end_at_step": (10000,),
    "return_with_leftover_noise": ("disable",),
    "weight_dtype": ("default",),
    "clip_skip": (1,),
}


def read_comfyui(text: str, size: tuple[int, int] | None = None) -> ForeignRecord | None:
    """The graph of a `prompt` chunk in a picture of this size."""
    raw = parsed(text)
    nodes = {str(name): node for name, node in raw.items() if _is_node(node)} if isinstance(raw, dict) else {}
    if not nodes:
        return None
    record, graph = ForeignRecord("ComfyUI"), NodeGraph(nodes)
    inputs = sum(len(node["inputs"]) for node in nodes.values())
    if len(nodes) > MAX_NODES or inputs > MAX_INPUTS:
        return _unread(graph, record, f"the graph has {len(nodes)} nodes and {inputs} inputs, more than are followed")
    output = saved(graph, size, record)
    if output is None:
        return _unread(graph, record, "the graph has no sampler node that is known here")
    every = graph.behind(output)
    passes = [name for name in every if graph.samples(name)]
    if len(passes) > 1:
        record.lose(f"the picture took {len(passes)} passes of sampling; only one of them is read")
    chosen = _chosen(graph, output)
    for name in passes:
        graph.mark(name)
    graph.mark(output, *graph.inputs(output))
    for name in graph.trunk(output):
        if graph.kind(name).startswith("VAEDecode"):
            graph.mark(name)
    _read_pass(graph, chosen, record)
    _name_the_rest(graph, every, chosen, record)
    check_prompt(record)
    return record


def _unread(graph: NodeGraph, record: ForeignRecord, why: str) -> ForeignRecord:
    record.lose(f"{why}; nothing was read but the names of its nodes")
    kinds = sorted({shown(node["class_type"]) for node in graph.nodes.values()})
    record.settings = {"nodes": kinds[:MAX_LISTED]}
    lost_fields(record, kinds)
    return record


def _is_node(node: Any) -> bool:
    return isinstance(node, dict) and isinstance(node.get("class_type"), str) and isinstance(node.get("inputs"), dict)


def _chosen(graph: NodeGraph, output: str) -> str:
    """The pass to read: the last one, or the first of those that follow each other with the same words and model.

    A pass that draws no noise goes on with the one before, whatever it says.
    """
    passes = [name for name in graph.trunk(output) if graph.samples(name)] or [output]
    chosen = passes[0]
    for earlier in passes[1:MAX_PASSES]:
        if _draws_noise(graph, chosen) and _meaning(graph, chosen) != _meaning(graph, earlier):
            break
        chosen = earlier
    return chosen


def _draws_noise(graph: NodeGraph, name: str) -> bool:
    noise = graph.link(name, ("noise",))
    return graph.inputs(name).get("add_noise") not in ("disable", False) and not (
        noise and graph.kind(noise) == "DisableNoise"
    )


def _meaning(graph: NodeGraph, name: str) -> tuple[Any, ...]:
    """What a pass says and with which model."""
    texts = [_text(graph, name, which, mark=False)[0] for which in ("positive", "negative")]
    return (*texts, _model(graph, name, mark=False))


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


def _read_pass(graph: NodeGraph, name: str, record: ForeignRecord) -> None:
    found = record.settings = _settings(graph, name)
    for which in ("positive", "negative"):
        text, encoder = _text(graph, name, which)
        setattr(record, "prompt" if which == "positive" else "negative", text)
        if which == "positive" and encoder:
            _take_clip_skip(graph, encoder, record)
    if _draws_noise(graph, name):
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
            record.lose("the picture is one of a batch, which ComfyUI draws from one seed; only the first is alike")
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


def _name_the_rest(graph: NodeGraph, every: list[str], chosen: str, record: ForeignRecord) -> None:
    """Name the nodes behind the output that nothing read, and the inputs of those that were read in part."""
    whole_nodes: list[str] = []
    inputs: dict[str, list[str]] = {}
    for name in every:
        kind = graph.kind(name)
        if kind.startswith(HARMLESS_NODES):
            continue
        if name not in graph.read:
            text = next(filter(None, (text_of(graph.inputs(name).get(each)) for each in TEXTS)), "")
            whole_nodes.append(f"{kind} '{one_line(text, 30)}'" if text else kind)
            continue
        same = graph.inputs(chosen) if graph.samples(name) and name != chosen else {}
        for each, value in graph.inputs(name).items():
            if each in graph.read[name] or each in HARMLESS or graph.target(value) or value in (None, "", [], {}):
                continue
            if value in USUAL.get(each, ()) or (each in same and same[each] == value) or _beyond(each, value, record):
                continue
            inputs.setdefault(kind, []).append(each)
    lost_fields(record, whole_nodes)
    for kind, names in inputs.items():
        lost_fields(record, names, f"not followed of {shown(kind)}")


def _beyond(name: str, value: Any, record: ForeignRecord) -> bool:
    """Whether this is an end of the walk that lies at or behind its last step."""
    steps, end = record.options.get("steps"), whole_or_none(value)
    return name == "end_at_step" and end is not None and steps is not None and end >= steps
