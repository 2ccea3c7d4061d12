"""A request as plain values: what is written into a picture's metadata and needed to make it again."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL.Image import Image

from pleinair.bundle.opening import Bundle, open_bundle
from pleinair.bundle.verifying import file_info
from pleinair.network.guidance import Guidance
from pleinair.pictures.seamless import AXES
from pleinair.request.request import ENLARGERS, Canvas, Hires, Randomness, Request, Walk
from pleinair.sampling.samplers import OFF, SAMPLERS
from pleinair.sampling.spacings import resolve_spacing

OWN_TIMESTEPS = ("lcm", "tcd")  # grids on which no timestep spacing can be named
DIGEST = 16  # hexadecimal digits that tell files apart


def asked_for(bundle: Bundle, request: Request, seeds: tuple[int, ...]) -> dict[str, Any]:
    """The settings of a job, JSON values only; an option that is off or at its default is absent."""
    return {
        "prompt": request.prompt,
        "negative": request.negative or "",
        "task": request.task,
        "width": request.width,
        "height": request.height,
        "seeds": list(seeds),
        "batch": request.batch,
        **of_walk(bundle, request.walk),
        **of_fresh_noise(request.hires.walk if request.hires else request.walk),
        **of_fresh_noise(request.walk),
        **of_random(request.random),
        **of_guidance(request.guidance),
        **({"clip_skip": request.clip_skip} if request.clip_skip > 1 else {}),
        **({"embeddings": of_embeddings(request.embeddings)} if request.embeddings else {}),
        **(of_canvas(request.canvas) if request.canvas else {}),
        **(of_hires(bundle, request.hires) if request.hires else {}),
        **({"upscale": name_of(request.upscale)} if request.upscale else {}),
        **({"tile": True if request.tile == AXES[0] else request.tile} if request.tile else {}),
        **({"vae_tile": request.vae_tile} if request.vae_tile is not None else {}),
    }


def of_walk(bundle: Bundle, walk: Walk) -> dict[str, Any]:
    return {
        "sampler": walk.sampler,
        **({"spacing": spacing} if (spacing := spacing_of(bundle, walk)) else {}),
        "steps": walk.steps,
        **({"sigmas": list(walk.sigmas)} if walk.sigmas else {}),
        **({"timesteps": list(walk.timesteps)} if walk.timesteps else {}),
    }


def of_fresh_noise(walk: Walk) -> dict[str, Any]:
    """What the passes of a job share, as far as their samplers have it."""
    return {name: value for name, off in OFF.items() if (value := getattr(walk, name)) != off}


def spacing_of(bundle: Bundle, walk: Walk) -> str:
    """The spacing as `make_path` takes it; few-step samplers have timesteps of their own, which have no name."""
    grid = SAMPLERS[walk.sampler].grid
    timesteps, sigmas = resolve_spacing(bundle.scheduler_config, grid, walk.spacing)
    return ",".join(filter(None, [None if grid in OWN_TIMESTEPS else timesteps, sigmas]))


def of_random(random: Randomness) -> dict[str, Any]:
    varied = {"subseed": random.subseed, "subseed_strength": random.subseed_strength}
    return {"noise": random.noise, **(varied if random.subseed is not None else {})}


def of_guidance(guidance: Guidance) -> dict[str, Any]:
    plain = Guidance(guidance.scale)
    named = {
        "rescale": (guidance.rescale, plain.rescale),
        "guidance_start": (guidance.start, plain.start),
        "guidance_end": (guidance.end, plain.end),
        # with a ceiling it is the scheduler config that asks for it
        "threshold": (guidance.threshold if guidance.ceiling is None else None, plain.threshold),
        "parallel": (guidance.parallel, plain.parallel),
        "together": (guidance.together, plain.together),
    }
    return {
        "guidance": guidance.scale,
        **{name: value for name, (value, default) in named.items() if value != default},
    }


def of_embeddings(files: tuple[Path, ...]) -> dict[str, str]:
    """Name -> digest; files of one name are numbered."""
    stems = [file.stem for file in files]
    names = [stem if stems.count(stem) == 1 else f"{stem} {n}" for n, stem in enumerate(stems, 1)]
    return {name: digest(file) for name, file in zip(names, files, strict=True)}


def of_canvas(canvas: Canvas) -> dict[str, Any]:
    facts: dict[str, Any] = {"strength": canvas.strength, "image_sha256": digest_of_pixels(canvas.image)}
    if canvas.outpaint:
        facts["outpaint"] = list(canvas.outpaint)
    if canvas.mask:
        facts["mask_sha256"] = digest_of_pixels(canvas.mask)
        if canvas.only_masked:
            facts |= {"only_masked": True, "padding": canvas.padding}
    if canvas.mask or canvas.outpaint:
        facts |= {"fill": canvas.fill, "mask_blur": canvas.mask_blur, "restore": canvas.restore}
    return facts


def of_hires(bundle: Bundle, hires: Hires) -> dict[str, Any]:
    spacing = spacing_of(bundle, hires.walk)
    return {
        "hires": hires.factor,
        "hires_strength": hires.strength,
        "hires_steps": hires.walk.steps,
        "hires_sampler": hires.walk.sampler,
        **({"hires_spacing": spacing} if spacing else {}),
        "enlarger": hires.enlarger if hires.enlarger in ENLARGERS else name_of(Path(hires.enlarger)),
    }


def name_of(upscaler: Path) -> str:
    return open_bundle(upscaler).manifest.name


def digest(file: Path) -> str:
    return file_info(file).sha256[:DIGEST]


def digest_of_pixels(picture: Image) -> str:
    """Of what the picture shows, whatever file it came from."""
    return hashlib.sha256(np.ascontiguousarray(picture).tobytes()).hexdigest()[:DIGEST]
