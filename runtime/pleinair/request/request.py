"""A request: what a caller asked for, checked once, at the edge, with nothing left open."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pleinair.bundle.opening import Bundle, open_bundle
from pleinair.checks import whole
from pleinair.errors import Cancelled, RequestError
from pleinair.network.guidance import Guidance
from pleinair.pictures.vae import SIDES
from pleinair.request.add_ons import AddOns, Finish, OtherVaes, Refining
from pleinair.request.canvas import canvas_of
from pleinair.request.controls import check_pictures, controls_of
from pleinair.request.keywords import asked
from pleinair.request.loras import loras_of, with_few_steps
from pleinair.request.options import (
    OPTIONS,
    PARAMETERS,
    Canvas,
    Guiding,
    Picture,
    Randomness,
    Shorthand,
    Text,
    Work,
    values,
)
from pleinair.request.pass_options import ENLARGERS, Hires, Saving, Steps
from pleinair.request.passes import passes, refining_of
from pleinair.request.sizes import size_of
from pleinair.request.speeds import saving_of
from pleinair.request.vaes import vaes_of
from pleinair.request.value_types import SEED_LIMIT, Whole
from pleinair.sampling.grids import THRESHOLDED
from pleinair.sampling.names import sampler_named
from pleinair.sampling.samplers import SAMPLERS
from pleinair.text.encoders import most_skipped, skips_layers


@dataclass(frozen=True, kw_only=True)
class Request(Picture, Text, Work, Saving, Finish, OtherVaes, AddOns):
    """One job: as many pictures as there are seeds."""

    steps: Steps
    random: Randomness
    guidance: Guidance
    canvas: Canvas | None
    hires: Hires | None
    refining: Refining | None
    task: str  # text2image, image2image, inpaint or edit: what the bundle must be able to do
    idle: tuple[str, ...] = field(default=(), compare=False)  # warnings for options without effect, and for rules

    def check(self) -> None:
        """Raise Cancelled where the caller wants to stop."""
        if self.stop and self.stop():
            raise Cancelled("cancelled; nothing is left half done, and the pipeline can be used again")

    @property
    def seeds(self) -> tuple[int, ...]:
        """One for each picture."""
        return self.random.seeds

    @property
    def upscalers(self) -> list[Path]:
        """The folders of the upscaler bundles that it names."""
        enlarger = self.hires.enlarger if self.hires else ENLARGERS[0]
        return [*([Path(enlarger)] if enlarger not in ENLARGERS else []), *filter(None, [self.upscale])]


def resolve(bundle: Bundle, prompt: str, negative: str | None = None, **options: Any) -> Request:
    """Fill what is left out from the bundle's defaults and refuse what makes no sense.

    Takes `Options`; `negative` None is nothing said, which some models tell apart from an empty text. Raises
    RequestError, BundleError for a task the bundle is not made for.
    """
    skips = Whole(1, most_skipped(bundle))
    said = {"prompt": prompt, **({} if negative is None else {"negative": negative})}
    said = {name: OPTIONS[name].type.read(name, text) for name, text in said.items()}
    given = asked(options, clip_skip=skips)
    loras = loras_of(given.pop("loras", ()), said["prompt"])
    given, notes = with_few_steps(given, loras)
    canvas = canvas_of(given)
    task = task_of(bundle, canvas)
    if task == "edit":
        canvas = replace(canvas, strength=1.0)
    bundle.require(task)
    size = size_of(bundle, given, canvas)
    steps, hires = passes(bundle, given, canvas, size)
    saving, unsaved = saving_of(given, [steps, *([hires.steps] if hires else [])], bundle.scheduler_config)
    picture, work, finish = (values(group, given) for group in (Picture, Work, Finish))
    if finish["upscale"]:
        open_bundle(finish["upscale"]).require("upscale")
    return Request(
        **picture | {"width": size[0], "height": size[1]},
        **saving | ({} if in_int8(bundle) else {"wide_steps": 0}),
        **work | {"vae_tile": vae_tile_of(work["vae_tile"])},
        **values(Text, given | said | ({} if skips_layers(bundle) else {"clip_skip": 1})),
        **finish,
        **vaes_of(bundle, given, canvas, hires),
        loras=loras,
        controls=controls_of(bundle, given),
        steps=steps,
        random=random_of(given),
        guidance=guidance_of(bundle, given, steps.sampler),
        canvas=canvas,
        hires=hires,
        refining=refining_of(bundle, given),
        task=task,
        idle=(*notes, *unsaved, *idle(given), *idle_here(bundle, given, task)),
    )


def check_alone(options: Mapping[str, Any]) -> Randomness:
    """What is random in a request; raises RequestError for options that no model can paint with."""
    given = asked({name: value for name, value in options.items() if name not in PARAMETERS})
    canvas_of(given)
    check_pictures(given)
    for name in {"sampler", "hires_sampler"} & set(given):
        sampler_named(given[name])
    return random_of(given)


def task_of(bundle: Bundle, canvas: Canvas | None) -> str:
    """What a request is for a bundle: one whose network is shown the picture edits it, and repaints nothing."""
    if canvas is None:
        return "text2image"
    if canvas.mask or canvas.outpaint:
        return "inpaint"
    return "edit" if bundle.manifest.denoiser.edits else "image2image"


def idle_here(bundle: Bundle, given: Mapping[str, Any], task: str) -> Iterator[str]:
    """A warning for every option that does nothing with this bundle."""
    if task == "edit" and "strength" in given:
        yield f"'strength' has no effect, because '{bundle.manifest.name}' edits pictures; leave it out"
    if "image_guidance" in given and bundle.manifest.guidance != "image_text":
        yield f"'image_guidance' has no effect, because '{bundle.manifest.name}' edits no pictures; leave it out"
    if given.get("wide_steps") and not in_int8(bundle):
        yield f"'wide_steps' has no effect, because '{bundle.manifest.name}' does not compute in int8; leave it out"
    if given.get("clip_skip", 1) > 1 and not skips_layers(bundle):
        yield (
            f"'clip_skip' has no effect, because the text encoder of '{bundle.manifest.name}' does not return"
            " earlier layers; leave it out, or export the model's diffusers folder"
        )


def in_int8(bundle: Bundle) -> bool:
    """Whether a bundle's denoiser computes in int8."""
    return bundle.manifest.graphs[bundle.manifest.denoiser.graph].in_int8


def idle(given: Mapping[str, Any]) -> Iterator[str]:
    """A warning for every option that does nothing without another one that was not given."""
    on = {name for name, value in given.items() if OPTIONS[name].type.file or value != OPTIONS[name].default}
    for name in given:
        needs = OPTIONS[name].needs
        if needs and name in on and on.isdisjoint(needs):
            yield f"'{name}' has no effect without '{needs[0]}'; leave it out or add that"


def random_of(given: Mapping[str, Any]) -> Randomness:
    """Where the noise comes from, with one seed for each picture; a subseed of no strength is none."""
    found = values(Randomness, given)
    seeds = _seeds(found["seeds"], values(Shorthand, given)["count"])
    subseed = found["subseed"] if found["subseed_strength"] else None
    return Randomness(**{**found, "seeds": seeds, "subseed": subseed})


def _seeds(seed: int | tuple[int, ...] | None, count: int) -> tuple[int, ...]:
    if isinstance(seed, tuple):
        if count not in (1, len(seed)):
            raise RequestError(f"{len(seed)} seeds and a count of {count} contradict each other; leave the count out")
        return seed
    first = int.from_bytes(os.urandom(4)) if seed is None else whole("seed", seed, 0, SEED_LIMIT - count)
    return tuple(range(first, first + count))


def guidance_of(bundle: Bundle, given: Mapping[str, Any], sampler: str) -> Guidance:
    """How the network is guided, with what the model's scheduler config and its defaults say of it."""
    config = bundle.scheduler_config
    found = values(Guiding, {"guidance": bundle.manifest.defaults.guidance, **given})
    if config.get("thresholding") and found["threshold"] is None and SAMPLERS[sampler].grid in THRESHOLDED:
        found["threshold"] = config.get("dynamic_thresholding_ratio", 0.995)
        found["ceiling"] = config.get("sample_max_value", 1.0)
    if bundle.manifest.guidance != "image_text":
        found["image"] = None
    elif found["image"] is None:
        found["image"] = bundle.manifest.defaults.image_guidance
    return Guidance(**found)


def vae_tile_of(side: int | None) -> int | None:
    """The side of the VAE's tiles; 0 stands for one larger than any picture."""
    if side is None:
        return None
    if 0 < side < SIDES[0]:
        raise RequestError(f"vae_tile {side} is too small; choose {SIDES[0]} or more, or 0 for none")
    return side or SIDES[1]
