"""ONNX Runtime: CPU everywhere, DirectML on Windows."""

import platform
import sys
from collections.abc import Sequence
from io import FileIO
from pathlib import Path

import numpy as np

from pleinair.bundle import onnx_data
from pleinair.bundle.opening import Bundle
from pleinair.engines.components import once_a_picture
from pleinair.engines.edits import Edit, Layer, NewWeights, Residuals, Unrounded
from pleinair.engines.engine import SHARED, Opening, Shapes, engine_version
from pleinair.engines.failures import (
    CPU,
    FALLBACK,
    absent,
    failed,
    no_extra,
    no_layer,
    no_residuals,
    unreadable,
)
from pleinair.engines.memory import LARGEST_READ, stays_stored
from pleinair.engines.onnx_residuals import side_names, with_residuals
from pleinair.engines.onnx_sharing import share_rows
from pleinair.engines.onnx_stored import with_stored_weights
from pleinair.engines.onnx_weights import LayeredGraph, with_weights
from pleinair.engines.ports import EXTRA, check_opened
from pleinair.engines.precision import F32
from pleinair.engines.rows import Fewer, port_of_fewer
from pleinair.engines.telemetry import without_telemetry
from pleinair.errors import EngineError, PleinairError, RequestError
from pleinair.system.giving_back import trim_heap

with without_telemetry():
    import onnxruntime as ort

PROVIDERS = {"cpu": "CPUExecutionProvider", "dml": "DmlExecutionProvider"}
DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
}
ELEMENTS = {"float32": 1, "float16": 10}  # TensorProto.DataType
BESIDE = "session.model_external_initializers_file_folder_path"  # where a model of bytes finds its weights
LARGE = 1_000_000_000  # bytes of a graph's files, from which its convolutions are not laid out anew
UNROUNDED = {  # of a session: quantizers are fused with no layer, and then dropped
    "session.disable_quant_qdq": "1",
    "session.enable_quant_qdq_cleanup": "1",
}
SHRINK = "memory.enable_memory_arena_shrinkage"  # of a run: what it took goes back at its end
SILENT = 3  # errors only; they reach the caller as exceptions
OLDEST = (1, 24)  # earlier ones read weights from anywhere on the disk
INTEL_MAC = (sys.platform, platform.machine()) == ("darwin", "x86_64")  # has none later than 1.23

if tuple(map(int, ort.__version__.split(".")[:2])) < OLDEST and not INTEL_MAC:
    raise ImportError(f"version {ort.__version__} is too old, 1.24 is needed")


class OnnxEngine:
    """ONNX Runtime, on its execution providers."""

    name, format = "onnx", "onnx"

    def __init__(self) -> None:
        self.version = engine_version(self.name)

    def devices(self) -> list[str]:
        available = ort.get_available_providers()
        return [name for name, provider in PROVIDERS.items() if provider in available]

    def device_names(self) -> dict[str, str]:
        """ONNX Runtime does not tell what a device calls itself."""
        return dict.fromkeys(self.devices(), "")

    def check_device(self, device: str | None, threads: int | None) -> None:
        self._device(device, threads)

    def offered(self, device: str | None) -> tuple[str, ...]:
        """ONNX Runtime computes in what a graph's own operators say."""
        return (F32,)

    def fastest(self, bundle: Bundle, graph: str, device: str | None) -> str:
        return F32

    def layers(self, bundle: Bundle, graph: str) -> dict[str, Layer]:
        named = bundle.manifest.paths_of(graph, "onnx")
        with onnx_data.opened_onnx(bundle.graph_file(graph, "onnx")) as content:
            return {path: site.layer for path, site in LayeredGraph(content).sites(named).items()}

    def open_graph(self, bundle: Bundle, graph: str, how: Opening) -> "OnnxGraph":
        return OnnxGraph(bundle, graph, *self._device(how.device, how.threads), how)

    def shares(self, device: str | None) -> bool:
        return self._device(device, None)[0] == CPU

    def _device(self, device: str | None, threads: int | None) -> tuple[str, int]:
        """A device's kind and number; RequestError where this machine has none such."""
        kind, colon, index = (device or CPU).lower().partition(":")
        numbered = kind == "dml" and index.isascii() and index.isdigit()
        if kind not in self.devices() or (colon and not numbered):
            raise absent("ONNX Runtime", device or CPU, self.devices())
        if threads and kind != "cpu":
            raise RequestError(f"threads are for the CPU, not for '{device}'; leave --threads out")
        return kind, int(index or 0)


class OnnxGraph:
    """An ONNX Runtime session, made at the first call, and once more at the first with fewer latents than texts."""

    def __init__(self, bundle: Bundle, graph: str, device: str, index: int, how: Opening) -> None:
        self._bundle = bundle
        self._name = graph
        self._device = device
        self._index = index
        self._how = how
        self._unrounded = any(isinstance(edit, Unrounded) for edit in how.edits)
        self._edits = [edit for edit in how.edits if isinstance(edit, NewWeights | Residuals)]
        self._shared: int | None = None  # operators with as many rows as latents; None where all rows are told
        self._shapes: Shapes = {}
        self._inputs: dict[str, str] = {}
        self._session: ort.InferenceSession | None = None
        self._replaced: dict[str, ort.OrtValue] = {}
        self._run_options: ort.RunOptions | None = None
        if device == CPU and once_a_picture(bundle, graph):
            self._run_options = ort.RunOptions()
            self._run_options.add_run_config_entry(SHRINK, "cpu:0")

    def prepare(self, shapes: Shapes) -> None:
        fewer = self._fewer(shapes)
        stale = self._device == "dml" and shapes != self._shapes  # its free dimensions are fixed at load
        if self._session is None or stale or (fewer and self._shared is None):
            self._make(shapes, fewer)
        self._how.rewritten(SHARED, self._shared or 0 if fewer else 0)

    def _make(self, shapes: Shapes, fewer: Fewer | None) -> None:
        self._session = None  # gives the memory back before another is made
        options = ort.SessionOptions()
        options.log_severity_level = SILENT
        options.enable_mem_pattern = False  # the second run would get a block for all it needs beside the first run's
        for name, value in UNROUNDED.items() if self._unrounded else ():
            options.add_session_config_entry(name, value)
        if self._how.threads:
            options.intra_op_num_threads = self._how.threads
        if self._bundle.graph_size(self._name, "onnx") >= LARGE:
            # laying out SD 1.5's UNet in blocks takes 2.4 GB and 7 s more to open, for steps that are 1 to 5 % faster
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        file = self._bundle.graph_file(self._name, "onnx")
        provider: list = [PROVIDERS[self._device]]
        if self._device == "dml":
            options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
            provider = [(PROVIDERS["dml"], {"device_id": self._index}), PROVIDERS["cpu"]]
            for name, size in free_dimensions(file, shapes, self._edits).items():
                options.add_free_dimension_override_by_name(name, size)
        model = self._edited(file, options) if self._edits else self._plain(file, options)
        if fewer:
            model, self._shared = self._sharing(model, options, shapes, fewer)
        try:
            # its own fallback would go on with another device, and say so on stdout only
            session = ort.InferenceSession(model, options, providers=provider, enable_fallback=0)
        except Exception as error:  # ONNX Runtime's own exceptions share no base
            raise (unreadable(file, error) if self._device == CPU else self._failed(error)) from None
        if session.get_providers()[0] != PROVIDERS[self._device]:
            raise EngineError(
                f"ONNX Runtime cannot use '{self._device}' here; choose another --device, or add {FALLBACK}",
                option=FALLBACK,
            )
        inputs, optional, outputs = (
            {port.name: DTYPES.get(port.type, port.type) for port in ports}
            # EXTRA has a default, so that others need not know it
            for ports in (session.get_inputs(), session.get_overridable_initializers(), session.get_outputs())
        )
        added = {port for edit in self._edits if isinstance(edit, Residuals) for port in edit.ports}
        own = {name: kind for name, kind in inputs.items() if name not in added}
        check_opened(self._name, self._bundle.manifest.graphs[self._name], own, outputs)
        self._inputs = inputs | {name: kind for name, kind in optional.items() if name == EXTRA}
        session._model_bytes = None  # of a model that it was told as bytes, which it would hold as long as it lives
        self._session = session
        self._shapes = shapes
        del model
        trim_heap()  # of a graph with its weights in it, half of what it took to open it was freed in pieces

    def __call__(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        self.prepare({name: array.shape for name, array in inputs.items()})
        if EXTRA in inputs and EXTRA not in self._inputs:
            raise no_extra(self._name)
        feed = {name: np.asarray(array, self._inputs[name]) for name, array in inputs.items()}
        fewer = self._fewer({name: array.shape for name, array in feed.items()})
        if fewer and not self._shared:
            feed[fewer.port] = np.concatenate([feed[fewer.port]] * fewer.times)
        names = [port.name for port in self._session.get_outputs()]
        try:
            return dict(zip(names, self._session.run(names, feed, self._run_options), strict=True))
        except Exception as error:
            raise self._failed(error) from None

    def _fewer(self, shapes: Shapes) -> Fewer | None:
        """The port that takes fewer rows than others in a call."""
        return port_of_fewer(self._bundle.manifest.graphs[self._name], shapes)

    def _failed(self, error: Exception) -> PleinairError:
        number = f":{self._index}" if self._index else ""
        return failed(self._name, f"{self._device}{number}", error)

    def _plain(self, file: Path, options: ort.SessionOptions) -> Path | bytes:
        """The model as it is stored; of one that computes in 8 bits, the 16-bit weights stay as they are."""
        if self._device != CPU or not stays_stored(self._bundle, self._name):
            return file
        options.add_session_config_entry(BESIDE, str(file.parent))
        try:
            return with_stored_weights(file.read_bytes(), onnx_data.initializers(file))
        except (ValueError, IndexError, OSError) as error:
            raise unreadable(file, error) from None

    def _sharing(
        self, model: Path | bytes, options: ort.SessionOptions, shapes: Shapes, fewer: Fewer
    ) -> tuple[Path | bytes, int]:
        """The model that computes rows once which are alike, and how many operators do; 0 where it is left as it is."""
        file = self._bundle.graph_file(self._name, "onnx")
        if isinstance(model, Path) and file.stat().st_size > LARGEST_READ:
            return model, 0
        told = {name: shape for name, shape in shapes.items() if name in fewer.rowless}
        ports = self._bundle.manifest.graphs[self._name].inputs
        texts = next(name for name in ports if name != fewer.port and name not in fewer.rowless)
        try:
            content = file.read_bytes() if isinstance(model, Path) else model
            content, count = share_rows(content, fewer.port, texts, told)
        except (ValueError, IndexError, OSError) as error:
            raise unreadable(file, error) from None
        if isinstance(model, Path) and count:
            options.add_session_config_entry(BESIDE, str(file.parent))
        return content if count else model, count

    def _edited(self, file: Path, options: ort.SessionOptions) -> bytes:
        """The model with the weights and the ports that its edits ask for; the weights are handed to the session.

        Ports come last: where weights lie is known of the file as it is.
        """
        named = self._bundle.manifest.paths_of(self._name, "onnx")
        changes = [edit.changes for edit in self._edits if not isinstance(edit, Residuals)]
        content, outside = None, {}
        for each in changes:
            try:
                with FileIO(file) as stream:
                    content, outside = with_weights(content or onnx_data.Content(stream), file, each, named)
            except KeyError as error:
                raise no_layer(self._name, error.args[0]) from None
            except (ValueError, IndexError, OSError) as error:
                raise unreadable(file, error) from None
        content = file.read_bytes() if content is None else content
        self._replaced = {name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in outside.items()}
        options.add_session_config_entry(BESIDE, str(file.parent))
        options.add_external_initializers(list(self._replaced), list(self._replaced.values()))
        fresh = {
            name: onnx_data.Initializer(ELEMENTS[array.dtype.name], array.shape, None)
            for name, array in outside.items()
        }
        return self._with_ports(content, onnx_data.initializers(file) | fresh)

    def _with_ports(self, content: bytes, weights: dict[str, onnx_data.Initializer]) -> bytes:
        """The model with the ports that its edits ask for."""
        for edit in self._edits:
            if isinstance(edit, Residuals):
                try:
                    content, others = with_residuals(content, weights, edit)
                except (ValueError, IndexError) as error:
                    raise unreadable(self._bundle.graph_file(self._name, "onnx"), error) from None
                if others is not None:
                    raise no_residuals(self._bundle.manifest.name, edit, others)
        return content


def free_dimensions(file: Path, shapes: Shapes, edits: Sequence[Edit]) -> dict[str, int]:
    """The size that each named dimension of a graph's inputs has in `shapes`.

    The names are the file's: bundle.json has names of its own for graphs that other tools have exported.
    """
    named = {name: port.shape or () for name, port in onnx_data.ports(file)[0].items()}
    for edit in edits:
        named |= side_names(edit) if isinstance(edit, Residuals) else {}
    sides = [zip(named[name], shape, strict=False) for name, shape in shapes.items() if name in named]
    return {side: size for each in sides for side, size in each if isinstance(side, str) and side}
