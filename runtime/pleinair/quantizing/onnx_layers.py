"""The layers of an ONNX file that can compute in int8, made so with QuantizeLinear and DequantizeLinear.

ONNX Runtime fuses a convolution only where its answer is quantized as well, so that answers of convolutions are;
products are fused as they are. In the names, "x" is what a layer reads and "y" what it answers.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pleinair.bundle import onnx_data
from pleinair.engines.onnx_weights import LayeredGraph, StoredLayer, without_form
from pleinair.errors import BundleError
from pleinair.quantizing.ranges import Grid, Ranges, unsaturated_weight

if TYPE_CHECKING:
    import onnx

LARGEST = 100_000_000  # bytes of weights beyond which they lie beside model.onnx, where ONNX Runtime maps them
GRAPH, DATA = "model.onnx", "model.onnx_data"
FUSED = {"MatMul", "Conv"}


def sites_of(file: Path, named: Mapping[str, str]) -> tuple[LayeredGraph, dict[str, StoredLayer]]:
    """What is known of an ONNX file, and its layers by path."""
    with onnx_data.opened_onnx(file) as content:
        graph = LayeredGraph(content)
        return graph, graph.sites(named)


def write_quantized(
    file: Path, named: Mapping[str, str], ranges: Ranges, wide: set[str], folder: Path
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Write an ONNX file with int8 layers into a folder: all that have ranges and are not wide.

    Returns the names of its files, and of each changed weight by path.
    """
    import onnx

    known, sites = sites_of(file, named)
    model = onnx.load(file)
    graph = model.graph
    writer = Writer(graph)
    changed = {}
    for path in ranges.paths:
        site = sites.get(path)
        if path in wide or site is None:
            continue
        node = writer.reader_of(site)
        if node is None or node.op_type not in FUSED:
            continue
        weight = known.numbers(site, file)
        weight = np.ascontiguousarray(weight.T if site.transposed else weight)
        convolution = node.op_type == "Conv"
        cover = ranges.grid_in(path)
        changed[path] = writer.quantize_weight(node, site, weight, cover)
        writer.quantize_tensor(node, cover)
        if convolution:
            writer.quantize_answer(node, ranges.grid_out(path))
    if not changed:
        raise BundleError(f"no layer of '{file.parent.name}' (onnx) can be told; export the model again")
    writer.finish()
    folder.mkdir(parents=True, exist_ok=True)
    large = sum(len(each.raw_data) for each in graph.initializer) >= LARGEST
    beside = {"save_as_external_data": True, "location": DATA, "size_threshold": 1024} if large else {}
    onnx.save_model(model, folder / GRAPH, **beside)
    return ((GRAPH, DATA) if large else (GRAPH,)), changed


class Writer:
    """A graph that is changed: nodes and initializers are gathered, and put in at the end."""

    def __init__(self, graph: "onnx.GraphProto") -> None:
        from onnx import helper, numpy_helper

        self._graph, self._helper, self._numpy = graph, helper, numpy_helper
        self._nodes = {id(node): node for node in graph.node}
        self._readers: dict[str, list] = {}
        for node in graph.node:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)
        self._initializers = {each.name: each for each in graph.initializer}
        self._before: dict[int, list] = {}
        self._behind: dict[int, list] = {}
        self._first: list = []
        self._read: dict[tuple[str, Grid], str] = {}

    def reader_of(self, site: StoredLayer) -> "onnx.NodeProto | None":
        """The operator of a layer; None where several read its weight."""
        name = site.widened.outputs[0] if site.widened else site.stored.name
        readers = self._readers.get(name, [])
        return readers[0] if len(readers) == 1 else None

    def quantize_weight(self, node: "onnx.NodeProto", site: StoredLayer, weight: np.ndarray, cover: Grid) -> str:
        """Give a layer its weight as int8, and a convolution its bias as int32; returns the weight's name."""
        whole, scale = unsaturated_weight(weight)
        base = without_form(site.stored.name)
        name, axis = f"{base}_int8", weight.ndim - 1 if site.transposed else 0
        self._add(name, np.ascontiguousarray(whole.T if site.transposed else whole))
        self._add(f"{base}_scale", scale.reshape(-1).astype(np.float32))
        self._add(f"{base}_zero", np.zeros(len(weight), np.int8))
        wide = f"{base}_dequantized"
        inputs = [name, f"{base}_scale", f"{base}_zero"]
        self._first.append(self._helper.make_node("DequantizeLinear", inputs, [wide], axis=axis))
        node.input[1] = wide
        if node.op_type == "Conv" and len(node.input) > 2 and node.input[2] in self._initializers:
            bias, step = f"{base}_bias", scale.reshape(-1) * cover.scale
            values = self._numpy.to_array(self._initializers[node.input[2]]).astype(np.float64)
            self._add(bias, np.clip(np.rint(values / step), -(2**31), 2**31 - 1).astype(np.int32))
            self._add(f"{bias}_scale", step.astype(np.float32))
            inputs = [bias, f"{bias}_scale"]
            self._first.append(self._helper.make_node("DequantizeLinear", inputs, [f"{bias}_wide"], axis=0))
            node.input[2] = f"{bias}_wide"
        return name

    def quantize_tensor(self, node: "onnx.NodeProto", cover: Grid) -> None:
        """Let a layer read numbers of a grid; layers that read the same share them."""
        key = node.input[0], cover
        if key not in self._read:
            self._read[key] = f"{node.input[0]}_x8_{len(self._read)}"
            self._before.setdefault(id(node), []).extend(self._pair(node.input[0], self._read[key], cover))
        node.input[0] = self._read[key]

    def quantize_answer(self, node: "onnx.NodeProto", cover: Grid) -> None:
        """Let a layer answer with numbers of a grid."""
        answer = node.output[0]
        node.output[0] = f"{answer}_exact"
        self._behind.setdefault(id(node), []).extend(self._pair(node.output[0], answer, cover))

    def finish(self) -> None:
        """Put the new nodes among the others, and drop what nothing reads any more."""
        nodes = [*self._first]
        for node in self._graph.node:
            nodes += [*self._before.get(id(node), ()), node, *self._behind.get(id(node), ())]
        asked = {name for node in nodes for name in node.input} | {port.name for port in self._graph.output}
        kept = [node for node in nodes if any(name in asked for name in node.output)]
        asked = {name for node in kept for name in node.input} | {port.name for port in self._graph.output}
        initializers = [each for each in self._initializers.values() if each.name in asked]
        # copied first: what is taken out of a repeated field is no longer whole
        copies = [type(node).FromString(node.SerializeToString()) for node in kept]
        del self._graph.node[:]
        self._graph.node.extend(copies)
        weights = [type(each).FromString(each.SerializeToString()) for each in initializers]
        del self._graph.initializer[:]
        self._graph.initializer.extend(weights)

    def _pair(self, source: str, target: str, cover: Grid) -> list:
        scale, zero, small = f"{target}_scale", f"{target}_zero", f"{target}_quantized"
        self._add(scale, np.array(cover.scale, np.float32))
        self._add(zero, np.array(cover.zero, np.uint8))
        return [
            self._helper.make_node("QuantizeLinear", [source, scale, zero], [small]),
            self._helper.make_node("DequantizeLinear", [small, scale, zero], [target]),
        ]

    def _add(self, name: str, array: np.ndarray) -> None:
        self._initializers[name] = self._numpy.from_array(array, name)
