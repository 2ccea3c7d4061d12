"""OpenVINO: CPU, Intel GPU and NPU."""

import os
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pleinair.bundle.manifest import Port
from pleinair.bundle.opening import Bundle
from pleinair.engines import precision as precisions
from pleinair.engines.edits import Edit, Residuals
from pleinair.engines.engine import Opening, Shapes, engine_version
from pleinair.engines.failures import failed, no_extra, no_residuals, no_weight, unreadable
from pleinair.engines.openvino_residuals import add_residuals
from pleinair.engines.ports import EXTRA, check_opened
from pleinair.engines.telemetry import without_telemetry
from pleinair.errors import BundleError, RequestError

with without_telemetry():
    import openvino as ov
    from openvino import opset13 as ops

LATENCY = {"PERFORMANCE_HINT": "LATENCY"}
CAPABILITIES = {"FP32": "f32", "BF16": "bf16", "FP16": "f16"}
DTYPES = {"f32": "float32", "f16": "float16", "f64": "float64", "i64": "int64", "i32": "int32"}
BF16_SETS = ("BF16", "FP16", "AMX", "ALL", "DEFAULT")  # in the names of instruction sets that have bf16
XML = b"<?xml"
MARK = "decompression_0"  # OpenVINO's own mark of what makes a weight as wide as it is computed with


class OpenVINOEngine:
    """OpenVINO's runtime, on its devices."""

    name, format = "openvino", "openvino"

    def __init__(self) -> None:
        self.version = engine_version(self.name)
        self._core = ov.Core()  # for questions alone: a new one looks for all devices again, which costs 10 ms
        self._devices: list[str] = []

    def devices(self) -> list[str]:
        if not self._devices:  # OpenVINO looks for them anew each time
            self._devices = list(self._core.available_devices)
        return [*self._devices]

    def check_device(self, device: str | None, threads: int | None) -> None:
        self._device(device, threads)

    def offered(self, device: str | None) -> tuple[str, ...]:
        """What a device computes in at full speed, as OpenVINO says."""
        name = self._device(device)
        has = self._core.get_property(name, "OPTIMIZATION_CAPABILITIES")
        forced = os.environ.get("ONEDNN_MAX_CPU_ISA", "ALL").upper()  # which OpenVINO obeys, and still says BF16
        slow = name == "CPU" and not any(mark in forced for mark in BF16_SETS)
        return tuple(kind for name, kind in CAPABILITIES.items() if name in has and not (slow and name == "BF16"))

    def fastest(self, bundle: Bundle, graph: str, device: str | None) -> str:
        kind = self._device(device).split(".")[0]
        return precisions.fastest(bundle, graph, kind, self.offered(device))

    def open_graph(self, bundle: Bundle, graph: str, how: Opening) -> "OpenVINOGraph":
        settings: dict[str, Any] = {**LATENCY, "INFERENCE_PRECISION_HINT": how.precision}
        if how.threads:
            settings["INFERENCE_NUM_THREADS"] = how.threads
        return OpenVINOGraph(bundle, graph, self._device(how.device, how.threads), settings, how.edits, how.max_shapes)

    def _device(self, device: str | None, threads: int | None = None) -> str:
        """OpenVINO's name of a device; RequestError where this machine has none such, or it takes no threads."""
        name = (device or "cpu").upper()
        available = self.devices()
        if name not in available and name not in {entry.split(".")[0] for entry in available}:
            raise RequestError(f"OpenVINO has no device '{device}' here; choose from {', '.join(available).lower()}")
        if threads and name != "CPU":
            raise RequestError(f"threads are for the CPU, not for '{device}'; leave --threads out")
        return name


class OpenVINOGraph:
    """A graph compiled for the shapes it is called with: static shapes are what OpenVINO is fast with."""

    def __init__(
        self, bundle: Bundle, graph: str, device: str, settings: dict[str, Any], edits: Sequence[Edit], max_shapes: int
    ) -> None:
        self._bundle = bundle
        self._name = graph
        self._device = device
        self._settings = settings
        self._edits = edits
        self._max_shapes = max_shapes
        self._outputs: list[str] = []
        self._tokens: int | None = None  # rows of the table that input_ids choose from
        self._requests: OrderedDict[tuple, ov.InferRequest] = OrderedDict()  # by shapes, those used last at the end

    def prepare(self, shapes: Shapes) -> None:
        self._request(shapes)

    def __call__(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        request = self._request({name: array.shape for name, array in inputs.items()})
        if self._tokens is not None and (inputs["input_ids"] >= self._tokens).any():
            raise BundleError(
                f"'{self._name}' knows {self._tokens} tokens and its tokenizer makes others; export the model again"
            )
        try:
            results = request.infer(inputs)
        except RuntimeError as error:
            raise failed(self._name, self._device, error) from None
        return {name: np.array(array) for name, array in zip(self._outputs, results.values(), strict=True)}

    def _request(self, shapes: Shapes) -> ov.InferRequest:
        """The graph compiled for these shapes; the memory of the oldest is given back before another is made."""
        key = tuple(sorted(shapes.items()))
        if key not in self._requests:
            while len(self._requests) >= self._max_shapes:
                self._requests.popitem(last=False)
            self._requests[key] = self._compiled(shapes)
        self._requests.move_to_end(key)
        return self._requests[key]

    def _compiled(self, shapes: Shapes) -> ov.InferRequest:
        core = ov.Core()
        model = read_model(core, self._bundle.graph_file(self._name, "openvino"))
        info = self._bundle.manifest.graphs[self._name]
        try:
            inputs, outputs = ports_of(model.inputs, info.inputs), ports_of(model.outputs, info.outputs)
            check_opened(self._name, info, inputs, outputs)
            self._tokens = table_rows(model)
            if EXTRA in shapes and not take_extra(model):
                raise no_extra(self._name)
            for edit in self._edits:
                self._change(model, edit)
            # compiling drops operations that these shapes make idle, and gives their names to the port that remains
            self._outputs = list(outputs)
            model.reshape(dict(shapes))
            return core.compile_model(model, self._device, self._settings).create_infer_request()
        except RuntimeError as error:
            raise failed(self._name, self._device, error) from None

    def _change(self, model: ov.Model, edit: Edit) -> None:
        if isinstance(edit, Residuals):
            others = add_residuals(model, edit)
            if others is not None:
                raise no_residuals(self._bundle.manifest.name, edit, others)
        elif not replace_weight(model, edit.name, edit.array):
            raise no_weight(self._name, edit.name)


def replace_weight(model: ov.Model, name: str, array: np.ndarray) -> bool:
    """Put an array in a constant's place, in the constant's own type; False where there is none of that shape."""
    for node in model.get_ordered_ops():
        if node.get_type_name() != "Constant" or node.get_friendly_name() != name:
            continue
        if tuple(node.shape) != array.shape:
            return False
        fresh = ops.constant(array, node.get_element_type(), name=name)
        for reader in node.output(0).get_target_inputs():
            reader.replace_source_output(fresh.output(0))
        return True
    return False


def read_model(core: ov.Core, file: Path) -> ov.Model:
    """An IR as a model whose ports have numbers that NumPy has, and whose 16-bit weights are known as such.

    OpenVINO looks into a file to tell its format, and what it reads for others (ONNX) may refer to any file and any
    address: only what begins like an IR is handed to it, with the weights that lie beside it.
    """
    try:
        with file.open("rb") as stream:
            if not stream.read(len(XML) + 3).removeprefix(b"\xef\xbb\xbf").startswith(XML):
                raise BundleError(f"'{file}' is not an OpenVINO graph; restore it or export the model again")
        model = core.read_model(file, file.with_suffix(".bin"))
        model = widen_ports(model)
        mark_stored_small(model)
    except (RuntimeError, OSError) as error:
        raise unreadable(file, error) from None
    return model


def ports_of(ports: list[ov.Output], described: dict[str, Port]) -> dict[str, str]:
    """Name -> what numbers a port takes or gives: its name in the manifest where it has that among others."""
    found = {}
    for place, port in enumerate(ports):
        names = sorted(port.get_names()) or [f"number {place}"]
        kind = port.get_element_type().get_type_name()
        found[next((name for name in names if name in described), names[0])] = DTYPES.get(kind, kind)
    return found


def table_rows(model: ov.Model) -> int | None:
    """How many tokens a text encoder's table has; None for other graphs."""
    ids = next((port for port in model.inputs if "input_ids" in port.get_names()), None)
    table = ids and table_of(ids)
    if table is None:
        return None
    rows = table.input_value(0).get_partial_shape()[0]
    return rows.get_length() if rows.is_static else None


def take_extra(model: ov.Model) -> bool:
    """Give a text encoder the input EXTRA, (rows, d): where an id is below 0, row -1 - id is its embedding.

    Done here and not on disk, where openvino.genai would meet an input it does not know. False where the graph has no
    table of embeddings that `input_ids` chooses from.
    """
    ids = next((port for port in model.inputs if "input_ids" in port.get_names()), None)
    table = ids and table_of(ids)
    if table is None:
        return False
    consumers = ids.get_target_inputs()
    width = table.input_value(0).get_partial_shape()[1].get_length()
    rows = ops.parameter([-1, width], np.float32, EXTRA)
    rows.output(0).get_tensor().set_names({EXTRA})
    none = ops.constant(0, ids.get_element_type())
    chosen = ops.less(ids, none)
    plain = ops.select(chosen, none, ids)
    for consumer in consumers:  # all of them: the pooled output searches the ids for the end of the text
        consumer.replace_source_output(plain.output(0))
    places = ops.select(chosen, ops.subtract(ops.constant(-1, ids.get_element_type()), ids), none)
    vectors = ops.gather(rows, places, ops.constant(0, np.int64))
    readers = table.output(0).get_target_inputs()
    mixed = ops.select(ops.unsqueeze(chosen, ops.constant(-1, np.int64)), vectors, table)
    for reader in readers:
        reader.replace_source_output(mixed.output(0))
    model.add_parameters([rows])
    model.validate_nodes_and_infer_types()
    return True


def table_of(ids: ov.Output) -> ov.Node | None:
    """The Gather by which ids choose rows of a table (V, d)."""
    for consumer in ids.get_target_inputs():
        node = consumer.get_node()
        if node.get_type_name() == "Gather" and consumer.get_index() == 1:
            return node if node.input_value(0).get_partial_shape().rank.get_length() == 2 else None
        if node.get_type_name() in ("Convert", "Reshape") and consumer.get_index() == 0:
            found = table_of(node.output(0))
            if found is not None:
                return found
    return None


def mark_stored_small(model: ov.Model) -> None:
    """Tell OpenVINO which conversions make 16-bit weights float32.

    Without the mark the CPU folds each into a wide constant, which it keeps beside the one that its kernels read.
    """
    for node in model.get_ordered_ops():
        if node.get_type_name() == "Convert" and node.get_output_element_type(0) == ov.Type.f32:
            stored = node.input_value(0).get_node()
            if stored.get_type_name() == "Constant" and stored.get_output_element_type(0) == ov.Type.f16:
                node.set_rt_info("", MARK)


def widen_ports(model: ov.Model) -> ov.Model:
    """Let the `timestep` port take real numbers, and ports of bfloat16 take and give float32.

    Linspace and Karras spacings fall between trained steps. On disk the port is int64, which openvino.genai sets on it;
    the graph itself converts it to float32 first thing.
    """
    for port in model.inputs:
        if "timestep" in port.get_names():
            port.get_node().set_element_type(ov.Type.f32)
    model.validate_nodes_and_infer_types()
    sides = (model.inputs, model.outputs)
    if not any(port.get_element_type() == ov.Type.bf16 for ports in sides for port in ports):
        return model
    wide = ov.preprocess.PrePostProcessor(model)
    for ports, side in zip(sides, (wide.input, wide.output), strict=True):
        for place, port in enumerate(ports):
            if port.get_element_type() == ov.Type.bf16:
                side(place).tensor().set_element_type(ov.Type.f32)
    return wide.build()
