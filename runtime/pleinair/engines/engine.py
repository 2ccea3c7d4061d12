"""What an engine is, and which there are: it opens a bundle's graphs and runs them on a device."""

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pleinair.bundle.opening import Bundle
from pleinair.engines.edits import Edit, Layer
from pleinair.engines.failures import reason
from pleinair.engines.int8.forms import AUTO, TakenForm
from pleinair.errors import EngineError, RequestError

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


FOLDED, SHARED = REWRITINGS = ("folded", "shared")


def unheard(*told: object) -> None:
    """Nobody listens."""


@dataclass(frozen=True)
class Opening:
    """How a graph is opened.

    It is changed by the `edits` between reading and compiling, and stays compiled for the last `max_shapes` sets of
    input shapes, where it is compiled for shapes at all. `cache` says what stays on the disk, too: True all that can,
    None what is compiled for devices that compile long, False nothing.
    `say` is told in a line what a user does not expect of how it runs, `ran` the device that an engine has chosen by
    itself, and what it computes in there. A graph in int8 takes the form `int8`, one of `forms.FORMS` or "auto", and
    `formed` is told what became of it. With `fold`, upsampling is folded into the convolutions behind it where that is
    faster. `rewritten` is told how many operations each of REWRITINGS has changed.
    """

    device: str | None
    threads: int | None
    precision: str
    edits: Sequence[Edit]
    max_shapes: int
    cache: bool | None = False
    say: Callable[[str], None] = unheard
    ran: Callable[[str, str], None] = unheard
    int8: str = AUTO
    formed: Callable[[TakenForm], None] = unheard
    fold: bool = False
    rewritten: Callable[[str, int], None] = unheard


class Engine(Protocol):
    """Opens the graphs of bundles; `pleinair.load(engine=...)` takes any object like this.

    `name` and `version` stand in the records of pictures. `format` is the kind of graph files that it opens, as
    bundle.json names it; "" for an engine that opens none.
    """

    name: str
    version: str
    format: str

    def devices(self) -> list[str]:
        """The devices that it can run on here, as its own names."""

    def check_device(self, device: str | None, threads: int | None) -> None:
        """Raise RequestError for a device that is not here, or that takes no number of threads.

        Its `option` is `failures.FALLBACK` where the CPU may stand in for the device.
        """

    def offered(self, device: str | None) -> tuple[str, ...]:
        """The precisions that a device computes in at full speed: "f32", "bf16", "f16"."""

    def fastest(self, bundle: Bundle, graph: str, device: str | None) -> str:
        """The precision that "auto" means for a graph."""

    def layers(self, bundle: Bundle, graph: str) -> dict[str, Layer]:
        """The layers of a graph whose weights can be changed, by their paths as torch has them."""

    def open_graph(self, bundle: Bundle, graph: str, how: Opening) -> Graph:
        """A graph, not loaded yet."""

    def shares(self, device: str | None) -> bool:
        """Whether its graphs may be given fewer latents (B, ...) than texts (k B, ...): all of them for each k-th part.

        An engine may leave this out, and is then given as many.
        """


@dataclass(frozen=True)
class EngineInfo:
    """Where an engine lives, what must be importable and the packages that bring it, and the format it reads."""

    module: str
    kind: str
    requires: str
    packages: tuple[str, ...]
    install: str
    format: str


ENGINES = {
    "openvino": EngineInfo(
        module="pleinair.engines.openvino",
        kind="OpenVINOEngine",
        requires="openvino",
        packages=("openvino",),
        install="pip install openvino",
        format="openvino",
    ),
    "onnx": EngineInfo(
        module="pleinair.engines.onnx",
        kind="OnnxEngine",
        requires="onnxruntime",
        packages=("onnxruntime", "onnxruntime-directml", "onnxruntime-openvino", "onnxruntime-gpu"),
        install="pip install onnxruntime",
        format="onnx",
    ),
    "fake": EngineInfo(
        module="pleinair.engines.fake",
        kind="FakeEngine",
        requires="numpy",
        packages=("numpy",),
        install="",
        format="",
    ),
}


def installed(engine: str) -> bool:
    """Whether an engine's packages are here; none is imported for the answer."""
    return importlib.util.find_spec(ENGINES[engine].requires) is not None


def usual_format(engine: str | None = None) -> str:
    """The format of this engine's graphs; of no engine in particular, that of the first which is installed."""
    wanted = ENGINES[engine].format if engine in ENGINES else ""
    found = (info.format for name, info in ENGINES.items() if info.format and installed(name))
    return wanted or next(found, "openvino")


def engines_for(bundle: Bundle) -> list[str]:
    """The engines that are installed and that a bundle has all graphs for."""
    return [name for name, info in ENGINES.items() if info.format in bundle.formats and installed(name)]


def choose_engine(bundle: Bundle, wanted: str | Engine | None) -> Engine:
    """The engine to use: the wanted one; of "auto" and None the first installed one that the bundle has graphs for.

    Raises RequestError for an unknown engine, EngineError for one that is not installed or has no graphs here.
    """
    formats = bundle.formats
    if wanted in (None, AUTO):
        if usable := engines_for(bundle):
            return engine_named(usable[0])
        fitting = [info for info in ENGINES.values() if info.format in formats]
        if not fitting:
            raise EngineError(f"bundle '{bundle.manifest.name}' has no complete set of graphs; export the model again")
        raise EngineError(f"no inference engine for this model is installed; install one with: {fitting[0].install}")
    if isinstance(wanted, str):
        if wanted not in ENGINES:
            raise RequestError(f"unknown engine '{wanted}'; choose from openvino, onnx")
        info = ENGINES[wanted]
        if not installed(wanted):
            raise EngineError(f"engine '{wanted}' is not installed; install it with: {info.install}")
        form = info.format
    else:
        form = wanted.format
    if form and form not in formats:
        raise EngineError(
            f"bundle '{bundle.manifest.name}' has graphs for {', '.join(formats) or 'no engine'}, not {form};"
            f" choose another engine, or export the model again with --format {form}"
        )
    return engine_named(wanted) if isinstance(wanted, str) else wanted


def engine_named(name: str) -> Engine:
    """The engine of a name in ENGINES; EngineError where its package is installed but cannot be loaded."""
    info = ENGINES[name]
    try:
        return getattr(importlib.import_module(info.module), info.kind)()
    except (ImportError, OSError) as error:
        raise EngineError(
            f"engine '{name}' is installed but cannot be loaded ({reason(error)});"
            f" install it again with: {info.install} --force-reinstall"
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
