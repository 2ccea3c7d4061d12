"""A bundle's graphs on an engine: opened when they are needed, kept, shared by threads, and let go."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from threading import Lock, RLock, Thread

import numpy as np

from pleinair.bundle.manifest import GraphInfo
from pleinair.bundle.opening import Bundle
from pleinair.engines import components
from pleinair.engines import precision as precisions
from pleinair.engines.edits import Edit, Layer, edited
from pleinair.engines.engine import REWRITINGS, Engine, Graph, Opening, Shapes, engine_named
from pleinair.engines.failures import CPU, overflowed
from pleinair.engines.int8.forms import AUTO, TakenForm
from pleinair.engines.moving import Moving, WithinF16
from pleinair.engines.places import Placement, Places
from pleinair.engines.ports import check_answer, check_sizes, inputs_of_ports, real_numbers
from pleinair.errors import EngineError
from pleinair.system.giving_back import trim_heap

SMALL = 256 << 20  # bytes of a graph whose compiling leaves time for others beside it
MAX_SHAPES = 2  # sets of shapes that a graph stays compiled for: two passes, or two sizes of two threads
MAX_VARIANTS = 2  # of a graph that are kept: as it is, and as it was edited last


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


@dataclass(frozen=True)
class Checked:
    """A graph that is called in the numbers and sizes of its manifest, and whose answers are held against it.

    Raises RequestError for sizes that the graph does not take, BundleError for answers that it should not give.
    """

    graph: Graph
    name: str
    info: GraphInfo

    def prepare(self, shapes: Shapes) -> None:
        check_sizes(self.name, self.info, shapes)
        self.graph.prepare({name: shape if self._has_sides(name) else () for name, shape in shapes.items()})

    def __call__(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        check_sizes(self.name, self.info, {name: array.shape for name, array in inputs.items()})
        feeds = inputs_of_ports(self.info, inputs)
        outputs = self.graph(**feeds)
        check_answer(self.name, self.info, feeds, outputs)
        return real_numbers(outputs)

    def _has_sides(self, name: str) -> bool:
        return name not in self.info.inputs or bool(self.info.inputs[name].shape)


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


class Graphs:
    """The graphs of one bundle on one engine; threads may share them.

    `device` and `precision` are as `placement.parse` and `precision.parse` read them. A graph stays compiled for the
    last `max_shapes` sets of shapes, and of its edited variants the last one is kept, beside the plain one unless
    `max_shapes` is 1. `on_load` is told a graph's name before it is opened, which can take long, `on_news` each line
    about what runs otherwise than was asked for, as that happens. With `fallback`, what cannot run where it is to goes
    to the CPU; `cache`, `int8` and `fold` are as in `Opening`, and `share` lets engines have fewer latents than texts.
    Raises RequestError for components, devices and precisions that are not here.
    """

    def __init__(
        self,
        bundle: Bundle,
        engine: Engine,
        *,
        device: str | Mapping[str, str] | None = None,
        threads: int | None = None,
        precision: str | Mapping[str, str] | None = None,
        max_shapes: int = MAX_SHAPES,
        on_load: Callable[[str], None] | None = None,
        fallback: bool = False,
        cache: bool | None = None,
        on_news: Callable[[str], None] | None = None,
        int8: str = AUTO,
        fold: bool = False,
        share: bool = False,
    ) -> None:
        self.bundle = bundle
        self._engine = engine
        self.threads = threads
        self._on_load = on_load
        self._cache = cache
        self._int8 = int8
        self._formed: dict[str, TakenForm] = {}
        self._fold = fold
        self._share = share
        self._rewritten: dict[str, dict[str, int]] = {kind: {} for kind in REWRITINGS}
        how = {"device": device, "precision": precision, "threads": threads, "fallback": fallback, "on_news": on_news}
        self._places = Places(bundle, engine, **how)
        self._max_shapes = max_shapes
        self._max_variants = min(max_shapes, MAX_VARIANTS)
        self._layers: dict[str, Mapping[str, Layer]] = {}
        self._open: dict[tuple[str, tuple[Edit, ...]], Graph] = {}
        self._ahead: set[tuple[str, tuple[Edit, ...]]] = set()  # those that nobody has asked for yet
        self._turn = RLock()

    def open(self, name: str, edits: Sequence[Edit] = ()) -> Graph:
        """A graph by its name in the manifest, changed by `edits`; the same one until it is let go."""
        key = name, tuple(edits)
        with self._turn:
            if key not in self._open or key in self._ahead:
                self._ahead.discard(key)
                if self._on_load is not None:
                    self._on_load(name)
            return self._kept(key)

    def is_open(self, name: str, edits: Sequence[Edit] = ()) -> bool:
        """Whether a graph, changed by `edits`, was opened and not let go."""
        with self._turn:
            return (name, tuple(edits)) in self._open

    def layers(self, name: str) -> Mapping[str, Layer]:
        """The layers of a graph whose weights can be changed, by their paths; its file is read once for that."""
        with self._turn:
            if name not in self._layers:
                self._layers[name] = self._engine.layers(self.bundle, name)
            return self._layers[name]

    def is_small(self, name: str) -> bool:
        """Whether a graph is compiled so soon that there is time for another beside it."""
        return self.bundle.graph_size(name, self._engine.format) <= SMALL

    def prepare_ahead(self, name: str, shapes: Shapes, edits: Sequence[Edit] = ()) -> None:
        """Begin to load and compile a graph in a thread of its own; whoever asks for it waits until that is done.

        What fails fails again there, where it can be told.
        """
        key = name, tuple(edits)
        with self._turn:
            graph = self._kept(key)
            self._ahead.add(key)
        Thread(target=tried, args=(graph.prepare, shapes), name=f"compiling {name}").start()

    def _kept(self, key: tuple[str, tuple[Edit, ...]]) -> Graph:
        name, edits = key
        if key not in self._open:
            for other in self._in_the_way(key):
                self._open.pop(other)
                self._ahead.discard(other)
            asked = partial(self._places.asked, name)
            moving = Moving(asked, partial(self._opened, name, edits), partial(self._places.leave, name))
            self._open[key] = OneAtATime(moving)
        return self._open[key]

    def _in_the_way(self, key: tuple[str, tuple[Edit, ...]]) -> list[tuple[str, tuple[Edit, ...]]]:
        """Other variants of a graph that are let go before one more is opened: all that are edited, or simply all."""
        name, own = key[0], edited(key[1])
        others = [other for other in self._open if other[0] == name]
        return [each for each in others if self._max_variants == 1 or (own and edited(each[1]) not in ((), own))]

    def _opened(self, name: str, edits: Sequence[Edit], place: Placement) -> Graph:
        """A graph in a place, not loaded yet."""
        bundle = self.bundle
        kind = compute_precision(bundle, name, self._engine, *place)
        how = Opening(
            device=place.device,
            threads=self.threads,
            precision=kind,
            edits=edits,
            max_shapes=self._max_shapes,
            cache=self._cache,
            say=self._places.say,
            ran=partial(self._places.ran, name),
            int8=self._int8,
            formed=partial(self._formed.__setitem__, name),
            fold=self._fold,
            rewritten=partial(self._note, name),
        )
        opened = checked(bundle, name, self._engine, how)
        if kind != "f16":
            return opened
        if not precisions.survives_f16(bundle, name):
            self._places.say(f"'{name}' computes in f16 on {place.device}, which its config does not say it survives")
        return WithinF16(opened, partial(self._overflowed, name, place))

    def _overflowed(self, name: str, place: Placement) -> EngineError:
        widens = precisions.F32 in self._engine.offered(place.device)
        return overflowed(name, self._component(name), place.device, widens)

    def release(self, *names: str) -> None:
        """Give the memory of these graphs back, or of all of them; the next `open` loads them again."""
        with self._turn:
            for key in [key for key in self._open if not names or key[0] in names]:
                self._open.pop(key)
            trim_heap()

    def device_of(self, name: str) -> str:
        """The device that a graph runs on, as far as is known: where it went, and what the engine has chosen."""
        return self._places.of(name).device

    def precision_of(self, name: str) -> str:
        """What a graph computes in; RequestError where its device does not have what was asked for."""
        return compute_precision(self.bundle, name, self._engine, *self._places.of(name))

    @property
    def formed(self) -> dict[str, TakenForm]:
        """What became of the graphs in int8 that are or were open."""
        return {**self._formed}

    @property
    def rewritten(self) -> dict[str, dict[str, int]]:
        """How many operations of the graphs that are or were open each of REWRITINGS has changed, where it did."""
        told = {
            kind: {name: count for name, count in found.items() if count} for kind, found in self._rewritten.items()
        }
        return {kind: found for kind, found in told.items() if found}

    def _note(self, name: str, kind: str, count: int) -> None:
        self._rewritten[kind][name] = count

    def shares(self, name: str) -> bool:
        """Whether a graph may be given fewer latents than texts: see `Engine.shares`."""
        can = getattr(self._engine, "shares", None)
        return self._share and can is not None and can(self.device_of(name))

    @property
    def news(self) -> tuple[str, ...]:
        """Lines about what runs otherwise than was asked for."""
        return tuple(self._places.news)

    @property
    def engine(self) -> str:
        """The engine's name."""
        return self._engine.name

    @property
    def engine_version(self) -> str:
        """Of the engine's library."""
        return self._engine.version

    @property
    def device(self) -> str:
        """As `placement.parse` reads it."""
        return components.written(self._by_component(self.device_of))

    @property
    def precision(self) -> str:
        """As `precision.parse` reads it: "f32", or by component "text=f32,unet=bf16,vae=bf16"."""
        return components.written(self._by_component(self.precision_of))

    def _by_component(self, of: Callable[[str], str]) -> dict[str, str]:
        """The decoder speaks for the VAE, whose encoder not every picture needs."""
        manifest = self.bundle.manifest
        encoders = {vae.encoder for vae in manifest.vaes.values()}
        return {self._component(name): of(name) for name in manifest.graphs if name not in encoders}

    def _component(self, name: str) -> str:
        return components.component_of(self.bundle, name)


def tried(prepare: Callable[[Shapes], None], shapes: Shapes) -> None:
    """Prepare a graph, or leave it as it is."""
    with suppress(Exception):
        prepare(shapes)


def open_graph(
    bundle: Bundle,
    graph: str,
    engine: str | Engine,
    device: str | None = None,
    threads: int | None = None,
    precision: str = precisions.F32,
    *,
    edits: Sequence[Edit] = (),
    max_shapes: int = MAX_SHAPES,
) -> Graph:
    """One graph of a bundle on an engine, not loaded yet; `device` None is the engine's default (the CPU)."""
    engine = engine_named(engine) if isinstance(engine, str) else engine
    kind = compute_precision(bundle, graph, engine, device, precision)
    how = Opening(device=device, threads=threads, precision=kind, edits=edits, max_shapes=max_shapes)
    return OneAtATime(checked(bundle, graph, engine, how))


def checked(bundle: Bundle, graph: str, engine: Engine, how: Opening) -> Checked:
    return Checked(engine.open_graph(bundle, graph, how), graph, bundle.manifest.graphs[graph])


def compute_precision(bundle: Bundle, graph: str, engine: Engine, device: str | None, wanted: str) -> str:
    """What a graph computes in where a precision or "auto" is `wanted`; RequestError if it cannot be had."""
    if wanted == precisions.AUTO:
        return engine.fastest(bundle, graph, device)
    return precisions.check_offered(wanted, engine.offered(device), device or CPU)
