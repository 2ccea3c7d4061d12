"""What of a graph follows from some of its inputs alone, whatever the others are told: the layers of the time, say."""

import re
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

LAYER = re.compile(r'<layer id="(\d+)" name="[^"]*" type="(\w+)"[^>]*>(.*?)</layer>', re.DOTALL)
EDGE = re.compile(r'<edge from-layer="(\d+)" from-port="\d+" to-layer="(\d+)"')
NAMES = re.compile(r'names="([^"]*)"')
BODY = "<body>"  # of an operation that has a graph in it
STORED = "Const"  # as an IR has it
FIXED = (STORED, "Constant", "ShapeOf")


class GraphNode(NamedTuple):
    """An operation: its key, its kind as OpenVINO calls it, and the keys of those whose outputs it reads."""

    key: str
    kind: str
    inputs: tuple[str, ...]


def settled_nodes(nodes: Iterable[GraphNode], ports: Collection[str]) -> set[str]:
    """The keys of `nodes`, in the order of their computation, that follow from the parameters `ports` (keys) alone.

    Shapes and constants belong to nobody: what follows from them alone is not among them.
    """
    follows: dict[str, bool | None] = {}
    for node in nodes:
        if node.kind == "Parameter":
            follows[node.key] = node.key in ports
        else:
            told = () if node.kind in FIXED else (follows.get(each, False) for each in node.inputs)
            known = {each for each in told if each is not None}
            follows[node.key] = known == {True} if known else None
    return {key for key, alone in follows.items() if alone}


def settled_constants(xml: str, ports: Collection[str]) -> Iterator[str]:
    """What an IR says of the constants that nothing needs once the inputs of these names are settled.

    None of one whose operations have graphs in them.
    """
    if BODY in xml:
        return
    described = {key: (kind, text) for key, kind, text in LAYER.findall(xml)}
    inputs: dict[str, list[str]] = {key: [] for key in described}
    for start, end in EDGE.findall(xml):
        inputs[end].append(start)
    nodes = [GraphNode(key, kind, tuple(inputs[key])) for key, (kind, _) in described.items()]
    told = {
        key
        for key, (kind, text) in described.items()
        if kind == "Parameter" and any(name in ports for names in NAMES.findall(text) for name in names.split(","))
    }
    settled, needed = settled_nodes(nodes, told), set()
    for node in reversed(nodes):
        if node.key not in settled and (node.kind == "Result" or node.key in needed):
            needed.update(node.inputs)
    yield from (text for key, (kind, text) in described.items() if kind == STORED and key not in needed)
