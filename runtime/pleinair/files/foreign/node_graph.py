"""ComfyUI's graph of nodes: what a node is linked to, which pictures it saved, and how large they are.

A graph from a file may lead nowhere or in circles: no walk goes through a node twice.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pleinair.files.foreign.record import ForeignRecord, real, whole_or_none

MAX_OUTPUTS = 16
MAX_SIDE = 1 << 20  # pixels
MAX_CONSTANTS = 16  # nodes between an input and its value
SAMPLER_NODES = ("KSampler", "KSamplerAdvanced", "SamplerCustom", "SamplerCustomAdvanced")
SAMPLED = (("steps", "cfg", "seed"), ("steps", "cfg", "noise_seed"))  # inputs by which other tools' samplers are known
TEXTS = ("text", "text_g", "text_l", "prompt", "string", "populated_text")
CARRIES = (*TEXTS, "value", "number", "int", "float", "seed")  # of nodes of constants
PICTURES = (  # the inputs that lead back to what was painted first
    *("images", "image", "pixels", "samples", "latent_image", "latent", "samples_to", "samples1", "destination"),
    *("latents", "image1", "image_a", "input", "any", ""),
)
NO_PICTURES = ("model", "vae", "clip", "positive", "negative", "mask", "upscale_model", "control_net", "clip_vision")
SIDES = (("width", "height"), ("empty_latent_width", "empty_latent_height"))
FACTORS = ("scale_by", "upscale_by", "rescale_factor")
RESIZED = re.compile(r"scale|resize|crop|pad|rotate|stitch", re.IGNORECASE)

Node = dict[str, Any]


@dataclass
class NodeGraph:
    """The nodes by name, and of each the inputs that were read."""

    nodes: dict[str, Node]
    read: dict[str, set[str]] = field(default_factory=dict)

    def inputs(self, name: str) -> dict[str, Any]:
        return self.nodes[name]["inputs"]

    def kind(self, name: str) -> str:
        return self.nodes[name]["class_type"]

    def mark(self, name: str, *inputs: str) -> None:
        """Note that a node has been understood but for those of its inputs that nothing reads."""
        self.read.setdefault(name, set()).update(inputs)

    def link(self, name: str, inputs: Iterable[str]) -> str | None:
        """The node behind the first of these inputs that has one."""
        mine = self.inputs(name)
        return next((found for each in inputs if (found := self.target(mine.get(each)))), None)

    def target(self, value: Any) -> str | None:
        """The node that an input is linked to; None for a value, or a link that leads nowhere."""
        linked = isinstance(value, list) and len(value) == 2 and isinstance(value[0], str | int)
        return str(value[0]) if linked and str(value[0]) in self.nodes else None

    def behind(self, start: str) -> list[str]:
        """All nodes that `start` depends on, itself first."""
        seen, waiting = {start: None}, [start]
        while waiting:
            for value in self.inputs(waiting.pop()).values():
                found = self.target(value)
                if found is not None and found not in seen:
                    seen[found] = None
                    waiting.append(found)
        return list(seen)

    def trunk(self, start: str) -> list[str]:
        """The nodes that a picture went through, last one first; where several join, the one that is laid under."""
        chain, current = {}, start
        while current is not None and current not in chain:
            chain[current] = None
            others = (each for each in self.inputs(current) if each not in NO_PICTURES)
            current = self.link(current, PICTURES) or self.link(current, others)
        return list(chain)

    def samples(self, name: str) -> bool:
        """Whether a node is a pass of sampling."""
        inputs = self.inputs(name)
        return self.kind(name) in SAMPLER_NODES or any(all(each in inputs for each in one) for one in SAMPLED)

    def value(self, name: str, wanted: str, mark: bool = True) -> Any:
        """The value of an input, or of the node of constants behind it; None where there is neither."""
        for _ in range(MAX_CONSTANTS):
            value = self.inputs(name).get(wanted)
            if mark and value is not None:
                self.mark(name, wanted)
            if isinstance(value, str | int | float):
                return value
            behind = self.target(value)
            carried = behind and next((each for each in (wanted, *CARRIES) if each in self.inputs(behind)), None)
            if not carried:
                return None
            name, wanted = behind, carried
        return None


def saved(graph: NodeGraph, size: tuple[int, int] | None, record: ForeignRecord) -> str | None:
    """The node that wrote the file: the one whose picture has its size, if several wrote different pictures."""
    ends = [name for name in graph.nodes if "save" in graph.kind(name).lower()]
    ends += [name for name in graph.nodes if "preview" in graph.kind(name).lower()]
    if not ends:
        linked = {found for name in graph.nodes for found in map(graph.target, graph.inputs(name).values())}
        ends = [name for name in graph.nodes if name not in linked]
    first: dict[tuple[str, ...], str] = {}  # of outputs that show one picture
    for name in ends[:MAX_OUTPUTS]:
        trunk = graph.trunk(name)[1:]
        if any(map(graph.samples, trunk)):
            first.setdefault(tuple(trunk), name)
    if len(ends) > MAX_OUTPUTS:
        record.lose(f"the graph has {len(ends)} outputs, of which the first {MAX_OUTPUTS} are read")
    if not first:
        return next((name for name in graph.nodes if graph.samples(name)), None)
    sizes = {name: size_of(graph, list(trunk)) for trunk, name in first.items()}
    fitting = [name for name, found in sizes.items() if found == size] if size else []
    unknown = [name for name, found in sizes.items() if found is None]
    likely = fitting or unknown or list(sizes)
    if len(first) > 1 and (size is None or len(fitting) != 1):
        record.lose(f"the graph has {len(first)} outputs, and it cannot be told which is this file; one is read")
    return likely[0]


def size_of(graph: NodeGraph, chain: list[str]) -> tuple[int, int] | None:
    """Width and height of what comes out of the first node of a chain; None where that cannot be told."""
    size: tuple[int, int] | None = None
    for name in reversed(chain):
        factor = next((found for each in FACTORS if (found := real(graph.value(name, each, mark=False)))), None)
        sides = next((found for pair in SIDES if all(found := [_side(graph, name, each) for each in pair])), None)
        if sides:
            size = tuple(sides)
        elif graph.kind(name) == "ImageUpscaleWithModel":
            model = graph.link(name, ("upscale_model",))
            named = graph.value(model, "model_name", mark=False) if model else None
            times = re.search(r"([248])x|x([248])", str(named))
            size = _times(size, float(times[1] or times[2]) if times else 0.0)
        elif factor:
            size = _times(size, factor, unit=8 if "latent" in graph.kind(name).lower() else 1)
        elif RESIZED.search(graph.kind(name)):
            size = None
    return size


def _times(size: tuple[int, int] | None, factor: float, unit: int = 1) -> tuple[int, int] | None:
    """A size made larger in whole units of pixels; None where either is not known, or beyond any picture."""
    if size is None or not 0 < factor <= MAX_SIDE or max(size) > MAX_SIDE:
        return None
    width, height = (round(side / unit * factor) * unit for side in size)
    return width, height


def _side(graph: NodeGraph, name: str, wanted: str) -> int | None:
    return whole_or_none(graph.value(name, wanted, mark=False)) if wanted in graph.inputs(name) else None
