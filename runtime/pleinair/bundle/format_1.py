"""Bundles of format 1, which knew one kind of model: Stable Diffusion 1 and 2."""

from dataclasses import dataclass
from typing import Any

from pleinair.bundle import typed
from pleinair.bundle.manifest import (
    FORMAT,
    Autoencoder,
    Defaults,
    Denoiser,
    GraphInfo,
    Joined,
    Latents,
    Manifest,
    Origin,
    Sizes,
    TextEncoder,
)
from pleinair.bundle.verifying import FileInfo

FEEDS = {"sample": "latents", "timestep": "timestep", "encoder_hidden_states": "text"}


@dataclass(frozen=True)
class FirstLatents:
    """What format 1 says of latents and of the VAE that makes them."""

    channels: int
    downsample: int
    scale: float
    shift: float
    rgb: tuple[tuple[float, ...], ...] | None = None


@dataclass(frozen=True)
class FirstManifest:
    """`bundle.json` of format 1: one text encoder, the graphs "unet", "vae_encoder" and "vae_decoder"."""

    format: int
    name: str
    family: str
    tasks: tuple[str, ...]
    latents: FirstLatents | None
    defaults: Defaults | None
    text_encoders: tuple[TextEncoder, ...]
    scheduler: str | None
    graphs: dict[str, GraphInfo]
    files: dict[str, FileInfo]
    origin: Origin
    scale: int | None = None
    vocabulary: tuple[str, ...] = ()
    sizes: Sizes | None = None


def upgraded(raw: dict[str, Any], where: str) -> Manifest:
    """The manifest of today that says the same; raises ValueError, which names the place of what is malformed."""
    first = typed.build(FirstManifest, raw, where)
    common = {"format": FORMAT, "name": first.name, "family": first.family, "graphs": first.graphs}
    common |= {"files": first.files, "origin": first.origin, "scale": first.scale}
    if first.latents is None:
        return Manifest(**common, tasks=first.tasks)
    old = first.latents
    return Manifest(
        **common,
        tasks=_tasks(first.tasks),
        latents=Latents(old.channels, old.downsample, old.rgb),
        defaults=first.defaults,
        text_encoders=first.text_encoders,
        conditioning={"text": Joined(tuple(encoder.graph for encoder in first.text_encoders[:1]))},
        denoisers=(Denoiser("unet", FEEDS, "out_sample", _channels(first)),),
        vaes={"default": _autoencoder(first)},
        scheduler=first.scheduler,
        vocabulary=first.vocabulary,
        sizes=first.sizes,
    )


def _tasks(listed: tuple[str, ...]) -> tuple[str, ...]:
    """What repaints pictures inpaints too, which early bundles do not list."""
    return (*listed, "inpaint") if "image2image" in listed and "inpaint" not in listed else listed


def _channels(first: FirstManifest) -> tuple[str, ...]:
    """A UNet made for inpainting tells itself by the channels that it reads."""
    unet = first.graphs.get("unet")
    sample = unet.inputs.get("sample") if unet else None
    inpaints = sample is not None and sample.shape[1:2] == (2 * first.latents.channels + 1,)
    return ("mask", "masked_image") if inpaints else ()


def _autoencoder(first: FirstManifest) -> Autoencoder:
    encoder = "vae_encoder" if "vae_encoder" in first.graphs else None
    old = first.latents
    return Autoencoder("vae_decoder", encoder, old.downsample, old.scale, old.shift)
