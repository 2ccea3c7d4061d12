"""Pouring, top to bottom: open what is poured, find the graphs that it fits, and write them, one after the other."""

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pleinair.bundle.manifest import MANIFEST
from pleinair.bundle.opening import Bundle, open_bundle
from pleinair.bundle.staging import check_apart, staged
from pleinair.checks import one_line, one_of
from pleinair.engines.engine import choose_engine
from pleinair.engines.graphs import open_graph
from pleinair.errors import EngineError, RequestError, ResourceError
from pleinair.pictures.colours import Rgb, fit_rgb
from pleinair.pictures.vae import encode
from pleinair.pouring.controlnets import ControlSource, fill_control, holds_control, open_control
from pleinair.pouring.filling import PourProgress, Written, files_of, fill_graphs, origin
from pleinair.pouring.forms import formed
from pleinair.pouring.lone_vaes import OPTION, OpenedVae, opened_vae
from pleinair.pouring.names import Named
from pleinair.pouring.opened import Opened, opened
from pleinair.pouring.told import PourSettings
from pleinair.pouring.topologies import find, plain
from pleinair.pouring.vocabulary import EOS, write_tokenizer
from pleinair.pouring.writing import EmptyGraph
from pleinair.sources.defaults import own_sampler
from pleinair.sources.describing import Made, Tokens, painter_manifest
from pleinair.sources.folder import absent, read_config
from pleinair.sources.small_files import write_configs, write_json
from pleinair.text.encoders import NORM

FORMATS = ("openvino", "onnx")
WEIGHTS = ("fp32", "fp16", "int8")
ROOM = 10_000_000  # bytes of disk for what lies beside the graphs
PAINTERS = "--vae, --unet and all that a model is painted with"
NORMS = ("final_layer_norm.weight", "final_layer_norm.bias")


def pour(
    source: str | Path,
    out: str | Path,
    *,
    formats: tuple[str, ...] = ("openvino",),
    weights: str = "fp16",
    vae: str | Path | None = None,
    unet: str | Path | None = None,
    prediction: str | None = None,
    sampler: str | None = None,
    timestep_spacing: str | None = None,
    defaults: Mapping[str, Any] | None = None,
    scaling_factor: float | None = None,
    force: bool = False,
    allow_pickle: bool = False,
) -> Iterator[PourProgress]:
    """Pour a single file of weights or a diffusers folder, of a model, a VAE or a ControlNet, into OUT, yielding steps.

    `vae` and `unet` are files whose VAE and UNet take the place of the model's, `prediction` and `timestep_spacing`
    what its scheduler config is to say, `sampler` and `defaults` what it is painted with unless told, as in
    pleinair.json; `scaling_factor` is of a VAE on its own. With `allow_pickle` each file may
    be a pickle, of which the weights are read and nothing is run. OUT appears when the generator is exhausted; closed,
    failed or killed earlier, whatever was there is untouched. Raises RequestError, ExportError (not a model that fits,
    or damaged), ResourceError.
    """
    if not formats or not set(formats) <= set(FORMATS):
        raise RequestError(
            f"unknown format {', '.join(map(str, formats)) or 'none'}; choose from: {', '.join(FORMATS)}"
        )
    one_of("weights", weights, WEIGHTS)
    sampler = None if sampler is None else own_sampler(sampler)
    with looking():
        source, out, vae = Path(source), Path(out).resolve(), None if vae is None else Path(vae)
        unet = None if unet is None else Path(unet)
        if not source.exists():
            raise absent(str(source))
        check_apart(out, source.resolve())
        settings = PourSettings(
            prediction=prediction, sampler=sampler, timestep_spacing=timestep_spacing, defaults=defaults or {}
        )
        found = opened_as_what_it_is(source, settings, vae, unet, scaling_factor, allow_pickle)
        control = isinstance(found, ControlSource)
        empty_graphs = found.graphs_for(formats, weights) if control else graphs_for(found, formats, weights)
        total = sum(empty.size for empty in empty_graphs)
    with staged(out, force, total + ROOM) as stage:
        for line in stage.tidied:
            yield PourProgress(line, 0, total, note=True)
        for line in found.notes if control else (*found.notes, *left_over(found, empty_graphs)):
            yield PourProgress(line, 0, total, note=True)
        yield from (fill_control if control else fill)(found, empty_graphs, stage.path, weights)
    yield PourProgress("done", total, total)


def opened_as_what_it_is(
    source: Path,
    settings: PourSettings,
    vae: Path | None,
    unet: Path | None,
    scaling_factor: float | None,
    pickles: bool,
) -> Opened | OpenedVae | ControlSource:
    """A ControlNet, a VAE or a model; RequestError for what only others of these are told."""
    control = holds_control(source, pickles)
    if control:
        check_factor(source, scaling_factor)
    found = open_control(source, pickles) if control else opened_vae(source, scaling_factor, pickles)
    if found is None:
        check_factor(source, scaling_factor)
        return opened(source, vae, settings, unet, pickles)
    if vae is not None or unet is not None or settings != PourSettings():
        what = "ControlNet" if control else "VAE"
        raise RequestError(f"'{one_line(source.name, 80)}' is a {what}, which paints nothing; leave {PAINTERS} out")
    return found


def check_factor(source: Path, scaling_factor: float | None) -> None:
    """Raise RequestError for a scaling factor of what is no VAE on its own: a model's config has its own."""
    if scaling_factor is not None:
        raise RequestError(
            f"'{one_line(source.name, 80)}' is not a VAE on its own, and a model says how it scales latents; leave"
            f" {OPTION} out"
        )


@contextlib.contextmanager
def looking() -> Iterator[None]:
    """Raise ResourceError for paths that cannot be looked at: a NUL in a name, links that go round in circles."""
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        why = getattr(error, "strerror", None) or error
        words = f"cannot look at SOURCE or OUT ({one_line(why, 120)}); check their names and permissions"
        raise ResourceError(words) from error


def graphs_for(found: Opened | OpenedVae, formats: tuple[str, ...], weights: str) -> list[EmptyGraph]:
    """The topologies that a model fits; raises ExportError where there is none."""
    model = found.model
    return [
        EmptyGraph(
            part, graph, form, find(graph, weights, form, found.weights[part.folder].shapes, model.configs[part.folder])
        )
        for part in model.family.parts
        for graph in part.graphs
        for form in formats
    ]


def left_over(found: Opened | OpenedVae, empty_graphs: list[EmptyGraph]) -> list[str]:
    """What is said of tensors that nothing takes."""
    taken: dict[str, set[str]] = {}
    for empty in empty_graphs:
        taken.setdefault(empty.part.folder, set()).update(map(plain, empty.topology.shapes))
    names = found.unused(taken)
    if not names:
        return []
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return [f"not used: {', '.join(one_line(name, 80) for name in names[:3])}{more}"]


def fill(
    found: Opened | OpenedVae, empty_graphs: list[EmptyGraph], stage: Path, weights: str
) -> Iterator[PourProgress]:
    """Fill `stage` with all that a bundle holds."""
    written = yield from fill_graphs(found.weights, empty_graphs, stage, weights)
    if isinstance(found, OpenedVae):
        found.write_configs(stage)
    else:
        written.tokens |= write_small(found, stage, "openvino" in {empty.form for empty in empty_graphs})
    finish(found, empty_graphs, stage, weights, written)


def finish(
    found: Opened | OpenedVae, empty_graphs: list[EmptyGraph], stage: Path, weights: str, written: Written
) -> None:
    """Write bundle.json, and read it back."""
    if isinstance(found, OpenedVae):
        whence = origin(found.path, found.licence, None, empty_graphs, weights)
        manifest = found.manifest(written.graphs, files_of(stage, written.files), whence, written.weights)
        (stage / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
        open_bundle(stage)
        return
    model = found.model
    manifest = painter_manifest(
        model,
        Made(
            name=model.name,
            graphs=written.graphs,
            files=files_of(stage, written.files),
            origin=origin(model.path, model.licence, model.trigger, empty_graphs, weights),
            defaults=model.defaults,
            tokens=written.tokens,
            vocabulary=model.settings.vocabulary,
            sizes=model.settings.sizes,
            weights=written.weights,
        ),
    )
    (stage / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    latents = replace(manifest.latents, rgb=colours_of(open_bundle(stage)) or manifest.latents.rgb)
    (stage / MANIFEST).write_text(replace(manifest, latents=latents).to_json(), encoding="utf-8")


def colours_of(bundle: Bundle) -> Rgb | None:
    """The map that shows steps without the VAE; None where no engine for the bundle's graphs is installed here."""
    try:
        engine = choose_engine(bundle, None)
    except EngineError:
        return None
    vae = bundle.manifest.vaes["default"]
    encoder = open_graph(bundle, vae.encoder, engine)
    return fit_rgb(lambda pictures: encode(encoder, pictures, vae), vae.downsample)


def write_small(found: Opened, stage: Path, openvino: bool = False) -> dict[str, Tokens]:
    """Write tokenizers and configs, and beside a text encoder's graph the norm that its hidden states are without.

    With `openvino` a tokenizer is also a graph. Returns what the manifest says of the tokenizers.
    """
    model = found.model
    write_configs(model, stage)
    for part in model.family.parts:
        for graph in part.graphs:
            own, config = model.path / part.folder / "config.json", model.configs[part.folder]
            if own.is_file() and read_config(own) == config:
                shutil.copyfile(own, stage / graph / "config.json")
            else:
                write_json(stage / graph / "config.json", config)
    tokens = {}
    for part in model.family.readers:
        for graph in part.graphs:
            np.save(stage / graph / NORM, final_norm(found.weights[part.folder]))
        name = part.tokenizer
        pad = found.pads.get(name, EOS)
        tokens[name] = write_tokenizer(found.tokenizers[name], stage / name, model.length(part), pad, openvino)
    return tokens


def final_norm(weights: Named) -> np.ndarray:
    """Weight and bias (2, D) float32."""
    return np.concatenate([next(formed(weights[key], "f32")) for key in NORMS])
