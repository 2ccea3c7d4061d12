"""What A1111's clients look up: samplers, models, upscalers and the rest, in its own words, and the chosen model."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pleinair.bundle.opening import Bundle, bundle_identity
from pleinair.pictures.preparing import WAYS
from pleinair.sampling.names import LABELS, SCHEDULE_TYPES
from pleinair.serve.job import ENDED, Job
from pleinair.serve.shared import Shared
from pleinair.system.limits import memory_left
from pleinair.system.machine import memory_bytes

BASE, CONTROLNET = "/sdapi/v1", "/controlnet"
LATENT = "Latent"


@dataclass
class Chosen:
    """The model that /options has chosen, and the jobs that this interface waits for."""

    model: str | None = None
    jobs: list[Job] = field(default_factory=list)

    def current(self) -> Job | None:
        """The first of them that has not ended."""
        return next((job for job in self.jobs if job.status not in ENDED), None)


def options_of(shared: Shared, chosen: Chosen) -> dict[str, Any]:
    """The options that clients read."""
    return {
        "sd_model_checkpoint": chosen.model or shared.index.default,
        "sd_vae": "Automatic",
        "CLIP_stop_at_last_layers": 1,
        "samples_format": "png",
        "show_progress_every_n_steps": 1,
    }


def samplers(shared: Shared) -> list[dict[str, Any]]:
    return [{"name": label, "aliases": [name], "options": {}} for name, label in LABELS.items() if label]


def schedulers(shared: Shared) -> list[dict[str, Any]]:
    labels = {"Automatic": "automatic"} | {label: name for name, label in SCHEDULE_TYPES.items()}
    rest = {"aliases": None, "default_rho": -1.0, "need_inner_model": False}
    return [{"name": name, "label": label, **rest} for label, name in labels.items()]


def models(shared: Shared) -> list[dict[str, Any]]:
    return [model_facts(name, bundle) for name, bundle in shared.index.listed().models.items()]


def model_facts(name: str, bundle: Bundle) -> dict[str, Any]:
    """`filename` is the name: where it lies is nobody's affair."""
    sha256 = bundle_identity(bundle)["sha256"]
    return {
        "title": name,
        "model_name": name,
        "hash": sha256[:10],
        "sha256": sha256,
        "filename": name,
        "config": None,
    }


def vaes(shared: Shared) -> list[dict[str, Any]]:
    return [{"model_name": name, "filename": name} for name in shared.index.listed().vaes]


def loras(shared: Shared) -> list[dict[str, Any]]:
    return [{"name": name, "alias": name, "path": name, "metadata": {}} for name in shared.index.listed().loras]


def upscalers(shared: Shared) -> list[dict[str, Any]]:
    rest = {"model_name": None, "model_path": None, "model_url": None}
    own = [{"name": name, **rest, "scale": 4} for name in ("None", "Lanczos")]
    here = shared.index.listed().upscalers.items()
    return own + [{"name": name, **rest, "scale": each.manifest.scale} for name, each in here]


def embeddings(shared: Shared) -> dict[str, Any]:
    empty = {"step": None, "sd_checkpoint": None, "sd_checkpoint_name": None, "shape": 0, "vectors": 0}
    return {"loaded": {name: empty for name in shared.index.listed().embeddings}, "skipped": {}}


def memory(shared: Shared) -> dict[str, Any]:
    total, free = memory_bytes(), memory_left() or 0
    return {"ram": {"free": free, "used": total - free, "total": total}, "cuda": {"error": "there is no CUDA"}}


def nothing(shared: Shared) -> list[Any]:
    return []


def controlnets(shared: Shared) -> dict[str, Any]:
    return {"model_list": list(shared.index.listed().controlnets)}


def route(path: str, found: Callable[[Shared], Any], method: str = "GET") -> Route:
    """A route that answers with a list, made beside the event loop."""

    async def answer(request: Request) -> Response:
        shared: Shared = request.app.state.serve
        return JSONResponse(await shared.checks(found, shared))

    return Route(path, answer, methods=[method])


LISTS = [
    route(f"{BASE}/samplers", samplers),
    route(f"{BASE}/schedulers", schedulers),
    route(f"{BASE}/sd-models", models),
    route(f"{BASE}/sd-vae", vaes),
    route(f"{BASE}/loras", loras),
    route(f"{BASE}/upscalers", upscalers),
    route(f"{BASE}/latent-upscale-modes", lambda shared: [{"name": LATENT}]),
    route(f"{BASE}/embeddings", embeddings),
    route(f"{BASE}/hypernetworks", nothing),
    route(f"{BASE}/face-restorers", nothing),
    route(f"{BASE}/realesrgan-models", nothing),
    route(f"{BASE}/prompt-styles", nothing),
    route(f"{BASE}/scripts", lambda shared: {"txt2img": [], "img2img": []}),
    route(f"{BASE}/cmd-flags", lambda shared: {}),
    route(f"{BASE}/memory", memory),
    route(f"{BASE}/refresh-checkpoints", lambda shared: None, "POST"),
    route(f"{BASE}/refresh-loras", lambda shared: None, "POST"),
    route(f"{BASE}/refresh-vae", lambda shared: None, "POST"),
    route(f"{CONTROLNET}/version", lambda shared: {"version": 3}),
    route(f"{CONTROLNET}/model_list", controlnets),
    route(f"{CONTROLNET}/module_list", lambda shared: {"module_list": ["none", *WAYS]}),
]
