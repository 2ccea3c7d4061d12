"""Bodies of requests as JSON: bounded, and of the type that they say they are."""

import asyncio
import json
import math
from typing import Any

from starlette.requests import Request

from pleinair.checks import one_of
from pleinair.errors import PleinairError
from pleinair.serve.refusals import Refused, refused

LARGE = 1 << 18  # bytes from which on a body is parsed beside the event loop
PIECE = 1 << 20  # bytes that are looked at in one call: all threads wait for its end
JSON = "application/json"
EXACT = 1 << 53  # below which a float is what was written


async def read_json(request: Request) -> tuple[Any, bytes]:
    """A body's JSON and its bytes. Raises Refused: another type (415), no JSON (400), or nested too deep (422)."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != JSON:
        raise Refused(415, "unsupported_media_type", f"the body must be {JSON}; say so in Content-Type")
    raw = await request.body()
    limits = request.app.state.serve.settings.limits
    if len(raw) > LARGE:
        return await asyncio.to_thread(parsed, raw, limits.depth, limits.values), raw
    return parsed(raw, limits.depth, limits.values), raw


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


def parsed(raw: bytes, depth: int, most: int) -> Any:
    """JSON of at most `depth` levels and `most` values, whose numbers are finite and whose texts can be written."""
    check_values(raw, most)
    try:
        text = raw.decode("utf-8-sig")  # five times as fast as json.loads does it
        value = json.loads(text, parse_constant=no_number, parse_float=finite)
        level = [value]
        for _ in range(depth):
            check_texts(level)
            level = [inner for each in level for inner in inside(each)]
            if not level:
                return value
    except RecursionError:
        pass
    except ValueError:
        raise Refused(400, "invalid_json", "the body is not JSON in UTF-8; check it") from None
    raise Refused(422, "invalid_request", f"the JSON is nested deeper than {depth} levels; send it flat")


def check_values(raw: bytes, most: int) -> None:
    """Raise Refused for a body with more values than any request has: each takes more memory than its bytes do."""
    found = 0
    for place in range(0, len(raw), PIECE):
        piece = raw[place : place + PIECE]
        found += len(piece) - len(piece.translate(None, b",[{"))
    if found > most:
        raise Refused(422, "invalid_request", f"the JSON has more than {most:,} values; send fewer")


def check_texts(values: list[Any]) -> None:
    """Raise ValueError for half of a surrogate pair, which no answer could repeat."""
    for each in values:
        if isinstance(each, str) and not each.isascii():
            each.encode()


def inside(value: Any) -> list[Any]:
    """What a list or object holds, its names as well."""
    if isinstance(value, dict):
        return [*value, *value.values()]
    return value if isinstance(value, list) else []


def finite(text: str) -> float:
    """A number with a point or an exponent; a whole one is an integer in JSON, whatever it is written like."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is too large")
    return int(number) if number.is_integer() and abs(number) < EXACT else number


def no_number(word: str) -> None:
    raise ValueError(f"{word} is no JSON")
