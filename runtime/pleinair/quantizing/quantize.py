"""Quantizing, top to bottom: paint and note ranges, choose what stays wide, write the graphs, measure them."""

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pleinair.bundle.manifest import LATENTS, MANIFEST, TIMESTEP, Fidelity, GraphInfo, Manifest, Origin, WideLayers
from pleinair.bundle.opening import Bundle, open_bundle
from pleinair.bundle.staging import beside, check_apart, check_room, check_target, staged, unwritable
from pleinair.bundle.verifying import BundleFiles, FileInfo, list_files
from pleinair.checks import is_number, number, one_line, quoted, shown_path, whole
from pleinair.engines.engine import engine_version, installed
from pleinair.engines.saving import save_ir
from pleinair.errors import BundleError
from pleinair.quantizing import choosing
from pleinair.quantizing.calibrating import STEPS, opened_notes, paint
from pleinair.quantizing.halving import split_halves
from pleinair.quantizing.measuring import measured, require
from pleinair.quantizing.onnx_layers import write_quantized
from pleinair.quantizing.openvino_layers import (
    attentions,
    outermost,
    quantizable,
    quantize_attention,
    quantize_layers,
    rounded_layers,
    roundings,
)
from pleinair.quantizing.prompts import read_prompts
from pleinair.quantizing.starting import starting_options
from pleinair.quantizing.watching import Call, Notes, read_layers
from pleinair.request.request import resolve
from pleinair.system import install
from pleinair.system.locks import only_one
from pleinair.version import __version__

WORK = "quantizing"  # a hidden folder beside OUT
PICTURES = 8
TRIED = 4  # calls that each layer is tried on
SECONDS = 300.0  # how long that may take before kinds are tried instead
MEASURED = 16  # calls that a finished graph is measured on
XML = "openvino_model.xml"
ROOM = 50_000_000  # bytes, beside the graphs


@dataclass(frozen=True)
class WideShares:
    """How much of the multiplications of each graph may stay in float."""

    denoiser: float
    decoder: float


WIDE = {  # by format: ONNX Runtime rounds what convolutions answer, too
    "openvino": WideShares(denoiser=0.1, decoder=0.1),
    "onnx": WideShares(denoiser=0.3, decoder=0.38),
}


@dataclass(frozen=True)
class QuantizeProgress:
    """What is about to happen, step `done` of `total`."""

    stage: str
    done: int
    total: int


def quantize(
    model: str | Path,
    out: str | Path,
    *,
    prompts: str | Path | None = None,
    pictures: int = PICTURES,
    size: str | None = None,
    wide: float | None = None,
    force: bool = False,
    command: str | None = None,
) -> Iterator[QuantizeProgress]:
    """Make a bundle whose denoiser and VAE decoder compute in int8 (W8A8) of another one, yielding before steps.

    The model paints `pictures` of the lines of the file `prompts` (general ones, or its own vocabulary, without it), of
    its usual size or of `size`, in float32 on OpenVINO, which notes the ranges of activations. Layers whose rounding
    shows most stay as they are, up to a share `wide` of the multiplications (None: that of the format in WIDE).
    `command` is what the bundle says made it. OUT appears when the generator is exhausted; an interrupted run goes on
    where it was when it is started again. Raises BundleError for a model that cannot be quantized, EngineError for
    packages that are not here, QualityError below the fidelity gate, RequestError or ResourceError.
    """
    pictures = whole("pictures", pictures, 1, 1000)
    same = None if wide is None else number("wide", wide, 0.0, 1.0)
    shares = WIDE if same is None else dict.fromkeys(WIDE, WideShares(denoiser=same, decoder=same))
    bundle = open_bundle(model)
    check(bundle)
    listed = read_prompts(None if prompts is None else Path(prompts), bundle.manifest)
    out = Path(out).resolve()
    check_apart(out, bundle.path.resolve())
    check_target(out, force)
    check_room(out, room(bundle))
    steps = min(bundle.manifest.defaults.steps, STEPS)
    options: dict[str, Any] = {} if bundle.manifest.defaults.timesteps else {"steps": steps}
    options |= {"size": size} if size else {}
    for prompt in listed[:pictures]:
        resolve(bundle, prompt, None, **options, **starting_options(bundle.manifest.tasks, 0))
    busy = f"another process is quantizing into '{shown_path(out)}'; wait for it, or choose another OUT"
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with only_one(beside(out, f"{WORK}.lock"), busy):
            job = QuantizeJob(bundle, out, listed, pictures, steps, options, shares, force, command)
            yield from progress_of(job)
    except OSError as error:
        raise unwritable(out, error) from error


@dataclass(frozen=True)
class QuantizeJob:
    """What is to be done, as `quantize` takes it; `options` are those of each picture."""

    bundle: Bundle
    out: Path
    prompts: tuple[str, ...]
    pictures: int
    steps: int
    options: dict[str, Any]
    wide: Mapping[str, WideShares]  # by format
    force: bool
    command: str | None


def progress_of(job: QuantizeJob) -> Iterator[QuantizeProgress]:
    """Do a job whose OUT no other process writes."""
    bundle, pictures, work = job.bundle, job.pictures, beside(job.out, WORK)
    same = {"prompts": job.prompts, "pictures": pictures, "options": job.options}
    notes, done = opened_notes(work, bundle, job.steps, same)
    graphs = list(notes)
    total = pictures + 2 * len(graphs)
    for place in paint(work, bundle, notes, job.prompts, range(done, pictures), job.options):
        yield QuantizeProgress(f"paint {place + 1} of {pictures}", place, total)
    choices: dict[str, dict[str, choosing.WideChoice]] = {}
    for place, graph in enumerate(graphs):
        told = f"{graph}: choose what stays wide"
        yield QuantizeProgress(told, pictures + place, total)
        choices[graph] = {}
        for form in bundle.manifest.graphs[graph].files:
            shares = job.wide[form]
            budget = shares.denoiser if graph == bundle.manifest.denoiser.graph else shares.decoder
            for kind in choose(bundle, graph, form, notes[graph], budget, choices[graph]):
                yield QuantizeProgress(f"{told} ({kind})", pictures + place, total)
    with staged(job.out, job.force, room(bundle)) as stage:
        copy_others(bundle, stage.path, graphs)
        manifest = bundle.manifest
        for place, graph in enumerate(graphs):
            yield QuantizeProgress(f"{graph}: write and measure", pictures + len(graphs) + place, total)
            manifest = written(bundle, manifest, stage.path, graph, notes[graph], choices[graph])
        manifest = replace(manifest, files=list_files(stage.path), origin=origin(bundle, job.command))
        (stage.path / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
        open_bundle(stage.path)
    shutil.rmtree(work, ignore_errors=True)
    yield QuantizeProgress("done", total, total)


def check(bundle: Bundle) -> None:
    """Raise BundleError or EngineError for what cannot be quantized, or not here."""
    manifest = bundle.manifest
    if not manifest.paints:
        raise BundleError(f"'{manifest.name}' paints nothing by itself; give a model that does")
    if any(graph.activations == "int8" for graph in manifest.graphs.values()):
        raise BundleError(f"'{manifest.name}' computes in int8 already; quantize the model that it was made of")
    if "openvino" not in bundle.formats:
        raise BundleError(
            f"'{manifest.name}' has no OpenVINO graphs, with which ranges are recorded; export it with --format both"
        )
    if "onnx" in bundle.formats:
        install.need("quantizing of ONNX graphs")


def choose(
    bundle: Bundle, graph: str, form: str, notes: Notes, budget: float, choices: dict[str, choosing.WideChoice]
) -> Iterator[str]:
    """Put the choice for a format of a graph into `choices`, going on with what an earlier run found.

    Yields each kind tried.
    """
    file = notes.folder / f"errors-{form}.json"
    model, layers = read_layers(bundle, graph)
    layers = {path: layer for path, layer in layers.items() if path in (notes.ranges.paths if notes.ranges else ())}
    if not layers:
        raise BundleError(f"the layers of '{graph}' cannot be recognized; export the model again")
    part = bundle.manifest.denoiser
    calls = tried_on(notes, next((port for port, feed in part.feeds.items() if feed == TIMESTEP), ""))
    model.reshape({port: array.shape for port, array in calls[0].inputs.items()})
    first = next((port for port, feed in part.feeds.items() if feed == LATENTS), "") if graph == part.graph else ""
    ends = outermost(model, layers, first or next(iter(calls[0].inputs)))
    in_onnx = form == "onnx"
    tried_out = rounded_layers(layers, notes.ranges, True) if in_onnx else roundings(model, layers, notes.ranges)
    costs = {path: each.cost for path, each in (layers if in_onnx else layers | attentions(model, layers)).items()}
    found = errors_before(file, tried_out)
    for tried in choosing.errors(graph, model, tried_out, costs, calls, SECONDS, found):
        found |= tried
        new = file.with_suffix(".new")
        new.write_text(json.dumps(found), encoding="utf-8")
        new.replace(file)
        if len(tried) > 1:
            yield choosing.kind_of(next(iter(tried)))
    choices[form] = choosing.chosen(costs, found, ends, budget)


def tried_on(notes: Notes, time: str) -> list[Call]:
    """The calls with the least noise: no step mends what is rounded in the last ones. Without a time, some of all."""
    calls = [notes.call(place) for place in range(notes.kept)]
    if all(time in call.inputs for call in calls):
        return sorted(calls, key=lambda call: float(call.inputs[time].max()))[:TRIED]
    return [calls[place] for place in spread(len(calls), TRIED)]


def errors_before(file: Path, layers: Iterable[str]) -> dict[str, float]:
    """What an earlier run has found of some of these layers; nothing where that is damaged."""
    with suppress(OSError, ValueError):
        found = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(found, dict) and found.keys() <= {*layers} and all(map(is_number, found.values())):
            return found
    return {}


def spread(count: int, most: int) -> list[int]:
    """At most so many places of a list of `count`, evenly over it."""
    return sorted({place * (count - 1) // max(most - 1, 1) for place in range(min(most, count))}) if count else []


def copy_others(bundle: Bundle, stage: Path, graphs: Iterable[str]) -> None:
    """Copy all files of a bundle but those of some graphs."""
    left = {file for graph in graphs for files in bundle.manifest.graphs[graph].files.values() for file in files}
    for name in bundle.manifest.files.keys() - left:
        target = stage / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(bundle.files.checked(name), target)


def written(
    bundle: Bundle, manifest: Manifest, stage: Path, graph: str, notes: Notes, choice: Mapping[str, choosing.WideChoice]
) -> Manifest:
    """Write a graph in every format that the bundle has and measure it; returns the manifest with it."""
    old = manifest.graphs[graph]
    files: dict[str, tuple[str, ...]] = {}
    names: dict[tuple[str, str], str] = {}
    for form, (first, *_) in old.files.items():
        folder = stage / Path(first).parent
        folder.mkdir(parents=True, exist_ok=True)
        made, renamed = WRITERS[form](bundle, graph, notes, choice[form], folder)
        files[form] = tuple((folder / name).relative_to(stage).as_posix() for name in made)
        names |= {(path, form): name for path, name in renamed.items()}
    info = replace(
        old,
        files=files,
        weights="int8",
        activations="int8",
        fidelity={},
        wide_layers={form: WideLayers(choice[form].wide, round(choice[form].share, 4)) for form in old.files},
    )
    layers = {
        path: {form: replace(at, name=names.get((path, form), at.name)) for form, at in places.items()}
        for path, places in manifest.weights.get(graph, {}).items()
    }
    info = replace(info, fidelity=measured_on_all(manifest, stage, graph, info, notes))
    weights = manifest.weights | ({graph: layers} if layers else {})
    return replace(manifest, graphs={**manifest.graphs, graph: info}, weights=weights)


def measured_on_all(manifest: Manifest, stage: Path, graph: str, info: GraphInfo, notes: Notes) -> dict[str, Fidelity]:
    """How near a graph is to what it was, on each engine that is here; raises QualityError."""
    files = {file: FileInfo((stage / file).stat().st_size, "") for each in info.files.values() for file in each}
    lone = replace(manifest, graphs={graph: info}, files=files)
    bundle = Bundle(stage, lone, BundleFiles(stage, files, hashed=False), {})
    found = {}
    for form in filter(installed, info.files):
        calls = (notes.call(place) for place in spread(notes.kept, MEASURED))
        found[form] = measured(bundle, graph, form, calls)
        require(graph, form, found[form])
    return found


def origin(bundle: Bundle, command: str | None) -> Origin:
    """Where the bundle came from, with what was done to it."""
    old = bundle.manifest.origin
    tools = old.tools | {"pleinair": __version__, "openvino": engine_version("openvino")}
    done = f"pleinair quantize {quoted(one_line(bundle.path.name, 200))}"
    return replace(old, command=command or f"{old.command} && {done}", tools=tools)


def room(bundle: Bundle) -> int:
    """Bytes of disk, at most: no graph becomes larger."""
    return sum(info.size for info in bundle.manifest.files.values()) + ROOM


def write_openvino(
    bundle: Bundle, graph: str, notes: Notes, choice: choosing.WideChoice, folder: Path
) -> tuple[tuple[str, ...], dict[str, str]]:
    """The IR with int8 layers; its weights have the names that they had, but for those of layers that became two."""
    import openvino as ov

    model = ov.Core().read_model(bundle.graph_file(graph, "openvino"))
    layers = quantizable(model, bundle.manifest.paths_of(graph, "openvino"))
    layers = {path: layer for path, layer in layers.items() if path in notes.ranges.paths}
    kept = {path: each for path, each in roundings(model, layers, notes.ranges).items() if path not in choice.wide}
    quantize_attention(each for path, each in kept.items() if path not in layers)
    quantize_layers({path: layer for path, layer in layers.items() if path in kept}, notes.ranges)
    split_halves(layers.values())
    model.validate_nodes_and_infer_types()
    save_ir(model, folder / XML)
    return (XML, XML.replace(".xml", ".bin")), {}


def write_onnx(
    bundle: Bundle, graph: str, notes: Notes, choice: choosing.WideChoice, folder: Path
) -> tuple[tuple[str, ...], dict[str, str]]:
    """The ONNX file with int8 layers, and the new names of their weights."""
    named = bundle.manifest.paths_of(graph, "onnx")
    return write_quantized(bundle.graph_file(graph, "onnx"), named, notes.ranges, set(choice.wide), folder)


WRITERS = {"openvino": write_openvino, "onnx": write_onnx}
