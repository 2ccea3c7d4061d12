"""The export, top to bottom: look at the source, then for each component load, trace, shrink, compare, and let go."""

import dataclasses
import shutil
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from pleinair.bundle.manifest import MANIFEST, Fidelity, GraphInfo, Manifest
from pleinair.bundle.opening import open_bundle
from pleinair.checks import one_line
from pleinair.errors import ExportError, PleinairError, RequestError, ResourceError
from pleinair.text.encoders import NORM
from pleinair_export import attention, check, extra, graphs, picture, quantize
from pleinair_export.manifest import make_manifest, make_upscaler_manifest, write_configs
from pleinair_export.preview import fit_rgb
from pleinair_export.quiet import quiet
from pleinair_export.source import DOWNLOAD, Source, absent, open_source, own_sampler
from pleinair_export.staging import check_apart, staged
from pleinair_export.tokenizer import Tokens, write_tokenizer
from pleinair_export.upscaler import Upscaler, open_upscaler

FORMATS = ("openvino", "onnx")
BYTES = {"fp32": 4, "fp16": 2, "int8": 1}
OPSET = 17  # the newest that DirectML runs
EXTERNAL = 1_500_000_000  # bytes of weights beyond which they lie beside model.onnx: protobuf ends at 2 GiB


@dataclass(frozen=True)
class Progress:
    """What is about to happen: `stage` of `graph`, step `done` of `total`; `fidelity` follows each comparison."""

    graph: str
    stage: str
    done: int = 0
    total: int = 0
    fidelity: Fidelity | None = None


def export(
    source: str | Path,
    out: str | Path,
    *,
    formats: tuple[str, ...] = ("openvino",),
    weights: str = "fp16",
    sampler: str | None = None,
    force: bool = False,
) -> Iterator[Progress]:
    """Export a diffusers folder, or an upscaler's file, to the bundle OUT, yielding before every step.

    `sampler` is what the bundle paints with unless told, where the model's own scheduler is not the one. OUT appears
    when the generator is exhausted; closed, failed or killed earlier, whatever was there is untouched. Raises
    RequestError, ExportError, ResourceError, or QualityError for a graph or a picture below its fidelity gate.
    """
    check_request(formats, weights)
    sampler = None if sampler is None else own_sampler(sampler)
    try:
        if not Path(source).exists():
            raise absent(str(source))
        source, out = Path(source).resolve(), Path(out).resolve()
        check_apart(out, source)
        model = open_upscaler(source) if source.is_file() else open_source(source, sampler)
    except (OSError, ValueError, RuntimeError) as error:  # a NUL in a name; links that go round in circles
        why = getattr(error, "strerror", None) or error
        raise ResourceError(f"cannot look at SOURCE or OUT ({one_line(why, 120)}); check their permissions") from error
    if isinstance(model, Upscaler) and sampler is not None:
        raise RequestError("an upscaler paints nothing; leave --sampler out")
    total = count_steps(model, formats)
    with staged(out, force, room_needed(model, formats, weights)) as stage:
        for line in stage.tidied:
            yield Progress("folder", line, 0, total)
        for done, progress in enumerate(build(model, stage.path, formats, weights)):
            yield dataclasses.replace(progress, done=done, total=total)
    yield Progress("bundle", "done", total, total)


def check_request(formats: tuple[str, ...], weights: str) -> None:
    """Raise RequestError for an unknown format or kind of weights."""
    if not formats or not set(formats) <= set(FORMATS):
        raise RequestError(
            f"unknown format {', '.join(map(str, formats)) or 'none'}; choose from: {', '.join(FORMATS)}"
        )
    if weights not in BYTES:
        raise RequestError(f"unknown weights '{weights}'; choose from: {', '.join(BYTES)}")


def room_needed(model: Source | Upscaler, formats: tuple[str, ...], weights: str) -> int:
    """Bytes of disk: every graph in every format, and the float32 scratch copy of the largest one."""
    scratch = 4 * max(model.sizes.values()) if "onnx" in formats else 0
    return sum(model.sizes.values()) * BYTES[weights] * len(formats) + scratch + 10_000_000


def count_steps(model: Source | Upscaler, formats: tuple[str, ...]) -> int:
    """How many times `build` yields: three times for every graph and format; the bundle; and for a folder of models
    the tokenizer, the preview, each load, torch's picture, and two times for that of each format."""
    if isinstance(model, Upscaler):
        return 1 + 3 * len(formats)
    parts = model.family.components.values()
    return 4 + len(parts) + len(formats) * (2 + 3 * sum(len(names) for _, names in parts))


def build(model: Source | Upscaler, stage: Path, formats: tuple[str, ...], weights: str) -> Iterator[Progress]:
    """Fill `stage` with a whole bundle, and read it back: what cannot be opened, or paint, is not put in place."""
    make = build_upscaler if isinstance(model, Upscaler) else build_painter
    manifest = yield from make(model, stage, formats, weights)
    (stage / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    open_bundle(stage)
    if isinstance(model, Source):
        size = tuple(side * model.factor for side in graphs.steady_size(model.configs["unet"], model.size))
        for step in picture.compare(stage, formats, weights, owners(model), size):
            yield Progress("picture", step)


def owners(model: Source) -> dict[str, Callable[[], torch.nn.Module]]:
    """For every graph, what loads the component that it is part of, which lets go of the one before."""
    loaded = picture.one_at_a_time(lambda component: load(model, component, model.family.components[component][0]))
    return {
        name: partial(loaded, component) for component, (_, names) in model.family.components.items() for name in names
    }


def build_upscaler(
    model: Upscaler, stage: Path, formats: tuple[str, ...], weights: str
) -> Generator[Progress, None, Manifest]:
    """The one graph of an upscaler; returns what its bundle.json is to say."""
    spec = graphs.upscaler(model.network, model.scale)
    expected = graphs.answers(spec)
    info = yield from export_graph(spec, expected, stage, formats, weights)
    yield Progress("bundle", "write")
    return make_upscaler_manifest(model, stage, info, weights)


def build_painter(
    model: Source, stage: Path, formats: tuple[str, ...], weights: str
) -> Generator[Progress, None, Manifest]:
    """Everything that paints, one component in memory at a time; returns what bundle.json is to say."""
    yield Progress("tokenizer", "convert")
    tokens = write_tokenizer(model.path / "tokenizer", stage / "tokenizer", model.length, "openvino" in formats)
    infos: dict[str, GraphInfo] = {}
    text = np.empty(0)
    for component, (kind, names) in model.family.components.items():
        yield Progress(component, "load")
        module = load(model, component, kind)
        for name in names:
            spec = make_spec(name, module, model.size, tokens, text)
            expected = graphs.answers(spec)
            if name == "text_encoder":
                text = expected[-1]["last_hidden_state"]
            infos[name] = yield from export_graph(spec, expected, stage, formats, weights)
            if name == "text_encoder":
                np.save(stage / name / NORM, graphs.final_norm(module))
            shutil.copyfile(model.path / component / "config.json", stage / name / "config.json")
        if component == "vae":
            yield Progress("preview", "fit")
            rgb = fit_rgb(module)
        del module, spec
    yield Progress("bundle", "write")
    write_configs(model, stage)
    return make_manifest(model, stage, infos, tokens, rgb, weights)


def export_graph(
    spec: graphs.Spec, expected: list[graphs.Arrays], stage: Path, formats: tuple[str, ...], weights: str
) -> Generator[Progress, None, GraphInfo]:
    """Write one graph in every format and hold what is on disk against torch's answers.

    Raises QualityError, naming the graph, when one is below the gate.
    """
    folder = stage / spec.name
    folder.mkdir()
    files, measured = {}, {}
    for form in formats:
        yield Progress(spec.name, f"{form}: convert")
        names = WRITE[form](spec, folder, weights)
        files[form] = tuple(f"{spec.name}/{file}" for file in names)
        yield Progress(spec.name, f"{form}: compare with torch")
        info = GraphInfo(files, weights, "fp32", spec.inputs, spec.outputs, measured)
        measured[form] = check.measure(stage, spec, info, form, expected)
        check.require(spec.name, form, weights, measured[form])
        yield Progress(spec.name, f"{form}: accepted", fidelity=measured[form])
    return info


def load(model: Source, component: str, kind: str) -> torch.nn.Module:
    """One component in float32 (a half-precision source is widened), ready for tracing.

    Raises ExportError when the weights do not fill the model: the rest would be random.
    """
    name = one_line(model.name, 80)
    with quiet():
        import diffusers
        import transformers

        owner = getattr(transformers if component.startswith("text_encoder") else diffusers, kind)
        try:
            check_weight(owner, model, component)
            module, report = owner.from_pretrained(
                model.path / component,
                torch_dtype=torch.float32,
                variant=model.variants[component],
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
            )
        except PleinairError:
            raise
        except (
            Exception
        ) as error:  # a config that no model has raises anything, from AssertionError to ZeroDivisionError
            reason = one_line((str(error).splitlines() or [type(error).__name__])[0], 160)
            if "memory" in reason:
                raise ResourceError(f"no memory to load '{component}' ({reason}); close other programs") from error
            raise ExportError(f"cannot load '{component}' of '{name}' ({reason}); {DOWNLOAD}") from error
    absent = [key for key in report["missing_keys"] if "position_ids" not in key]
    if absent:
        raise ExportError(f"'{component}' of '{name}' lacks {len(absent)} weights ({sorted(absent)[0]}); {DOWNLOAD}")
    return module.eval().requires_grad_(False)


def check_weight(owner: type, model: Source, component: str) -> None:
    """Raise ExportError where a config describes a network far larger than the weights, before memory is taken."""
    config = model.configs[component]
    with torch.device("meta"):
        made = owner.from_config(config) if hasattr(owner, "load_config") else owner(owner.config_class(**config))
    described, stored = sum(each.numel() for each in made.parameters()), model.sizes[component]
    if described > 2 * stored:
        raise ExportError(
            f"the config of '{component}' of '{one_line(model.name, 80)}' describes {described:,} numbers and its"
            f" weights are {stored:,}; {DOWNLOAD}"
        )


def make_spec(
    name: str, module: torch.nn.Module, size: tuple[int, int], tokens: Tokens, text: np.ndarray
) -> graphs.Spec:
    """The Spec of a graph, given what came before it: token ids for the text encoder, its output for the UNet."""
    if name == "text_encoder":
        return graphs.text_encoder(module, [tokens.prompts[:1], tokens.prompts])
    if name == "unet":
        return graphs.unet(module, size, text)
    return {"vae_encoder": graphs.vae_encoder, "vae_decoder": graphs.vae_decoder}[name](module, size)


def write_openvino(spec: graphs.Spec, folder: Path, weights: str) -> tuple[str, ...]:
    """Trace `spec` into openvino_model.xml and .bin; returns the file names."""
    with quiet():
        import openvino

        example = {name: torch.from_numpy(value) for name, value in spec.example.items()}
        if "timestep" in example:
            example["timestep"] = example["timestep"].long()  # openvino-genai sets an int64 tensor on that port
        # convert_model traces by itself too, but runs the module three times more to compare traces.
        traced = torch.jit.trace(spec.module, tuple(example.values()), strict=False, check_trace=False)
        model = openvino.convert_model(traced, example_input=tuple(example.values()))
        for port, (name, info) in zip(model.inputs, spec.inputs.items(), strict=True):
            port.get_tensor().set_names({name})
            port.get_node().set_partial_shape(
                openvino.PartialShape([n if isinstance(n, int) else -1 for n in info.shape])
            )
        for port, name in zip(model.outputs, spec.outputs, strict=True):
            port.get_tensor().set_names({name})
        model.validate_nodes_and_infer_types()
        if weights != "fp32":
            model = quantize.compress_openvino(model, weights)
        try:
            openvino.save_model(model, folder / "openvino_model.xml", compress_to_fp16=False)
        except RuntimeError as error:
            raise OSError(f"OpenVINO could not save {spec.name}: {error}") from error
    return "openvino_model.xml", "openvino_model.bin"


def write_onnx(spec: graphs.Spec, folder: Path, weights: str) -> tuple[str, ...]:
    """Trace `spec` into model.onnx (and model.onnx_data where it is large); returns the file names."""
    import onnx

    scratch = folder / "scratch"
    scratch.mkdir()
    ports = spec.inputs | spec.outputs
    with quiet(), attention.fused(OPSET):
        torch.onnx.export(
            spec.module,
            tuple(torch.from_numpy(spec.example[name]) for name in spec.inputs),
            str(scratch / "model.onnx"),
            input_names=list(spec.inputs),
            output_names=list(spec.outputs),
            dynamic_axes={
                name: {axis: size for axis, size in enumerate(port.shape) if isinstance(size, str)}
                for name, port in ports.items()
            },
            opset_version=OPSET,
            dynamo=False,
        )
    model = onnx.load(scratch / "model.onnx")
    shutil.rmtree(scratch)
    if extra.IDS in spec.inputs:
        extra.take_extra(model)
    if weights != "fp32":
        quantize.compress_onnx(model, weights)
    if sum(len(tensor.raw_data) for tensor in model.graph.initializer) < EXTERNAL:
        onnx.save(model, folder / "model.onnx")
        return ("model.onnx",)
    onnx.save(model, folder / "model.onnx", save_as_external_data=True, location="model.onnx_data")
    return "model.onnx", "model.onnx_data"


WRITE = {"openvino": write_openvino, "onnx": write_onnx}
