"""The VAEs of a request, which have to fit the model's latents."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pleinair.bundle.opening import Bundle, located, open_bundle
from pleinair.checks import shown_path
from pleinair.errors import BundleError
from pleinair.pictures.other_vaes import latents_of
from pleinair.request.add_ons import OtherVaes
from pleinair.request.options import OPTIONS, Canvas, values
from pleinair.request.pass_options import ENLARGERS, Hires


def vaes_of(bundle: Bundle, given: Mapping[str, Any], canvas: Canvas | None, hires: Hires | None) -> dict[str, Any]:
    """The values of OtherVaes; BundleError for a VAE that is not there, is none, or is for other latents."""
    found = values(OtherVaes, given)
    for name in (name for name, folder in found.items() if folder is not None):
        check_vae(bundle, open_vae_bundle(found[name]), OPTIONS[name].flag)
    encodes = canvas is not None or (hires is not None and hires.enlarger != ENLARGERS[0])
    if found["vae"] is not None and encodes:
        open_bundle(found["vae"]).require_encoder()
    return found


def open_vae_bundle(folder: Path) -> Bundle:
    """The bundle of a VAE; BundleError with what makes one where there is nothing of that name."""
    if not os.path.lexists(located(folder)):
        raise BundleError(
            f"no VAE '{shown_path(folder)}' here or among your models; make one from its file with: pleinair pour FILE"
            f" {shown_path(folder)}"
        )
    found = open_bundle(folder)
    if not found.manifest.vaes:
        found.require("decode")
    return found


def check_vae(bundle: Bundle, other: Bundle, flag: str) -> None:
    """Raise BundleError for a VAE of other latents than a model's."""
    (channels, side), (own_channels, own_side) = latents_of(other), latents_of(bundle)
    if (channels, side) != (own_channels, own_side):
        raise BundleError(
            f"the VAE '{other.manifest.name}' is for latents of {channels} channels and {side} pixels a side, and"
            f" '{bundle.manifest.name}' has {own_channels} and {own_side}; give a {flag} that was made for this kind of"
            " model"
        )
