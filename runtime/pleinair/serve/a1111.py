"""AUTOMATIC1111's interface, /sdapi/v1, as its clients ask for it: pictures, progress, interrupts, options."""

import base64
import json
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pleinair.errors import PleinairError
from pleinair.files.foreign.infotext import infotext_fields
from pleinair.files.metadata import infotext
from pleinair.request.request import resolve
from pleinair.sampling.names import LABELS
from pleinair.serve import a1111_extras
from pleinair.serve.a1111_lists import LISTS, Chosen, options_of
from pleinair.serve.a1111_payload import NONE, SKIP, body_of, title_of
from pleinair.serve.asking import OFFERED, asked_job, checked
from pleinair.serve.guards import refusal
from pleinair.serve.job import PAINTING, Job, JobSpec
from pleinair.serve.naming import beside, found
from pleinair.serve.own import recorded
from pleinair.serve.pictures_in import picture_bytes
from pleinair.serve.reading import read_json
from pleinair.serve.refusals import Refused, refused
from pleinair.serve.shared import Shared
from pleinair.version import __version__

BASE = "/sdapi/v1"
STRENGTH = 0.75  # that img2img has without denoising_strength
OF_PICTURES, OF_TEXTS = ("init_images", "mask"), ("enable_hr",)  # what img2img and txt2img alone look at
SETTABLE = ("sd_model_checkpoint", "sd_vae", SKIP)
PICTURES = ("init_images", "mask", "image", "imageList", "alwayson_scripts")  # what an echo leaves out


async def txt2img(request: Request) -> Response:
    """POST /txt2img: the pictures in base64, and an `info` that is JSON in a text."""
    shared, chosen, body = await asked(request)
    return await painted(request, shared, chosen, without(body, OF_PICTURES))


async def img2img(request: Request) -> Response:
    """POST /img2img: the same of a picture."""
    shared, chosen, body = await asked(request)
    if not body.get("init_images"):
        raise Refused(404, "image_not_found", "Init image not found; send one in init_images", field="init_images")
    body = {"denoising_strength": STRENGTH, **without(body, OF_TEXTS)}
    return await painted(request, shared, chosen, body)


def without(body: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """A payload without what it has for the other of the two, which A1111 passes over."""
    return {name: each for name, each in body.items() if name not in names}


async def painted(request: Request, shared: Shared, chosen: Chosen, body: dict[str, Any]) -> Response:
    """The answer to both."""
    spec = await shared.checks(spec_of, shared, chosen, body)
    job = await chosen.done(request, shared, spec)
    return await shared.checks(answer_of, job, body)


def answer_of(job: Job, body: Mapping[str, Any]) -> Response:
    """The answer of a job, of which there may be many MB."""
    shown = body.get("send_images") is not False
    images = [base64.b64encode(each.data).decode() for each in job.pictures] if shown else []
    echo = {name: each for name, each in body.items() if name not in PICTURES}
    return JSONResponse({"images": images, "parameters": echo, "info": json.dumps(info_of(job))})


async def progress(request: Request) -> Response:
    """GET /progress: of the job that this interface was asked for last and that has not ended."""
    chosen: Chosen = request.app.state.a1111
    job = chosen.current()
    share = job.step / job.steps if job and job.steps else 0.0
    shown = preview_of(job) if request.query_params.get("skip_current_image", "false").lower() != "true" else None
    state = {
        "skipped": False,
        "interrupted": bool(job and job.cancelling),
        "stopping_generation": False,
        "job": job.id if job else "",
        "job_count": 1 if job else 0,
        "job_timestamp": moment(job.created) if job else "0",
        "job_no": 0,
        "sampling_step": job.step if job else 0,
        "sampling_steps": job.steps if job else 0,
    }
    eta = (job.eta_s if job else None) or 0.0
    return JSONResponse(
        {"progress": share, "eta_relative": eta, "state": state, "current_image": shown, "textinfo": None}
    )


async def extra_single(request: Request) -> Response:
    """POST /extra-single-image."""
    return await a1111_extras.single(request, *await asked(request))


async def extra_batch(request: Request) -> Response:
    """POST /extra-batch-images."""
    return await a1111_extras.batch(request, *await asked(request))


async def detect(request: Request) -> Response:
    """POST /controlnet/detect."""
    return await a1111_extras.detect(request, *await asked(request))


async def interrogate(request: Request) -> Response:
    """POST /interrogate."""
    raise Refused(501, "not_supported", "no model here describes pictures; write the prompt yourself")


async def interrupt(request: Request) -> Response:
    """POST /interrupt and /skip: the job that is painted for this interface ends within a step."""
    shared, chosen = request.app.state.serve, request.app.state.a1111
    if job := chosen.current():
        await shared.jobs.cancel(job)
    return JSONResponse({})


async def set_options(request: Request) -> Response:
    """POST /options: the model, the VAE and the clip skip that are usual; the rest of the dictionary is passed over."""
    shared, chosen, body = await asked(request)
    given = {name: body[name] for name in SETTABLE if body.get(name) is not None}
    await shared.checks(check_options, shared, given, chosen.set)
    chosen.set |= given
    return JSONResponse({})


def check_options(shared: Shared, given: dict[str, Any], before: Mapping[str, Any]) -> None:
    """Raise Refused for options of which nothing is here; the model's title becomes its name."""
    if (name := given.get("sd_model_checkpoint")) is not None:
        given["sd_model_checkpoint"], _ = checked("sd_model_checkpoint", shared.index.model, title_of(name))
    if (vae := given.get("sd_vae")) not in NONE:
        checked("sd_vae", found, "VAE", vae, beside(shared.index.listed())["vae"])
    if SKIP in given:
        given[SKIP] = checked(SKIP, OFFERED["clip_skip"].type.read, SKIP, given[SKIP])
    if given.get(SKIP, 1) > 1:  # or all requests would be refused from now on
        _, bundle = checked(SKIP, shared.index.model, {**before, **given}.get("sd_model_checkpoint"))
        checked(SKIP, partial(resolve, bundle, "", clip_skip=given[SKIP]))


async def get_options(request: Request) -> Response:
    """GET /options."""
    return JSONResponse(options_of(request.app.state.serve, request.app.state.a1111))


async def png_info(request: Request) -> Response:
    """POST /png-info: what a picture says of how it was made."""
    shared, _, body = await asked(request)

    def told_by_it() -> dict[str, Any]:
        most = shared.settings.limits.input_pixels
        try:
            told = recorded(picture_bytes("image", body.get("image"), most), most)
        except PleinairError as error:
            raise refused(error, "image") from None
        except Refused as error:
            if error.trouble.code != "no_record":
                raise
            return {"info": "", "items": {}, "parameters": {}}
        parameters = parameters_of(told["text"], told["settings"])
        return {"info": told["text"], "items": {"parameters": told["text"]}, "parameters": parameters}

    return JSONResponse(await shared.checks(told_by_it))


def parameters_of(text: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What A1111 reads out of such a text, under its own names."""
    texts = {"Prompt": settings.get("prompt", ""), "Negative prompt": settings.get("negative", "")}
    fields = infotext_fields(text.rpartition("\n")[2])
    if "Steps" not in fields:  # a text of another kind
        return texts
    width, _, height = fields.pop("Size", "").partition("x")
    return texts | fields | ({"Size-1": width, "Size-2": height} if height else {})


async def asked(request: Request) -> tuple[Shared, Chosen, dict[str, Any]]:
    """What all handlers need: what is shared, what was chosen, and the body."""
    body, _ = await read_json(request)
    if not isinstance(body, dict):
        raise Refused(422, "invalid_request", "the body must be an object; send one")
    return request.app.state.serve, request.app.state.a1111, body


def spec_of(shared: Shared, chosen: Chosen, body: Mapping[str, Any]) -> JobSpec:
    """A payload as a job; a mask that is to be inverted is marked, and inverted where it is painted."""
    asked_for = body_of(body, shared.index.listed(), chosen.set)
    spec = asked_job(asked_for, shared.index, shared.settings.limits, False)
    if body.get("inpainting_mask_invert") in (1, True, "1") and "mask" in spec.pictures:
        pictures = {{"mask": "mask.inverted"}.get(name, name): data for name, data in spec.pictures.items()}
        return replace(spec, pictures=pictures)
    return spec


def info_of(job: Job) -> dict[str, Any]:
    """What clients read of a result, as A1111 writes it."""
    settings = job.pictures[0].settings if job.pictures else {}
    seeds = [each.seed for each in job.pictures]
    count, prompt = len(seeds), settings.get("prompt", "")
    negative = settings.get("negative", "")
    texts = [infotext(each.settings, each.seed) for each in job.pictures if each.settings]
    return {
        "prompt": prompt,
        "all_prompts": [prompt] * count,
        "negative_prompt": negative,
        "all_negative_prompts": [negative] * count,
        "seed": seeds[0] if seeds else -1,
        "all_seeds": seeds,
        "subseed": settings.get("subseed", -1),
        "all_subseeds": [settings.get("subseed", -1)] * count,
        "subseed_strength": settings.get("subseed_strength", 0),
        "width": job.pictures[0].width if seeds else 0,
        "height": job.pictures[0].height if seeds else 0,
        "sampler_name": LABELS.get(settings.get("sampler", ""), ""),
        "cfg_scale": settings.get("guidance"),
        "steps": settings.get("steps"),
        "batch_size": settings.get("batch", 1),
        "sd_model_name": settings.get("model", job.spec.model),
        "sd_model_hash": settings.get("bundle", {}).get("sha256", "")[:10],
        "infotexts": texts,
        "job_timestamp": moment(job.created),
        "version": __version__,
        "extra_generation_params": {},
        "index_of_first_image": 0,
    }


def moment(seconds: float) -> str:
    """A time as A1111 writes it."""
    return time.strftime("%Y%m%d%H%M%S", time.localtime(seconds))


def preview_of(job: Job | None) -> str | None:
    """The last preview of a job, in base64."""
    if job is None or job.status != PAINTING:
        return None
    return next((each.data["preview"] for each in reversed(job.events) if "preview" in each.data), None)


def in_their_form(error: Refused) -> Response:
    """A refusal as A1111's clients read it."""
    told = refusal(error)
    words = error.trouble.message
    shown = {"error": error.trouble.code, "detail": words, "body": "", "errors": words}
    headers = {"Retry-After": told.headers["retry-after"]} if "retry-after" in told.headers else {}
    return JSONResponse(shown, error.status, headers)


def speaking(handler: Any) -> Any:
    """A handler whose refusals have A1111's form."""

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except Refused as error:
            request.app.state.serve.jobs.counts.refused[error.trouble.code] += 1
            return in_their_form(error)

    return answer


def post(path: str, handler: Any) -> Route:
    return Route(f"{BASE}{path}", speaking(handler), methods=["POST"])


ROUTES = [
    post("/txt2img", txt2img),
    post("/img2img", img2img),
    post("/extra-single-image", extra_single),
    post("/extra-batch-images", extra_batch),
    post("/interrogate", interrogate),
    post("/interrupt", interrupt),
    post("/skip", interrupt),
    post("/png-info", png_info),
    Route("/controlnet/detect", speaking(detect), methods=["POST"]),
    Route(f"{BASE}/progress", speaking(progress)),
    Route(f"{BASE}/options", speaking(get_options)),
    post("/options", set_options),
    *LISTS,
]
