"""OpenVINO: CPU, Intel GPU and NPU."""

from pathlib import Path
from typing import Any

import numpy as np

from pleinair.bundle import Bundle
from pleinair.engines import EXTRA, Shapes, failed, no_extra, unreadable
from pleinair.engines.telemetry import without_telemetry
from pleinair.errors import RequestError

with without_telemetry():
    import openvino as ov
    from openvino import opset13 as ops

SETTINGS: dict[str, dict[str, Any]] = {
    # f32: results must not change in silence with the CPU model, which is what the default (bf16 where it is fast) does
    "CPU": {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"},
    "GPU": {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f16"},
    "NPU": {"PERFORMANCE_HINT": "LATENCY"},
}


def devices() -> list[str]:
    return list(ov.Core().available_devices)


def check_device(device: str | None, threads: int | None) -> str:
    """OpenVINO's name of a device; RequestError where this machine has none such, or it takes no threads."""
    name = (device or "cpu").upper()
    available = devices()
    if name not in available and name not in {entry.split(".")[0] for entry in available}:
        raise RequestError(f"OpenVINO has no device '{device}' here; choose from {', '.join(available).lower()}")
    if threads and name != "CPU":
        raise RequestError(f"threads are for the CPU, not for '{device}'; leave --threads out")
    return name


def open_graph(bundle: Bundle, graph: str, device: str | None, threads: int | None) -> "OpenVINOGraph":
    name = check_device(device, threads)
    return OpenVINOGraph(bundle.graph_file(graph, "openvino"), name, threads)


class OpenVINOGraph:
    """A graph compiled for the shapes it is called with: static shapes are what OpenVINO is fast with."""

    def __init__(self, file: Path, device: str, threads: int | None) -> None:
        self._file = file
        self._device = device
        self._settings = dict(SETTINGS.get(device.split(".")[0], {}))
        if threads:
            self._settings["INFERENCE_NUM_THREADS"] = threads
        self._shapes: Shapes | None = None
        self._outputs: list[str] = []
        self._request: ov.InferRequest | None = None

    def prepare(self, shapes: Shapes) -> None:
        if shapes == self._shapes:
            return
        self.unload()
        core = ov.Core()
        try:
            model = core.read_model(self._file)
        except RuntimeError as error:
            raise unreadable(self._file, error) from None
        if EXTRA in shapes and not take_extra(model):
            raise no_extra(self._file)
        # compiling drops operations that these shapes make idle, and gives their names to the port that remains
        self._outputs = [port.get_any_name() for port in model.outputs]
        try:
            model.reshape(dict(shapes))
            widen_timestep(model)
            self._request = core.compile_model(model, self._device, self._settings).create_infer_request()
        except RuntimeError as error:
            raise failed(self._file.parent.name, self._device, error) from None
        self._shapes = shapes

    def __call__(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        self.prepare({name: array.shape for name, array in inputs.items()})
        try:
            results = self._request.infer(inputs)
        except RuntimeError as error:
            raise failed(self._file.parent.name, self._device, error) from None
        return {name: np.array(array) for name, array in zip(self._outputs, results.values(), strict=True)}

    def unload(self) -> None:
        self._shapes = self._request = None


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


def widen_timestep(model: ov.Model) -> None:
    """Let the `timestep` port take real numbers: linspace and Karras spacings fall between trained steps.

    On disk it is int64, which openvino.genai sets on it; the graph itself converts it to float32 first thing.
    """
    for port in model.inputs:
        if "timestep" in port.get_names():
            port.get_node().set_element_type(ov.Type.f32)
    model.validate_nodes_and_infer_types()
