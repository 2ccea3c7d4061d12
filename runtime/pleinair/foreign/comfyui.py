"""ComfyUI's `prompt`: the graph of nodes that made the picture, walked back from what it saved.

A graph from a file may lead nowhere or in circles: every walk is bounded.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from pleinair.foreign.record import (
    MAX_DEPTH,
    Record,
    check_prompt,
    lost_fields,
    parsed,
    real,
    shown,
    take,
    take_sampler,
    text_of,
    whole,
)

SAMPLER_NODES = ("KSampler", "KSamplerAdvanced", "SamplerCustom", "SamplerCustomAdvanced")
PARTS_OF_SAMPLERS = ("noise", "guider", "sampler", "sigmas")
CARRIES = ("text", "value", "string", "prompt", "number", "int", "float", "seed", "text_g", "text_l", "populated_text")
THROUGH = {  # the inputs that lead back to what a search is for
    "text": ("conditioning", "conditioning_1", "conditioning_to"),
    "latent": ("latent_image", "samples", "latent", "samples_to"),
    "model": ("model", "clip"),
    "picture": ("images", "image", "samples", "latent_image", "latent", "pixels"),
}


def read_comfyui(text: str) -> Record | None:
    """The graph of a `prompt` chunk: its last sampler's settings, followed back to texts, size and checkpoint."""
    raw = parsed(text)
    nodes = {str(name): node for name, node in raw.items() if _is_node(node)} if isinstance(raw, dict) else {}
    if not nodes:
        return None
    record = Record("ComfyUI")
    samplers = _samplers(nodes)
    if not samplers:
        record.lose("the graph has no sampler node that is known here; nothing was read but its nodes")
        record.settings = {"nodes": sorted({shown(node["class_type"]) for node in nodes.values()})}
        return record
    sampler = samplers[-1]
    if len(samplers) > 1:
        record.lose(f"the picture took {len(samplers)} passes of sampling; only the first is read")
    positive, negative = (_encoder(nodes, sampler, which, record) for which in ("positive", "negative"))
    record.prompt, record.negative = _encoded(nodes, positive), _encoded(nodes, negative)
    layers = [real(clip["inputs"].get("stop_at_clip_layer")) for clip in _upstream(nodes, positive, "model")]
    if layer := next((int(-layer) for layer in layers if layer is not None and layer < -1), None):
        record.options["clip_skip"] = layer
    record.settings = {
        name: value
        for name in ("seed", "noise_seed", "steps", "cfg", "sampler_name", "scheduler", "denoise", "start_at_step")
        if (value := _lookup(nodes, sampler, name)) is not None
    }
    _take_comfyui(record, nodes, sampler)
    check_prompt(record)
    return record


def _take_comfyui(record: Record, nodes: dict[str, Any], sampler: dict[str, Any]) -> None:
    found = record.settings
    take(record, "seed", found.get("seed", found.get("noise_seed")), whole)
    take(record, "steps", found.get("steps"), whole)
    take(record, "guidance", found.get("cfg"), real)
    take_sampler(record, found.get("sampler_name"), found.get("scheduler"))
    record.options["noise"] = "torch"
    if whole(found.get("start_at_step", 0)):
        record.lose("not followed: start_at_step")
    kinds = []
    for node in _upstream(nodes, sampler, "latent"):
        kinds.append(node["class_type"])
        inputs = node["inputs"]
        if "width" in inputs and "height" in inputs and "samples" not in inputs:
            found |= {side: _lookup(nodes, node, side) for side in ("width", "height")}
            take(record, "width", found["width"], whole)
            take(record, "height", found["height"], whole)
            if (whole(_lookup(nodes, node, "batch_size")) or 1) > 1:
                record.lose("the picture is one of a batch, which ComfyUI draws from one seed; only the first is alike")
    denoise = real(found.get("denoise"))
    if any(kind.startswith(("VAEEncode", "SetLatentNoiseMask", "InpaintModelConditioning")) for kind in kinds):
        record.options["strength"] = denoise if denoise is not None else 1.0
    if any(kind.startswith(("VAEEncodeForInpaint", "SetLatentNoiseMask")) for kind in kinds):
        record.lose("the picture was painted into another one; give that and the mask")
    if denoise and denoise < 1 and "steps" in record.options:  # ComfyUI walks `steps` of a longer path
        record.options["steps"] = int(record.options["steps"] / denoise)
        if "strength" not in record.options:
            record.lose(f"not followed: denoise {denoise:g} without a picture to start from")
    _take_model(record, nodes, sampler)


def _take_model(record: Record, nodes: dict[str, Any], sampler: dict[str, Any]) -> None:
    patches = []
    start = next(
        (node for node in (sampler, *_linked(nodes, sampler, ("guider",))) if "model" in node["inputs"]), sampler
    )
    for node in _upstream(nodes, start, "model"):
        name = next((node["inputs"].get(key) for key in ("ckpt_name", "unet_name") if key in node["inputs"]), None)
        if isinstance(name, str):
            record.settings["model"] = re.split(r"[\\/]", name)[-1]
        elif not node["class_type"].startswith(("KSampler", "Sampler", "CFGGuider", "BasicGuider", "CLIPSetLastLayer")):
            patches.append(node["class_type"])
    lost_fields(record, patches)


def _is_node(node: Any) -> bool:
    return isinstance(node, dict) and isinstance(node.get("class_type"), str) and isinstance(node.get("inputs"), dict)


def _samplers(nodes: dict[str, Any]) -> list[dict[str, Any]]:
    """The sampler nodes behind the saved picture, last pass first; all of them where nothing is saved."""
    outputs = [node for node in nodes.values() if node["class_type"].startswith(("SaveImage", "Save", "Preview"))]
    for output in outputs:
        chain = [node for node in _upstream(nodes, output, "picture") if node["class_type"] in SAMPLER_NODES]
        if chain:
            return chain
    return [node for node in nodes.values() if node["class_type"] in SAMPLER_NODES][:1]


def _linked(nodes: dict[str, Any], node: dict[str, Any], names: Iterable[str]) -> Iterator[dict[str, Any]]:
    """The nodes that are linked to these inputs."""
    for name in names:
        link = node["inputs"].get(name)
        if isinstance(link, list) and link and isinstance(link[0], str | int) and str(link[0]) in nodes:
            yield nodes[str(link[0])]


def _upstream(nodes: dict[str, Any], node: dict[str, Any], kind: str) -> Iterator[dict[str, Any]]:
    """The chain of nodes behind `node` through the inputs that carry a kind of thing, each once."""
    seen: set[int] = {id(node)}
    waiting = list(_linked(nodes, node, THROUGH[kind]))
    while waiting and len(seen) < 1000:
        current = waiting.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        waiting += _linked(nodes, current, THROUGH[kind])


def _lookup(nodes: dict[str, Any], node: dict[str, Any], name: str) -> Any:
    """The value of an input: its own, that of a node of constants behind it, or that of a custom sampler's parts."""
    for _ in range(MAX_DEPTH):
        value = node["inputs"].get(name)
        if isinstance(value, str | int | float):
            return value
        if value is None:
            inner = (each for each in _linked(nodes, node, PARTS_OF_SAMPLERS))
            node = next((each for each in inner if name in each["inputs"]), {"inputs": {}})
            if not node["inputs"]:
                return None
            continue
        behind = next(_linked(nodes, node, (name,)), None)
        if behind is None:
            return None
        carried = next((each for each in (name, *CARRIES) if each in behind["inputs"]), None)
        if carried is None:
            return None
        node, name = behind, carried
    return None


def _encoder(nodes: dict[str, Any], sampler: dict[str, Any], which: str, record: Record) -> dict[str, Any]:
    """The node that reads the text behind a sampler's positive or negative input, or an empty one.

    What changes its result on the way to the sampler is named as lost.
    """
    guider = next(_linked(nodes, sampler, ("guider",)), None)
    node = sampler if which in sampler["inputs"] or guider is None else guider
    names: tuple[str, ...] = (which, "conditioning") if which == "positive" else (which,)
    passed: list[str] = []
    for _ in range(MAX_DEPTH):
        node = next(_linked(nodes, node, names), None)
        if node is None or node["class_type"] == "ConditioningZeroOut":
            break
        if node["class_type"].startswith("CLIPTextEncode") or "clip" in node["inputs"]:
            lost_fields(record, passed)
            return node
        passed.append(node["class_type"])
        names = (which, *THROUGH["text"])
    return {"class_type": "", "inputs": {}}


def _encoded(nodes: dict[str, Any], encoder: dict[str, Any]) -> str:
    name = next((name for name in ("text", "text_g", "text_l", "prompt") if name in encoder["inputs"]), "text")
    return text_of(_lookup(nodes, encoder, name))
