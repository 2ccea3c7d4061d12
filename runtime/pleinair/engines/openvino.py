"""OpenVINO: CPU, Intel GPU and NPU."""

from pathlib import Path
from typing import Any

import numpy as np

from pleinair.bundle import Bundle
from pleinair.engines import Shapes, failed, unreadable
from pleinair.engines.telemetry import without_telemetry
from pleinair.errors import RequestError

with without_telemetry():
    import openvino as ov

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
        return {next(iter(port.get_names())): np.array(array) for port, array in results.items()}

    def unload(self) -> None:
        self._shapes = self._request = None


def widen_timestep(model: ov.Model) -> None:
    """Let the `timestep` port take real numbers: linspace and Karras spacings fall between trained steps.

    On disk it is int64, which openvino.genai sets on it; the graph itself converts it to float32 first thing.
    """
    for port in model.inputs:
        if "timestep" in port.get_names():
            port.get_node().set_element_type(ov.Type.f32)
    model.validate_nodes_and_infer_types()
