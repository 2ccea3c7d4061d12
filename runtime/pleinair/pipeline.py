"""The flow, top to bottom: text -> path -> noise -> loop -> picture."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from math import isclose
from pathlib import Path
from time import perf_counter
from typing import Any, Self, Unpack

import numpy as np

from pleinair.bundle.opening import Bundle, bundle_identity, open_bundle
from pleinair.bundle.unsupported import refuse_model
from pleinair.checks import one_of, whole
from pleinair.engines import precision as precisions
from pleinair.engines.engine import Engine, Graph, choose_engine
from pleinair.engines.failures import check_finite
from pleinair.engines.graphs import KEPT, Asking, Graphs
from pleinair.network import guidance
from pleinair.network.denoiser import known_feeds, ports
from pleinair.network.feeds import CHANNELS, Known, Told
from pleinair.network.guidance import Guide, Guided
from pleinair.pictures import start as starts
from pleinair.pictures.decoding import Decoding
from pleinair.pictures.seamless import wrapped
from pleinair.pictures.upscale import Upscalers
from pleinair.pictures.vae import resized_latents, rough, to_pil
from pleinair.request.canvas import ground_of
from pleinair.request.help import lists_options
from pleinair.request.options import ENLARGERS, Options
from pleinair.request.planning import Pass, plan, warnings
from pleinair.request.record import asked_for
from pleinair.request.request import Request, resolve
from pleinair.results import Frame, Result, Timings, merged
from pleinair.sampling.configured import make_solver
from pleinair.sampling.noise import NoiseSource, source, stacked
from pleinair.sampling.path import Point
from pleinair.sampling.predictions import prediction_type
from pleinair.text.encoders import Encoders
from pleinair.text.reader import Conditioning, Reader
from pleinair.version import __version__

MAX_THREADS = 1024
MEMORY = ("high", "low")  # low: each stage of a job is done for all its pictures, and then leaves memory


@dataclass
class Batch:
    """Pictures that share the network's calls, on their way from noise."""

    seeds: tuple[int, ...]
    generators: list[NoiseSource]
    given: np.ndarray | None  # clean start latents (B, C, h, w) of the caller's own
    x: np.ndarray = field(default_factory=lambda: np.empty(0))  # (B, C, h, w)
    steps: int = 0  # done


@dataclass(frozen=True)
class Job:
    """What the batches of one request share."""

    request: Request
    passes: list[Pass]
    guides: list[Callable[[int], Guide]]  # one for each pass
    ground: starts.Ground | None
    encoder: Callable[[], starts.EncodedOnce]
    decoding: Decoding
    timings: Timings
    warnings: list[str]
    started: float

    @property
    def steps(self) -> int:
        return sum(len(each.path) for each in self.passes)


class Pipeline:
    """An open bundle and its graphs, kept loaded between jobs, or to the end of a `with`; threads may share it."""

    def __init__(
        self,
        bundle: Bundle,
        engine: Engine,
        *,
        device: str | Mapping[str, str] | None = None,
        threads: int | None = None,
        precision: str | Mapping[str, str] | None = None,
        memory: str = "high",
    ) -> None:
        self.bundle = bundle
        self.threads = threads
        self.memory = memory
        self.loading: Callable[[str], None] = lambda what: None  # called before a graph is loaded, which can take long
        how = {"device": device, "threads": threads, "precision": precision}
        kept = 1 if memory == "low" else KEPT
        self.graphs = Graphs(bundle, engine, kept=kept, opening=lambda what: self.loading(what), **how)
        self._encoders = Encoders(bundle)
        self._upscalers = Upscalers(bundle, engine, lambda what: self.loading(what), **how)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.unload()

    @property
    def engine(self) -> str:
        return self.graphs.engine.name

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
        return self.walk(resolve(self.bundle, prompt, negative, **options))

    def walk(
        self,
        request: Request,
        *,
        generators: Sequence[NoiseSource] | None = None,
        guide: Callable[[int], Guide] | None = None,
        start: np.ndarray | None = None,
    ) -> Iterator[Frame]:
        """Run a resolved request, with noise, guide or clean start latents (B, C, h, w) of the caller's own.

        `generators` is one source of all the noise of each picture; those given with `start` have encoded it already.
        """
        passes = plan(self.bundle, request)
        for folder in request.upscalers:
            self._upscalers.open(folder)
        return self._run(request, passes, generators, guide, start)

    def _run(
        self,
        request: Request,
        passes: list[Pass],
        generators: Sequence[NoiseSource] | None,
        guide: Callable[[int], Guide] | None,
        start: np.ndarray | None,
    ) -> Iterator[Frame]:
        started, timings = perf_counter(), Timings()
        said = [*warnings(self.bundle, request, passes), *self._upscalers.elsewhere(request.upscalers)]
        guides = [guide or self._guide(request, len(each.path), timings, said) for each in passes]
        canvas = request.canvas
        ground = ground_of(canvas, request.width, request.height) if canvas else None
        encoder = cache(partial(self._encoder, request))
        decoding = Decoding(
            self.graphs.open, self.bundle.manifest.vae, request.tile or "", request.vae_tile, request.check
        )
        job = Job(request, passes, guides, ground, encoder, decoding, timings, said, started)
        sources = self.generators(request) if generators is None else list(generators)
        batches = []
        for first in range(0, len(request.seeds), request.batch):
            these = slice(first, first + request.batch)
            given = None if start is None else start[these]
            batches.append(Batch(request.seeds[these], sources[these], given))
        sparing = self.memory == "low"
        if sparing:
            self.graphs.release(*(encoder.graph for encoder in self.bundle.manifest.text_encoders))
        for together in [batches] if sparing else [[each] for each in batches]:
            yield from self._paint(job, together, sparing)

    def _paint(self, job: Job, batches: list[Batch], sparing: bool) -> Iterator[Frame]:
        """Batches side by side: each pass of all of them, then the decoder, then what belongs around the result."""
        manifest = self.bundle.manifest
        for number in range(len(job.passes)):
            begun = [self._begin(job, number, batch) for batch in batches]
            for batch, start in zip(batches, begun, strict=True):
                yield from self._denoise(job, number, batch, start)
            if sparing:
                self.graphs.release(manifest.denoiser.graph)
        for batch in batches:
            yield self._finished(job, batch)
        if sparing:
            self.graphs.release(manifest.vae.decoder)

    def _begin(self, job: Job, number: int, batch: Batch) -> starts.Start | None:
        """Set a batch's latents to where a pass begins; what they hide, where that is not noise alone."""
        request, stage = job.request, job.passes[number]
        first = stage.path.strides[0][0]
        if number:
            batch.generators = self._generators(request, batch.seeds)
            latents = self._enlarged(job, batch.x, stage)
            start = starts.Start(latents, stacked(batch.generators, latents.shape[1:]))
            batch.x = start.at(first)
        elif job.ground or batch.given is not None:
            start = self._start(job, batch)
            new = request.task in ("inpaint", "edit") and request.canvas.strength == 1
            batch.x = stage.path.start * start.noise if new else start.at(first)
        else:
            start = None
            batch.x = stage.path.start * stacked(batch.generators, self._shape(stage.width, stage.height))
        batch.x = batch.x.astype(np.float32)
        return start

    def _start(self, job: Job, batch: Batch) -> starts.Start:
        """The picture that the first pass starts from."""
        request, timings = job.request, job.timings
        if batch.given is not None:
            return starts.Start(batch.given, stacked(batch.generators, batch.given.shape[1:]))
        request.check()
        with timings.spent_on("load"):
            encoder = job.encoder()
        with timings.spent_on("encode"):
            return starts.start(
                job.ground,
                encoder,
                self._shape(request.width, request.height),
                batch.generators,
                self._encoding(request, batch.seeds, batch.generators),
                strength=request.canvas.strength,
                channels=self.bundle.manifest.denoiser.channels,
            )

    def _denoise(self, job: Job, number: int, batch: Batch, start: starts.Start | None) -> Iterator[Frame]:
        """One way through the noise."""
        request, stage, timings, manifest = job.request, job.passes[number], job.timings, self.bundle.manifest
        denoise = self._guided(job, number, start)
        with timings.spent_on("load"):
            self._prepare_denoiser(denoise, batch.x)
        config, steps = self.bundle.scheduler_config, stage.steps
        sample = make_solver(steps.sampler, config, eta=steps.eta, s_churn=steps.s_churn, s_noise=steps.s_noise)
        looked_at = wrapped(denoise, request.tile) if request.tile else denoise
        draw = partial(stacked, batch.generators, batch.x.shape[1:])
        levels = [a for a, _ in stage.path.strides[1:]] + [None]  # where each step leads; None: out of the noise
        mark = perf_counter()
        for level, state in zip(levels, sample(looked_at, batch.x, stage.path, draw), strict=True):
            if start is not None:
                state.x = start.kept(state.x, level and (state.at or level))
            done = batch.steps + 1
            check_finite(state.x, f"at step {done} of {job.steps}")
            timings.steps.append(perf_counter() - mark)
            shown = (
                partial(job.decoding.preview, state.x0),
                partial(rough, state.x0, manifest.latents.rgb, manifest.vae.downsample),
            )
            yield Frame(done, job.steps, batch.seeds, *shown)
            request.check()
            batch.steps = done
            batch.x, mark = state.x, perf_counter()

    def _guided(self, job: Job, number: int, start: starts.Start | None) -> Guided:
        """The network of a pass, made to listen to its text."""
        request, stage, manifest = job.request, job.passes[number], self.bundle.manifest
        part = manifest.denoiser
        graph = self.graphs.open(part.graph)

        def network(x: np.ndarray, point: Point, step: int, told: Told) -> np.ndarray:
            request.check()
            return graph(**ports(part, x, point.t, told))[part.output]

        known = Known(stage.width, stage.height, request.guidance.scale)
        more = known_feeds(part, manifest.graphs[part.graph], known)
        if start is not None and start.behind is not None:
            more[CHANNELS] = start.behind
        guide = guidance.with_feeds(job.guides[number], more)
        prediction = prediction_type(self.bundle.scheduler_config)
        return Guided(network, guide, request.guidance, prediction, len(stage.path), manifest.guidance)

    def _prepare_denoiser(self, denoise: Guided, x: np.ndarray) -> None:
        """Compile the denoiser for the shapes of a pass's first call."""
        part, told = self.bundle.manifest.denoiser, denoise.calls(0, len(x))[0]
        rows = len(next(iter(told.values())))
        given = ports(part, np.empty((rows, *x.shape[1:]), np.float32), 0.0, told)
        self.graphs.open(part.graph).prepare({port: array.shape for port, array in given.items()})

    def _finished(self, job: Job, batch: Batch) -> Frame:
        """A batch's pictures, with everything that made them."""
        request, timings = job.request, job.timings
        pixels = self._decoded(job, batch.x)
        if job.ground:
            pixels = job.ground.finished(pixels)
        if request.upscale:
            pixels = self._larger(request, request.upscale, pixels)
        timings.total = perf_counter() - job.started
        result = Result(
            images=to_pil(pixels),
            seeds=batch.seeds,
            settings=self.settings(request, batch.seeds),
            timings=replace(timings, steps=list(timings.steps)),
            warnings=tuple(job.warnings),
            pixels=pixels,
            latents=batch.x,
        )
        show = partial(to_pil, pixels)
        return Frame(job.steps, job.steps, batch.seeds, show, show, result)

    def _enlarged(self, job: Job, x: np.ndarray, stage: Pass) -> np.ndarray:
        """The latents of a finished pass at the size of the next one."""
        enlarger = job.request.hires.enlarger
        if enlarger == "latent":
            return resized_latents(x, *self._shape(stage.width, stage.height)[1:])
        pixels = self._decoded(job, x)
        if enlarger not in ENLARGERS:
            pixels = self._larger(job.request, Path(enlarger), pixels)
        job.request.check()
        with job.timings.spent_on("encode"):
            return job.decoding.again(pixels, stage.width, stage.height)

    def _decoded(self, job: Job, x: np.ndarray) -> np.ndarray:
        with job.timings.spent_on("load"):
            job.decoding.prepare(x.shape)
        job.request.check()
        with job.timings.spent_on("decode"):
            return job.decoding.pixels(x)

    def _larger(self, request: Request, folder: Path, pixels: np.ndarray) -> np.ndarray:
        return self._upscalers.open(folder)(pixels, request.tile or "", request.check)

    def read(self, request: Request, steps: int | None = None) -> Conditioning:
        """What the network is told of a request's prompts over `steps` steps, those of its first pass if None."""
        steps = len(plan(self.bundle, request)[0].path) if steps is None else steps
        return self._reader(request).read(partial(self._asking, request), request.prompt, request.negative, steps)

    def _guide(self, request: Request, steps: int, timings: Timings, said: list[str]) -> Callable[[int], Guide]:
        """What the network is told of the prompts, step by step."""
        request.check()
        graph = partial(self._asking, request)
        with timings.spent_on("load"):
            reader = self._reader(request)
            reader.prepare(graph)
        scale = guidance.KINDS[self.bundle.manifest.guidance].scale(request.guidance)
        with timings.spent_on("text"):
            read = partial(reader.read, graph, request.prompt, request.negative, steps)
            conditioning = read(contrast=scale > 1)
            if scale <= 1 and not isclose(sum(conditioning.weights), 1.0):
                conditioning = read()  # AND weighs against it
            elif scale <= 1 and request.negative:
                said.append("the negative prompt has no effect without guidance; use --guidance above 1")
        said += [each for each in conditioning.warnings if each not in said]
        return conditioning.at

    def _reader(self, request: Request) -> Reader:
        how = {"clip_skip": request.clip_skip, "embeddings": request.embeddings}
        return Reader(self.bundle, encoders=self._encoders, **how)

    def generators(self, request: Request) -> list[NoiseSource]:
        """The source of each picture's noise, not used yet."""
        return self._generators(request, request.seeds)

    def _generators(self, request: Request, seeds: tuple[int, ...]) -> list[NoiseSource]:
        how = request.random
        return [source(seed, how.noise, how.subseed, how.subseed_strength) for seed in seeds]

    def encoded(self, request: Request, generators: Sequence[NoiseSource]) -> np.ndarray | None:
        """The clean latents (B, C, h, w) of the picture that a request starts from, drawn as `generate` draws them."""
        if request.canvas is None:
            return None
        ground = ground_of(request.canvas, request.width, request.height)
        encoding = self._encoding(request, request.seeds, list(generators))
        return self._encoder(request).latents(ground.picture, encoding)

    def _encoder(self, request: Request) -> starts.EncodedOnce:
        vae = self.bundle.manifest.vae
        return starts.EncodedOnce(self._asking(request, vae.encoder), vae, request.vae_tile)

    def _encoding(self, request: Request, seeds: tuple[int, ...], generators: list[NoiseSource]) -> list[NoiseSource]:
        """What the VAE draws from: a subseed is mixed into the first draw, which must be the noise of the walk."""
        if request.random.subseed is None:
            return generators
        return [source(seed, request.random.noise) for seed in seeds]

    def _asking(self, request: Request, name: str) -> Graph:
        """A graph that asks before every call whether the caller wants to stop."""
        return Asking(self.graphs.open(name), request.check)

    def _shape(self, width: int, height: int) -> tuple[int, int, int]:
        """Of one picture's latents (C, h, w)."""
        downsample = self.bundle.manifest.vae.downsample
        return self.bundle.manifest.latents.channels, height // downsample, width // downsample

    def settings(self, request: Request, seeds: tuple[int, ...]) -> dict[str, Any]:
        """Everything that makes the pictures of these seeds, resolved; no path, user or host name."""
        return {
            **asked_for(self.bundle, request, seeds),
            "model": self.bundle.manifest.name,
            "bundle": bundle_identity(self.bundle),
            "engine": self.engine,
            "engine_version": self.graphs.engine.version,
            "device": self.device,
            "threads": self.threads,
            "precision": self.precision,
            "pleinair": __version__,
        }

    def unload(self) -> None:
        """Give the memory of graphs and texts back; the next job loads them again."""
        self.graphs.release()
        self._upscalers.release()
        self._encoders.forget()


def load(
    model: str | Path | None = None,
    *,
    engine: str | Engine | None = None,
    device: str | Mapping[str, str] | None = None,
    threads: int | None = None,
    precision: str | Mapping[str, str] | None = None,
    memory: str | None = None,
    verify: bool = True,
) -> Pipeline:
    """Open a bundle (storybook, the one that ships with pleinair, where `model` is None) on an engine and a device.

    `engine` is "openvino", "onnx", or an object like `pleinair.engines.engine.Engine`, such as a FakeEngine. `device`
    names one for all networks ("gpu"), or one by component: "unet=npu,vae=gpu" or {"unet": "npu"}. `precision` is what
    the networks compute in: "auto" (the default) takes the fastest that the device has and a picture survives, "f32",
    "bf16" and "f16" are what they say; components can be named here too. With `memory` "low", each stage of a job is
    done for all its pictures and then leaves memory: slower from one job to the next, and the same pictures. `verify`
    False does not compare the bundle's files with their SHA-256. Graphs are loaded when first needed. Raises
    BundleError, EngineError or RequestError.
    """
    refuse_model(model)
    bundle = open_bundle(model, verify=verify)
    if bundle.upscales:
        bundle.require("text2image")
    chosen = choose_engine(bundle, engine)
    if threads is not None:
        threads = whole("threads", threads, 1, MAX_THREADS)
    memory = MEMORY[0] if memory is None else one_of("memory", memory, MEMORY)
    pipe = Pipeline(bundle, chosen, device=device, threads=threads, precision=precision, memory=memory)
    if precision not in (None, precisions.AUTO):
        for graph in bundle.manifest.graphs:
            pipe.graphs.precision_of(graph)
    return pipe
