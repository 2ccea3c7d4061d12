"""Where the components of a bundle run and what they compute in: as it was asked for, and then as it turned out."""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from pleinair.bundle.opening import Bundle
from pleinair.engines import placement
from pleinair.engines import precision as precisions
from pleinair.engines.components import component_of
from pleinair.engines.engine import Engine
from pleinair.engines.failures import CPU, FALLBACK, in_f32
from pleinair.errors import PleinairError, RequestError


class Placement(NamedTuple):
    """A device, and a precision or "auto"."""

    device: str
    precision: str


class Places:
    """The places of a bundle's components; one with a graph that cannot stay leaves its place for good.

    With `fallback`, what a device is not here for or fails at goes to the CPU. `news` are lines about all that runs
    otherwise than was asked for, each of which `on_news` is told at once. Raises RequestError for components and
    devices that are not here.
    """

    def __init__(
        self,
        bundle: Bundle,
        engine: Engine,
        *,
        device: str | Mapping[str, str] | None,
        precision: str | Mapping[str, str] | None,
        threads: int | None,
        fallback: bool,
        on_news: Callable[[str], None] | None = None,
    ) -> None:
        self.news: dict[str, None] = {}
        self._on_news = on_news
        self._bundle = bundle
        self._engine = engine
        self._fallback = fallback
        devices, kinds = placement.parse(device), precisions.parse(precision)
        self._asked = {part: Placement(devices[part], kinds[part]) for part in devices}
        self._ran: dict[str, Placement] = {}  # by graph: which device an engine that may choose has chosen
        if device is not None or threads is not None:
            for name in dict.fromkeys(self.asked(graph).device for graph in bundle.manifest.graphs):
                self._check(name, threads)

    def asked(self, graph: str) -> Placement:
        """Where a graph is to run by now."""
        return self._asked[component_of(self._bundle, graph)]

    def of(self, graph: str) -> Placement:
        """Where a graph runs, as far as is known."""
        return self._ran.get(graph) or self.asked(graph)

    def ran(self, graph: str, device: str, precision: str) -> None:
        """Take down which device the engine has chosen for a graph."""
        self._ran[graph] = Placement(device, precision)

    def leave(self, graph: str, place: Placement, error: PleinairError) -> None:
        """Settle where a graph goes on that failed in a place; raises the error where it cannot."""
        part = component_of(self._bundle, graph)
        if self._asked[part] != place:  # which it has left meanwhile
            return
        if error.option == in_f32(part) and place.precision == precisions.AUTO:
            self._asked[part] = place._replace(precision=precisions.F32)
            self.say(f"'{graph}' left the range of f16 on {place.device} and was run again in f32, where {part} stays")
        elif error.option == FALLBACK and self._fallback and place.device != CPU:
            self._asked[part] = self._on_cpu(place)
            self.say(f"{part} continues on the CPU: {error.reason}")
        else:
            raise error
        self._ran = {name: chosen for name, chosen in self._ran.items() if component_of(self._bundle, name) != part}

    def say(self, line: str) -> None:
        """Add to the news, once."""
        if line not in self.news:
            self.news[line] = None
            if self._on_news is not None:
                self._on_news(line)

    def _check(self, device: str, threads: int | None) -> None:
        try:
            self._engine.check_device(device, threads)
        except RequestError as error:
            if error.option != FALLBACK or not self._fallback:
                raise
            moved = [part for part, place in self._asked.items() if place.device == device]
            self._asked |= {part: self._on_cpu(self._asked[part]) for part in moved}
            self.say(f"running on the CPU: {', '.join(self._parts(moved))} ({error.reason})")

    def _on_cpu(self, place: Placement) -> Placement:
        """The same on the CPU, in what was asked for where that has it."""
        offered = place.precision in (precisions.AUTO, *self._engine.offered(CPU))
        return Placement(CPU, place.precision if offered else precisions.AUTO)

    def _parts(self, parts: list[str]) -> Iterator[str]:
        """Those of the components that this bundle has."""
        here = {component_of(self._bundle, graph) for graph in self._bundle.manifest.graphs}
        return (part for part in parts if part in here)
