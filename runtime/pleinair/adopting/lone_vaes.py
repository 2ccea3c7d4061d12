"""A folder of a VAE's graphs alone, as FastSD's TAESD is published: what its bundle says."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pleinair.adopting.folder import COMMAND, DECODER, ENCODER, FoundGraphs
from pleinair.adopting.ir import AGAIN
from pleinair.adopting.layout import has, inside
from pleinair.adopting.model import as_autoencoder, config_of
from pleinair.adopting.outline import Outline
from pleinair.adopting.wanted import answer_kind
from pleinair.bundle.manifest import GraphInfo, Manifest, Origin
from pleinair.checks import one_line, shown_path
from pleinair.errors import BundleError
from pleinair.sources.configs import check_numbers, plausible_vae
from pleinair.sources.describing import VAES, Described, autoencoder_of
from pleinair.sources.families import VAE, Family
from pleinair.sources.folder import licence
from pleinair.sources.lone_vaes import as_model, vae_manifest
from pleinair.sources.settings import bundle_name
from pleinair.sources.vae_folders import CONFIG_FILE
from pleinair.version import __version__

FAMILY = Family(pipelines=(), parts=(VAE,))
README = "README.md"


def vae_alone(root: Path, outlines: Mapping[str, Outline]) -> Described:
    """A VAE as its config.json describes it; BundleError for one that is missing, or that no VAE has."""
    found = config_of(root, DECODER, VAE.folder, ENCODER)
    if found is None:
        raise BundleError(
            f"'{shown_path(root)}' has no {DECODER}/{CONFIG_FILE}, which says how it scales latents; {AGAIN}"
        )
    config = as_autoencoder(found)
    channels = outlines[DECODER].side("latent_sample", 1)
    config = {"latent_channels": channels, **config} if channels else config
    check_numbers(root, VAE.folder, config)
    wrong = next((what for what, fine in plausible_vae(config).items() if not fine), None)
    if wrong:
        raise BundleError(f"'{shown_path(root)}' has impossible {wrong}; {AGAIN}")
    kind = config.get("_class_name")
    return as_model(config, kind if kind in VAES else VAE.kind)


def manifest_of_vae(root: Path, model: Described, graphs: dict[str, GraphInfo], found: FoundGraphs) -> Manifest:
    """bundle.json of a VAE's graphs, without the hashes of files."""
    config, kind = model.configs[VAE.folder], model.family.part(VAE.folder).kind
    vae = replace(autoencoder_of(config, kind), encoder=None)
    if ENCODER in graphs:
        (answer,) = graphs[ENCODER].outputs
        vae = replace(vae, encoder=ENCODER, kind=answer_kind(model, found[ENCODER].outline), answer=answer)
    source = one_line(root.name, 200)
    card = inside(root, README) if has(root, README) else root / README
    whence = Origin(source, None, licence(card), f"{COMMAND} {source}", {"pleinair": __version__})
    name = bundle_name(root.name)
    return vae_manifest(name, vae, model.channels, graphs=graphs, files={}, origin=whence, weights={})


def configs_of_vae(root: Path) -> dict[str, Path]:
    """The config.json files of a VAE's graphs, by name."""
    names = [f"{folder}/{CONFIG_FILE}" for folder in (DECODER, ENCODER)]
    return {name: inside(root, name) for name in names if has(root, name)}
