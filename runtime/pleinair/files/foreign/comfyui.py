"""ComfyUI's `prompt`: the graph of nodes that made the picture, walked back from what it saved.

A graph may save several pictures, and a picture may take several passes of sampling. The output is chosen by the file's
size; of its passes one is read; everything else behind the output is named. A graph larger than any tool writes is not
followed.
"""

from typing import Any

from pleinair.checks import one_line
from pleinair.files.foreign.comfyui_pass import draws_noise, meaning, read_pass
from pleinair.files.foreign.node_graph import TEXTS, NodeGraph, saved
from pleinair.files.foreign.record import (
    MAX_LISTED,
    ForeignRecord,
    check_prompt,
    lost_fields,
    parsed,
    shown,
    text_of,
    whole_or_none,
)

MAX_NODES = 2_000
MAX_INPUTS = 20_000
MAX_PASSES = 32
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
    read_pass(graph, chosen, record)
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
        if draws_noise(graph, chosen) and meaning(graph, chosen) != meaning(graph, earlier):
            break
        chosen = earlier
    return chosen


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
