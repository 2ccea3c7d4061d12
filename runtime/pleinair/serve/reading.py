"""Bodies of requests as JSON: bounded, and of the type that they say they are."""

import asyncio
import json
from typing import Any

from starlette.requests import Request

from pleinair.checks import one_of
from pleinair.errors import PleinairError
from pleinair.serve.refusals import Refused, refused

LARGE = 1 << 18  # bytes from which on a body is parsed beside the event loop
JSON = "application/json"


async def read_json(request: Request) -> tuple[Any, bytes]:
    """A body's JSON and its bytes. Raises Refused: another type (415), no JSON (400), or nested too deep (422)."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != JSON:
        raise Refused(415, "unsupported_media_type", f"the body must be {JSON}; say so in Content-Type")
    raw = await request.body()
    depth = request.app.state.serve.settings.limits.depth
    if len(raw) > LARGE:
        return await asyncio.to_thread(parsed, raw, depth), raw
    return parsed(raw, depth), raw


async def read_object(request: Request, known: tuple[str, ...]) -> dict[str, Any]:
    """A body that is an object of these fields."""
    body, _ = await read_json(request)
    if not isinstance(body, dict):
        raise Refused(422, "invalid_request", f"the body must be an object; send {', '.join(known)}")
    try:
        for name in body:
            one_of("field", name, known)
    except PleinairError as error:
        raise refused(error) from None
    return body


def parsed(raw: bytes, depth: int) -> Any:
    """JSON of at most `depth` levels, without NaN."""
    try:
        value = json.loads(raw, parse_constant=no_number)
    except RecursionError:
        raise too_deep(depth) from None
    except ValueError:
        raise Refused(400, "invalid_json", "the body is not JSON in UTF-8; check it") from None
    level = [value]
    for _ in range(depth):
        level = [inner for each in level for inner in inside(each)]
        if not level:
            return value
    raise too_deep(depth)


def inside(value: Any) -> list[Any]:
    """What a list or object holds."""
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def no_number(word: str) -> None:
    raise ValueError(f"{word} is no JSON")


def too_deep(depth: int) -> Refused:
    return Refused(422, "invalid_request", f"the JSON is nested deeper than {depth} levels; send it flat")
