"""An engine that paints in float32 with OpenVINO, and takes note of what passes through the layers of some graphs."""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pleinair.bundle.opening import Bundle
from pleinair.engines.engine import Graph, Opening, Shapes, engine_named
from pleinair.engines.failures import failed
from pleinair.engines.int8.norms import spell_out_where_forced
from pleinair.engines.openvino import ports_of
from pleinair.engines.openvino_reading import read_model
from pleinair.engines.precision import F32
from pleinair.engines.telemetry import without_telemetry
from pleinair.errors import BundleError
from pleinair.quantizing.openvino_layers import QuantizableLayer, quantizable, watched
from pleinair.quantizing.ranges import Ranges

with without_telemetry():
    import openvino as ov

ENDS = 4  # numbers noted of a layer and a call
STATE = "state.json"
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Call:
    """What a graph was told and what it answered in float32."""

    inputs: Arrays
    outputs: Arrays


@dataclass
class Notes:
    """What is known of a graph's calls, kept in a folder of its own: the ranges, and every `stride`-th call."""

    folder: Path
    stride: int
    ranges: Ranges | None = None
    calls: int = 0
    waiting: list[Call] = field(default_factory=list)

    def take(self, paths: tuple[str, ...], seen: np.ndarray, call: Call) -> None:
        """Take in one call; BundleError where its numbers are not finite."""
        if self.ranges is None:
            self.ranges = Ranges(paths)
        self.ranges.add(seen)
        if not np.isfinite(seen).all():
            raise BundleError(
                f"'{self.folder.name}' leaves the range of float32 while it paints; such a model cannot be quantized"
            )
        if self.calls % self.stride == 0:
            self.waiting.append(call)
        self.calls += 1

    def save(self) -> None:
        """Keep all that was taken in since the last time; what is kept is whole or absent."""
        self.folder.mkdir(parents=True, exist_ok=True)
        first = self.kept
        for place, call in enumerate(self.waiting):
            inputs = {f"in {name}": array for name, array in call.inputs.items()}
            outputs = {f"out {name}": array for name, array in call.outputs.items()}
            np.savez(self.folder / f"call-{first + place}.npz", **inputs, **outputs)
        self.waiting.clear()
        if self.ranges is not None:
            self.ranges.save(self.folder / "ranges.npz")
        told = json.dumps({"calls": self.calls})
        (self.folder / STATE).write_text(told, encoding="utf-8")

    def load(self) -> None:
        """Go on with what is kept; raises OSError or ValueError where that is damaged, as after a power cut."""
        if not (self.folder / STATE).exists():
            return
        try:
            calls = json.loads((self.folder / STATE).read_text(encoding="utf-8"))["calls"]
            if type(calls) is not int or calls < 1:
                raise ValueError("no number of calls")
            self.calls, self.ranges = calls, Ranges.load(self.folder / "ranges.npz")
            for place in range(self.kept):
                self.call(place)
        except (KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"'{self.folder}' is damaged") from error

    @property
    def kept(self) -> int:
        """How many calls are kept on the disk."""
        return -(-self.calls // self.stride) - len(self.waiting)

    def call(self, place: int) -> Call:
        """One of the calls that are kept."""
        with np.load(self.folder / f"call-{place}.npz", allow_pickle=False) as arrays:
            named = [(*key.split(" ", 1), arrays[key]) for key in arrays]
        inputs, outputs = ({name: array for kind, name, array in named if kind == side} for side in ("in", "out"))
        return Call(inputs, outputs)


class Watching:
    """The OpenVINO engine on the CPU; graphs that it has `notes` for are watched."""

    def __init__(self, notes: Mapping[str, Notes]) -> None:
        self._engine = engine_named("openvino")
        self._notes = notes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def offered(self, device: str | None) -> tuple[str, ...]:
        """What is noted are the ranges of float32."""
        return (F32,)

    def fastest(self, bundle: Bundle, graph: str, device: str | None) -> str:
        return F32

    def shares(self, device: str | None) -> bool:
        """What is noted are whole calls."""
        return False

    def open_graph(self, bundle: Bundle, graph: str, how: Opening) -> Graph:
        if graph in self._notes:
            return WatchedGraph(bundle, graph, self._notes[graph])
        return self._engine.open_graph(bundle, graph, how)


class WatchedGraph:
    """A graph that answers as it is, and notes what its layers see; compiled for the shapes of its last call."""

    def __init__(self, bundle: Bundle, graph: str, notes: Notes) -> None:
        self._bundle = bundle
        self._name = graph
        self._notes = notes
        self._shapes: Shapes | None = None
        self._request: ov.InferRequest | None = None
        self._outputs: list[str] = []
        self._paths: tuple[str, ...] = ()

    def prepare(self, shapes: Shapes) -> None:
        if shapes == self._shapes:
            return
        self._request = None  # gives the memory back before it is taken again
        model, layers = read_layers(self._bundle, self._name)
        self._outputs = list(ports_of(model.outputs, self._bundle.manifest.graphs[self._name].outputs))
        self._paths = tuple(layers)
        self._request = compiled(self._name, watched(model, layers.values()), shapes)
        self._shapes = dict(shapes)

    def __call__(self, **inputs: np.ndarray) -> Arrays:
        self.prepare({name: array.shape for name, array in inputs.items()})
        results = infer(self._name, self._request, inputs)
        ends, own = results[: -len(self._outputs)], results[-len(self._outputs) :]
        answer = dict(zip(self._outputs, own, strict=True))
        seen = np.array([float(each) for each in ends], np.float32).reshape(-1, ENDS)
        copied = {name: np.array(array) for name, array in inputs.items()}
        self._notes.take(self._paths, seen, Call(copied, answer))
        return answer


def read_layers(bundle: Bundle, graph: str) -> tuple[ov.Model, dict[str, QuantizableLayer]]:
    """A graph and its layers that can be quantized."""
    model = read_model(ov.Core(), bundle.graph_file(graph, "openvino"))
    return model, quantizable(model, bundle.manifest.paths_of(graph, "openvino"))


def compiled(name: str, model: ov.Model, shapes: Shapes) -> ov.InferRequest:
    """A model that computes in float32 on the CPU, for shapes; raises EngineError or ResourceError."""
    settings = {"INFERENCE_PRECISION_HINT": F32}
    try:
        model.reshape(dict(shapes))
        spell_out_where_forced(model)
        return ov.Core().compile_model(model, "CPU", settings).create_infer_request()
    except RuntimeError as error:
        raise failed(name, "cpu", error) from None


def infer(name: str, request: ov.InferRequest, inputs: Arrays) -> list[np.ndarray]:
    """The answers of a model in the order of its outputs."""
    try:
        return [np.array(array) for array in request.infer(inputs).values()]
    except RuntimeError as error:
        raise failed(name, "cpu", error) from None
