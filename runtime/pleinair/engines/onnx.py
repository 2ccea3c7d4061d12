"""ONNX Runtime: CPU everywhere, DirectML on Windows."""

from pathlib import Path

import numpy as np
import onnxruntime as ort

from pleinair.bundle import Bundle, Port
from pleinair.engines import EXTRA, Shapes, failed, no_extra, unreadable
from pleinair.errors import EngineError, RequestError

PROVIDERS = {"cpu": "CPUExecutionProvider", "dml": "DmlExecutionProvider"}
DTYPES = {"tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(int32)": np.int32}
SILENT = 3  # errors only; they reach the caller as exceptions


def devices() -> list[str]:
    available = ort.get_available_providers()
    return [name for name, provider in PROVIDERS.items() if provider in available]


def check_device(device: str | None, threads: int | None) -> tuple[str, int]:
    """A device's kind and number; RequestError where this machine has none such."""
    kind, _, index = (device or "cpu").lower().partition(":")
    if kind not in devices() or (index and (kind == "cpu" or not (index.isascii() and index.isdigit()))):
        raise RequestError(f"ONNX Runtime has no device '{device}' here; choose from {', '.join(devices())}")
    if threads and kind != "cpu":
        raise RequestError(f"threads are for the CPU, not for '{device}'; leave --threads out")
    return kind, int(index or 0)


def open_graph(bundle: Bundle, graph: str, device: str | None, threads: int | None) -> "OnnxGraph":
    kind, index = check_device(device, threads)
    ports = bundle.manifest.graphs[graph].inputs
    return OnnxGraph(bundle.graph_file(graph, "onnx"), ports, kind, index, threads)


class OnnxGraph:
    """An ONNX Runtime session, made at the first call."""

    def __init__(self, file: Path, ports: dict[str, Port], device: str, index: int, threads: int | None) -> None:
        self._file = file
        self._ports = ports
        self._device = device
        self._index = index
        self._threads = threads
        self._shapes: Shapes = {}
        self._session: ort.InferenceSession | None = None

    def prepare(self, shapes: Shapes) -> None:
        stale = self._device == "dml" and shapes != self._shapes  # its free dimensions are fixed at load
        if self._session is not None and not stale:
            return
        self.unload()
        options = ort.SessionOptions()
        options.log_severity_level = SILENT
        if self._threads:
            options.intra_op_num_threads = self._threads
        provider: list = [PROVIDERS[self._device]]
        if self._device == "dml":
            options.enable_mem_pattern = False  # DirectML refuses both of these otherwise
            options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
            provider = [(PROVIDERS["dml"], {"device_id": self._index}), PROVIDERS["cpu"]]
            for name, size in self._free_dimensions(shapes).items():
                options.add_free_dimension_override_by_name(name, size)
        try:
            # its own fallback would go on with another device, and say so on stdout only
            session = ort.InferenceSession(self._file, options, providers=provider, enable_fallback=0)
        except Exception as error:  # ONNX Runtime's own exceptions share no base
            raise unreadable(self._file, error) from None
        if session.get_providers()[0] != PROVIDERS[self._device]:
            raise EngineError(f"ONNX Runtime cannot use '{self._device}' here; choose another --device")
        self._session = session
        self._shapes = shapes

    def __call__(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        self.prepare({name: array.shape for name, array in inputs.items()})
        optional = self._session.get_overridable_initializers()  # EXTRA has a default, so that others need not know it
        ports = {port.name: DTYPES.get(port.type, np.float32) for port in (*self._session.get_inputs(), *optional)}
        if EXTRA in inputs and EXTRA not in ports:
            raise no_extra(self._file)
        feed = {name: np.asarray(array, ports[name]) for name, array in inputs.items()}
        names = [port.name for port in self._session.get_outputs()]
        try:
            return dict(zip(names, self._session.run(names, feed), strict=True))
        except Exception as error:
            raise failed(self._file.parent.name, self._device, error) from None

    def unload(self) -> None:
        self._session = None

    def _free_dimensions(self, shapes: Shapes) -> dict[str, int]:
        """The size that each named dimension of the graph's inputs has in `shapes`."""
        return {
            dimension: size
            for name, shape in shapes.items()
            if name in self._ports
            for dimension, size in zip(self._ports[name].shape, shape, strict=True)
            if isinstance(dimension, str)
        }
