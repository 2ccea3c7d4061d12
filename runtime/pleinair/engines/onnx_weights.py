"""The layers of an ONNX file, found from its operators, and other weights put into them.

ONNX Runtime's `add_initializer` does nothing, and says nothing, for weights that it lays out anew: what is changed is
declared to lie outside of the file and handed to the session as external.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from pleinair.bundle.onnx_data import Content
from pleinair.bundle.onnx_nodes import GraphPlace, Node, graph_place
from pleinair.bundle.onnx_weights import Weight, replaced, weights_in
from pleinair.engines.edits import Change, Layer

WEIGHED = ("MatMul", "Gemm", "Conv")
WEIGHT, BIAS = ".weight", ".bias"
SMALL = ("_fp16", "_int8")  # ends of the names that the export gives to small weights
FLOATS = (np.dtype(np.float32), np.dtype(np.float16))
LARGEST_HALF = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class StoredLayer:
    """Where a layer is: its weight as it is stored, what makes it wide, whether it is (in, out), and its bias."""

    stored: Weight
    widened: Node | None
    transposed: bool
    bias: Weight | None

    @property
    def layer(self) -> Layer:
        """The layer as torch has it."""
        shape = self.stored.shape
        return Layer(shape[::-1] if self.transposed else shape, self.bias is not None)


class LayeredGraph:
    """What is known of the operators and weights of an ONNX file, whose bytes are `data`."""

    def __init__(self, data: bytes | Content) -> None:
        self.place: GraphPlace = graph_place(data)
        self.weights = weights_in(data, self.place)
        self._makers = {name: node for node in self.place.nodes for name in node.outputs}
        self.uses = Counter(name for node in self.place.nodes for name in node.inputs)
        self._readers: dict[str, list[Node]] = {}
        for node in self.place.nodes:
            for name in node.inputs:
                self._readers.setdefault(name, []).append(node)

    def sites(self, named: Mapping[str, str]) -> dict[str, StoredLayer]:
        """Layer path -> where it is; `named` are the paths of weights whose layers bundle.json says.

        Others are told by the names of weights and operators, as torch's exporter writes them. A path that two weights
        have is left out.
        """
        found: dict[str, StoredLayer] = {}
        twice = set()
        for path, site in self._found(named):
            if found.setdefault(path, site).stored.name != site.stored.name:
                twice.add(path)
        return {path: site for path, site in found.items() if path not in twice}

    def _found(self, named: Mapping[str, str]) -> Iterator[tuple[str, StoredLayer]]:
        for node in self.place.nodes:
            if node.op in WEIGHED and len(node.inputs) > 1:
                stored, widened = self._stored(node.inputs[1])
                path = stored and path_of(stored.name, node, named)
                if path and len(stored.shape) > 1:
                    turned = node.op == "MatMul" or (node.op == "Gemm" and not node.whole.get("transB"))
                    yield path, StoredLayer(stored, widened, turned, self._bias(node))
        for name, weight in self.weights.items():
            vector = max(weight.shape, default=0) == prod(weight.shape)
            if name.endswith(WEIGHT) and vector and weight.kind in FLOATS and self.uses[name] == 1:
                bias = self.weights.get(name.removesuffix(WEIGHT) + BIAS)
                yield plain(name), StoredLayer(weight, None, False, bias)

    def _stored(self, name: str) -> tuple[Weight | None, Node | None]:
        """The weight that an operator reads, maybe widened."""
        if name in self.weights:
            return self.weights[name], None
        maker = self._makers.get(name)
        if maker is None or maker.op not in ("Cast", "DequantizeLinear"):
            return None, None
        if any(each not in self.weights for each in maker.inputs if each):
            return None, None
        return self.weights[maker.inputs[0]], maker

    def _bias(self, node: Node) -> Weight | None:
        if node.op != "MatMul":
            return self.weights.get(node.inputs[2]) if len(node.inputs) > 2 else None
        readers = self._readers.get(node.outputs[0], [])
        if len(readers) != 1 or readers[0].op != "Add":
            return None
        return next((self.weights[name] for name in readers[0].inputs if name in self.weights), None)

    def numbers(self, site: StoredLayer, file: Path) -> np.ndarray:
        """A weight as its operator reads it, float32."""
        values = site.stored.read(file)
        if site.widened is None or site.widened.op == "Cast":
            return values.astype(np.float32)
        axis = site.widened.whole.get("axis", 1)
        _, scale, *zero = site.widened.inputs
        factors, *zeros = (self.weights[each].read(file) for each in (scale, *filter(None, zero)))
        shape = [-1 if each == axis % values.ndim and factors.size > 1 else 1 for each in range(values.ndim)]
        shifted = values.astype(np.float32) - (zeros[0].astype(np.float32).reshape(shape) if zeros else 0)
        return shifted * factors.astype(np.float32).reshape(shape)


def path_of(stored: str, node: Node, named: Mapping[str, str]) -> str | None:
    """The path of a layer: as bundle.json has it, or as the name of its weight, or else of its operator, says."""
    if stored in named:
        return named[stored]
    return plain(stored) if without_form(stored).endswith(WEIGHT) else walked(node.name)


def plain(stored: str) -> str:
    """ "model.conv_in.weight_fp16" -> "conv_in"."""
    return without_form(stored).removeprefix("model.").removesuffix(WEIGHT)


def without_form(stored: str) -> str:
    """ "conv_in.weight_fp16" -> "conv_in.weight"."""
    return next((stored.removesuffix(end) for end in SMALL if stored.endswith(end)), stored)


def walked(operator: str) -> str | None:
    """ "/down_blocks.0/attentions.0/proj_in/Conv" -> "down_blocks.0.attentions.0.proj_in"."""
    parts = operator.split("/")[1:-1]
    return ".".join(parts).removeprefix("model.") if operator.startswith("/") and parts else None


def with_weights(
    content: bytes | Content, file: Path, changes: Mapping[str, Change], named: Mapping[str, str]
) -> tuple[bytes, dict[str, np.ndarray]]:
    """A file's bytes without the weights that change, and these by name; `file` is where all numbers are read from.

    Raises ValueError for bytes that are no ONNX file, KeyError for a layer that it does not have.
    """
    graph = LayeredGraph(content)
    sites, dropped, fresh = graph.sites(named), [], {}
    for path, change in changes.items():
        site = sites[path]
        if change.weight is not None:
            name, array, gone = changed_weight(graph, site, file, change)
            fresh[name] = array
            dropped += gone
        if change.bias is not None and site.bias is not None:
            bias = site.bias
            made = change.bias(bias.read(file).astype(np.float32).reshape(-1))
            fresh[bias.name] = made.reshape(bias.shape).astype(bias.kind)
            dropped.append((bias.start, bias.end))
    return replaced(content, graph.place, dropped, fresh), fresh


def changed_weight(
    graph: LayeredGraph, site: StoredLayer, file: Path, change: Change
) -> tuple[str, np.ndarray, list[tuple[int, int]]]:
    """Under which name a weight stands, what becomes of it, and the fields that go.

    One of 8 bits becomes as wide as it is computed with, and what widened it goes.
    """
    weight = graph.numbers(site, file)
    made = change.weight(np.ascontiguousarray(weight.T if site.transposed else weight))
    made = np.ascontiguousarray(made.T if site.transposed else made)
    gone = [(site.stored.start, site.stored.end)] if graph.uses[site.stored.name] == 1 else []
    narrow = site.stored.kind == np.float16 and np.abs(made).max(initial=0) <= LARGEST_HALF
    if site.widened is not None and not narrow:
        return site.widened.outputs[0], made, [*gone, (site.widened.start, site.widened.end)]
    return site.stored.name, made.astype(site.stored.kind), [(site.stored.start, site.stored.end)]
