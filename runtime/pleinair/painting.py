"""The flow of one job, top to bottom: text -> path -> noise -> loop -> picture."""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from functools import cached_property, partial
from math import isclose
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from pleinair.addons import OpenAddOns
from pleinair.batches import Batch, batched, encoding, noise_sources
from pleinair.denoising import Guides, denoiser_shapes, first_call, guided, keeping, looked_at, reusing
from pleinair.engines.failures import check_finite
from pleinair.foreseeing import foreseen, sparable
from pleinair.model import Loaded, Model
from pleinair.network import guidance
from pleinair.pictures import start as starts
from pleinair.pictures.other_vaes import OpenVae
from pleinair.pictures.vae import resized_latents, rough, to_pil
from pleinair.preflight import NOTHING, Preflight, Spared
from pleinair.request.canvas import ground_of
from pleinair.request.options import renewal
from pleinair.request.pass_options import ENLARGERS
from pleinair.request.planning import Pass, planned_passes, warnings
from pleinair.request.request import Request
from pleinair.results import Frame, Result, Stopwatches
from pleinair.sampling.configured import make_solver
from pleinair.sampling.noise import NoiseSource, stacked
from pleinair.text.reader import Conditioning, PromptReader
from pleinair.text.warned import Warnings


class Painting:
    """One job: a resolved request, and what its batches share.

    `settings` tells what made the pictures of some seeds. Raises BundleError or RequestError for what the model, the
    sampler or an upscaler cannot do, before a graph is loaded.
    """

    def __init__(self, loaded: Loaded, request: Request, settings: Callable[[tuple[int, ...]], dict[str, Any]]) -> None:
        self.request = request
        self._refiner = loaded.companions.open(request.refining.bundle) if request.refining else None
        self.passes = planned_passes(loaded.model.bundle, request, self._refiner and self._refiner.bundle)
        self._watches = Stopwatches()
        self._loaded = loaded
        self._settings = settings
        self._manifest = loaded.model.bundle.manifest
        self._warnings = Warnings()
        self._started = 0.0
        self._spares: dict[str, bool] = {}  # for the record
        self._addons = OpenAddOns(loaded, request, self.passes)

    @property
    def steps(self) -> int:
        """Steps of one batch, over all passes."""
        return sum(len(each.path) for each in self.passes)

    def say(self, line: str) -> None:
        """Add to the warnings of its results."""
        self._warnings.say(line)

    def preflight(self, last: bool = False) -> Preflight:
        """What memory the job takes; see Preflight for the `last` one."""
        return Preflight(self._loaded, self.request, self.passes, self._addons.edits, last)

    def run(
        self,
        *,
        generators: Sequence[NoiseSource] | None = None,
        guide: Guides | None = None,
        start: np.ndarray | None = None,
        spared: Spared = NOTHING,
    ) -> Iterator[Frame]:
        """Paint, with less memory where that is to be spared; two calls a step are for the request to ask for."""
        self._started = perf_counter()
        request, loaded = self.request, self._loaded
        addons, vae = self._addons, self._addons.vae.vae
        self._warnings.say(*warnings(loaded.model.bundle, request, self.passes), *addons.warnings)
        sparing = spared.stages
        early = spared.ahead and guide is None and start is None and request.canvas is None
        guides = [guide or self._guide(each, early and not number) for number, each in enumerate(self.passes)]
        sources = noise_sources(request.random, request.seeds) if generators is None else generators
        batches = batched(request.seeds, sources, start, request.batch)

        def let_go(model: Model | OpenVae, *graphs: str | None, now: bool = sparing) -> None:
            if now:
                model.graphs.release(*filter(None, graphs))

        denoiser = loaded.model.bundle.manifest.denoiser.graph
        if not loaded.model.graphs.is_open(denoiser, addons.edits(loaded.model, denoiser)):
            let_go(loaded.model, denoiser)  # as another job has changed it, or left it
        for model in filter(None, (loaded.model, self._refiner)):
            if sparing:
                model.encoders.close_tokenizers()
            let_go(model, *(encoder.graph for encoder in model.bundle.manifest.text_encoders), now=spared.texts)
        for together in [batches] if sparing else [[each] for each in batches]:
            for stage, told in zip(self.passes, guides, strict=True):
                begun = [self._begun(stage, each) for each in together]
                let_go(addons.vae, vae.encoder, vae.decoder)
                together = []
                for batch in begun:
                    together.append((yield from self._denoise(stage, told, batch, sparing)))
                model = self._model(stage)
                let_go(model, model.bundle.manifest.denoiser.graph, now=spared.denoiser)
                if spared.denoiser:
                    addons.control.release()
                if addons.preview_vae is not addons.vae:
                    let_go(addons.preview_vae, addons.preview_vae.vae.decoder)
            for batch in together:
                yield self._finished(batch)
            let_go(addons.vae, vae.decoder)

    def _model(self, stage: Pass) -> Model:
        """The one that does a pass."""
        return self._refiner if stage.refines else self._loaded.model

    def read(self) -> Conditioning:
        """What the network is told of the prompts over the steps of the first pass."""
        model, request, steps = self._loaded.model, self.request, self.passes[0].whole
        return self._reader(model).read(partial(self._addons.asking, model), request.prompt, request.negative, steps)

    def _guide(self, stage: Pass, early: bool) -> Guides:
        """What the network of a pass is told of the prompts, as far as guidance makes use of it.

        With `early`, the network is compiled meanwhile, and beside a small one the decoder. Beside a large one reading
        counts as loading, for it takes no time of its own.
        """
        request, model = self.request, self._model(stage)
        request.check()
        asking = partial(self._addons.asking, model)
        scale = guidance.METHODS[model.bundle.manifest.guidance].scale(request.guidance)
        small = model.graphs.is_small(model.bundle.manifest.denoiser.graph)
        with self._watches.load:
            reader = self._reader(model)
            ahead = early and self._compile_ahead(stage, reader, contrast=scale > 1)
            reader.prepare(asking)
            if ahead and small:
                self._addons.decoding.prepare((1, *self.shape(self.passes[-1].width, self.passes[-1].height)))
        with self._watches.load if ahead and not small else self._watches.text:
            read = partial(reader.read, asking, request.prompt, request.negative, stage.whole)
            conditioning = read(contrast=scale > 1)
            if scale <= 1 and not isclose(sum(conditioning.weights), 1.0):
                conditioning = read()  # AND weighs against it
            elif scale <= 1 and request.negative and not stage.refines:
                self._warnings.say("the negative prompt has no effect without guidance; use --guidance above 1")
        self._warnings.say(*conditioning.warnings)
        return conditioning.at

    def _compile_ahead(self, stage: Pass, reader: PromptReader, contrast: bool) -> bool:
        """Begin to compile the denoiser for what it will be told, unless it is open; whether that was begun."""
        request, model, name = self.request, self._loaded.model, self._manifest.denoiser.graph
        edits = self._addons.edits(model, name)
        if model.graphs.is_open(name, edits):
            return False
        unasked = reader.read(None, request.prompt, request.negative, stage.whole, contrast=contrast)
        x = np.empty((min(request.batch, len(request.seeds)), *self.shape(stage.width, stage.height)), np.float32)
        controls = self._addons.control.of(stage, self._ground)
        denoise = guided(model, request, stage, unasked.at, None, controls, edits)
        model.graphs.prepare_ahead(name, denoiser_shapes(model, stage, denoise, x, controls), edits)
        return True

    def _reader(self, model: Model) -> PromptReader:
        encoders = model.bundle.manifest.text_encoders
        edits = {encoder.graph: self._addons.edits(model, encoder.graph) for encoder in encoders}
        how = {"clip_skip": self.request.clip_skip, "embeddings": self.request.embeddings, "edits": edits}
        return PromptReader(model.bundle, encoders=model.encoders, **how)

    def _begun(self, stage: Pass, batch: Batch) -> Batch:
        """A batch where a pass begins; one that refines goes on where the pass before left off."""
        if stage.refines:
            return batch
        return self._first(stage, batch) if stage is self.passes[0] else self._again(stage, batch)

    def _first(self, stage: Pass, batch: Batch) -> Batch:
        """A batch where the first pass begins: noise, alone or over a picture."""
        request = self.request
        if self._ground is None and batch.clean is None:
            noise = stacked(batch.generators, self.shape(stage.width, stage.height))
            return replace(batch, x=(stage.path.start * noise).astype(np.float32))
        start = self._start(batch)
        new = request.task in ("inpaint", "edit") and request.canvas.strength == 1
        x = stage.path.start * start.noise if new else start.at(stage.path.strides[0][0])
        return replace(batch, x=x.astype(np.float32), below=start)

    def _start(self, batch: Batch) -> starts.Start:
        """The picture that the first pass starts from."""
        request = self.request
        if batch.clean is not None:
            return starts.Start(batch.clean, stacked(batch.generators, batch.clean.shape[1:]))
        request.check()
        with self._watches.load:
            self._addons.encoder.prepare(*self._ground.picture.shape[1:3])
        with self._watches.encode:
            return starts.start(
                self._ground,
                self._addons.encoder,
                self.shape(request.width, request.height),
                batch.generators,
                encoding(request.random, batch.seeds, batch.generators),
                strength=request.canvas.strength,
                channels=self._manifest.denoiser.channels,
            )

    def _again(self, stage: Pass, batch: Batch) -> Batch:
        """A batch where a later pass begins: its picture so far at a larger size, hidden by new noise."""
        generators = noise_sources(self.request.random, batch.seeds)
        latents = self._enlarged(batch.x, stage)
        start = starts.Start(latents, stacked(generators, latents.shape[1:]))
        x = start.at(stage.path.strides[0][0]).astype(np.float32)
        return replace(batch, generators=generators, x=x, below=start)

    def _denoise(self, stage: Pass, guide: Guides, batch: Batch, sparing: bool) -> Generator[Frame, None, Batch]:
        """One way through the noise; returns the batch at its end."""
        request, model = self.request, self._model(stage)
        name, controls = model.bundle.manifest.denoiser.graph, self._addons.control.of(stage, self._ground)
        edits = self._addons.edits(model, name)
        solver = make_solver(stage.steps.sampler, model.bundle.scheduler_config, **renewal(stage.steps))
        told = partial(guided, model, request, stage, guide, batch.below, controls)
        denoise = told(edits)
        if sparing and sparable(model, stage, edits):
            edits += (foreseen(model, request, stage, solver, denoise, controls, len(batch.x)),)
            denoise, self._spares = told(edits), {"tabulated": True}
        with self._watches.load:
            model.graphs.open(name, edits).prepare(denoiser_shapes(model, stage, denoise, batch.x, controls))
            if controls:
                controls.prepare(*first_call(stage, denoise, batch.x))
        draw = partial(stacked, batch.generators, batch.x.shape[1:])
        seen = reusing(looked_at(denoise, stage, request.tile), request, stage, denoise, controls)
        states = solver(seen, batch.x, stage.path, draw, keeping(batch.below, stage.until))
        x, mark = batch.x, perf_counter()
        for done, state in enumerate(states, batch.steps + 1):
            check_finite(state.x, f"at step {done} of {self.steps}")
            self._watches.steps.append(perf_counter() - mark)
            show = partial(self._addons.previewing.preview, state.x0)
            show_rough = partial(rough, state.x0, self._manifest.latents.rgb, self._manifest.vae.downsample)
            yield Frame(done, self.steps, batch.seeds, show, show_rough)
            request.check()
            x, mark = state.x, perf_counter()
        return replace(batch, x=x, steps=batch.steps + len(stage.path))

    def _enlarged(self, x: np.ndarray, stage: Pass) -> np.ndarray:
        """The latents of a finished pass at the size of the next one."""
        enlarger = self.request.hires.enlarger
        if enlarger == "latent":
            return resized_latents(x, *self.shape(stage.width, stage.height)[1:])
        pixels = self._decoded(x)
        if enlarger not in ENLARGERS:
            pixels = self._addons.larger(Path(enlarger), pixels)
        with self._watches.load:
            self._addons.decoding.prepare_again(stage.width, stage.height)
        self.request.check()
        with self._watches.encode:
            return self._addons.decoding.again(pixels, stage.width, stage.height)

    def _finished(self, batch: Batch) -> Frame:
        """A batch's pictures, with everything that made them."""
        pixels = self._decoded(batch.x)
        if self._ground:
            pixels = self._ground.finished(pixels)
        if self.request.upscale:
            pixels = self._addons.larger(self.request.upscale, pixels)
        self._warnings.say(*self._loaded.news)
        result = Result(
            images=to_pil(pixels),
            seeds=batch.seeds,
            settings=self._addons.merge.counted(self._settings(batch.seeds) | self._spares),
            timings=self._watches.timings(total=perf_counter() - self._started),
            warnings=tuple(self._warnings),
            pixels=pixels,
            latents=batch.x,
            loras=self._addons.merge.applied,
        )
        show = partial(to_pil, pixels)
        return Frame(self.steps, self.steps, batch.seeds, show, show, result)

    def _decoded(self, x: np.ndarray) -> np.ndarray:
        with self._watches.load:
            self._addons.decoding.prepare(x.shape)
        self.request.check()
        with self._watches.decode:
            return self._addons.decoding.pixels(x)

    def encoded(self, generators: Sequence[NoiseSource]) -> np.ndarray | None:
        """The clean latents (B, C, h, w) of the picture that is painted over, if there is one."""
        if self._ground is None:
            return None
        drawn_from = encoding(self.request.random, self.request.seeds, list(generators))
        return self._addons.encoder.latents(self._ground.picture, drawn_from)

    @cached_property
    def _ground(self) -> starts.Ground | None:
        request = self.request
        return ground_of(request.canvas, request.width, request.height) if request.canvas else None

    def shape(self, width: int, height: int) -> tuple[int, int, int]:
        """Of one picture's latents (C, h, w)."""
        factor = self._manifest.vae.downsample
        return self._manifest.latents.channels, height // factor, width // factor
