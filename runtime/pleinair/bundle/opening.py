"""A bundle on disk: its folder opened, and its parts as code asks for them."""

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pleinair.bundle import format_1, onnx_data, shipped, typed
from pleinair.bundle.manifest import FORMAT, MANIFEST, Manifest
from pleinair.bundle.manifest_checks import UPSCALER, check_manifest
from pleinair.bundle.verifying import BundleFiles, check_references
from pleinair.checks import quoted, shown_path
from pleinair.errors import BundleError
from pleinair.sampling.scheduler_config import check_config
from pleinair.system.files import CONFIG, parse_json, read_json
from pleinair.system.home import is_name, models_folder

LARGEST_MANIFEST = 8 << 20  # bytes; one file for each tensor of a large model makes about one million
RESTORE = "restore the file or export the model again"
GIVEN_TO = {"upscale": "--upscale", "control": "--control", "decode": "--vae"}  # task -> where it is asked for


@dataclass(frozen=True)
class Bundle:
    """A model folder that has been opened; graphs stay on disk until an engine loads them."""

    path: Path
    manifest: Manifest
    files: BundleFiles = field(repr=False)
    scheduler_config: dict[str, Any] = field(repr=False)

    @property
    def formats(self) -> tuple[str, ...]:
        """The formats in which every graph of the bundle is present."""
        per_graph = [set(graph.files) for graph in self.manifest.graphs.values()]
        return tuple(sorted(set.intersection(*per_graph)))

    @property
    def upscales(self) -> bool:
        """Enlarges pictures, and cannot paint any."""
        return UPSCALER in self.manifest.graphs

    def require(self, task: str) -> None:
        """Raise BundleError, with where to use this bundle instead, unless `task` is among its tasks."""
        if task in self.manifest.tasks:
            return
        remedy = {
            ("upscale",): "give it to --upscale, and a model that paints to --model",
            ("decode",): "give it to --vae, and a model that paints to --model",
            ("decode", "encode"): "give it to --vae, and a model that paints to --model",
            ("control",): "give it to --control with a picture, and a model that paints to --model",
            ("edit",): "give it a picture and no mask (--image), or choose another --model",
            ("image2image", "inpaint"): "give it a picture (--image), or give it to --refiner and another to --model",
            ("inpaint",): "give it a picture and a mask (--image, --mask), or choose another --model",
        }.get(self.manifest.tasks, "choose another --model")
        if self.manifest.paints and task in GIVEN_TO:
            remedy = f"choose another {GIVEN_TO[task]}"
        raise BundleError(
            f"bundle '{self.manifest.name}' can do {', '.join(self.manifest.tasks)}, but not {task}; {remedy}"
        )

    def require_encoder(self) -> None:
        """Raise BundleError where its VAE makes no latents of pictures."""
        if self.manifest.vae.encoder is None:
            raise BundleError(
                f"the VAE of '{self.manifest.name}' has no encoder, which a picture to start from needs; choose"
                " another, or leave the picture out"
            )

    def graph_file(self, graph: str, form: str) -> Path:
        """The file an engine opens for `graph`; raises BundleError where the bundle has none in that format."""
        info = self.manifest.graphs.get(graph)
        if info is None or form not in info.files:
            raise BundleError(
                f"bundle '{self.manifest.name}' has no {form} graph '{graph}', only {', '.join(self.formats)};"
                f" choose that engine, or export the model again with --format {form}"
            )
        paths = [self.files.checked(name) for name in info.files[form]]
        if form == "onnx":
            check_references(paths[0], (path.name for path in paths[1:]))
        return paths[0]

    def graph_size(self, graph: str, form: str) -> int:
        """Bytes of a graph's files in a format; 0 where it has none."""
        return sum(self.manifest.files[file].size for file in self.manifest.graphs[graph].files.get(form, ()))

    def damage(self) -> list[str]:
        """One line for every file that is missing or altered, and for every one that a graph wants besides."""
        problems = list(self.files.problems())
        for name, graph in self.manifest.graphs.items():
            listed = graph.files.get("onnx", ())
            if listed and (self.path / listed[0]).is_file():
                beside = {file.rpartition("/")[2] for file in listed[1:]}
                wanted = sorted(onnx_data.locations(self.path / listed[0]) - beside)
                problems += [f"{name}: wants weights from '{each}', which bundle.json does not list" for each in wanted]
        return problems


def located(model: str | Path | None) -> Path:
    """The folder of a model: storybook's where `model` is None, else that path, or what is kept or ships as that name.

    A path that exists comes before a name, and what is kept before what ships.
    """
    if model is None:
        return shipped.default_path()
    path, name = Path(model), str(model)
    if os.path.lexists(path) or not is_name(name):
        return path
    kept = models_folder() / name
    if os.path.lexists(kept):
        return kept
    return shipped.shipped_bundle(name) or path


def open_bundle(path: str | Path | None = None, *, verify: bool = True) -> Bundle:
    """Read the `bundle.json` of a model (see `located`) without loading any graph.

    Files are compared with their SHA-256 in it when they are opened; `verify` False compares nothing but sizes. Raises
    BundleError: no such folder, not a bundle, malformed, altered, or written by a newer pleinair.
    """
    root = located(path)
    manifest = read_manifest(root)
    check_manifest(manifest)
    files = BundleFiles(root, manifest.files, verify)
    config = {}
    if manifest.scheduler:
        content = files.read(manifest.scheduler, CONFIG)
        config = check_config(parse_json(content, root / manifest.scheduler, BundleError, RESTORE))
    return Bundle(root, manifest, files, config)


def read_manifest(root: Path) -> Manifest:
    """Parse ROOT/bundle.json; raises BundleError with what is wrong and what to do."""
    try:
        found = root.is_dir()
    except OSError:  # a name too long, or a folder that may not be looked into
        found = False
    if not found:
        raise BundleError(
            f"no model folder '{shown_path(root)}'; check the path, see the names with: pleinair models, or make a"
            " model with: pleinair pour SOURCE"
        )
    if not (root / MANIFEST).exists():
        hint = "give a model's folder, or make one of it with: pleinair pour SOURCE"
        if (root / "model_index.json").exists():
            hint = f"it is a diffusers folder: make one with: pleinair pour {quoted(root)}"
        raise BundleError(f"'{shown_path(root)}' has no {MANIFEST}; {hint}")
    raw = read_json(root / MANIFEST, LARGEST_MANIFEST, BundleError, RESTORE)
    version = raw.get("format")
    if isinstance(version, int) and version > FORMAT:
        raise BundleError(
            f"'{root.name}' is a format {version} bundle and this pleinair reads up to {FORMAT};"
            " update pleinair (pip install -U, or git pull in a clone)"
        )
    try:
        manifest = format_1.upgraded(raw, MANIFEST) if version == 1 else typed.build(Manifest, raw, MANIFEST)
        if manifest.format != FORMAT:
            raise ValueError(f"there is no format {manifest.format}")
        return manifest
    except ValueError as error:
        raise BundleError(f"'{shown_path(root / MANIFEST)}' is malformed ({error}); {RESTORE}") from None


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
