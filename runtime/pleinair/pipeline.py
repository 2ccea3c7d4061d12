"""The flow, top to bottom: text -> path -> noise -> loop -> picture."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, Unpack

import numpy as np
from PIL.Image import Image
from tokenizers import Tokenizer

from pleinair import guidance, noise, schedule, text
from pleinair.bundle import Bundle, Latents, open_bundle
from pleinair.checks import whole
from pleinair.engines import Graph, Shapes, choose_engine, engine_module, engine_version, open_graph
from pleinair.errors import EngineError
from pleinair.image import decode, to_pil
from pleinair.request import Options, Request, resolve
from pleinair.sampling import SAMPLERS, Denoise
from pleinair.version import __version__

MAX_THREADS = 1024
SHOWN = 80  # characters of a cut prompt that its warning quotes


@dataclass
class Timings:
    """Seconds, as they were spent; `steps` has one entry for every step of every batch."""

    load: float = 0.0
    text: float = 0.0
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


@dataclass(frozen=True)
class Frame:
    """One step of one batch; after a batch's last step comes one more frame, which carries its result."""

    step: int
    steps: int
    seeds: tuple[int, ...]
    preview: Callable[[], list[Image]] = field(repr=False)  # what the network sees in the noise now, through the VAE
    result: Result | None = field(default=None, repr=False)


class Pipeline:
    """An open bundle and its graphs, kept loaded between jobs."""

    def __init__(self, bundle: Bundle, engine: str, device: str | None, threads: int | None) -> None:
        self.bundle = bundle
        self.engine = engine
        self.device = device or "cpu"
        self.threads = threads
        self._graphs: dict[str, Graph] = {}
        self._tokenizer: Tokenizer | None = None

    def generate(self, prompt: str, negative: str = "", **options: Unpack[Options]) -> Result:
        """Make pictures of `prompt`, one for each seed; raises PleinairError."""
        return merged([frame.result for frame in self.stream(prompt, negative, **options) if frame.result])

    def stream(self, prompt: str, negative: str = "", **options: Unpack[Options]) -> Iterator[Frame]:
        """Make pictures step by step; leaving the loop cancels. Raises RequestError before anything is loaded."""
        request = resolve(self.bundle, prompt, negative, **options)
        grid = SAMPLERS[request.sampler].grid
        path = schedule.make_path(self.bundle.scheduler_config, grid, request.steps, request.spacing)
        return self._run(request, path)

    def unload(self) -> None:
        """Give the graphs' memory back; the next job loads them again."""
        self._graphs.clear()

    def _run(self, request: Request, path: schedule.Path) -> Iterator[Frame]:
        started, timings = perf_counter(), Timings()
        warnings = schedule.unfollowed(self.bundle.scheduler_config, SAMPLERS[request.sampler].grid)
        info = self.bundle.manifest.latents
        shape = (info.channels, request.height // info.downsample, request.width // info.downsample)
        with timings.spent_on("load"):
            unet, decoder = self._graph("unet"), self._graph("vae_decoder")

        denoise, calls = self._denoiser(request, timings, warnings)
        for start in range(0, len(request.seeds), request.batch):
            seeds = request.seeds[start : start + request.batch]
            generators = [noise.TorchNoise(seed) for seed in seeds]
            x = path.start * noise.stacked(generators, shape)  # (B, 4, h, w)
            with timings.spent_on("load"):
                unet.prepare(unet_shapes(self.bundle, calls * len(seeds), shape))
            fresh = partial(noise.stacked, generators, shape)
            mark = perf_counter()
            for step, state in enumerate(SAMPLERS[request.sampler].walk(denoise, x, path, fresh), 1):
                check_finite(state.x, f"at step {step} of {request.steps}")
                timings.steps.append(perf_counter() - mark)
                yield Frame(step, request.steps, seeds, partial(_preview, decoder, state.x0, info))
                mark = perf_counter()
            with timings.spent_on("load"):
                decoder.prepare({"latent_sample": (1, *shape)})
            with timings.spent_on("decode"):
                pixels = np.concatenate([decode(decoder, one[None], info) for one in state.x])
            check_finite(pixels, "when decoding")
            timings.total = perf_counter() - started
            settings = self._settings(replace(request, seeds=seeds))
            so_far = replace(timings, steps=list(timings.steps))
            result = Result(to_pil(pixels), seeds, settings, so_far, tuple(warnings), pixels, state.x)
            yield Frame(request.steps, request.steps, seeds, partial(to_pil, pixels), result)

    def _denoiser(self, request: Request, timings: Timings, warnings: list[str]) -> tuple[Denoise, int]:
        """The guided network, and how many of its evaluations one picture's step takes."""
        prediction = schedule.prediction_type(self.bundle.scheduler_config)
        embedding = self._embed(request.prompt, "prompt", timings, warnings)  # (1, 77, d)
        if request.guidance <= 1:
            if request.negative:
                warnings.append("the negative prompt has no effect without guidance; use --guidance above 1")
            return guidance.conditioned(self._predict, embedding, prediction), 1
        negative = self._embed(request.negative, "negative prompt", timings, warnings)
        return guidance.classifier_free(self._predict, embedding, negative, request.guidance, prediction), 2

    def _embed(self, prompt: str, what: str, timings: Timings, warnings: list[str]) -> np.ndarray:
        encoder = self.bundle.manifest.text_encoders[0]
        with timings.spent_on("load"):
            graph = self._graph(encoder.graph)
            graph.prepare({"input_ids": (1, encoder.length)})
        with timings.spent_on("text"):
            if self._tokenizer is None:
                self._tokenizer = text.open_tokenizer(self.bundle, encoder)
            ids, cut = text.token_ids(self._tokenizer, encoder, prompt)
            if cut:
                lost = " ".join(cut[:SHOWN].split()) + ("..." if len(cut) > SHOWN else "")
                warnings.append(
                    f"the {what} is longer than the {encoder.length - 2} tokens this model reads; ignored: '{lost}'"
                )
            return graph(input_ids=ids)[encoder.output]

    def _predict(self, x: np.ndarray, t: float, embeddings: np.ndarray) -> np.ndarray:
        timestep = np.array([t], np.float32)
        return self._graph("unet")(sample=x, timestep=timestep, encoder_hidden_states=embeddings)["out_sample"]

    def _graph(self, name: str) -> Graph:
        if name not in self._graphs:
            self._graphs[name] = open_graph(self.bundle, name, self.engine, self.device, self.threads)
        return self._graphs[name]

    def _settings(self, request: Request) -> dict[str, Any]:
        """Everything that made the pictures, resolved; no path, user or host name."""
        grid = SAMPLERS[request.sampler].grid
        spacing = schedule.resolve_spacing(self.bundle.scheduler_config, grid, request.spacing)
        return {
            **asdict(request),
            "seeds": list(request.seeds),
            "spacing": ",".join(filter(None, spacing)),
            "model": self.bundle.manifest.name,
            "engine": self.engine,
            "engine_version": engine_version(self.engine),
            "device": self.device,
            "threads": self.threads,
            "pleinair": __version__,
        }


def load(
    model: str | Path | None = None,
    *,
    engine: str | None = None,
    device: str | None = None,
    threads: int | None = None,
) -> Pipeline:
    """Open a bundle (storybook, the one that ships with pleinair, where `model` is None) on an engine and a device.

    Graphs are loaded when first needed. Raises BundleError, EngineError or RequestError.
    """
    bundle = open_bundle(model)
    name = choose_engine(bundle, engine)
    if threads is not None:
        threads = whole("threads", threads, 1, MAX_THREADS)
    if device is not None or threads is not None:
        engine_module(name).check_device(device, threads)
    return Pipeline(bundle, name, device, threads)


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


def unet_shapes(bundle: Bundle, batch: int, latents: tuple[int, ...]) -> Shapes:
    """The shapes of the UNet's inputs for a batch of latents (4, h, w)."""
    encoder = bundle.manifest.text_encoders[0]
    width = bundle.manifest.graphs[encoder.graph].outputs[encoder.output].shape[-1]
    return {
        "sample": (batch, *latents),
        "timestep": (1,),
        "encoder_hidden_states": (batch, encoder.length, width),
    }


def check_finite(numbers: np.ndarray, when: str) -> None:
    """Raise EngineError for NaN or infinity, which would end as a black picture."""
    if not np.isfinite(numbers).all():
        raise EngineError(
            f"the network returned NaN or infinity {when}; try another --engine or --device, or a lower --guidance"
        )


def _preview(decoder: Graph, x0: np.ndarray, info: Latents) -> list[Image]:
    return [picture for one in x0 for picture in to_pil(decode(decoder, one[None], info))]
