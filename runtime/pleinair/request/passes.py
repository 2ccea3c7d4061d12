"""The steps of a request: its first pass, the second one that paints larger, and the model that finishes it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pleinair.bundle.manifest import MAX_STEPS
from pleinair.bundle.opening import Bundle, open_bundle
from pleinair.checks import whole
from pleinair.errors import BundleError, RequestError
from pleinair.pictures.other_vaes import latents_of
from pleinair.request.add_ons import Refining
from pleinair.request.options import BY_SAMPLER, Canvas, values
from pleinair.request.pass_options import ENLARGERS, Hires, SecondPass, Steps
from pleinair.request.sizes import side_of
from pleinair.sampling.names import sampler_named
from pleinair.sampling.samplers import SAMPLERS


def passes(
    bundle: Bundle, given: Mapping[str, Any], canvas: Canvas | None, size: tuple[int, int]
) -> tuple[Steps, Hires | None]:
    """The first pass and the second, each without those options of samplers that only the other one's sampler has."""
    first = first_pass(bundle, given)
    hires = second_pass(bundle, given, first, canvas, size)
    if hires is None:
        return first, None
    inherited = [name for name in BY_SAMPLER if f"hires_{name}" not in given]
    steps = _without(hires.steps, first, inherited)
    return _without(first, hires.steps, [*BY_SAMPLER]), replace(hires, steps=steps)


def first_pass(bundle: Bundle, given: Mapping[str, Any]) -> Steps:
    """The steps of the first pass, with the bundle's defaults; RequestError for levels that contradict their number."""
    defaults = bundle.manifest.defaults
    sampler, spacing = sampler_named(given.get("sampler", defaults.sampler))
    usual = {"sampler": sampler, "steps": defaults.steps}
    if not spacing and not {"steps", "sigmas", "timesteps", "spacing"} & set(given):
        usual["timesteps"] = defaults.timesteps
    found = values(Steps, usual | given)
    spacing = spacing if found["spacing"] is None else found["spacing"]
    sigmas, timesteps, count = found["sigmas"], found["timesteps"], found["count"]
    if sigmas and timesteps:
        raise RequestError("sigmas and timesteps both say where the steps lie; give one of them")
    if sigmas and sigmas[-1] > 0:
        sigmas = (*sigmas, 0.0)  # pictures end without noise
    if sigmas or timesteps:
        listed = len(sigmas) - 1 if sigmas else len(timesteps)
        if ("steps" in given and count != listed) or "spacing" in given:
            raise RequestError("a list of sigmas or timesteps replaces steps and spacing; leave those out")
        count, spacing = whole("steps", listed, 1, MAX_STEPS), None
    return Steps(**{**found, "sampler": sampler, "spacing": spacing, "count": count, "sigmas": sigmas})


def second_pass(
    bundle: Bundle, given: Mapping[str, Any], first: Steps, canvas: Canvas | None, size: tuple[int, int]
) -> Hires | None:
    """A pass at a larger size, where one is asked for; RequestError beside a mask, or where that size cannot be."""
    if "hires" not in given:
        return None
    if canvas and (canvas.mask or canvas.outpaint):
        raise RequestError("a second pass has no mask; inpaint first, then paint the result larger with --image")
    hires = Hires(**values(Hires, given), steps=_second_steps(given, first))
    latents = bundle.manifest.latents
    for side in size:
        side_of("hires side", round(side * hires.factor / latents.multiple) * latents.multiple, latents)
    if hires.enlarger not in ENLARGERS:
        open_bundle(hires.enlarger).require("upscale")
    if hires.enlarger != "latent":
        bundle.require("image2image")
    return hires


def refining_of(bundle: Bundle, given: Mapping[str, Any]) -> Refining | None:
    """The model that finishes what this one begins; RequestError or BundleError for one that cannot go on from it."""
    if "refiner" not in given:
        return None
    refining = Refining(**values(Refining, given))
    refiner = open_bundle(refining.bundle)
    refiner.require("image2image")
    if "hires" in given:
        raise RequestError("a refiner and a second pass do not work together; paint larger afterwards, with --image")
    if bundle.manifest.denoiser.channels:
        raise RequestError(
            f"'{bundle.manifest.name}' is made to paint over pictures, and a refiner cannot continue from it; leave the"
            " refiner out"
        )
    if latents_of(refiner) != latents_of(bundle):
        raise BundleError(
            f"the latents of '{refiner.manifest.name}' differ from those of '{bundle.manifest.name}'; give a"
            " --refiner that was made for the model"
        )
    return refining


def _second_steps(given: Mapping[str, Any], first: Steps) -> Steps:
    own = {name: value for name, value in values(SecondPass, given).items() if value is not None}
    if "sampler" in own:
        sampler, spacing = sampler_named(own["sampler"])
        own = {"spacing": spacing, **own, "sampler": sampler}
    return replace(first, sigmas=None, timesteps=None, **own)


def _without(steps: Steps, other: Steps, names: list[str]) -> Steps:
    """The steps without those of the options that only the other pass's sampler has."""
    own, others = SAMPLERS[steps.sampler].options, SAMPLERS[other.sampler].options
    off = {name: BY_SAMPLER[name].default for name in names if name not in own and name in others}
    return replace(steps, **off)
