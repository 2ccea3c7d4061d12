"""A request as plain values: what is written into a picture's metadata and needed to make it again."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL.Image import Image

from pleinair.adapters.lora_file import digests
from pleinair.bundle.opening import Bundle, bundle_identity, open_bundle
from pleinair.bundle.verifying import file_info
from pleinair.pictures.seamless import AXES
from pleinair.request.controls import Control
from pleinair.request.file_types import InputPicture
from pleinair.request.lora_types import LoraUse
from pleinair.request.option import Option
from pleinair.request.options import BY_SAMPLER, FILES, OPTIONS
from pleinair.request.pass_options import ENLARGERS, Steps
from pleinair.request.request import Request
from pleinair.sampling.grids import FEW_STEPS
from pleinair.sampling.samplers import SAMPLERS
from pleinair.sampling.spacings import resolve_spacing

DIGEST = 16  # hexadecimal digits that tell files apart
AUTOV3 = 12  # of A1111's digest of a LoRA


def asked_for(bundle: Bundle, request: Request, seeds: tuple[int, ...]) -> dict[str, Any]:
    """The settings of a job, JSON values only; an option that is off or at its default is absent."""
    settings = {
        "prompt": request.prompt,
        "negative": request.negative or "",
        **({"negative_said": True} if request.negative == "" and tells_empty_apart(bundle) else {}),
        "task": request.task,
        "seeds": list(seeds),
        **dict(_plain_options(request)),
        **dict(_renewed_noise(request)),
        **_spacings(bundle, request),
        **_files(request),
    }
    if request.guidance.ceiling is not None:  # it is the scheduler config that asks for it
        del settings["threshold"]
    return settings


def tells_empty_apart(bundle: Bundle) -> bool:
    """Whether an empty negative prompt of the caller's is another one than none, as for SDXL."""
    return any(each.empty == "zeros" for each in bundle.manifest.text_encoders)


def modern(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a record of any age under the names and values that they have here."""
    found = {}
    for name, value in settings.items():
        here = OLD.get(name, Renamed(name, {}))
        found[here.name] = here.values.get(value, value) if isinstance(value, bool) else value
    return found


def _plain_options(request: Request) -> Iterator[tuple[str, Any]]:
    """Every option that has a part in a request and is not at its default, as far as its value is what is written."""
    for name, option in OPTIONS.items():
        apart = name in APART or option.by_sampler or option.type.file or not option.type.json
        if apart or not counts(option, request):
            continue
        value = option.of(request)
        if option.recorded or value != option.default:
            value = WORDS[name](value) if name in WORDS else value
            yield name, list(value) if isinstance(value, tuple) else value


def counts(option: Option, request: Request) -> bool:
    """Whether an option means something in a request: one of those that it needs is on."""
    return not option.needs or any(OPTIONS[name].of(request) != OPTIONS[name].default for name in option.needs)


def _renewed_noise(request: Request) -> Iterator[tuple[str, Any]]:
    """What samplers renew noise by: one value for both passes, and the second one's where it has another."""
    second = request.hires.steps if request.hires else None
    for name, option in BY_SAMPLER.items():
        value = getattr(request.steps, option.field)
        if second and name not in SAMPLERS[request.steps.sampler].options:
            value = getattr(second, option.field)
        if value != option.default:
            yield name, value
        if second and name in SAMPLERS[second.sampler].options and getattr(second, option.field) != value:
            yield f"hires_{name}", getattr(second, option.field)


def _spacings(bundle: Bundle, request: Request) -> dict[str, str]:
    passes = {"spacing": request.steps, **({"hires_spacing": request.hires.steps} if request.hires else {})}
    named = {name: spacing_of(bundle, steps) for name, steps in passes.items()}
    return {name: spacing for name, spacing in named.items() if spacing}


def spacing_of(bundle: Bundle, steps: Steps) -> str:
    """The spacing as `make_path` takes it; few-step samplers have timesteps of their own, which have no name."""
    grid = SAMPLERS[steps.sampler].grid
    timesteps, sigmas = resolve_spacing(bundle.scheduler_config, grid, steps.spacing)
    return ",".join(filter(None, [None if grid in FEW_STEPS else timesteps, sigmas]))


def _files(request: Request) -> dict[str, Any]:
    """Input files by their digests, upscalers by their names."""
    pictures = {name: OPTIONS[name].of(request) for name in FILES if isinstance(OPTIONS[name].type, InputPicture)}
    facts: dict[str, Any] = {f"{name}_sha256": digest_of_pixels(each) for name, each in pictures.items() if each}
    if request.embeddings:
        facts["embeddings"] = of_embeddings(request.embeddings)
    if request.loras:
        facts["loras"] = of_loras(request.loras)
    if request.upscale:
        facts["upscale"] = name_of(request.upscale)
    if request.controls:
        facts["controls"] = [of_control(control) for control in request.controls]
    if request.refining:
        refiner = bundle_identity(open_bundle(request.refining.bundle))
        facts |= {"refiner": refiner["name"], "refiner_sha256": refiner["sha256"][:DIGEST]}
    if request.vae:
        vae = bundle_identity(open_bundle(request.vae))
        facts |= {"vae": vae["name"], "vae_sha256": vae["sha256"][:DIGEST]}
    return facts


def of_embeddings(files: tuple[Path, ...]) -> dict[str, str]:
    """Name -> digest; files of one name are numbered."""
    stems = [file.stem for file in files]
    names = [stem if stems.count(stem) == 1 else f"{stem} {n}" for n, stem in enumerate(stems, 1)]
    return {name: digest(file) for name, file in zip(names, files, strict=True)}


def of_control(control: Control) -> dict[str, Any]:
    """A ControlNet and its picture by their digests, and the numbers by which it is followed."""
    bundle = bundle_identity(open_bundle(control.model))
    how = {"strength": control.strength, "start": control.start, "end": control.end}
    return {
        "model": bundle["name"],
        "sha256": bundle["sha256"][:DIGEST],
        "image_sha256": digest_of_pixels(control.image),
        **how,
        **({"guess": True} if control.guess else {}),
        **({"prepare": control.prepare} if control.prepare else {}),
    }


def of_loras(uses: tuple[LoraUse, ...]) -> dict[str, dict[str, Any]]:
    """Name -> digests of the file, its weight, and whether the prompt names it; in their order, which may matter."""
    facts = {}
    for use in uses:
        sha256, autov3 = digests(use.file)
        facts[use.name] = {"sha256": sha256[:DIGEST], "autov3": autov3[:AUTOV3], "weight": use.weight}
        if use.text_weight != use.weight:
            facts[use.name]["text_weight"] = use.text_weight
        if use.in_prompt:
            facts[use.name]["in_prompt"] = True
    return facts


def of_enlarger(enlarger: str) -> str:
    """The name of an enlarger, which may be a bundle's."""
    return enlarger if enlarger in ENLARGERS else name_of(Path(enlarger))


def of_tile(axes: str) -> bool | str:
    """True for borders that all meet."""
    return True if axes == AXES[0] else axes


def name_of(upscaler: Path) -> str:
    """What an upscaler's bundle is called."""
    return open_bundle(upscaler).manifest.name


def digest(file: Path) -> str:
    """The beginning of a file's SHA-256, in hexadecimal."""
    return file_info(file).sha256[:DIGEST]


def digest_of_pixels(picture: Image) -> str:
    """Of what the picture shows, whatever file it came from."""
    return hashlib.sha256(np.ascontiguousarray(picture).tobytes()).hexdigest()[:DIGEST]


APART = ("prompt", "negative", "seed", "spacing", "hires_spacing")  # what `asked_for` says itself
WORDS = {"enlarger": of_enlarger, "tile": of_tile}  # option -> what the record has for its value


class Renamed(NamedTuple):
    """What an option of older records is called here, and what its values are."""

    name: str
    values: dict[bool, bool]


OLD = {"together": Renamed(name="two_calls", values={True: False, False: True})}
