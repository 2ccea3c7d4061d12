"""What A1111's clients look up: samplers, models, upscalers and the rest, in its own words, and the chosen model."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pleinair.bundle.opening import Bundle, bundle_identity
from pleinair.pictures.preparing import WAYS
from pleinair.request.controls import MAX_CONTROLS
from pleinair.sampling.names import LABELS, SCHEDULE_TYPES
from pleinair.serve.asking import RESIZING
from pleinair.serve.counts import A1111
from pleinair.serve.job import ENDED, Job, JobSpec
from pleinair.serve.refusals import Refused
from pleinair.serve.shared import Shared
from pleinair.serve.waiting import ended
from pleinair.system.limits import memory_left
from pleinair.system.machine import memory_bytes

BASE, CONTROLNET = "/sdapi/v1", "/controlnet"
LATENT = "Latent"
NONE_HERE = ("hypernetworks", "face-restorers", "realesrgan-models", "prompt-styles", "script-info", "extensions")
DONE_ALREADY = ("refresh-checkpoints", "refresh-loras", "refresh-vae", "unload-checkpoint", "reload-checkpoint")
PLAIN = ("None", RESIZING)  # upscalers that are no models


@dataclass
class Chosen:
    """What POST /options has set, and the jobs that this interface waits for."""

    set: dict[str, Any] = field(default_factory=dict)
    jobs: list[Job] = field(default_factory=list)

    def current(self) -> Job | None:
        """The first of them that has not ended."""
        return next((job for job in self.jobs if job.status not in ENDED), None)

    async def done(self, request: Request, shared: Shared, spec: JobSpec) -> Job:
        """A job when it is done; where /interrupt ended it, what there is of it."""
        job, _ = await shared.jobs.submit(spec, interface=A1111)
        self.jobs.append(job)
        try:
            return await ended(shared.jobs, job, request)
        except Refused as error:
            if error.trouble.code == "cancelled":
                return job
            raise
        finally:
            self.jobs.remove(job)


def options_of(shared: Shared, chosen: Chosen) -> dict[str, Any]:
    """The options that clients read; those of SETTABLE can be set."""
    return {
        "sd_model_checkpoint": shared.index.default,
        "sd_vae": "Automatic",
        "CLIP_stop_at_last_layers": 1,
        "samples_format": "png",
        "show_progress_every_n_steps": 1,
        "img2img_color_correction": False,
        "face_restoration_model": None,
        **chosen.set,
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
    own = [{"name": name, **rest, "scale": 4} for name in PLAIN]
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


def scripts(shared: Shared) -> dict[str, Any]:
    """Clients look here whether ControlNets can be asked for."""
    names = ["controlnet"] if shared.index.listed().controlnets else []
    return {"txt2img": names, "img2img": names}


def controlnets(shared: Shared) -> dict[str, Any]:
    return {"model_list": list(shared.index.listed().controlnets)}


def modules(shared: Shared) -> dict[str, Any]:
    plain = {"model_free": False, "sliders": []}
    return {"module_list": ["none", *WAYS], "module_detail": dict.fromkeys(("none", *WAYS), plain)}


def control_types(shared: Shared) -> dict[str, Any]:
    usual = {"default_option": "none", "default_model": "None"}
    return {"control_types": {"All": {"module_list": ["none", *WAYS], **controlnets(shared), **usual}}}


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
    *(route(f"{BASE}/{name}", nothing) for name in NONE_HERE),
    route(f"{BASE}/scripts", scripts),
    route(f"{BASE}/cmd-flags", lambda shared: {}),
    route(f"{BASE}/memory", memory),
    *(route(f"{BASE}/{name}", lambda shared: None, "POST") for name in DONE_ALREADY),
    route("/queue/status", lambda shared: {"msg": "estimation", "queue_size": shared.jobs.length}),
    route(f"{CONTROLNET}/version", lambda shared: {"version": 3}),
    route(f"{CONTROLNET}/settings", lambda shared: {"control_net_unit_count": MAX_CONTROLS}),
    route(f"{CONTROLNET}/model_list", controlnets),
    route(f"{CONTROLNET}/module_list", modules),
    route(f"{CONTROLNET}/control_types", control_types),
]
