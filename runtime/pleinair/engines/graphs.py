"""The one hardware seam: an engine opens a bundle's graph and runs it on a device."""

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from types import ModuleType
from typing import Protocol

import numpy as np

from pleinair.bundle.opening import Bundle, GraphInfo
from pleinair.checks import one_line
from pleinair.engines import precision as precisions
from pleinair.engines.ports import check_answer
from pleinair.errors import BundleError, EngineError, PleinairError, RequestError, ResourceError

Shapes = dict[str, tuple[int, ...]]


class Graph(Protocol):
    """A network on a device: named arrays in, named arrays out.

    Text encoders also take EXTRA, float32 (rows, d): where an id is below 0, row -1 - id stands in place of a token's
    embedding. Graphs that cannot do so raise BundleError when it is given.
    """

    def prepare(self, shapes: Shapes) -> None:
        """Load and compile for these input shapes now rather than at the first call."""

    def __call__(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Run once; prepares itself for new shapes. The arrays returned belong to the caller."""

    def unload(self) -> None:
        """Give the memory back; the next call loads again."""


@dataclass(frozen=True)
class EngineInfo:
    """An engine's module, what must be importable and the packages that bring it, and the bundle format it reads."""

    module: str
    requires: str
    packages: tuple[str, ...]
    install: str
    format: str


ENGINES = {
    "openvino": EngineInfo("pleinair.engines.openvino", "openvino", ("openvino",), "pip install openvino", "openvino"),
    "onnx": EngineInfo(
        "pleinair.engines.onnx",
        "onnxruntime",
        ("onnxruntime", "onnxruntime-directml", "onnxruntime-openvino", "onnxruntime-gpu"),
        "pip install onnxruntime",
        "onnx",
    ),
    "fake": EngineInfo("pleinair.engines.fake", "numpy", ("numpy",), "", ""),
}


def installed(engine: str) -> bool:
    return importlib.util.find_spec(ENGINES[engine].requires) is not None


def choose_engine(bundle: Bundle, wanted: str | None) -> str:
    """The engine to use: the wanted one, or the first installed one that the bundle has graphs for.

    Raises RequestError for an unknown engine, EngineError for one that is not installed or has no graphs here.
    """
    formats = bundle.formats
    if wanted is None:
        usable = [name for name, info in ENGINES.items() if info.format in formats and installed(name)]
        if usable:
            return usable[0]
        fitting = [info for info in ENGINES.values() if info.format in formats]
        if not fitting:
            raise EngineError(f"bundle '{bundle.manifest.name}' has no complete set of graphs; export the model again")
        raise EngineError(f"no inference engine for this model is installed; install one with: {fitting[0].install}")
    if wanted not in ENGINES:
        raise RequestError(f"unknown engine '{wanted}'; choose from openvino, onnx")
    info = ENGINES[wanted]
    if not installed(wanted):
        raise EngineError(f"engine '{wanted}' is not installed; install it with: {info.install}")
    if info.format and info.format not in formats:
        raise EngineError(
            f"bundle '{bundle.manifest.name}' has graphs for {', '.join(formats) or 'no engine'}, not {info.format};"
            f" choose another engine, or export the model again with --format {info.format}"
        )
    return wanted


class OneAtATime:
    """A graph that threads may share: they wait for each other, as OpenVINO's requests and a change of shapes need."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._turn = Lock()

    def prepare(self, shapes: Shapes) -> None:
        with self._turn:
            self._graph.prepare(shapes)

    def __call__(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        with self._turn:
            return self._graph(**inputs)

    def unload(self) -> None:
        with self._turn:
            self._graph.unload()


@dataclass(frozen=True)
class Checked:
    """A graph whose answers are held against the manifest: BundleError for others."""

    graph: Graph
    name: str
    info: GraphInfo

    def prepare(self, shapes: Shapes) -> None:
        self.graph.prepare(shapes)

    def __call__(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        outputs = self.graph(**inputs)
        check_answer(self.name, self.info, inputs, outputs)
        return outputs

    def unload(self) -> None:
        self.graph.unload()


@dataclass(frozen=True)
class Asking:
    """A graph that calls `check`, which may raise, before every run."""

    graph: Graph
    check: Callable[[], None]

    def prepare(self, shapes: Shapes) -> None:
        self.graph.prepare(shapes)

    def __call__(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        self.check()
        return self.graph(**inputs)

    def unload(self) -> None:
        self.graph.unload()


def open_graph(
    bundle: Bundle,
    graph: str,
    engine: str,
    device: str | None = None,
    threads: int | None = None,
    precision: str = precisions.F32,
) -> Graph:
    """One graph of a bundle on an engine, not loaded yet; `device` None is the engine's default (the CPU)."""
    kind = compute_precision(bundle, graph, engine, device, precision)
    opened = engine_module(engine).open_graph(bundle, graph, device, threads, kind)
    return OneAtATime(Checked(opened, graph, bundle.manifest.graphs[graph]))


def compute_precision(bundle: Bundle, graph: str, engine: str, device: str | None, wanted: str) -> str:
    """What a graph computes in where a precision or "auto" is `wanted`; RequestError if it cannot be had."""
    module = engine_module(engine)
    if wanted == precisions.AUTO:
        return module.fastest(bundle, graph, device)
    return precisions.check_offered(wanted, module.offered(device), device or "cpu")


def devices(engine: str) -> list[str]:
    """The devices an installed engine can run on here, as its own names."""
    return engine_module(engine).devices()


def engine_module(engine: str) -> ModuleType:
    """The engine's adapter; EngineError where the package is installed and cannot be loaded."""
    try:
        return importlib.import_module(ENGINES[engine].module)
    except (ImportError, OSError) as error:
        raise EngineError(
            f"engine '{engine}' is installed and cannot be loaded ({reason(error)});"
            f" install it again with: {ENGINES[engine].install} --force-reinstall"
        ) from None


def engine_version(engine: str) -> str:
    """The version of the package that brings an engine: several can bring ONNX Runtime."""
    from importlib.metadata import PackageNotFoundError, version  # a fifth of the import time of this package

    for package in ENGINES[engine].packages:
        try:
            return version(package)
        except PackageNotFoundError:
            continue
    return "unknown"


def unreadable(file: Path, error: Exception) -> PleinairError:
    """The error for a graph file that an engine cannot load."""
    if out_of_memory(error):
        return ResourceError(f"not enough memory to load '{file.parent.name}'; close programs, or use int8 weights")
    return BundleError(f"cannot load '{file}' ({reason(error)}); check the bundle with: pleinair info BUNDLE --verify")


def failed(graph: str, device: str, error: Exception) -> PleinairError:
    """The error for a graph that an engine cannot compile or run."""
    if out_of_memory(error):
        return ResourceError(f"not enough memory to run '{graph}'; choose a smaller --size or --batch")
    return EngineError(f"'{graph}' failed on {device} ({reason(error)}); try another --device or --engine")


def no_extra(graph: str) -> BundleError:
    """The error for a text encoder that takes no embeddings from outside."""
    return BundleError(
        f"'{graph}' of this bundle takes no textual inversions; export the model again, or leave --embedding out"
    )


def check_finite(numbers: np.ndarray, when: str) -> None:
    """Raise EngineError for NaN or infinity, which would end as a black picture."""
    if not np.isfinite(numbers).all():
        raise EngineError(
            f"the network returned NaN or infinity {when}; try another --engine or --device, or a lower --guidance"
        )


def out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or any(
        sign in str(error).lower() for sign in ("bad_alloc", "bad alloc", "out of memory", "failed to allocate")
    )


def reason(error: Exception) -> str:
    """The telling line of an engine's many-line message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return one_line(lines[-1] if lines else type(error).__name__, 200)
