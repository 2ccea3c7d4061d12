"""Layers of a model that follow from settled ports, computed for the calls that are foreseen and then let go.

In their place the rest of the model has ports for what they answer. Numbers are the same: each layer computes as it
would have in the whole model.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pleinair.bundle.manifest import GraphInfo
from pleinair.engines.edits import Edit, NewWeights, Tabulated, Unrounded, told_apart
from pleinair.engines.engine import Graph, Shapes
from pleinair.engines.int8.cpu import form_here
from pleinair.engines.int8.nodes import described
from pleinair.engines.int8.rewriting import is_w8a8, put_in_form, unround
from pleinair.engines.openvino_reading import read_model
from pleinair.engines.openvino_weights import change, sites
from pleinair.engines.ports import inputs_of_ports
from pleinair.engines.settled import settled_nodes
from pleinair.engines.telemetry import without_telemetry
from pleinair.system.giving_back import given_back, trim_heap

with without_telemetry():
    import openvino as ov
    from openvino import opset13 as ops

PREFIX = "tabulated."  # of the names of ports
Answers = dict[str, np.ndarray]


def settled_ends(model: ov.Model, ports: Collection[str]) -> dict[str, ov.Output]:
    """Name of a port -> the output in whose place it is: what follows from `ports` alone, read by what does not.

    None where NumPy does not have its numbers.
    """
    nodes = model.get_ordered_ops()
    told = {port.get_node().get_name() for port in model.inputs if port.get_names() & {*ports}}
    settled = settled_nodes(map(described, nodes), told)
    ends = [
        output
        for node in nodes
        if node.get_name() in settled
        for output in node.outputs()
        if any(reader.get_node().get_name() not in settled for reader in output.get_target_inputs())
    ]
    if any(each.get_element_type() != ov.Type.f32 for each in ends):
        return {}
    return {f"{PREFIX}{each.get_node().get_friendly_name()}.{each.get_index()}": each for each in ends}


def take_tabulated(model: ov.Model, ports: Collection[str]) -> None:
    """Give a model ports for what its settled layers answer, in place of these layers and of the ports they read."""
    for name, output in settled_ends(model, ports).items():
        port = ops.parameter(output.get_partial_shape(), output.get_element_type(), name)
        port.output(0).get_tensor().set_names({name})
        for reader in list(output.get_target_inputs()):
            reader.replace_source_output(port.output(0))
        model.add_parameters([port])
    for port in [port for port in model.inputs if port.get_names() & {*ports}]:
        model.remove_parameter(port.get_node())
    model.validate_nodes_and_infer_types()


@dataclass(frozen=True)
class SettledLayers:
    """Those layers, compiled: they answer what the ports of the rest are told, of these shapes."""

    request: ov.InferRequest
    shapes: Shapes

    def __call__(self, call: Mapping[str, np.ndarray]) -> Answers:
        found = self.request.infer(dict(call)).values()
        return {name: np.array(array) for name, array in zip(self.shapes, found, strict=True)}


@dataclass(frozen=True)
class SettledReader:
    """How the settled layers of a graph are read and compiled, with the edits of the graph."""

    file: Path
    edits: Collection[Edit]
    named: Mapping[str, str]
    settings: Mapping[str, Any]
    int8: str

    def __call__(self, ports: Collection[str], shapes: Shapes) -> SettledLayers | None:
        """Compiled for these shapes of all ports of the graph; None where it has no such layers."""
        core = ov.Core()
        model = read_model(core, self.file)
        ends = settled_ends(model, ports)
        if not ends:
            return None
        layers = ov.Model(list(ends.values()), model.get_parameters(), "settled")
        for edit in self.edits:
            self._change(layers, edit)
        names = {name for port in layers.inputs for name in port.get_names()}
        layers.reshape({name: shape for name, shape in shapes.items() if name in names})
        if is_w8a8(layers):
            put_in_form(layers, form_here(self.int8))
        answers = {name: tuple(end.get_shape()) for name, end in zip(ends, layers.outputs, strict=True)}
        with given_back(self.file.with_suffix(".bin")):
            compiled = core.compile_model(layers, "CPU", dict(self.settings))
        return SettledLayers(compiled.create_infer_request(), answers)

    def _change(self, layers: ov.Model, edit: Edit) -> None:
        if isinstance(edit, Unrounded):
            unround(layers)
        elif isinstance(edit, NewWeights):
            for path, site in sites(layers, self.named).items():
                if path in edit.changes:
                    change(site, edit.changes[path])


class TabulatedGraph:
    """A graph as `Tabulated` asks for it: `rest` is what is left of it then, `whole` the graph as it is.

    `failed` makes the error of what OpenVINO raises.
    """

    def __init__(
        self,
        edit: Tabulated,
        info: GraphInfo,
        read: SettledReader,
        rest: Graph,
        whole: Graph,
        failed: Callable[[Exception], Exception],
    ) -> None:
        self._ports = edit.ports
        self._calls = [inputs_of_ports(info, call) for call in edit.calls]
        self._read = read
        self._rest = rest
        self._whole = whole
        self._failed = failed
        self._shapes: Shapes | None = None  # that the table is for
        self._table: dict[object, Answers] | None = None  # None: there are no such layers
        self._layers: SettledLayers | None = None  # for calls that were not foreseen

    def prepare(self, shapes: Shapes) -> None:
        if shapes == self._shapes:
            return
        self._shapes = self._layers = None
        layers = self._compiled(shapes)
        if layers is None:
            self._whole.prepare(shapes)
        else:
            fitting = [call for call in self._calls if all(call[port].shape == shapes[port] for port in call)]
            self._table = {told_apart(call): layers(call) for call in fitting}
            answered = layers.shapes
            del layers
            trim_heap()
            self._rest.prepare({port: shape for port, shape in shapes.items() if port not in self._ports} | answered)
        self._shapes = shapes

    def __call__(self, **inputs: np.ndarray) -> Answers:
        self.prepare({name: array.shape for name, array in inputs.items()})
        if self._table is None:
            return self._whole(**inputs)
        told = {port: inputs.pop(port) for port in self._ports}
        return self._rest(**inputs, **self._answers(told))

    def _answers(self, told: Mapping[str, np.ndarray]) -> Answers:
        found = self._table.get(told_apart(told))
        if found is not None:
            return found
        if self._layers is None:
            self._layers = self._compiled(self._shapes)
        return self._layers(told)

    def _compiled(self, shapes: Shapes) -> SettledLayers | None:
        try:
            return self._read(self._ports, shapes)
        except RuntimeError as error:
            raise self._failed(error) from None
