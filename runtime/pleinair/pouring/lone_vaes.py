"""A VAE on its own, opened to be poured: a diffusers folder of one, a file, or TAESD's two files."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pleinair.bundle.manifest import GraphInfo, Manifest, Origin, Placed
from pleinair.bundle.verifying import FileInfo
from pleinair.checks import number, one_line
from pleinair.errors import RequestError
from pleinair.pouring.checkpoints import Checkpoint
from pleinair.pouring.names import Named
from pleinair.pouring.opened import notes_on_pickles
from pleinair.pouring.single_file import PLACES
from pleinair.pouring.vaes import HALVES, PREFIXES, SCALE, USUAL, Vae, find_vae, open_vae
from pleinair.sources.architectures import PLAIN_VAE
from pleinair.sources.describing import Described, autoencoder_of
from pleinair.sources.families import TINY_VAE, VAE
from pleinair.sources.folder import licence
from pleinair.sources.hub_cache import snapshot_of, usual_name
from pleinair.sources.lone_vaes import as_model, checked_config, vae_manifest
from pleinair.sources.pickled import check_pickle
from pleinair.sources.settings import bundle_name
from pleinair.sources.small_files import write_json
from pleinair.sources.vae_folders import CONFIG_FILE, is_vae_folder

FIRST = {VAE.kind: "decoder.conv_in.weight", TINY_VAE.kind: "decoder.layers.0.weight"}  # its inputs are the latents
SMALLEST, LARGEST = 0.001, 1000.0  # factors that latents are scaled by
SCALES = {"stable-diffusion-xl": 0.13025, "stable-diffusion-v": 0.18215}  # begins modelspec.architecture -> factor
BLOCK = "3.conv.0.weight"  # of either of TAESD's two files
OPTION = "--scaling-factor"


@dataclass(frozen=True)
class OpenedVae:
    """A VAE as a model that has nothing else, its weights, and what its bundle is called."""

    model: Described
    weights: Mapping[str, Named]
    path: Path
    name: str
    licence: str | None
    notes: tuple[str, ...]

    @property
    def config(self) -> dict[str, Any]:
        """Its config.json."""
        return self.model.configs[VAE.folder]

    def unused(self, taken: Mapping[str, set[str]]) -> list[str]:
        """Nothing: what else lies in the file of a VAE was of its training."""
        return []

    def write_configs(self, stage: Path) -> None:
        """Write config.json beside each graph."""
        for graph in self.model.family.part(VAE.folder).graphs:
            write_json(stage / graph / CONFIG_FILE, self.config)

    def manifest(
        self,
        graphs: dict[str, GraphInfo],
        files: dict[str, FileInfo],
        origin: Origin,
        weights: dict[str, dict[str, dict[str, Placed]]],
    ) -> Manifest:
        """What its bundle.json says."""
        vae = autoencoder_of(self.config, self.config["_class_name"])
        said = {"graphs": graphs, "files": files, "origin": origin, "weights": weights}
        return vae_manifest(self.name, vae, self.model.channels, **said)


def opened_vae(source: Path, scaling_factor: float | None, pickles: bool) -> OpenedVae | None:
    """The VAE that a folder or a file is; None for all else.

    `scaling_factor` is what its latents are scaled by where no config.json says so. Raises ExportError for one that is
    damaged or a pickle that is not allowed, RequestError where nothing says how it scales.
    """
    source = snapshot_of(source)
    if not (is_vae_folder(source) if source.is_dir() else is_vae_file(source, pickles)):
        return None
    vae = open_vae(source, pickles)
    config = config_of_vae(source, vae, scaling_factor)
    found = as_model(config, vae.part.kind)
    name = bundle_name(usual_name(source))
    home = source if source.is_dir() else source.parent
    weights = {VAE.folder: vae.weights}
    return OpenedVae(found, weights, source, name, licence(home / "README.md"), tuple(notes_on_pickles(weights)))


def is_vae_file(file: Path, pickles: bool) -> bool:
    """Whether a file holds a VAE and no other part of a model."""
    check_pickle(file, pickles)
    checkpoint = Checkpoint([file])
    others = tuple(prefix for places in PLACES.values() for prefix, _ in places)
    if any(name.startswith(others) for name in checkpoint):
        return False
    return find_vae(checkpoint, (*PREFIXES, "")) is not None or is_half(checkpoint)


def is_half(checkpoint: Checkpoint) -> bool:
    """Whether a file may be one of TAESD's two."""
    return BLOCK in checkpoint and any(name in checkpoint for name in HALVES.values())


def config_of_vae(source: Path, vae: Vae, scaling_factor: float | None) -> dict[str, Any]:
    """config.json: the folder's own, one that lies beside a file and is of its class, or what its weights tell."""
    home, kind = source if source.is_dir() else source.parent, vae.part.kind
    if is_vae_folder(home):
        found = checked_config(home)
        if found["_class_name"] == kind:
            return found if scaling_factor is None else found | {SCALE: asked_factor(scaling_factor)}
    channels = vae.weights.shapes[FIRST[kind]][1]
    if kind == VAE.kind and channels == PLAIN_VAE["latent_channels"]:
        raise RequestError(
            f"'{one_line(source.name, 80)}' does not say how its latents are scaled and shifted, which differs between"
            " those of FLUX.1 and Stable Diffusion 3; put its config.json beside it"
        )
    config = {"_class_name": kind, **USUAL[kind], "latent_channels": channels}
    if kind == TINY_VAE.kind and scaling_factor is None:
        return config | {SCALE: 1.0}
    return config | {SCALE: factor_of(source, vae.weights.checkpoint.metadata, scaling_factor)}


def factor_of(source: Path, said: Mapping[str, str], asked: float | None) -> float:
    """What the latents of a file's VAE are scaled by; RequestError where neither the file nor whoever pours says so."""
    if asked is not None:
        return asked_factor(asked)
    architecture = said.get("modelspec.architecture", "")
    known = next((factor for begin, factor in SCALES.items() if architecture.startswith(begin)), None)
    if known is None:
        raise RequestError(
            f"'{one_line(source.name, 80)}' does not say how its latents are scaled; give {OPTION} 0.13025 for a VAE of"
            " Stable Diffusion XL, 0.18215 for one of 1.x and 2.x, or put its config.json beside it",
            option=f"{OPTION} 0.13025",
        )
    return known


def asked_factor(factor: float) -> float:
    """A scaling factor that a VAE can have; raises RequestError."""
    return number("scaling factor", factor, SMALLEST, LARGEST)
