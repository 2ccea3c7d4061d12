"""What memory a job takes, told before anything of it is loaded, and what to do where that is not there.

    high   base + what all graphs hold + what a call of the denoiser works with, and one of another graph
    auto   the same without text encoders that are large, or base + what these take, whichever is more; where no other
           job follows, a call of another graph does not come on top of the denoiser's, which has left memory by then
    low    base + the most of any stage: what its graphs hold, and what a call of them works with

Counted is memory that the system cannot take back. Pages of mapped files it can: they count against `ulimit -v` alone.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

from pleinair.bundle.manifest import Autoencoder
from pleinair.bundle.manifest_checks import UPSCALER
from pleinair.engines.edits import Edit, NewWeights, Unrounded
from pleinair.engines.failures import CPU
from pleinair.engines.graphs import Graphs
from pleinair.engines.memory import RULES, Cost, graph_cost
from pleinair.errors import ResourceError
from pleinair.foreseeing import sparable
from pleinair.model import Loaded, Model
from pleinair.pictures.upscale import Upscaler, picture_bytes_needed, tile_pixels
from pleinair.pictures.vae import tile_shape
from pleinair.request.planning import Pass
from pleinair.request.request import Request
from pleinair.system.limits import Room

BASE = 50e6  # bytes: Python, NumPy, an engine
RESERVED = 0.5e9  # bytes of address space that engines and their threads reserve and do not use
STEP, LEAST_SIDE = 64, 128  # pixels: sides that are proposed are multiples of the one, and not below the other
ANYWAY = "--no-preflight"
LOW = "--memory low"
LARGE_TEXT = 100e6  # bytes that text encoders hold, from which on they leave memory when they have been read
WORTH = 0.99  # times what one call takes: two that take more than that are not worth it


@dataclass(frozen=True)
class Spared:
    """What a job does to take less memory.

    `texts` lets text encoders go once they have been read, `stages` does each stage for all batches and then lets it
    go, and `two_calls` asks the network twice a step where guidance would ask it once. `denoiser` lets the denoiser go
    before the pictures are decoded, where all of them are painted together in one pass. `ahead` spares nothing: the
    denoiser is opened while texts are read.
    """

    texts: bool = False
    denoiser: bool = False
    stages: bool = False
    two_calls: bool = False
    ahead: bool = False


NOTHING = Spared(ahead=True)
STAGES = Spared(texts=True, denoiser=True, stages=True)
ALL = Spared(texts=True, denoiser=True, stages=True, two_calls=True)


@dataclass(frozen=True)
class Need:
    """Bytes that painting takes at its peak: of memory, and of address space beside what is taken already."""

    memory: float
    address_space: float

    def fits(self, room: Room, held: float = 0) -> bool:
        """Whether it is there, `held` bytes of the memory by this process already."""
        space = room.address_space is None or self.address_space <= room.address_space
        return space and (room.memory is None or self.memory <= room.memory + held)


@dataclass(frozen=True)
class GraphUse:
    """What a graph costs in a job, and whether it is loaded already; `spares` are bytes less where stages are spared.

    They are asked for where they count, for a large description has to be read for them.
    """

    cost: Cost
    is_open: bool
    spares: Callable[[], float] = float


@dataclass(frozen=True)
class WorkStage:
    """The graphs that are at work together; where they are called `again` and again, what they work with stays.

    `texts` says that they are text encoders.
    """

    uses: tuple[GraphUse, ...]
    again: bool = False
    texts: bool = False

    @property
    def held(self) -> float:
        return sum(use.cost.held for use in self.uses)

    @property
    def least(self) -> float:
        """What is held where stages are spared."""
        return self.held - sum(use.spares() for use in self.uses)

    @property
    def mapped(self) -> float:
        return sum(use.cost.mapped for use in self.uses)

    @property
    def working(self) -> float:
        each = [use.cost.working for use in self.uses]
        return sum(each) if self.again else max(each)


class Preflight:
    """The memory of one job: a request and its passes, on the graphs of what is open for it.

    `edits` says how the job changes a graph of a model: a changed one is loaded beside the plain one. The `last` job is
    one that no other follows, and whose frames nobody asks for previews.
    """

    def __init__(
        self,
        loaded: Loaded,
        request: Request,
        passes: Sequence[Pass],
        edits: Callable[[Model, str], tuple[Edit, ...]],
        last: bool = False,
    ) -> None:
        self._loaded = loaded
        self._last = last
        self._request = request
        self._passes = passes
        self._edits = edits

    def need(self, spared: Spared) -> Need:
        """What painting takes where so much is spared."""
        stages = self._two_calls._stages if spared.two_calls else self._stages
        if spared.stages:
            memory = max((each.least + each.working for each in stages), default=0)
            mapped = max((each.mapped for each in stages), default=0)
            return Need(BASE + memory, RESERVED + memory + mapped)
        texts = [each for each in stages if spared.texts and each.texts]
        others = [each for each in stages if each not in texts]
        stays = max((each.working for each in others if each.again), default=0)
        passing = max((each.working for each in others if not each.again), default=0)
        reading = sum(each.held + each.working for each in texts)
        held = sum(each.held for each in others)
        apart = sum(each.held for each in others if each.again) if spared.denoiser else 0.0
        memory = max(reading, held + stays, held - apart + (0 if spared.denoiser else stays) + passing)
        mapped = max(sum(each.mapped for each in texts), sum(each.mapped for each in others))
        return Need(BASE + memory, RESERVED + memory + mapped)

    def choose(self, memory: str, room: Room) -> Spared:
        """What to spare, where `memory` is "auto", "high" or "low".

        Raises ResourceError where there is not enough room, ending with what would fit.
        """
        if not self._stages:
            return STAGES if memory == "low" else NOTHING
        held = BASE + sum(use.cost.held for stage in self._stages for use in stage.uses if use.is_open)
        for spared in self.ways(memory):
            need = self.need(spared)
            if need.fits(room, held):
                return spared
        self._refuse(need, memory, room, held)
        return spared

    def ways(self, memory: str) -> Iterator[Spared]:
        """What may be spared, the fastest way first; no `two_calls` where they take as much."""
        if memory == "high":
            yield NOTHING
            return
        if memory == "auto":
            large = sum(each.held for each in self._stages if each.texts) >= LARGE_TEXT
            together = len(self._passes) == 1 and len(self._request.seeds) <= self._request.batch
            spared = Spared(texts=large, denoiser=self._last and together)
            yield from (replace(spared, ahead=self._fits_ahead(spared)), STAGES)
        less = self.need(ALL).memory < WORTH * self.need(STAGES).memory
        if less or memory == "low":
            yield ALL if less else STAGES

    def _fits_ahead(self, spared: Spared) -> bool:
        """Whether the denoiser beside the text encoders takes no more than painting takes at its peak."""
        both = sum(each.held for each in self._stages if each.again or each.texts)
        reading = sum(each.working for each in self._stages if each.texts)
        return BASE + both + reading <= self.need(spared).memory

    @cached_property
    def _two_calls(self) -> "Preflight":
        """The same job with the network asked twice a step."""
        return self._other(replace(self._request, guidance=replace(self._request.guidance, two_calls=True)))

    def _other(self, request: Request, passes: Sequence[Pass] | None = None) -> "Preflight":
        return Preflight(self._loaded, request, self._passes if passes is None else passes, self._edits, self._last)

    def _least(self) -> Need:
        """What it takes where as much is spared as can be."""
        return self.need(next(self.ways("low")))

    def _refuse(self, need: Need, memory: str, room: Room, held: float) -> None:
        request = self._request
        short = room.memory is not None and need.memory > room.memory + held
        left = room.memory + held if short else room.address_space
        takes = need.memory if short else need.address_space
        what = "memory" if short else "address space (ulimit -v)"
        remedy = next(self._remedies(memory, room, held), "close other programs, or use a smaller model")
        raise ResourceError(
            f"painting {request.width}x{request.height} with '{self._loaded.model.bundle.manifest.name}' takes about"
            f" {in_words(takes)} of {what}, and {in_words(left)} is free; {remedy}, or continue with {ANYWAY}",
            option=remedy.removeprefix("add ") if remedy.startswith("add --") else None,
        )

    def _remedies(self, memory: str, room: Room, held: float) -> Iterator[str]:
        """What would fit, the one that changes least first."""
        request, also = self._request, f" and {LOW}" if memory == "high" else ""
        if memory == "high" and self._least().fits(room, held):
            yield f"add {LOW}"
        if min(request.batch, len(request.seeds)) > 1:
            request = replace(request, batch=1)
            if self._other(request)._least().fits(room, held):
                yield f"add --batch 1{also}"
        for eighths in range(7, 0, -1):
            sides = [proposed(side * eighths / 8) for side in (request.width, request.height)]
            smaller = replace(request, width=sides[0], height=sides[1], batch=1)
            passes = [
                replace(each, width=proposed(each.width * eighths / 8), height=proposed(each.height * eighths / 8))
                for each in self._passes
            ]
            if self._other(smaller, passes)._least().fits(room, held):
                yield f"choose a smaller --size, {sides[0]}x{sides[1]} at most{also}"

    @cached_property
    def _stages(self) -> list[WorkStage]:
        return [stage for stage in self._works() if stage.uses]

    def _works(self) -> Iterator[WorkStage]:
        """The stages of the job, in order; some may have no graph that is judged."""
        request, loaded = self._request, self._loaded
        model, vae = loaded.model, loaded.vaes.open(request.vae)
        encoders = model.bundle.manifest.text_encoders
        read = [(each.graph, each.length) for each in encoders]
        yield WorkStage(uses(model.graphs, read, partial(self._edits, model)), texts=True)
        pixels = pixels_at_once(vae.vae, request.vae_tile, self._passes[-1])
        if request.canvas and vae.vae.encoder:
            yield WorkStage(uses(vae.graphs, [(vae.vae.encoder, pixels)]))
        for stage in self._passes:
            yield WorkStage(self._denoising(stage), again=True)
        yield WorkStage(uses(vae.graphs, [(vae.vae.decoder, pixels)]))
        for folder in request.upscalers:
            stage = self._passes[-1 if folder == request.upscale else 0]
            count = min(request.batch, len(request.seeds))
            upscaler = loaded.upscalers.open(folder)
            yield WorkStage(enlarging(upscaler, stage.width, stage.height, request.tile or "", count))

    def _denoising(self, stage: Pass) -> tuple[GraphUse, ...]:
        """The denoiser of a pass, and the ControlNets that are asked beside it."""
        request, loaded = self._request, self._loaded
        model = loaded.companions.open(request.refining.bundle) if stage.refines else loaded.model
        factor = loaded.model.bundle.manifest.vae.downsample
        latents = (stage.width // factor) * (stage.height // factor)
        places = latents * min(request.batch, len(request.seeds)) * rows_of(request, model.bundle.manifest.guidance)
        name, edits = model.bundle.manifest.denoiser.graph, partial(self._edits, model)
        found = uses(model.graphs, [(name, places)], edits)
        if request.wide_steps and model.bundle.manifest.graphs[name].in_int8:
            found += uses(model.graphs, [(name, places)], lambda graph: (*edits(graph), Unrounded()))
        found = tuple(replace(use, spares=partial(sparable, model, stage, edits(name))) for use in found)
        controls = () if stage.refines else dict.fromkeys(each.model for each in request.controls if each.model)
        for other in map(loaded.companions.open, controls):
            found += uses(other.graphs, [(other.bundle.manifest.control.graph, places)])
        return found


def in_words(size: float) -> str:
    """Bytes for people."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def proposed(side: float) -> int:
    """A side as it is proposed."""
    return max(LEAST_SIDE, int(side) // STEP * STEP)


def rows_of(request: Request, guidance: str) -> int:
    """Rows that the network is called with for one picture."""
    if request.guidance.two_calls or guidance == "embedded" or request.guidance.scale <= 1:
        return 1
    return 3 if guidance == "image_text" else 2


def pixels_at_once(vae: Autoencoder, tile: int | None, stage: Pass) -> int:
    """Pixels of a picture that the VAE works on in a call."""
    sides = tile_shape(stage.height // vae.downsample, stage.width // vae.downsample, vae, tile)
    return sides[0] * sides[1] * vae.downsample**2


def enlarging(upscaler: Upscaler, width: int, height: int, axes: str, count: int = 1) -> tuple[GraphUse, ...]:
    """An upscaler with the pictures that it is given, whose borders meet along `axes`, and those that it makes."""
    pictures = picture_bytes_needed(width, height, upscaler.scale, count)
    found = uses(upscaler.graphs, [(UPSCALER, tile_pixels(width, height, axes))])
    return tuple(replace(use, cost=replace(use.cost, working=use.cost.working + pictures)) for use in found)


def need_alone(together: tuple[GraphUse, ...]) -> Need:
    """What graphs take that are at work together, with nothing beside them."""
    stage = WorkStage(together)
    memory = BASE + stage.held + stage.working
    return Need(memory, RESERVED + memory + stage.mapped)


def unedited(graph: str) -> tuple[Edit, ...]:
    """Of graphs that no job changes."""
    return ()


def uses(
    graphs: Graphs, places: Iterable[tuple[str, int]], edits: Callable[[str], tuple[Edit, ...]] = unedited
) -> tuple[GraphUse, ...]:
    """Graphs by name with the places of a call; without those that no rule knows, or that do not run on the CPU."""
    if graphs.engine not in RULES:
        return ()
    found = []
    for name, count in places:
        if graphs.device_of(name) != CPU or graphs.engine not in graphs.bundle.manifest.graphs[name].files:
            continue
        changes = edits(name)
        merged = any(isinstance(each, NewWeights | Unrounded) for each in changes)
        cost = graph_cost(graphs.bundle, name, graphs.engine, graphs.precision_of(name), count, merged)
        found.append(GraphUse(cost, graphs.is_open(name, changes)))
    return tuple(found)
