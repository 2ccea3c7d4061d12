"""A bundle on disk: `bundle.json` read into frozen dataclasses, and its files checked against it."""

import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from pleinair.errors import BundleError

FORMAT = 1
MANIFEST = "bundle.json"
UPSCALER = "upscaler"  # the family, and the one graph, of a bundle that enlarges pictures


@dataclass(frozen=True)
class Port:
    """One input or output of a graph; a named dimension is dynamic."""

    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class Fidelity:
    """How close a graph is to torch on the same inputs, and the gate it had to pass, in dB of PSNR.

    `worst_channel`, where a bundle has it, is the largest relative error of a channel of any output.
    """

    psnr_db: float
    gate_db: float
    worst_channel: float | None = None


@dataclass(frozen=True)
class GraphInfo:
    """One network of the bundle: its files by format ("openvino", "onnx"), the first being the graph itself."""

    files: dict[str, tuple[str, ...]]
    weights: str
    activations: str
    inputs: dict[str, Port]
    outputs: dict[str, Port]
    fidelity: dict[str, Fidelity]


@dataclass(frozen=True)
class TextEncoder:
    """Which graph reads the prompt, with which tokenizer folder, and which of its outputs the UNet is given."""

    graph: str
    tokenizer: str
    length: int
    bos_id: int
    eos_id: int
    pad_id: int
    output: str


@dataclass(frozen=True)
class Latents:
    """image = decode(latents / scale + shift); one latent pixel covers `downsample` x `downsample` image pixels.

    `rgb`, where a bundle has it, previews without the VAE: colours in 0..1 = latents (as the UNet sees them) @ W + b,
    as rows of 3, one for each channel and the last for b.
    """

    channels: int
    downsample: int
    scale: float
    shift: float
    rgb: tuple[tuple[float, ...], ...] | None = None


@dataclass(frozen=True)
class Defaults:
    """What a picture is made with when the caller does not say."""

    width: int
    height: int
    sampler: str
    steps: int
    guidance: float


@dataclass(frozen=True)
class FileInfo:
    size: int
    sha256: str


@dataclass(frozen=True)
class Origin:
    """Where the model came from and what made the bundle; never a path, user or host name."""

    source: str
    revision: str | None
    licence: str | None
    command: str
    tools: dict[str, str]


@dataclass(frozen=True)
class Manifest:
    """The whole of `bundle.json`.

    An upscaler (family "upscaler") has a `scale`, how many times wider its pictures become, and neither latents,
    defaults, text encoders nor scheduler; all other bundles have these and no scale.
    """

    format: int
    name: str
    family: str
    tasks: tuple[str, ...]
    latents: Latents | None
    defaults: Defaults | None
    text_encoders: tuple[TextEncoder, ...]
    scheduler: str | None
    graphs: dict[str, GraphInfo]
    files: dict[str, FileInfo]
    origin: Origin
    scale: int | None = None

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"


@dataclass(frozen=True)
class Bundle:
    """A model folder that has been opened; graphs stay on disk until an engine loads them."""

    path: Path
    manifest: Manifest
    scheduler_config: dict[str, Any] = field(repr=False)

    @property
    def formats(self) -> tuple[str, ...]:
        """The formats in which every graph of the bundle is present."""
        per_graph = [set(graph.files) for graph in self.manifest.graphs.values()]
        return tuple(sorted(set.intersection(*per_graph)))

    @property
    def tasks(self) -> tuple[str, ...]:
        """What the bundle can do; wherever it repaints pictures it inpaints too, which early bundles do not list."""
        listed = self.manifest.tasks
        return (*listed, "inpaint") if "image2image" in listed and "inpaint" not in listed else listed

    @property
    def upscales(self) -> bool:
        """Enlarges pictures, and cannot paint any."""
        return self.manifest.family == UPSCALER

    @property
    def inpaints_by_input(self) -> bool:
        """Its UNet is made for inpainting: beside the latents it is given a mask and the latents of what is kept."""
        unet = self.manifest.graphs.get("unet")
        return unet is not None and unet.inputs["sample"].shape[1] == inpaint_channels(self.manifest.latents.channels)

    def require(self, task: str) -> None:
        """Raise BundleError, with where to use this bundle instead, unless `task` is among its tasks."""
        if task in self.tasks:
            return
        remedy = {
            ("upscale",): "give it to --upscale, and a model that paints to --model",
            ("inpaint",): "give it a picture and a mask (--image, --mask), or choose another --model",
        }.get(self.tasks, "choose another --model")
        raise BundleError(f"bundle '{self.manifest.name}' does {', '.join(self.tasks)} and not {task}; {remedy}")

    def graph_file(self, graph: str, form: str) -> Path:
        """The file an engine opens for `graph`; raises BundleError where the bundle has none in that format."""
        info = self.manifest.graphs.get(graph)
        if info is None or form not in info.files:
            raise BundleError(
                f"bundle '{self.manifest.name}' has no {form} graph '{graph}', only {', '.join(self.formats)};"
                f" choose that engine, or export the model again with --format {form}"
            )
        for name in info.files[form]:
            check_size(self, name)
        return self.path / info.files[form][0]


def default_path() -> Path:
    """The folder of storybook, the model that ships with pleinair.

    A wheel holds it beside this module; an editable install reads the repository's models/ folder, so that a
    retrained model is never shadowed by a stale copy.
    """
    packaged = Path(__file__).parent / "models" / "storybook"
    if packaged.is_dir():
        return packaged
    return Path(__file__).parents[2] / "models" / "storybook" / "bundle"


def open_bundle(path: str | Path | None = None) -> Bundle:
    """Read a model folder's `bundle.json` (storybook where `path` is None) without loading any graph.

    Raises BundleError: no such folder, not a bundle, malformed, or written by a newer pleinair.
    """
    root = default_path() if path is None else Path(path)
    manifest = read_manifest(root)
    check_names(manifest)
    check_values(manifest)
    return Bundle(root, manifest, read_scheduler_config(root / manifest.scheduler) if manifest.scheduler else {})


def bundle_identity(bundle: Bundle) -> dict[str, Any]:
    """Which model this is, by content: name, SHA-256 over all its files' SHA-256, and one for each graph.

    Nothing is read but the manifest.
    """
    manifest = bundle.manifest
    graphs = {
        name: _digest(manifest.files[file].sha256 for _, files in sorted(graph.files.items()) for file in files)
        for name, graph in manifest.graphs.items()
    }
    every = _digest(f"{manifest.files[name].sha256} {name}" for name in sorted(manifest.files))
    return {"name": manifest.name, "sha256": every, "graphs": graphs}


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def check_names(manifest: Manifest) -> None:
    """Raise BundleError where the manifest names files outside the folder, or parts it does not have."""
    for name in manifest.files:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "\\" in name or ":" in name:
            raise BundleError(f"{MANIFEST} names a file outside the bundle: '{name}'; do not use this model")
    named = [f"{encoder.tokenizer}/tokenizer.json" for encoder in manifest.text_encoders]
    named += [file for graph in manifest.graphs.values() for files in graph.files.values() for file in files]
    named += [manifest.scheduler] if manifest.scheduler else []
    lost = [file for file in named if file not in manifest.files]
    lost += [name for name in needed_graphs(manifest) if name not in manifest.graphs]
    lost += [name for name in needed_fields(manifest) if not getattr(manifest, name)]
    lost += [
        encoder.graph
        for encoder in manifest.text_encoders
        if encoder.graph not in manifest.graphs or encoder.output not in manifest.graphs[encoder.graph].outputs
    ]
    if lost:
        raise BundleError(f"{MANIFEST} does not describe '{lost[0]}'; export the model again")


def needed_graphs(manifest: Manifest) -> tuple[str, ...]:
    """The graphs without which a bundle of this family is of no use."""
    return (UPSCALER,) if manifest.family == UPSCALER else ("unet", "vae_decoder")


def needed_fields(manifest: Manifest) -> tuple[str, ...]:
    """The fields that a bundle of this family must have."""
    return ("scale",) if manifest.family == UPSCALER else ("latents", "defaults", "text_encoders", "scheduler")


def inpaint_channels(latents: int) -> int:
    """Channels that an inpainting UNet reads: the latents, a mask, and the latents of the picture without its hole."""
    return 2 * latents + 1


def check_values(manifest: Manifest) -> None:
    """Raise BundleError for numbers and shapes that no model has."""
    checks = upscaler_values(manifest) if manifest.family == UPSCALER else painter_values(manifest)
    checks["graphs: files"] = all(files for graph in manifest.graphs.values() for files in graph.files.values())
    wrong = [name for name, fine in checks.items() if not fine]
    if wrong:
        raise BundleError(f"{MANIFEST} has impossible values in {wrong[0]}; export the model again")


def upscaler_values(manifest: Manifest) -> dict[str, bool]:
    """What is checked of an upscaler, and whether it holds."""
    graph = manifest.graphs[UPSCALER]
    return {
        "scale": 1 <= manifest.scale <= 16,
        "graphs: upscaler": list(graph.inputs) == ["image"] and list(graph.outputs) == ["upscaled"],
    }


def painter_values(manifest: Manifest) -> dict[str, bool]:
    """What is checked of a bundle that paints, and whether it holds."""
    latents, defaults = manifest.latents, manifest.defaults
    sample = manifest.graphs["unet"].inputs.get("sample")
    return {
        "latents: channels": 1 <= latents.channels <= 256,
        "latents: downsample": 1 <= latents.downsample <= 64,
        "latents: scale": math.isfinite(latents.scale) and latents.scale != 0,
        "latents: shift": math.isfinite(latents.shift),
        "latents: rgb": latents.rgb is None or maps_to_rgb(latents.rgb, latents.channels),
        "defaults": min(defaults.width, defaults.height, defaults.steps) >= 1 and math.isfinite(defaults.guidance),
        "graphs: unet": sample is not None
        and len(sample.shape) == 4
        and sample.shape[1] in (latents.channels, inpaint_channels(latents.channels)),
        "text_encoders": all(
            3 <= encoder.length <= 4096 and sized_like_text(manifest.graphs[encoder.graph], encoder)
            for encoder in manifest.text_encoders
        ),
    }


def maps_to_rgb(rgb: tuple[tuple[float, ...], ...], channels: int) -> bool:
    """A row of 3 finite numbers for each channel, and one more."""
    return len(rgb) == channels + 1 and all(len(row) == 3 and all(map(math.isfinite, row)) for row in rgb)


def sized_like_text(graph: GraphInfo, encoder: TextEncoder) -> bool:
    """A graph that turns `input_ids` into embeddings (B, length, width)."""
    shape = graph.outputs[encoder.output].shape
    return "input_ids" in graph.inputs and len(shape) == 3 and isinstance(shape[-1], int)


def read_manifest(root: Path) -> Manifest:
    """Parse ROOT/bundle.json; raises BundleError with what is wrong and what to do."""
    try:
        if not root.is_dir():
            raise BundleError(f"no model folder '{root}'; check the path, or make one with: pleinair export SOURCE OUT")
        text = (root / MANIFEST).read_text(encoding="utf-8")
    except FileNotFoundError:
        hint = "it is a diffusers folder: convert it" if (root / "model_index.json").exists() else "make a bundle"
        raise BundleError(f"'{root}' has no {MANIFEST}; {hint} with: pleinair export SOURCE OUT") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"cannot read '{root / MANIFEST}' ({error}); restore the file or export again") from None
    try:
        raw = json.loads(text)
        version = raw["format"]
        if isinstance(version, int) and version > FORMAT:
            raise BundleError(
                f"'{root.name}' is a format {version} bundle and this pleinair reads up to {FORMAT};"
                " update pleinair (pip install -U, or git pull in a clone)"
            )
        return _build(Manifest, raw, MANIFEST)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BundleError(f"'{root / MANIFEST}' is malformed ({error}); restore the file or export again") from None


def read_scheduler_config(file: Path) -> dict[str, Any]:
    """The diffusers scheduler_config.json as it is; raises BundleError when it is absent or not a JSON object."""
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError(f"cannot read '{file}' ({error}); restore the file or export again") from None
    if not isinstance(config, dict):
        raise BundleError(f"'{file}' is not a JSON object; restore the file or export again")
    return config


def file_info(path: Path) -> FileInfo:
    """Size and SHA-256 of a file, read in pieces."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256")
    return FileInfo(path.stat().st_size, digest.hexdigest())


def check_size(bundle: Bundle, name: str) -> None:
    """Raise BundleError when a file is absent or of another size than the manifest says (cheap; no hashing)."""
    path, expected = bundle.path / name, bundle.manifest.files.get(name)
    if not path.is_file():
        raise BundleError(f"bundle file '{path}' is missing; restore it or export the model again")
    size = path.stat().st_size
    if expected and size != expected.size:
        raise BundleError(
            f"bundle file '{path}' is damaged ({size} bytes instead of {expected.size}); restore it or export again"
        )


def damaged_files(bundle: Bundle) -> list[str]:
    """One line for every file that is missing, truncated or altered, by full SHA-256; empty when all is well."""
    problems = []
    for name, expected in bundle.manifest.files.items():
        path = bundle.path / name
        if not path.is_file():
            problems.append(f"{name}: missing")
        elif path.stat().st_size != expected.size:
            problems.append(f"{name}: {path.stat().st_size} bytes instead of {expected.size}")
        elif file_info(path).sha256 != expected.sha256:
            problems.append(f"{name}: content differs from its SHA-256")
    return problems


_hints = cache(get_type_hints)


def _build(kind: Any, value: Any, where: str) -> Any:
    """JSON value -> the type a field declares; the error names the place in the file."""
    origin, args = get_origin(kind), get_args(kind)
    if is_dataclass(kind):
        if not isinstance(value, dict):
            raise ValueError(f"{where} is not an object")
        missing = [f.name for f in fields(kind) if f.name not in value and f.default is MISSING]
        if missing:
            raise ValueError(f"{where} lacks '{missing[0]}'")
        hints = _hints(kind)
        present = [f.name for f in fields(kind) if f.name in value]
        return kind(**{name: _build(hints[name], value[name], f"{where}: {name}") for name in present})
    if origin is tuple:
        if not isinstance(value, list):
            raise ValueError(f"{where} is not a list")
        return tuple(_build(args[0], item, where) for item in value)
    if origin is dict:
        if not isinstance(value, dict):
            raise ValueError(f"{where} is not an object")
        return {str(key): _build(args[1], item, f"{where}: {key}") for key, item in value.items()}
    if origin in (Union, UnionType):
        if NoneType in args and value is None:
            return None
        kinds = [each for each in args if each is not NoneType]
        if len(kinds) == 1:
            return _build(kinds[0], value, where)
        if not isinstance(value, tuple(kinds)):
            raise ValueError(f"{where} has the wrong type")
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"{where} should be {kind.__name__}")
    return value
