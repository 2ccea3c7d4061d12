"""The flow, top to bottom: text -> path -> noise -> loop -> picture."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from math import isclose
from pathlib import Path
from threading import RLock
from time import perf_counter
from typing import Any, Self, Unpack

import numpy as np
from PIL.Image import Image

from pleinair.bundle.manifest_checks import UPSCALER
from pleinair.bundle.opening import Bundle, bundle_identity, open_bundle
from pleinair.bundle.unsupported import refuse_model
from pleinair.checks import whole
from pleinair.engines import precision as precisions
from pleinair.engines.graphs import (
    ENGINES,
    Asking,
    Graph,
    check_finite,
    choose_engine,
    compute_precision,
    engine_module,
    engine_version,
    open_graph,
)
from pleinair.errors import BundleError
from pleinair.files.output import planned_files, write
from pleinair.network.guidance import Guide, Guided, guided
from pleinair.pictures import start as canvas
from pleinair.pictures.reading import fitted
from pleinair.pictures.seamless import seamless_decode, wrap_margins, wrapped
from pleinair.pictures.upscale import Upscaler, load_upscaler
from pleinair.pictures.vae import decode, encode, resized_latents, rough, tile_shape, to_pil, to_pixels
from pleinair.request.help import lists_options
from pleinair.request.options import ENLARGERS, Options, Steps
from pleinair.request.record import asked_for
from pleinair.request.request import Request, resolve
from pleinair.sampling import path_betas as schedule
from pleinair.sampling.noise import Noise, source, stacked
from pleinair.sampling.samplers import SAMPLERS, unknown_class, walker
from pleinair.text.reader import Conditioning, Reader
from pleinair.text.vocabulary import size_warnings
from pleinair.version import __version__

MAX_THREADS = 1024


@dataclass
class Timings:
    """Seconds, as they were spent; `steps` has one entry for every step of every batch."""

    load: float = 0.0
    text: float = 0.0
    encode: float = 0.0
    steps: list[float] = field(default_factory=list)
    decode: float = 0.0
    total: float = 0.0

    @contextmanager
    def spent_on(self, stage: str) -> Iterator[None]:
        start = perf_counter()
        yield
        setattr(self, stage, getattr(self, stage) + perf_counter() - start)


@dataclass(frozen=True)
class Result:
    """Finished pictures, one for each seed, and everything that made them; timings are those of the job so far."""

    images: list[Image]
    seeds: tuple[int, ...]
    settings: dict[str, Any]
    timings: Timings
    warnings: tuple[str, ...]
    pixels: np.ndarray = field(repr=False)  # (N, H, W, 3) float32 in 0..1
    latents: np.ndarray = field(repr=False)  # (N, 4, h, w) float32

    def save(
        self, path: str | Path, *, overwrite: bool = False, metadata: bool = True, warnings: list[str] | None = None
    ) -> list[Path]:
        """Write the pictures with their settings, as the command line does, and return the files.

        `path` ends in .png, .jpg or .webp, and several pictures are NAME-1, NAME-2 ...; a .npz holds all of them with
        their latents. Without `metadata` no settings are written; what a file has no room for is said in `warnings`.
        Raises RequestError for another suffix, ResourceError for a file that exists (unless `overwrite`) or cannot be
        written.
        """
        return write(self, planned_files(Path(path), "", self.seeds, overwrite), overwrite, metadata, warnings)

    def picture(self, place: int) -> "Result":
        """One of the pictures, 0 for the first, as a result of its own; its settings stay those of the job."""
        place = range(len(self.images))[place]
        one = slice(place, place + 1)
        return replace(
            self,
            images=self.images[one],
            seeds=self.seeds[one],
            pixels=self.pixels[one],
            latents=self.latents[one],
        )

    def without_pixels(self) -> "Result":
        """What is to be said of the pictures, when they are on disk and need no memory any more."""
        return replace(self, images=[], pixels=self.pixels[:0].copy(), latents=self.latents[:0].copy())


@dataclass(frozen=True)
class Frame:
    """One step of one batch; after a batch's last step comes one more frame, which carries its result."""

    step: int
    steps: int
    seeds: tuple[int, ...]
    preview: Callable[[], list[Image]] = field(repr=False)  # what the network sees in the noise now, through the VAE
    rough: Callable[[], list[Image]] = field(repr=False)  # the same through a linear map, in well under a millisecond
    result: Result | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Pass:
    """One walk through the noise: the first, or the one that adds detail at a larger size."""

    walk: Steps
    path: schedule.Path
    width: int
    height: int


@dataclass(frozen=True)
class Job:
    """What the batches of one request share."""

    request: Request
    passes: list[Pass]
    guides: list[Callable[[int], Guide]]  # one for each pass
    ground: canvas.Ground | None
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
        engine: str,
        device: str | None,
        threads: int | None,
        precision: str | Mapping[str, str] | None = None,
    ) -> None:
        self.bundle = bundle
        self.engine = engine
        self.device = device or "cpu"
        self.threads = threads
        self._precision = precisions.parse(precision)
        self.loading: Callable[[str], None] = lambda what: None  # called before a graph is loaded, which can take long
        self._graphs: dict[str, Graph] = {}
        self._upscalers: dict[Path, Upscaler] = {}
        self._opening = RLock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.unload()

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
        generators: Sequence[Noise] | None = None,
        guide: Callable[[int], Guide] | None = None,
        start: np.ndarray | None = None,
    ) -> Iterator[Frame]:
        """Run a resolved request, with noise, guide or clean start latents (B, C, h, w) of the caller's own.

        `generators` is one source of all the noise of each picture; those given with `start` have encoded it already.
        """
        passes = self._passes(request)
        for folder in self._upscaler_folders(request):
            self._upscaler(folder)
        return self._run(request, passes, generators, guide, start)

    def generators(self, request: Request) -> list[Noise]:
        """The source of each picture's noise, not used yet."""
        return self._generators(request, request.seeds)

    def encoded(self, request: Request, generators: Sequence[Noise]) -> np.ndarray | None:
        """The clean latents (B, C, h, w) of the picture that a request starts from, drawn as `generate` draws them."""
        if request.canvas is None:
            return None
        ground = canvas.lay(request.canvas, request.width, request.height)
        pictures = np.repeat(ground.picture, len(generators), 0)
        encoding = self._encoding(request, request.seeds, list(generators))
        info = self.bundle.manifest.latents
        return encode(self._asking(request, "vae_encoder"), pictures, info, encoding, tile=request.vae_tile)

    def read(self, request: Request, steps: int | None = None) -> Conditioning:
        """The embeddings of a request's prompts over `steps` steps, those of its first pass where it is None."""
        steps = len(self._passes(request)[0].path) if steps is None else steps
        return self._reader(request).read(request.prompt, request.negative or "", steps)

    @property
    def precision(self) -> str:
        """What the networks compute in: "f32", or by component: "text=f32,unet=bf16,vae=bf16"."""
        graphs = [name for name in self.bundle.manifest.graphs if name != "vae_encoder"]
        return precisions.written({precisions.component(self.bundle, name): self._computes_in(name) for name in graphs})

    def check_precision(self) -> None:
        """Raise RequestError where the device does not have a precision that was asked for."""
        for graph in self.bundle.manifest.graphs:
            self._computes_in(graph)

    def _computes_in(self, graph: str) -> str:
        wanted = self._precision[precisions.component(self.bundle, graph)]
        return compute_precision(self.bundle, graph, self.engine, self.device, wanted)

    def unload(self) -> None:
        """Give the graphs' memory back; the next job loads them again."""
        with self._opening:
            self._graphs.clear()
            self._upscalers.clear()

    def _passes(self, request: Request) -> list[Pass]:
        """The walks of a request, settled and checked before anything is loaded."""
        if request.tile and self.bundle.inpaints_by_input:
            raise BundleError(
                f"bundle '{self.bundle.manifest.name}' is made for inpainting and paints no seamless pictures;"
                " choose another with --model"
            )
        path = self._path(request.steps)
        if request.canvas and (request.task == "image2image" or request.canvas.strength < 1):
            path = path.after(request.canvas.strength)
        passes = [Pass(request.steps, path, request.width, request.height)]
        if hires := request.hires:
            multiple = self.bundle.manifest.latents.downsample
            width, height = (
                round(side * hires.factor / multiple) * multiple for side in (request.width, request.height)
            )
            passes.append(
                Pass(hires.steps, self._path(hires.steps).after(hires.strength, "hires_strength"), width, height)
            )
        return passes

    def _path(self, walk: Steps) -> schedule.Path:
        config, grid = self.bundle.scheduler_config, SAMPLERS[walk.sampler].grid
        walker(walk.sampler, config, eta=walk.eta, s_churn=walk.s_churn, s_noise=walk.s_noise)
        return schedule.make_path(config, grid, walk.count, walk.spacing, sigmas=walk.sigmas, timesteps=walk.timesteps)

    def _run(
        self,
        request: Request,
        passes: list[Pass],
        generators: Sequence[Noise] | None,
        guide: Callable[[int], Guide] | None,
        start: np.ndarray | None,
    ) -> Iterator[Frame]:
        started, timings, warnings = perf_counter(), Timings(), self._unfollowed(request, passes)
        guides = [guide or self._guide(request, len(each.path), timings, warnings) for each in passes]
        ground = None
        if request.canvas:
            ground = canvas.lay(request.canvas, request.width, request.height)
        job = Job(request, passes, guides, ground, timings, warnings, started)
        sources = self.generators(request) if generators is None else list(generators)
        for first in range(0, len(request.seeds), request.batch):
            these = slice(first, first + request.batch)
            yield from self._paint(job, request.seeds[these], sources[these], None if start is None else start[these])

    def _paint(
        self, job: Job, seeds: tuple[int, ...], generators: list[Noise], given: np.ndarray | None
    ) -> Iterator[Frame]:
        """The pictures of one batch: every pass, then the decoder, then what belongs around the result."""
        request, timings = job.request, job.timings
        x, done = np.empty(0), 0
        for number, (stage, guide) in enumerate(zip(job.passes, job.guides, strict=True)):
            first = stage.path.strides[0][0]
            if number:
                generators = self._generators(request, seeds)
                latents = self._enlarged(job, x, stage)
                start = canvas.Start(latents, stacked(generators, latents.shape[1:]))
                x = start.at(first)
            elif job.ground or given is not None:
                start = self._start(job, seeds, generators, given)
                new = request.task == "inpaint" and request.canvas.strength == 1
                x = stage.path.start * start.noise if new else start.at(first)
            else:
                start = None
                x = stage.path.start * stacked(generators, self._shape(stage))
            x = yield from self._denoise(job, stage, guide, start, x.astype(np.float32), generators, seeds, done)
            done += len(stage.path)
        pixels = self._pictures(job, x)
        timings.total = perf_counter() - job.started
        result = Result(
            images=to_pil(pixels),
            seeds=seeds,
            settings=self.settings(request, seeds),
            timings=replace(timings, steps=list(timings.steps)),
            warnings=tuple(job.warnings),
            pixels=pixels,
            latents=x,
        )
        show = partial(to_pil, pixels)
        yield Frame(job.steps, job.steps, seeds, show, show, result)

    def _denoise(
        self,
        job: Job,
        stage: Pass,
        guide: Callable[[int], Guide],
        start: canvas.Start | None,
        x: np.ndarray,
        generators: list[Noise],
        seeds: tuple[int, ...],
        done: int,
    ) -> Generator[Frame, None, np.ndarray]:
        """One walk through the noise; returns the latents it ends at (B, C, h, w)."""
        request, info, timings, walk = job.request, self.bundle.manifest.latents, job.timings, stage.walk
        prediction = schedule.prediction_type(self.bundle.scheduler_config)
        denoise = guided(self._network(job, start), guide, request.guidance, prediction, len(stage.path))
        with timings.spent_on("load"):
            self._prepare_unet(denoise, guide(0), x.shape)
        sampler = walker(
            walk.sampler, self.bundle.scheduler_config, eta=walk.eta, s_churn=walk.s_churn, s_noise=walk.s_noise
        )
        looked_at = wrapped(denoise, request.tile) if request.tile else denoise
        levels = [a for a, _ in stage.path.strides[1:]] + [None]  # where each step leads; None: out of the noise
        mark = perf_counter()
        for step, state in enumerate(sampler(looked_at, x, stage.path, partial(stacked, generators, x.shape[1:]))):
            if start is not None:
                state.x = start.kept(state.x, levels[step] and (state.at or levels[step]))
            check_finite(state.x, f"at step {done + step + 1} of {job.steps}")
            timings.steps.append(perf_counter() - mark)
            shown = partial(self._preview, request, state.x0), partial(rough, state.x0, info)
            yield Frame(done + step + 1, job.steps, seeds, *shown)
            job.request.check()
            denoise.step = step + 1
            x, mark = state.x, perf_counter()
        return x

    def _network(self, job: Job, start: canvas.Start | None) -> Callable[[np.ndarray, float, np.ndarray], np.ndarray]:
        """The UNet as a function of latents, t and embeddings; an inpainting UNet is shown the masked picture too."""
        unet = self._graph("unet")

        def network(x: np.ndarray, t: float, text: np.ndarray) -> np.ndarray:
            job.request.check()
            if start is not None and start.seen is not None:
                x = np.concatenate([x, np.tile(start.seen, (len(x) // len(start.seen), 1, 1, 1))], 1)
            return unet(sample=x, timestep=np.array([t], np.float32), encoder_hidden_states=text)["out_sample"]

        return network

    def _start(
        self, job: Job, seeds: tuple[int, ...], generators: list[Noise], given: np.ndarray | None
    ) -> canvas.Start:
        """The picture that the first pass starts from."""
        request, info = job.request, self.bundle.manifest.latents
        if given is not None:
            return canvas.Start(given, stacked(generators, given.shape[1:]))
        job.request.check()
        with job.timings.spent_on("load"):
            encoder = self._asking(request, "vae_encoder")
        encoding = self._encoding(request, seeds, generators)
        with job.timings.spent_on("encode"):
            return canvas.start(
                job.ground,
                encoder,
                info,
                generators,
                encoding,
                strength=request.canvas.strength,
                inpainting=self.bundle.inpaints_by_input,
                tile=request.vae_tile,
            )

    def _encoding(self, request: Request, seeds: tuple[int, ...], generators: list[Noise]) -> list[Noise]:
        """What the VAE draws from: a subseed is mixed into the first draw, which must be the noise of the walk."""
        if request.random.subseed is None:
            return generators
        return [source(seed, request.random.noise) for seed in seeds]

    def _enlarged(self, job: Job, x: np.ndarray, stage: Pass) -> np.ndarray:
        """The latents of a finished pass at the size of the next one."""
        info, enlarger = self.bundle.manifest.latents, job.request.hires.enlarger
        if enlarger == "latent":
            return resized_latents(x, stage.height // info.downsample, stage.width // info.downsample)
        pixels = self._decoded(job, x)
        if enlarger not in ENLARGERS:
            pixels = self._larger(job, Path(enlarger), pixels)
        job.request.check()
        with job.timings.spent_on("encode"):
            larger = to_pixels([fitted(one, stage.width, stage.height, "stretch") for one in to_pil(pixels)])
            return encode(self._asking(job.request, "vae_encoder"), larger, info, tile=job.request.vae_tile)

    def _pictures(self, job: Job, x: np.ndarray) -> np.ndarray:
        """Finished latents -> finished pictures (B, H, W, 3)."""
        pixels = self._decoded(job, x)
        if job.ground:
            pixels = job.ground.finished(pixels)
        if job.request.upscale:
            pixels = self._larger(job, job.request.upscale, pixels)
        return pixels

    def _decoded(self, job: Job, x: np.ndarray) -> np.ndarray:
        info, request = self.bundle.manifest.latents, job.request
        down, across = wrap_margins(request.tile) if request.tile else (0, 0)
        with job.timings.spent_on("load"):
            shape = tile_shape(x.shape[2] + 2 * down, x.shape[3] + 2 * across, info, request.vae_tile)
            self._graph("vae_decoder").prepare({"latent_sample": (1, info.channels, *shape)})
        job.request.check()
        with job.timings.spent_on("decode"):
            return self._pixels(request, x, self._asking(request, "vae_decoder"))

    def _pixels(self, request: Request, x: np.ndarray, decoder: Graph) -> np.ndarray:
        """Latents (B, C, h, w) -> pictures (B, H, W, 3), one at a time, as the request wants them decoded."""
        how = partial(seamless_decode, axes=request.tile) if request.tile else decode
        info = self.bundle.manifest.latents
        return np.concatenate([how(decoder, one[None], info, tile=request.vae_tile) for one in x])

    def _preview(self, request: Request, x0: np.ndarray) -> list[Image]:
        return to_pil(self._pixels(request, x0, self._graph("vae_decoder")))

    def _larger(self, job: Job, folder: Path, pixels: np.ndarray) -> np.ndarray:
        return self._upscaler(folder)(pixels, job.request.tile or "", job.request.check)

    def _guide(self, request: Request, steps: int, timings: Timings, warnings: list[str]) -> Callable[[int], Guide]:
        """The embeddings of the prompts, step by step."""
        request.check()
        with timings.spent_on("load"):
            reader = self._reader(request)
            reader.prepare()
        negative = request.negative or ""
        with timings.spent_on("text"):
            conditioning = reader.read(request.prompt, None if request.guidance.scale <= 1 else negative, steps)
            if request.guidance.scale <= 1 and not isclose(sum(conditioning.weights), 1.0):
                conditioning = reader.read(request.prompt, negative, steps)  # AND weighs against it
            elif request.guidance.scale <= 1 and request.negative:
                warnings.append("the negative prompt has no effect without guidance; use --guidance above 1")
        warnings += [each for each in conditioning.warnings if each not in warnings]
        return conditioning.at

    def _unfollowed(self, request: Request, passes: list[Pass]) -> list[str]:
        """Warnings for what was asked for, or stands in the scheduler config, and is not followed."""
        config = self.bundle.scheduler_config
        grids = {SAMPLERS[each.walk.sampler].grid: None for each in passes}
        upscalers = map(self._upscaler, self._upscaler_folders(request))
        asked = [(each.width, each.height) for each in passes]
        return [
            *request.idle,
            *unknown_class(config, request.steps.sampler),
            *size_warnings(self.bundle.manifest, asked, request.tile or ""),
            *(warning for grid in grids for warning in schedule.unfollowed(config, grid)),
            *(
                f"the upscaler '{each.bundle.manifest.name}' has no graph for {self.engine} and runs on {each.engine}"
                for each in upscalers
                if each.engine != self.engine
            ),
        ]

    def _generators(self, request: Request, seeds: tuple[int, ...]) -> list[Noise]:
        how = request.random
        return [source(seed, how.noise, how.subseed, how.subseed_strength) for seed in seeds]

    def _shape(self, stage: Pass) -> tuple[int, int, int]:
        info = self.bundle.manifest.latents
        return info.channels, stage.height // info.downsample, stage.width // info.downsample

    def _prepare_unet(self, denoise: Guided, guide: Guide, shape: tuple[int, ...]) -> None:
        batch = denoise.evaluations * shape[0]
        channels = self.bundle.manifest.graphs["unet"].inputs["sample"].shape[1]
        self._graph("unet").prepare(
            {
                "sample": (batch, channels, *shape[2:]),
                "timestep": (1,),
                "encoder_hidden_states": (batch, *guide.text.shape[1:]),
            }
        )

    def _reader(self, request: Request) -> Reader:
        graph = partial(self._asking, request)
        return Reader(self.bundle, graph, clip_skip=request.clip_skip, embeddings=request.embeddings)

    def _asking(self, request: Request, name: str) -> Graph:
        """A graph that asks before every call whether the caller wants to stop."""
        return Asking(self._graph(name), request.check)

    def _graph(self, name: str) -> Graph:
        with self._opening:
            if name not in self._graphs:
                self.loading(name)
                wanted = self._precision[precisions.component(self.bundle, name)]
                self._graphs[name] = open_graph(self.bundle, name, self.engine, self.device, self.threads, wanted)
            return self._graphs[name]

    def _upscaler(self, folder: Path) -> Upscaler:
        with self._opening:
            if folder not in self._upscalers:
                self.loading(folder.name)
                same = self.engine == "fake" or ENGINES[self.engine].format in open_bundle(folder).formats
                self._upscalers[folder] = load_upscaler(
                    folder,
                    engine=self.engine if same else None,
                    device=self.device if same else None,
                    threads=self.threads,
                    precision=self._precision[UPSCALER] if same else None,
                    verify=self.bundle.files.hashed,
                )
            return self._upscalers[folder]

    def _upscaler_folders(self, request: Request) -> list[Path]:
        enlarger = request.hires.enlarger if request.hires else "latent"
        return [*([Path(enlarger)] if enlarger not in ENLARGERS else []), *filter(None, [request.upscale])]

    def settings(self, request: Request, seeds: tuple[int, ...]) -> dict[str, Any]:
        """Everything that makes the pictures of these seeds, resolved; no path, user or host name."""
        return {
            **asked_for(self.bundle, request, seeds),
            "model": self.bundle.manifest.name,
            "bundle": bundle_identity(self.bundle),
            "engine": self.engine,
            "engine_version": engine_version(self.engine),
            "device": self.device,
            "threads": self.threads,
            "precision": self.precision,
            "pleinair": __version__,
        }


def load(
    model: str | Path | None = None,
    *,
    engine: str | None = None,
    device: str | None = None,
    threads: int | None = None,
    precision: str | Mapping[str, str] | None = None,
    verify: bool = True,
) -> Pipeline:
    """Open a bundle (storybook, the one that ships with pleinair, where `model` is None) on an engine and a device.

    `precision` is what the networks compute in: "auto" (the default) takes the fastest that the device has and a
    picture survives, "f32", "bf16" and "f16" are what they say; "unet=bf16,vae=f32" or {"unet": "bf16"} name single
    components. `verify` False does not compare the bundle's files with their SHA-256. Graphs are loaded when first
    needed. Raises BundleError, EngineError or RequestError.
    """
    refuse_model(model)
    bundle = open_bundle(model, verify=verify)
    if bundle.upscales:
        bundle.require("text2image")
    name = choose_engine(bundle, engine)
    if threads is not None:
        threads = whole("threads", threads, 1, MAX_THREADS)
    if device is not None or threads is not None:
        engine_module(name).check_device(device, threads)
    pipe = Pipeline(bundle, name, device, threads, precision)
    if precision not in (None, precisions.AUTO):
        pipe.check_precision()
    return pipe


def merged(results: list[Result]) -> Result:
    """The results of a job's batches as one."""
    last = results[-1]
    seeds = tuple(seed for result in results for seed in result.seeds)
    return replace(
        last,
        images=[image for result in results for image in result.images],
        seeds=seeds,
        settings={**last.settings, "seeds": list(seeds)},
        pixels=np.concatenate([result.pixels for result in results]),
        latents=np.concatenate([result.latents for result in results]),
    )
