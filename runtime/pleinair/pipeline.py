"""Where a program begins: a bundle opened on an engine, and the jobs that it is given."""

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self, Unpack

import numpy as np

from pleinair.batches import noise_sources
from pleinair.bundle.opening import Bundle, bundle_identity, open_bundle
from pleinair.denoising import Guides
from pleinair.engines import precision as precisions
from pleinair.engines.engine import Engine, choose_engine
from pleinair.engines.graphs import MAX_SHAPES, Graphs
from pleinair.engines.int8.forms import AUTO
from pleinair.library.given import made_ready, with_models
from pleinair.model import Companions, Loaded, Model
from pleinair.painting import Painting
from pleinair.pictures.other_vaes import Vaes
from pleinair.pictures.upscale import Upscalers
from pleinair.preflight import Spared
from pleinair.request.help import lists_options
from pleinair.request.keywords import Options
from pleinair.request.loading import LOADING
from pleinair.request.record import asked_for
from pleinair.request.request import Request, resolve
from pleinair.results import Frame, Result, merged
from pleinair.sampling.noise import NoiseSource
from pleinair.system.limits import Room, room_left
from pleinair.text.encoders import Encoders
from pleinair.text.reader import Conditioning
from pleinair.tuning.choosing import SETTLED, fitting_engine
from pleinair.tuning.work import work_kept_open
from pleinair.version import __version__


class Pipeline:
    """An open bundle and its graphs, kept loaded between jobs, or to the end of a `with`; threads may share it.

    `engine_reason` says why its engine was taken, where nobody has named one.
    """

    def __init__(
        self,
        bundle: Bundle,
        engine: Engine,
        *,
        device: str | Mapping[str, str] | None = None,
        threads: int | None = None,
        precision: str | Mapping[str, str] | None = None,
        memory: str = "high",
        preflight: bool = True,
        on_load: Callable[[str], None] | None = None,
        fallback: bool = False,
        cache: bool | None = None,
        on_news: Callable[[str], None] | None = None,
        int8: str = AUTO,
        fold: bool = True,
        share: bool = True,
        engine_reason: str | None = None,
    ) -> None:
        self.bundle = bundle
        self.engine_reason = engine_reason
        self.threads = threads
        self.memory = memory
        self._preflight = preflight
        how = {"device": device, "threads": threads, "precision": precision, "on_load": on_load}
        how |= {"fallback": fallback, "cache": cache, "int8": int8, "fold": fold}
        how |= {"share": share, "on_news": on_news}
        self._how = {name: value for name, value in how.items() if name not in ("on_load", "on_news")}
        max_shapes = 1 if memory == "low" else MAX_SHAPES
        self.graphs = Graphs(bundle, engine, max_shapes=max_shapes, **how)
        upscalers = Upscalers(bundle, engine, **how)
        companions = Companions(engine, bundle.files.hashed, max_shapes=max_shapes, **how)
        vaes = Vaes(self.graphs, engine, max_shapes=max_shapes, **how)
        self._loaded = Loaded(Model(bundle, self.graphs, Encoders(bundle)), companions, upscalers, vaes)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.unload()

    @property
    def engine(self) -> str:
        """The engine's name, as records have it."""
        return self.graphs.engine

    @property
    def opened_with(self) -> dict[str, Any]:
        """Keyword arguments for `load` to open the same once more, in another process."""
        more = {"engine": self.engine, "memory": self.memory, "preflight": self._preflight}
        return {**self._how, **more, "verify": False}

    @property
    def device(self) -> str:
        """Where the networks run: "cpu", or by component: "text=cpu,unet=npu,vae=gpu"."""
        return self.graphs.device

    @property
    def precision(self) -> str:
        """What the networks compute in: "f32", or by component: "text=f32,unet=bf16,vae=bf16"."""
        return self.graphs.precision

    @lists_options
    def generate(self, prompt: str, negative: str | None = None, **options: Unpack[Options]) -> Result:
        """Make pictures of `prompt`, one for each seed, and nothing that `negative` says.

        Raises RequestError for what makes no sense, BundleError for what the model cannot do, ResourceError where
        memory does not suffice, EngineError, and Cancelled where `stop` says so; all are PleinairError.
        """
        return merged([frame.result for frame in self.stream(prompt, negative, **options) if frame.result])

    @lists_options
    def stream(self, prompt: str, negative: str | None = None, **options: Unpack[Options]) -> Iterator[Frame]:
        """Make pictures step by step, as `generate` does; leaving the loop cancels.

        Raises RequestError for what makes no sense before anything is loaded, and in the loop what `generate` raises.
        """
        return self.walk(resolve(self.bundle, prompt, negative, **with_models(options, self.engine)))

    async def agenerate(self, prompt: str, negative: str | None = None, **options: Unpack[Options]) -> Result:
        """`generate` for asyncio, with the same options: see `pleinair.agenerate`."""
        from pleinair.asynchronous import agenerate  # asyncio brings ssl and sockets, which few need

        return await agenerate(self, prompt, negative, **options)

    def astream(
        self, prompt: str, negative: str | None = None, **options: Unpack[Options]
    ) -> AsyncGenerator[Frame, None]:
        """`stream` for asyncio, with the same options: see `pleinair.astream`."""
        from pleinair.asynchronous import astream

        return astream(self, prompt, negative, **options)

    def walk(
        self,
        request: Request,
        *,
        generators: Sequence[NoiseSource] | None = None,
        guide: Guides | None = None,
        start: np.ndarray | None = None,
        last: bool = False,
    ) -> Iterator[Frame]:
        """Run a resolved request, with noise, guide or clean start latents (B, C, h, w) of the caller's own.

        `generators` is one source of all the noise of each picture; those given with `start` have encoded it already.
        With memory "auto", the denoiser of the `last` request leaves memory before its pictures are decoded. It is one
        that no other follows, and whose frames are asked for no previews.
        """
        painting, spared = self._spared(request, last)
        return painting.run(generators=generators, guide=guide, start=start, spared=spared)

    def memory_needed(self, request: Request, *, memory: str | None = None, last: bool = False) -> int:
        """Bytes that this process is predicted to hold at most when it paints a request.

        `memory` is "low", "high" or "auto", which means all stages at once here; None is as the pipeline was opened.
        `last` is as in `walk`.
        Pages of mapped files are not counted, for the system can take those back; nor is what engines take that
        pleinair does not ship.
        """
        preflight = self._painting(request).preflight(last)
        return int(preflight.need(next(preflight.ways(memory or self.memory))).memory)

    def _spared(self, request: Request, last: bool = False) -> tuple[Painting, Spared]:
        """A job, and what it is to spare; raises ResourceError where memory will not suffice."""
        painting = self._painting(request)
        room = room_left() if self._preflight else Room(None)
        spared = painting.preflight(last).choose(self.memory, room)
        if spared.two_calls and not request.guidance.two_calls:
            painting = self._painting(replace(request, guidance=replace(request.guidance, two_calls=True)))
        if spared.stages and self.memory != "low":
            painting.say("memory is short: each stage is loaded in turn, as with --memory low")
        return painting, spared

    def read(self, request: Request) -> Conditioning:
        """What the network is told of a request's prompts over the steps of its first pass."""
        return self._painting(request).read()

    def generators(self, request: Request) -> list[NoiseSource]:
        """The source of each picture's noise, not used yet."""
        return noise_sources(request.random, request.seeds)

    def encoded(self, request: Request, generators: Sequence[NoiseSource]) -> np.ndarray | None:
        """The clean latents (B, C, h, w) of the picture that a request starts from, drawn as `generate` draws them."""
        return self._painting(request).encoded(generators)

    def _painting(self, request: Request) -> Painting:
        return Painting(self._loaded, request, lambda seeds: self.settings(request, seeds))

    def settings(self, request: Request, seeds: tuple[int, ...]) -> dict[str, Any]:
        """Everything that makes the pictures of these seeds, resolved; no path, user or host name."""
        return {
            **asked_for(self.bundle, request, seeds),
            "model": self.bundle.manifest.name,
            "bundle": bundle_identity(self.bundle),
            "engine": self.engine,
            "engine_version": self.graphs.engine_version,
            **({"engine_reason": self.engine_reason} if self.engine_reason else {}),
            "device": self.device,
            "threads": self.threads,
            "precision": self.precision,
            **self._rewritten(),
            "pleinair": __version__,
        }

    def _rewritten(self) -> dict[str, Any]:
        """What became of graphs in int8, and how many operations were rewritten, by graph; nothing where none were."""
        taken = {name: each.record for name, each in self.graphs.formed.items()}
        return {**({"int8": taken} if taken else {}), **self.graphs.rewritten}

    def unload(self) -> None:
        """Give the memory of graphs and texts back; the next job loads them again."""
        self._loaded.release()


def load(
    model: str | Path | None = None,
    *,
    engine: str | Engine | None = None,
    device: str | Mapping[str, str] | None = None,
    threads: int | None = None,
    precision: str | Mapping[str, str] | None = None,
    memory: str | None = None,
    preflight: bool = True,
    verify: bool = True,
    fallback: bool = False,
    cache: bool | None = None,
    int8: str | None = None,
    fold: bool = True,
    share: bool = True,
    on_load: Callable[[str], None] | None = None,
    on_news: Callable[[str], None] | None = None,
) -> Pipeline:
    """Open a model (storybook, the one that ships with pleinair, where it is None) on an engine and a device.

    `model` is a bundle's folder, a name that `pleinair models` lists, or a .safetensors file or diffusers folder, which
    is made into a bundle among the models when it is first opened, and found there again. `engine` is "openvino",
    "onnx", or an object like `pleinair.engines.engine.Engine`, such as a FakeEngine; "auto" (the default) takes what
    `pleinair tune` has found, or else the one whose steps are estimated to be fastest, whatever it takes to open the
    model; the pictures' records say which, and why. `device` names one for all networks ("gpu"), or one by component:
    "unet=npu,vae=gpu" or {"unet": "npu"}; with `fallback`, the CPU goes on where it is not here or fails, and each
    result's warnings and settings say so. `precision` is what the networks compute in: "auto" (the default) takes the
    fastest that the device has and a picture survives, "f32", "bf16" and "f16" are what they say; components can be
    named here too. With `memory` "low", each stage of a job is done for all its pictures and then leaves memory, and
    guidance takes two calls where that saves some, all of which is slower; "auto" (the default) does so where memory is
    short, and lets large text encoders go once they have been read, "high" never. A job that memory will not suffice
    for is refused before anything is loaded; with `preflight` False it is not. `verify` False does not compare the
    bundle's files with their SHA-256; `cache` True keeps what is compiled on the disk for the next start, None (the
    default) what is compiled for GPUs, False nothing. `int8` is the form that OpenVINO's CPU computes W8A8 graphs in
    (docs/performance.md): "auto" takes what suits the CPU, "stored" none but the graph's own. `fold` False leaves
    upsampling apart from the convolutions after it, and `share` False computes anew for each text what is the same for
    all, which takes a CPU longer. Graphs are loaded when first needed; `on_load` is told the name of each
    before, as that can take long, and `on_news`, at once, a line about all that then runs otherwise than was asked for,
    such as what continues on the CPU. Raises BundleError, EngineError, RequestError, or ResourceError where there is no
    room for a model that is made.
    """
    bundle = open_bundle(made_ready(model, engine if isinstance(engine, str) else None), verify=verify)
    if not bundle.manifest.paints:
        bundle.require("text2image")
    if threads is not None:
        threads = LOADING["threads"].type.read("threads", threads)
    given = {"engine": engine, "device": device, "threads": threads, "precision": precision, "int8": int8}
    fitting = fitting_engine(bundle, work_kept_open(bundle.manifest), given)
    engine, threads, precision, int8 = ({**given, **fitting.how}[name] for name in SETTLED)
    chosen = choose_engine(bundle, engine)
    memory = LOADING["memory"].default if memory is None else LOADING["memory"].type.read("memory", memory)
    how = {"device": device, "threads": threads, "precision": precision, "memory": memory}
    int8 = LOADING["int8"].default if int8 is None else LOADING["int8"].type.read("int8", int8)
    how |= {"preflight": bool(preflight), "fallback": bool(fallback), "cache": cache, "int8": int8, "fold": bool(fold)}
    how |= {"share": bool(share), "on_load": on_load, "on_news": on_news, "engine_reason": fitting.reason}
    pipe = Pipeline(bundle, chosen, **how)
    if precision not in (None, precisions.AUTO):
        for graph in bundle.manifest.graphs:
            pipe.graphs.precision_of(graph)
    return pipe
