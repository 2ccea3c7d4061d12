"""OpenAI's images interface, /v1: generations, edits, variations and models, as its own client asks for them."""

import base64
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from functools import wraps
from io import BytesIO
from typing import Any

from PIL import Image
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from pleinair.serve.asking import asked_job
from pleinair.serve.counts import OPENAI
from pleinair.serve.formats import in_format
from pleinair.serve.forms import listed_loras, read_form
from pleinair.serve.guards import refusal
from pleinair.serve.job import DONE, ENDED, Event, FinishedPicture, Job, JobSpec
from pleinair.serve.jobs import Jobs
from pleinair.serve.reading import read_json
from pleinair.serve.refusals import Refused
from pleinair.serve.shared import Shared
from pleinair.serve.waiting import ended

KINDS = {"png": "PNG", "jpeg": "JPEG", "webp": "WEBP"}
THEIRS = ("gpt-image", "dall-e", "chatgpt-image")  # begin names of models that stand for the default one
MOST_PICTURES, MOST_PARTIAL = 10, 3
VARIED = 0.6  # how much of a picture a variation repaints
ALIASES = {  # option -> what clients call it
    "steps": ("steps", "num_inference_steps", "sample_steps"),
    "guidance": ("guidance", "guidance_scale", "cfg_scale"),
    "seed": ("seed", "rng_seed"),
    "negative": ("negative", "negative_prompt"),
    "strength": ("strength", "denoising_strength"),
    "sampler": ("sampler", "sampler_name", "scheduler"),
    "loras": ("loras", "lora"),
}
BASE = "/v1"
NOTHING = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
USAGE = {**NOTHING, "input_tokens_details": {"image_tokens": 0, "text_tokens": 0}}
TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
Handler = Callable[[Request], Awaitable[Response]]


def speaking(handler: Handler) -> Handler:
    """A handler whose refusals have OpenAI's form; its client repeats only what another time may be done."""

    @wraps(handler)
    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except (Refused, HTTPException) as error:
            found = error if isinstance(error, Refused) else no_form(error)
            request.app.state.serve.jobs.counts.refused[found.trouble.code] += 1
            return in_their_form(found)

    return answer


def no_form(error: HTTPException) -> Refused:
    """What Starlette says of a form that is damaged."""
    return Refused(400, "invalid_request", f"{error.detail.rstrip('.')}; check the form")


def in_their_form(error: Refused) -> Response:
    """A refusal as OpenAI's client reads it."""
    status = 400 if error.status in (415, 422) else error.status
    plain = refusal(Refused(status, error.trouble.code, error.trouble.message, retry_after=error.retry_after))
    headers = {name: plain.headers[name] for name in ("retry-after",) if name in plain.headers}
    again = "true" if status in (429, 503) else "false"
    return JSONResponse({"error": their_error(error, status)}, status, {**headers, "x-should-retry": again})


def their_error(error: Refused, status: int) -> dict[str, Any]:
    kind = TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"message": error.trouble.message, "type": kind, "param": error.trouble.field, "code": error.trouble.code}


@speaking
async def generations(request: Request) -> Response:
    """POST /v1/images/generations."""
    body, _ = await read_json(request)
    if not isinstance(body, dict):
        raise Refused(422, "invalid_request", "the body must be an object; send a prompt")
    return await painted(request, body, {}, "image_generation")


@speaking
async def edits(request: Request) -> Response:
    """POST /v1/images/edits: a picture repainted, or where its mask is transparent."""
    body, files = await read_form(request, ("image", "image[]", "mask"))
    images = files.get("image", []) + files.get("image[]", [])
    if len(images) != 1:
        raise Refused(422, "invalid_request", f"{len(images)} images were sent; send one to edit", field="image")
    pictures = {"image": images[0]}
    if files.get("mask"):
        pictures["mask"] = files["mask"][0]
    return await painted(request, body, pictures, "image_edit")


@speaking
async def variations(request: Request) -> Response:
    """POST /v1/images/variations: a picture repainted in part, without words."""
    body, files = await read_form(request, ("image",))
    if not files.get("image"):
        raise Refused(422, "invalid_request", "no image was sent; send the one to vary", field="image")
    asked = {"strength": VARIED, **{name: each for name, each in body.items() if name != "prompt"}, "prompt": ""}
    return await painted(request, asked, {"image": files["image"][0]}, "image_edit")


@speaking
async def models(request: Request) -> Response:
    """GET /v1/models."""
    shared: Shared = request.app.state.serve
    here = (await shared.checks(shared.index.listed)).models
    return JSONResponse({"object": "list", "data": [model_facts(name) for name in here]})


@speaking
async def one_model(request: Request) -> Response:
    """GET /v1/models/{name}."""
    shared: Shared = request.app.state.serve
    name = request.path_params["name"]
    if name not in (await shared.checks(shared.index.listed)).models:
        raise no_model(name)
    return JSONResponse(model_facts(name))


def model_facts(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "pleinair"}


async def painted(request: Request, body: Mapping[str, Any], pictures: dict[str, bytes], kind: str) -> Response:
    """The answer to a request: pictures when they are done, or a stream of what they become."""
    shared: Shared = request.app.state.serve
    form = chosen(body, "output_format", tuple(KINDS), "png")
    form_of_answer = chosen(body, "response_format", ("b64_json", "url"), "b64_json")
    quality = whole(body, "output_compression", 0, 100, 0) or None
    stream, partial = flag(body, "stream"), whole(body, "partial_images", 0, MOST_PARTIAL, 0)
    spec = await shared.checks(spec_of, shared, body, pictures)
    job, _ = await shared.jobs.submit(spec, interface=OPENAI)
    if stream:
        return Streamed(shared.jobs, job, streamed(shared, job, kind, form, quality, partial))
    await ended(shared.jobs, job, request)
    data = []
    for place, picture in enumerate(job.pictures):
        if form_of_answer == "url":
            url = f"{request.base_url}api/v1/jobs/{job.id}/images/{place}?type={form}"
            data.append({"url": url})
        else:
            data.append({"b64_json": await coded(shared, picture, form, quality)})
    told = {"created": int(job.created), "data": data, **facts(job, form), "usage": USAGE}
    return await shared.checks(JSONResponse, told)  # of many MB


def spec_of(shared: Shared, body: Mapping[str, Any], pictures: dict[str, bytes]) -> JobSpec:
    """What a body asks for, in our own words; what only OpenAI's models have is passed over."""
    asked: dict[str, Any] = {"prompt": body.get("prompt", ""), "count": whole(body, "n", 1, MOST_PICTURES, 1)}
    if body.get("prompt") is None:
        raise Refused(422, "invalid_request", "there is no prompt; send one", field="prompt")
    if body.get("size") not in (None, "auto"):
        asked["size"] = body["size"]
    name = body.get("model")
    if not isinstance(name, str | None):
        raise no_model(name)
    if name is not None and name not in shared.index.listed().models:
        if not name.startswith(THEIRS):
            raise no_model(name)
        name = None
    for option, names in ALIASES.items():
        given = [body[each] for each in names if body.get(each) is not None]
        if given:
            asked[option] = given[0]
    if isinstance(asked.get("loras"), str):
        asked["loras"] = listed_loras(asked["loras"])
    if str(asked.get("seed")) == "-1":  # A1111's word for any
        del asked["seed"]
    spec = asked_job({"model": name, **asked, **pictures}, shared.index, shared.settings.limits, False)
    if "mask" not in spec.pictures:
        return spec
    named = {{"mask": "mask.alpha"}.get(each, each): data for each, data in spec.pictures.items()}
    return replace(spec, pictures=named)


def no_model(name: object) -> Refused:
    return Refused(404, "model_not_found", f"there is no model '{str(name)[:80]}'; see /v1/models", field="model")


class Streamed(StreamingResponse):
    """A stream of a job, which its client's leaving cancels: also before the first line was asked for."""

    def __init__(self, jobs: Jobs, job: Job, lines: AsyncIterator[bytes]) -> None:
        super().__init__(lines, media_type="text/event-stream")
        self._jobs, self._job = jobs, job

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            if self._job.status not in ENDED:
                await self._jobs.cancel(self._job)


async def streamed(
    shared: Shared, job: Job, kind: str, form: str, quality: int | None, partial: int
) -> AsyncIterator[bytes]:
    """Server-sent events: previews, evenly over the steps, and each picture when all are done."""
    shown = 0
    async for event in job.follow(patience=15):
        if event is None:
            yield b": still here\n\n"
        elif shown < partial and is_next(event, shown, partial):
            seen = base64.b64decode(event.data["preview"])
            data = await shared.checks(converted, seen, KINDS[form])
            yield line(f"{kind}.partial_image", data, job, form, partial_image_index=shown)
            shown += 1
    if job.status != DONE:
        trouble = job.trouble
        code, words = (
            (trouble.code, trouble.message) if trouble else ("cancelled", "the job was cancelled; send it again")
        )
        yield b"data: " + json.dumps({"error": their_error(Refused(500, code, words), 500)}).encode() + b"\n\n"
    for picture in job.pictures if job.status == DONE else ():
        yield line(f"{kind}.completed", await coded(shared, picture, form, quality), job, form, usage=USAGE)
    yield b"data: [DONE]\n\n"


def is_next(event: Event, shown: int, partial: int) -> bool:
    """Whether a step has a preview, and is far enough for the next of the partial pictures."""
    data = event.data
    return "preview" in data and data["step"] * (partial + 1) >= (shown + 1) * data["steps"]


def line(kind: str, data: str, job: Job, form: str, **more: Any) -> bytes:
    told = {
        "type": kind,
        "b64_json": data,
        "created_at": int(time.time()),
        "quality": "auto",
        **facts(job, form),
        **more,
    }
    return f"event: {kind}\ndata: {json.dumps(told)}\n\n".encode()


def facts(job: Job, form: str) -> dict[str, Any]:
    """What an answer says of its pictures."""
    size = f"{job.pictures[0].width}x{job.pictures[0].height}" if job.pictures else "auto"
    return {"background": "opaque", "output_format": form, "size": size}


async def coded(shared: Shared, picture: FinishedPicture, form: str, quality: int | None) -> str:
    return base64.b64encode(await shared.checks(in_format, picture, KINDS[form], quality)).decode()


def converted(data: bytes, kind: str) -> str:
    """A preview in another format, in base64."""
    stream = BytesIO()
    with Image.open(BytesIO(data), formats=("JPEG",)) as opened:
        opened.save(stream, kind)
    return base64.b64encode(stream.getvalue()).decode()


def chosen(body: Mapping[str, Any], name: str, choices: tuple[str, ...], usual: str) -> str:
    value = usual if body.get(name) is None else body[name]
    if value not in choices:
        raise Refused(422, "invalid_request", f"{name} must be one of these; choose {', '.join(choices)}", field=name)
    return value


def whole(body: Mapping[str, Any], name: str, low: int, high: int, usual: int) -> int:
    value = usual if body.get(name) is None else body[name]
    text = str(value)
    if isinstance(value, bool) or not (
        text.isascii() and text.isdigit() and len(text) < 6 and low <= int(text) <= high
    ):
        raise Refused(422, "invalid_request", f"{name} must be {low} to {high}; choose another", field=name)
    return int(text)


def flag(body: Mapping[str, Any], name: str) -> bool:
    return body.get(name) in (True, "true", "True", "1")


ROUTES = [
    Route(f"{BASE}/images/generations", generations, methods=["POST"]),
    Route(f"{BASE}/images/edits", edits, methods=["POST"]),
    Route(f"{BASE}/images/variations", variations, methods=["POST"]),
    Route(f"{BASE}/models", models),
    Route(BASE + "/models/{name:path}", one_model),
]
