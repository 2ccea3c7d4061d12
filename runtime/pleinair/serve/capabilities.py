"""What a server can do, for clients that show it: models, options in the table's order, limits, and how busy it is."""

from typing import Any

from pleinair.bundle.opening import Bundle
from pleinair.pictures.preparing import WAYS
from pleinair.sampling.samplers import SAMPLERS
from pleinair.sampling.spacings import SPACINGS
from pleinair.serve.asking import OFFERED, TASKS
from pleinair.serve.fitting import control_fits, vae_fits
from pleinair.serve.jobs import Jobs
from pleinair.serve.schema import option_facts
from pleinair.serve.shared import Shared, speaks_mcp
from pleinair.system.limits import memory_left
from pleinair.system.machine import memory_bytes
from pleinair.version import __version__

DEFAULTS = ("width", "height", "sampler", "steps", "guidance")


def capabilities(state: Shared) -> dict[str, Any]:
    """What GET /api/v1/capabilities tells of the machine and its models; it may take a moment."""
    here, limits = state.index.listed(), state.settings.limits
    return {
        "version": __version__,
        "tasks": list(TASKS),
        "models": [model_facts(name, each, name == state.index.default) for name, each in here.models.items()],
        "options": [option_facts(each, limits) for each in OFFERED.values()],
        "samplers": [
            {"name": name, "label": each.a1111, "options": list(each.options), "evaluations": each.evaluations}
            for name, each in SAMPLERS.items()
        ],
        "spacings": list(SPACINGS),
        "loras": [{"name": name, "fits": fits} for name, fits in state.lora_fits.of(here).items()],
        "controlnets": [
            {"name": name, "fits": control_fits(each, here), "preprocessors": list(WAYS)}
            for name, each in here.controlnets.items()
        ],
        "upscalers": [{"name": name, "scale": each.manifest.scale} for name, each in here.upscalers.items()],
        "vaes": [{"name": name, "fits": vae_fits(each, here)} for name, each in here.vaes.items()],
        "embeddings": [{"name": name} for name in here.embeddings],
        "limits": {
            "max_pixels": limits.pixels,
            "max_input_pixels": limits.input_pixels,
            "max_pixels_steps": limits.pixel_steps,
            "max_steps": limits.steps,
            "max_count": limits.count,
            "max_frames": limits.frames,
            "max_queue": limits.queue,
            "max_body": limits.body,
            "prompt_chars": limits.prompt,
            "max_result_bytes": limits.result,
            "result_ttl_s": state.settings.keeping.seconds,
            "max_results": state.settings.keeping.jobs,
        },
        "interfaces": {"own": True, "openai": True, "a1111": True, "mcp": speaks_mcp()},
        "memory": {"free": memory_left(), "total": memory_bytes() or None},
    }


def busy(jobs: Jobs) -> dict[str, Any]:
    """How long the queue is."""
    return {"length": jobs.length, "running": len(jobs.running), "expected_wait_s": jobs.expected_wait()}


def model_facts(name: str, bundle: Bundle, default: bool) -> dict[str, Any]:
    """A model that paints."""
    manifest = bundle.manifest
    sizes = manifest.sizes
    return {
        "name": name,
        "family": manifest.family,
        "default": default,
        "defaults": {each: getattr(manifest.defaults, each) for each in DEFAULTS},
        "sizes": {
            "multiple": manifest.latents.multiple,
            "smallest": sizes.smallest if sizes else None,
            "largest": sizes.largest if sizes else None,
        },
        "can": list(manifest.tasks),
        "trigger": manifest.origin.trigger,
        "knows_all_words": not manifest.vocabulary,
    }
