"""VAEs on their own: a diffusers folder of one, and the bundle that is made of it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pleinair.bundle.lone_parts import Autoencoder
from pleinair.bundle.manifest import FORMAT, GraphInfo, Latents, Manifest, Origin, Placed
from pleinair.bundle.verifying import FileInfo
from pleinair.checks import one_line
from pleinair.errors import ExportError
from pleinair.sources.configs import check_numbers, plausible_vae
from pleinair.sources.describing import Described, autoencoder_of
from pleinair.sources.families import VAE, Component, Family
from pleinair.sources.folder import STEMS, check_files, licence, read_config
from pleinair.sources.hub_cache import snapshot_of, usual_name
from pleinair.sources.settings import bundle_name
from pleinair.sources.vae_folders import CONFIG_FILE, PARTS
from pleinair.sources.weight_files import DOWNLOAD, check_weights

FAMILY = "vae"


@dataclass(frozen=True)
class LoneVae:
    """A diffusers folder of a VAE, which lies at `path` under the folder's name that its `part` has.

    `variants` and `sizes` are as those of `Source`.
    """

    path: Path
    part: Component
    name: str
    config: Mapping[str, Any]
    variants: Mapping[str, str | None]
    sizes: Mapping[str, int]
    licence: str | None
    file: None = None

    @property
    def configs(self) -> dict[str, Mapping[str, Any]]:
        """By component folder."""
        return {self.part.folder: self.config}

    @property
    def autoencoder(self) -> Autoencoder:
        """What a bundle says of it."""
        return autoencoder_of(self.config, self.part.kind)


def open_lone_vae(path: Path) -> LoneVae:
    """Check a diffusers folder of a VAE from its config and the headers of its weights.

    Raises ExportError: damaged, or no VAE that there are graphs for.
    """
    name, path = bundle_name(usual_name(path)), snapshot_of(path).resolve()
    check_files(path, (".",))
    config = checked_config(path)
    part = replace(PARTS[config["_class_name"]], folder=path.name)
    variant, size = check_weights(path, STEMS[part.library])
    return LoneVae(
        path=path.parent,
        part=part,
        name=name,
        config=config,
        variants={part.folder: variant},
        sizes={part.folder: size},
        licence=licence(path / "README.md"),
    )


def checked_config(path: Path) -> dict[str, Any]:
    """The config.json of a VAE's folder; raises ExportError for what no VAE has."""
    config = read_config(path / CONFIG_FILE)
    check_numbers(path, FAMILY, config)
    wrong = next((what for what, fine in plausible_vae(config).items() if not fine), None)
    if wrong:
        raise ExportError(f"'{one_line(path.name, 80)}' has impossible {wrong}; {DOWNLOAD}")
    return config


def as_model(config: Mapping[str, Any], kind: str) -> Described:
    """A model that consists of a VAE of the diffusers class `kind`."""
    return Described(Family(pipelines=(), parts=(PARTS[kind],)), {}, {VAE.folder: dict(config)})


def vae_manifest(
    name: str,
    vae: Autoencoder,
    channels: int,
    *,
    graphs: dict[str, GraphInfo],
    files: dict[str, FileInfo],
    origin: Origin,
    weights: dict[str, dict[str, dict[str, Placed]]],
) -> Manifest:
    """bundle.json of a VAE on its own."""
    return Manifest(
        format=FORMAT,
        name=name,
        family=FAMILY,
        tasks=("decode",) if vae.encoder is None else ("decode", "encode"),
        latents=Latents(channels, vae.downsample),
        vaes={"default": vae},
        graphs=graphs,
        files=files,
        origin=origin,
        weights=weights,
    )
