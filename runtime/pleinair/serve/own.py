"""pleinair's own interface, /api/v1: jobs that are accepted at once and followed as they are painted."""

import json
import tempfile
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from pleinair.checks import one_of
from pleinair.errors import PleinairError
from pleinair.files.embedded import read_texts
from pleinair.files.metadata import read_record
from pleinair.files.shown_records import record_facts
from pleinair.serve.asking import OFFERED, asked_job
from pleinair.serve.capabilities import busy, capabilities
from pleinair.serve.formats import in_format
from pleinair.serve.job import DONE, FAILED, QUEUED, Event, FinishedPicture, Job
from pleinair.serve.openapi import document
from pleinair.serve.pictures_in import size_of
from pleinair.serve.reading import read_json, read_object
from pleinair.serve.refusals import Refused, refused
from pleinair.serve.shared import Shared
from pleinair.serve.waiting import ended

BASE = "/api/v1"
KEEP_ALIVE_S = 15.0  # seconds after which a silent stream says that it is there
MOST_KEY = 200  # characters of an Idempotency-Key
INFOTEXTS = ("parameters", "UserComment")  # where A1111 and we write what galleries read, in PNG and elsewhere
TYPES = {"png": "PNG", "jpeg": "JPEG", "webp": "WEBP"}
WAITS = {"true": True, "1": True, "false": False, "0": False}
KEPT = "private, max-age=3600, immutable"  # of pictures, which never change


async def new_job(request: Request) -> Response:
    """POST /jobs: 202 and the job, or with ?wait=true 200 and the ended job, which the client's leaving cancels."""
    state: Shared = request.app.state.serve
    wait = WAITS.get(request.query_params.get("wait", "false"))
    if wait is None:
        raise Refused(422, "invalid_request", f"wait is one of {', '.join(WAITS)}; send one of these", field="wait")
    body, raw = await read_json(request)
    key = request.headers.get("idempotency-key")
    if key is not None and not 0 < len(key) <= MOST_KEY:
        raise Refused(400, "invalid_request", f"an Idempotency-Key has 1 to {MOST_KEY} characters; send a shorter one")
    spec = await state.checks(asked_job, body, state.index, state.settings.limits, not wait)
    digest = await state.checks(digest_of, raw, wait) if key else ""
    job, _ = await state.jobs.submit(spec, key, digest)
    if not wait:
        return JSONResponse(job_json(state, job), 202, {"Location": f"{BASE}/jobs/{job.id}"})
    await ended(state.jobs, job, request)
    return JSONResponse(job_json(state, job))


def digest_of(raw: bytes, wait: bool) -> str:
    """The same for the same request."""
    return sha256(b"%d %b" % (wait, raw)).hexdigest()


async def one_job(request: Request) -> Response:
    """GET /jobs/{id}."""
    state: Shared = request.app.state.serve
    return JSONResponse(job_json(state, state.jobs.find(request.path_params["id"])))


async def cancel(request: Request) -> Response:
    """POST /jobs/{id}/cancel."""
    state: Shared = request.app.state.serve
    job = state.jobs.find(request.path_params["id"])
    await state.jobs.cancel(job)
    return JSONResponse(job_json(state, job))


async def events(request: Request) -> Response:
    """GET /jobs/{id}/events: server-sent events, from the one behind Last-Event-ID."""
    state: Shared = request.app.state.serve
    job = state.jobs.find(request.path_params["id"])
    last = request.headers.get("last-event-id", "")
    after = int(last) if last.isascii() and last.isdigit() and len(last) < 10 else 0

    async def lines() -> AsyncIterator[bytes]:
        async for event in job.follow(after, KEEP_ALIVE_S):
            yield b": still here\n\n" if event is None else event_lines(state, job, event)

    return StreamingResponse(lines(), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


async def image(request: Request) -> Response:
    """GET /jobs/{id}/images/{k}: a finished picture with its settings inside."""
    state: Shared = request.app.state.serve
    job = state.jobs.find(request.path_params["id"])
    number, kind = request.path_params["k"], request.query_params.get("type", "png")
    try:
        one_of("type of picture", kind, TYPES)
    except PleinairError as error:
        raise refused(error, "type") from None
    place = int(number) if number.isascii() and number.isdigit() and len(number) < 10 else len(job.pictures)
    if place >= len(job.pictures):
        raise Refused(
            404, "image_unknown", f"the job has {len(job.pictures)} finished pictures; count them from 0, or wait"
        )
    data = await state.checks(in_format, job.pictures[place], TYPES[kind])
    return Response(data, media_type=f"image/{kind}", headers={"Cache-Control": KEPT})


async def tokens(request: Request) -> Response:
    """POST /tokens: how a model counts a prompt."""
    state: Shared = request.app.state.serve
    body = await read_object(request, ("model", "prompt"))

    def count() -> dict[str, Any]:
        try:
            prompt = OFFERED["prompt"].type.read("prompt", body.get("prompt", ""))
            return state.readers.counted(*state.index.model(body.get("model")), prompt)
        except PleinairError as error:
            raise refused(error) from None

    return JSONResponse(await state.checks(count))


async def metadata(request: Request) -> Response:
    """POST /metadata: what the picture in the body says of how it was made."""
    state: Shared = request.app.state.serve
    data = await request.body()
    return JSONResponse(await state.checks(recorded, data, state.settings.limits.input_pixels))


async def able(request: Request) -> Response:
    """GET /capabilities."""
    state: Shared = request.app.state.serve
    return JSONResponse({**await state.checks(capabilities, state), "queue": busy(state.jobs)})


async def openapi(request: Request) -> Response:
    """GET /openapi.json."""
    state: Shared = request.app.state.serve
    return JSONResponse(document(state.settings.limits))


def job_json(state: Shared, job: Job) -> dict[str, Any]:
    """A job as clients see it."""
    url = f"{BASE}/jobs/{job.id}"
    return {
        "id": job.id,
        "task": job.spec.task,
        "model": job.spec.model,
        "status": job.status,
        "created": job.created,
        "started": job.started,
        "finished": job.finished,
        "queue_position": state.jobs.position(job),
        "expected_wait_s": state.jobs.expected_wait(job) if job.status == QUEUED else None,
        "step": job.step,
        "steps": job.steps,
        "eta_s": job.eta_s,
        "url": url,
        "events_url": f"{url}/events",
        "cancel_url": f"{url}/cancel",
        "images": [image_json(url, place, each) for place, each in enumerate(job.pictures)],
        "settings": job.pictures[-1].settings if job.pictures else job.spec.options,
        "warnings": job.warnings,
        "error": job.trouble.as_json() if job.trouble else None,
    }


def image_json(url: str, place: int, picture: FinishedPicture) -> dict[str, Any]:
    """Where a finished picture is, and what it is."""
    return {
        "url": f"{url}/images/{place}",
        "seed": picture.seed,
        "width": picture.width,
        "height": picture.height,
        "type": "image/png",
    }


def event_lines(state: Shared, job: Job, event: Event) -> bytes:
    """An event as a stream has it."""
    data = dict(event.data)
    if event.kind == DONE:
        data = job_json(state, job)
    elif event.kind == FAILED and job.trouble:
        data = {"error": job.trouble.as_json()}
    elif event.kind == "image":
        data |= image_json(f"{BASE}/jobs/{job.id}", data["index"], job.pictures[data["index"]])
    return f"id: {event.number}\nevent: {event.kind}\ndata: {json.dumps(data)}\n\n".encode()


def recorded(data: bytes, most_pixels: int) -> dict[str, Any]:
    """What made a picture, by what its file says."""
    try:
        size_of("the picture", data, most_pixels)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "picture")
            file.write_bytes(data)
            try:
                found = read_record(file)
                texts = read_texts(file).texts
            except PleinairError:
                lost = "the picture says nothing of how it was made; take the file as the tool wrote it"
                raise Refused(422, "no_record", lost) from None
    except PleinairError as error:
        raise refused(error) from None
    facts = record_facts(found)
    return {
        "from": found.tool,
        "version": found.version,
        "settings": facts["options"],
        "inputs": facts["inputs"],
        "record": facts["settings"],
        "text": next((texts[name] for name in INFOTEXTS if texts.get(name)), facts["raw"]),
        "warnings": list(found.warnings),
    }


ROUTES = [
    Route(f"{BASE}/capabilities", able),
    Route(f"{BASE}/openapi.json", openapi),
    Route(f"{BASE}/jobs", new_job, methods=["POST"]),
    Route(f"{BASE}/jobs/{{id}}", one_job),
    Route(f"{BASE}/jobs/{{id}}/events", events),
    Route(f"{BASE}/jobs/{{id}}/cancel", cancel, methods=["POST"]),
    Route(f"{BASE}/jobs/{{id}}/images/{{k}}", image),
    Route(f"{BASE}/tokens", tokens, methods=["POST"]),
    Route(f"{BASE}/metadata", metadata, methods=["POST"]),
]
