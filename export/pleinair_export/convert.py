"""The export, top to bottom: look at the source, then for each component load, ask, trace, compare, and let go."""

import dataclasses
import shutil
import tempfile
from collections.abc import Generator, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pleinair.bundle.manifest import MANIFEST, MASK, Fidelity, GraphInfo, Joined, Manifest, Placed
from pleinair.bundle.opening import open_bundle
from pleinair.bundle.staging import check_apart, staged
from pleinair.bundle.verifying import list_files
from pleinair.checks import one_line
from pleinair.errors import RequestError, ResourceError
from pleinair.network.feeds import fed
from pleinair.pouring.controlnets import ControlSource
from pleinair.request.lora_types import Loras
from pleinair.request.loras import lora_at
from pleinair.sources.controlnets import GRAPH, control_manifest
from pleinair.sources.defaults import own_sampler
from pleinair.sources.describing import (
    Described,
    Made,
    Tokens,
    conditioning,
    denoiser,
    painter_manifest,
    text_encoders,
    upscaler_manifest,
)
from pleinair.sources.families import Component
from pleinair.sources.folder import Source, absent
from pleinair.sources.lone_vaes import LoneVae, as_model, vae_manifest
from pleinair.sources.small_files import write_configs, write_json
from pleinair.text.encoders import rows_told
from pleinair_export import graphs, picture
from pleinair_export.apart import do
from pleinair_export.check import Converted
from pleinair_export.controlnets import controlnet, load_control
from pleinair_export.memory import check_memory, memory_needed
from pleinair_export.opening import Exported, merged_with, opened, said_of
from pleinair_export.origins import origin
from pleinair_export.parts import convert_graph
from pleinair_export.preview import read_rgb
from pleinair_export.progress import ExportProgress
from pleinair_export.quantize import BYTES
from pleinair_export.tokenizer import write_tokenizer
from pleinair_export.tracing import FORMATS
from pleinair_export.trials import WORK, Arrays, Context, read_trial, steady_size, trial_file, tried
from pleinair_export.upscaler import UpscalerSource

ANSWERS = 100_000_000  # bytes of what torch says to the trials of large models
VAE_SIZE = (64, 64)  # latents that a VAE on its own is tried on


def export(
    source: str | Path,
    out: str | Path,
    *,
    formats: tuple[str, ...] = ("openvino",),
    weights: str = "fp16",
    sampler: str | None = None,
    prediction: str | None = None,
    loras: Iterable[Any] = (),
    force: bool = False,
) -> Iterator[ExportProgress]:
    """Export a diffusers folder, the file of a model, a VAE, a ControlNet or an upscaler to OUT, yielding before steps.

    `sampler` is what the bundle paints with unless told, where the model's own scheduler is not the one; `prediction`
    what the network of a single file predicts where that is not said; `loras`, as `generate` takes them, are merged
    into the weights. OUT appears when the generator is exhausted; closed, failed or killed earlier, whatever was there
    is untouched. Raises RequestError, ExportError, ResourceError, or QualityError for a graph or a picture below its
    fidelity gate.
    """
    check_request(formats, weights)
    sampler = None if sampler is None else own_sampler(sampler)
    given = [each._replace(file=lora_at(each.file)) for each in Loras().read("loras", loras)]
    with tempfile.TemporaryDirectory() as configs:
        try:
            if not Path(source).exists():
                raise absent(str(source))
            source, out = Path(source), Path(out).resolve()
            check_apart(out, source.resolve())
            source = source.absolute() if source.is_file() else source.resolve()  # a link's name has the suffix
            model = merged_with(opened(source, sampler, prediction, Path(configs)), given)
        except (OSError, ValueError, RuntimeError) as error:  # a NUL in a name; links that go round in circles
            why = getattr(error, "strerror", None) or error
            what = f"cannot look at SOURCE or OUT ({one_line(why, 120)}); check their permissions"
            raise ResourceError(what) from error
        check_memory(memory_needed(model.sizes))
        total = count_steps(model, formats)
        with staged(out, force, room_needed(model, formats, weights)) as stage:
            lines = said_of(model) if isinstance(model, Source) else ()
            for line in (*stage.tidied, *lines):
                yield ExportProgress("folder", line, 0, total)
            for done, progress in enumerate(build(model, stage.path, formats, weights)):
                yield dataclasses.replace(progress, done=done, total=total)
    yield ExportProgress("bundle", "done", total, total)


def check_request(formats: tuple[str, ...], weights: str) -> None:
    """Raise RequestError for an unknown format or kind of weights."""
    if not formats or not set(formats) <= set(FORMATS):
        raise RequestError(
            f"unknown format {', '.join(map(str, formats)) or 'none'}; choose from: {', '.join(FORMATS)}"
        )
    if weights not in BYTES:
        raise RequestError(f"unknown weights '{weights}'; choose from: {', '.join(BYTES)}")


def room_needed(model: Exported, formats: tuple[str, ...], weights: str) -> int:
    """Bytes of disk: every graph in every format, and torch's answers."""
    parameters = sum(model.sizes.values())
    return parameters * BYTES[weights] * len(formats) + min(4 * parameters, ANSWERS) + 10_000_000


def count_steps(model: Exported, formats: tuple[str, ...]) -> int:
    """How many times `build` yields: three times for every graph and format; the bundle; and for a folder of models
    the tokenizers, the preview, each load, torch's picture, and two times for that of each format; a VAE on its own is
    loaded and has a preview."""
    if not isinstance(model, Source | LoneVae):
        return 1 + 3 * len(formats)
    if isinstance(model, LoneVae):
        return 3 + 3 * len(formats) * len(model.part.graphs)
    parts = model.family.parts
    once = 3 + len(model.family.readers) + len(parts)
    return once + len(formats) * (2 + 3 * sum(len(part.graphs) for part in parts))


def build(model: Exported, stage: Path, formats: tuple[str, ...], weights: str) -> Iterator[ExportProgress]:
    """Fill `stage` with a whole bundle, and read it back: what cannot be opened, or paint, is not put in place."""
    manifest = yield from BUILDERS[type(model)](model, stage, formats, weights)
    (stage / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    open_bundle(stage)
    if isinstance(model, Source):
        yield from compare_pictures(model, stage, formats, weights)
    shutil.rmtree(stage / WORK)


def build_upscaler(
    model: UpscalerSource, stage: Path, formats: tuple[str, ...], weights: str
) -> Generator[ExportProgress, None, Manifest]:
    """The one graph of an upscaler; returns what its bundle.json is to say."""
    spec = graphs.upscaler(model.network, model.scale)
    made = yield from convert_graph(spec, stage, formats, weights)
    info = yield from check_graph(stage, spec.name, made, weights, model.sizes[spec.name])
    yield ExportProgress("bundle", "write")
    whence = origin(model, info, (), weights)
    return upscaler_manifest(model.name, model.scale, info, list_files(stage), whence)


def build_vae(
    model: LoneVae, stage: Path, formats: tuple[str, ...], weights: str
) -> Generator[ExportProgress, None, Manifest]:
    """The graphs of a VAE on its own; returns what its bundle.json is to say."""
    context = Context(tried(VAE_SIZE))
    infos, placed = yield from export_parts(model, (model.part,), context, stage, formats, weights)
    yield ExportProgress("bundle", "write")
    vae = model.autoencoder
    return vae_manifest(
        model.name,
        vae,
        as_model(model.config, model.config["_class_name"]).channels,
        graphs=infos,
        files=list_files(stage),
        origin=origin(model, infos[vae.decoder], ("diffusers",), weights),
        weights=placed,
    )


def build_painter(
    model: Source, stage: Path, formats: tuple[str, ...], weights: str
) -> Generator[ExportProgress, None, Manifest]:
    """Everything that paints, one component in memory at a time; returns what bundle.json is to say."""
    readers = model.family.readers
    tokens, ids = {}, {}
    for part in readers:
        yield ExportProgress(part.tokenizer, "convert")
        source, target, length = model.path / part.tokenizer, stage / part.tokenizer, model.length(part)
        tokens[part.tokenizer], texts = write_tokenizer(source, target, part, length, "openvino" in formats)
        ids |= dict.fromkeys(part.graphs, texts)
    how = (stage, formats, weights)
    infos, placed = yield from export_parts(model, readers, Context(tried(model.size), ids), *how)
    context = Context(tried(model.size), ids, feeds_of(model, tokens, stage))
    others = tuple(part for part in model.family.parts if part not in readers)
    more, places = yield from export_parts(model, others, context, *how)
    yield ExportProgress("bundle", "write")
    write_configs(model, stage)
    return painter_manifest(
        model,
        Made(
            name=model.name,
            graphs=infos | more,
            files=list_files(stage),
            origin=origin(model, more[denoiser(model).graph], ("diffusers", "transformers"), weights),
            defaults=model.defaults,
            tokens=tokens,
            rgb=read_rgb(stage / WORK),
            vocabulary=model.settings.vocabulary,
            sizes=model.settings.sizes,
            weights=placed | places,
        ),
    )


def build_control(
    model: ControlSource, stage: Path, formats: tuple[str, ...], weights: str
) -> Generator[ExportProgress, None, Manifest]:
    """The one graph of a ControlNet; returns what its bundle.json is to say."""
    made = yield from convert_graph(controlnet(load_control(model)), stage, formats, weights)
    info = yield from check_graph(stage, GRAPH, made, weights, model.sizes[GRAPH])
    yield ExportProgress("bundle", "write")
    write_json(stage / GRAPH / "config.json", model.config)
    whence = origin(model, info, ("diffusers",), weights)
    return control_manifest(model.name, model.config, info, list_files(stage), whence, made.weights)


BUILDERS = {
    UpscalerSource: build_upscaler,
    LoneVae: build_vae,
    ControlSource: build_control,
    Source: build_painter,
}
WeightPlaces = dict[str, dict[str, dict[str, Placed]]]


def export_parts(
    model: Source | LoneVae,
    parts: tuple[Component, ...],
    context: Context,
    stage: Path,
    formats: tuple[str, ...],
    weights: str,
) -> Generator[ExportProgress, None, tuple[dict[str, GraphInfo], WeightPlaces]]:
    """Convert components and check what is on disk; returns their graphs, and where the weights lie in these."""
    infos: dict[str, GraphInfo] = {}
    placed: WeightPlaces = {}
    for part in parts:
        size = model.sizes[part.folder]
        made = yield from do("convert", model, part, context, stage, formats, weights, parameters=size)
        for graph, each in made.items():
            infos[graph] = yield from check_graph(stage, graph, each, weights, size)
            placed[graph] = each.weights
    return infos, placed


def check_graph(
    stage: Path, graph: str, made: Converted, weights: str, parameters: int
) -> Generator[ExportProgress, None, GraphInfo]:
    """Hold a graph in every format against torch's answers; raises QualityError for one below the gate."""
    measured: dict[str, Fidelity] = {}
    info = GraphInfo(made.files, weights, "fp32", made.inputs, made.outputs, {})
    for form in made.files:
        measured[form] = yield from do("check", stage, graph, info, form, parameters=parameters)
        yield ExportProgress(graph, f"{form}: accepted", fidelity=measured[form])
    return dataclasses.replace(info, fidelity=measured)


def feeds_of(model: Described, tokens: dict[str, Tokens], stage: Path) -> Arrays:
    """What the denoiser is told of the prompts that the text encoders were tried on, (3, ...) each."""
    encoders = {encoder.graph: encoder for encoder in text_encoders(model, tokens)}
    trials = {graph: read_trial(trial_file(stage, graph)) for graph in encoders}

    def output(made: Joined, name: str) -> np.ndarray:
        if made.mask:
            return rows_told(encoders[name], trials[name].cases[-1][MASK].astype(np.float32))
        answers, encoder = trials[name].answers[-1], encoders[name]
        return answers[encoder.pooled] if made.pooled else rows_told(encoder, answers[encoder.output])

    feeds = conditioning(model, tuple(encoders.values()))
    return {feed: fed(made, partial(output, made)) for feed, made in feeds.items()}


def compare_pictures(model: Source, stage: Path, formats: tuple[str, ...], weights: str) -> Iterator[ExportProgress]:
    """Paint with torch, then on the engine of each format; raises QualityError for a picture below its gate."""
    size = tuple(side * model.factor for side in steady_size(model.network, tried(model.size)))
    parameters = sum(model.sizes.values())
    expected = yield from do("paint by torch", model, stage, size, parameters=parameters)
    for form in formats:
        found = yield from do("paint by engine", stage, form, weights, size, parameters=parameters)
        near = picture.require(form, weights, expected, found)
        yield ExportProgress("picture", f"{form}: accepted  {near:.1f} dB")
