"""/api/v1 as OpenAPI 3.1, from the same schemas that capabilities have."""

from typing import Any

from pleinair.serve.schema import ERROR, JOB, TEXT, WHOLE, job_request, object_of
from pleinair.serve.settings import RequestLimits
from pleinair.version import __version__

BASE = "/api/v1"
ID = {"name": "id", "in": "path", "required": True, "schema": TEXT}
PLACE = {"name": "k", "in": "path", "required": True, "schema": {"type": "integer", "minimum": 0}}
KIND = {"name": "type", "in": "query", "schema": {"enum": ["png", "jpeg", "webp"], "default": "png"}}
WAIT = {"name": "wait", "in": "query", "schema": {"type": "boolean", "default": False}}
KEY = {"name": "Idempotency-Key", "in": "header", "schema": {"type": "string", "minLength": 1, "maxLength": 200}}
LAST = {"name": "Last-Event-ID", "in": "header", "schema": TEXT}
STATUSES = {
    400: "The body is not JSON.",
    401: "The key is missing or wrong.",
    403: "The request comes from another host or page.",
    404: "It does not exist.",
    408: "The body came too slowly.",
    409: "The job has ended, or the key was used for another one.",
    410: "It is no longer kept.",
    413: "The body is too large.",
    415: "The body has the wrong type.",
    422: "It makes no sense, or is over a limit.",
    429: "The queue is full; Retry-After says when to try again.",
    500: "The painting process crashed, or there is a bug.",
    503: "Memory or disk space is short, nothing can paint, too much is sent at once, or the server is shutting down.",
}
EVERYWHERE = (401, 403, 413)
WITH_BODY = (408, 503)
COUNTED = object_of(
    {"tokens": WHOLE, "limit": WHOLE, "chunks": WHOLE, "unknown": {"type": "array", "items": TEXT}},
    ["tokens", "limit", "chunks", "unknown"],
)
ABLE = {"type": "object", "required": ["version", "models", "options", "limits", "queue"]}


def document(limits: RequestLimits) -> dict[str, Any]:
    """The whole document."""
    job, found = content(JOB), content({"type": "object"})
    prompt = {"type": "string", "maxLength": limits.prompt}
    asked = body("application/json", job_request(limits))
    count = body("application/json", object_of({"model": TEXT, "prompt": prompt}))
    file = body("image/*", {"type": "string", "format": "binary"})
    stream = {"text/event-stream": {"schema": TEXT}}
    picture = {f"image/{kind}": {"schema": {"type": "string", "format": "binary"}} for kind in ("png", "jpeg", "webp")}
    waiting = {200: job, 202: job}
    return {
        "openapi": "3.1.0",
        "info": {"title": "pleinair", "version": __version__},
        "paths": {
            "/health": {"get": operation("Whether it answers", {200: content(object_of({"status": TEXT}))})},
            f"{BASE}/capabilities": {"get": operation("What it can do", {200: content(ABLE)})},
            f"{BASE}/jobs": {
                "post": operation(
                    "Ask for pictures", waiting, (400, 409, 415, 422, 429, 500, 503), [WAIT, KEY], requestBody=asked
                )
            },
            f"{BASE}/jobs/{{id}}": {"get": operation("One job", {200: job}, (404, 410), [ID])},
            f"{BASE}/jobs/{{id}}/events": {"get": operation("Its events", {200: stream}, (404, 410), [ID, LAST])},
            f"{BASE}/jobs/{{id}}/cancel": {"post": operation("Cancel it", {200: job}, (404, 409, 410), [ID])},
            f"{BASE}/jobs/{{id}}/images/{{k}}": {
                "get": operation("A picture", {200: picture}, (404, 410, 422), [ID, PLACE, KIND])
            },
            f"{BASE}/tokens": {
                "post": operation("Count tokens", {200: content(COUNTED)}, (400, 415, 422), requestBody=count)
            },
            f"{BASE}/metadata": {"post": operation("What made a picture", {200: found}, (422,), requestBody=file)},
        },
    }


def operation(
    summary: str,
    answers: dict[int, dict[str, Any]],
    refusals: tuple[int, ...] = (),
    parameters: list[dict[str, Any]] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """An operation, its answers, and what it may be refused with."""
    told = {str(status): {"description": "As asked.", "content": each} for status, each in answers.items()}
    for status in sorted({*refusals, *EVERYWHERE, *(WITH_BODY if "requestBody" in more else ())}):
        told[str(status)] = {"description": STATUSES[status], "content": content(ERROR)}
    return {"summary": summary, "parameters": parameters or [], "responses": told, **more}


def content(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def body(kind: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {kind: {"schema": schema}}}
