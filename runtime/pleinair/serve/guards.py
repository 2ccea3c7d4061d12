"""What stands before every interface: whose page may ask, who has the key, how large and how slow a body may be."""

import asyncio
import base64
import binascii
import hmac
import ipaddress
import logging
import secrets
import socket
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pleinair.checks import one_line
from pleinair.serve.counts import Counts
from pleinair.serve.peers import UNKNOWN, RequestPlaces
from pleinair.serve.refusals import Refused
from pleinair.serve.settings import RequestLimits, ServeSettings

CONTENT = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": CONTENT,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
ALLOWED = "GET, HEAD, POST, OPTIONS"
READING = ("GET", "HEAD", "OPTIONS")
BUSY_S = 5.0  # until a request that found too many others is worth another try
PIECE = 64 << 10  # bytes of an answer that are written at a time
OPEN = ("/health",)  # what is answered without a key, and whoever else is there
log = logging.getLogger(__name__)

Forms = Mapping[str, Callable[[Refused], Response]]  # where an interface lies -> a refusal as its clients read it


class Guard:
    """An ASGI application around another one, which hears of nothing that is refused."""

    def __init__(self, app: ASGIApp, settings: ServeSettings, counts: Counts, forms: Forms) -> None:
        self._forms = forms
        self._app, self._limits, self._counts = app, settings.limits, counts
        self._key = sha256(settings.key.encode()).digest() if settings.key else None
        self._bodies = Bodies(settings.limits.bodies)
        self._places = RequestPlaces(settings.limits)
        self._hosts = {"localhost", socket.gethostname().lower(), *map(str.lower, settings.hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["pleinair.request"] = id = secrets.token_hex(8)
        answering = Answering(send, id)
        body = Body(receive, self._limits, self._bodies)
        try:
            headers = Headers(scope=scope)
            self._check(scope, headers)
            body.check(headers)
            if scope["method"] == "OPTIONS":
                await Response(status_code=204, headers={"Allow": ALLOWED})(scope, receive, answering)
            elif scope["path"] in OPEN:
                await self._app(scope, body.receive, answering)
            else:
                with self._places.one_for((scope.get("client") or (UNKNOWN,))[0]):
                    await self._app(scope, body.receive, answering)
        except Refused as error:
            self._counts.refused[error.trouble.code] += 1
            closing = error.status in (401, 403, 408, 413)  # what has not been read of the body is not waited for
            await refusal_at(scope["path"], error, self._forms, closing)(scope, receive, answering)
        except Exception as error:  # a bug, which has been answered; its message may hold a prompt
            log.error("request %s: %s", id, place_of(error))
        finally:
            body.free()

    def _check(self, scope: Scope, headers: Headers) -> None:
        host = headers.get("host", "")
        if len(headers.getlist("host")) != 1 or not self._known(host):
            raise Refused(
                403,
                "host_not_allowed",
                f"this server is not called '{one_line(host, 80)}'; name it with --allow-host, or use its address",
            )
        if scope["method"] not in READING:
            self._check_origin(scope, headers, host)
        if self._key and scope["path"] not in OPEN and not self._has_key(headers.get("authorization", "")):
            raise Refused(401, "unauthorized", "the key is missing or wrong; send Authorization: Bearer KEY")

    def _known(self, host: str) -> bool:
        """Whether a Host header is an address, which no name can be bound to anew, or one of the server's names."""
        try:
            parts = urlsplit(f"//{host}")
            name, _ = (parts.hostname or "").rstrip("."), parts.port
        except ValueError:
            return False
        if parts.username is not None or parts.path or parts.query or parts.fragment:
            return False
        return name in self._hosts or name.endswith(".localhost") or is_address(name)

    def _check_origin(self, scope: Scope, headers: Headers, host: str) -> None:
        """Refuse what a page of another origin sends, be it as a form."""
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
        own = {f"{scheme}://{host}".lower() for scheme in ("http", "https")}
        if (origin is not None and origin.lower() not in own) or site not in ("none", "same-origin"):
            raise Refused(
                403,
                "origin_not_allowed",
                "requests from another site's page are refused; open this server's own page, or use a program",
            )

    def _has_key(self, authorization: str) -> bool:
        """Bearer KEY, or Basic with the key as password; compared in a time that says nothing of it."""
        kind, _, given = authorization.partition(" ")
        if kind.lower() == "basic":
            try:
                given = base64.b64decode(given, validate=True).decode().partition(":")[2]
            except (binascii.Error, UnicodeDecodeError):
                return False
        elif kind.lower() != "bearer":
            return False
        return hmac.compare_digest(sha256(given.strip().encode()).digest(), self._key)


class Bodies:
    """What all requests that are read or answered at a moment hold."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.size = 0


class Body:
    """A request's body, which may be neither too large nor too slow, nor too much beside the others."""

    def __init__(self, receive: Receive, limits: RequestLimits, bodies: Bodies) -> None:
        self._receive, self._limits, self._bodies = receive, limits, bodies
        self._size = 0
        self._whole = False
        self._until: float | None = None

    def check(self, headers: Headers) -> None:
        """Raise Refused for what its headers say that is too much."""
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise Refused(415, "unsupported_media_type", "compressed bodies are not read; send the body uncompressed")
        length = headers.get("content-length", "")
        if length.isascii() and length.isdigit() and (len(length) > 15 or int(length) > self._limits.body):
            raise self._too_large()

    async def receive(self) -> Message:
        """What Starlette asks for. Raises Refused for a body that is too large (413) or slow (408)."""
        if self._whole:
            return await self._receive()
        if self._until is None:
            self._until = asyncio.get_running_loop().time() + self._limits.body_s
        try:
            async with asyncio.timeout_at(self._until):
                message = await self._receive()
        except TimeoutError:
            slow = f"the body took more than {self._limits.body_s:g} s; send it again"
            raise Refused(408, "too_slow", slow) from None
        size = len(message.get("body", b""))
        self._size += size
        self._bodies.size += size
        if self._size > self._limits.body:
            raise self._too_large()
        if self._bodies.size > self._bodies.most:
            much = "too many large requests at once; try again in a few seconds"
            raise Refused(503, "busy", much, retry_after=BUSY_S)
        self._whole = message["type"] != "http.request" or not message.get("more_body", False)
        return message

    def free(self) -> None:
        """The request is answered."""
        self._bodies.size -= self._size
        self._size = 0

    def _too_large(self) -> Refused:
        return Refused(413, "too_large", f"the body has more than {self._limits.body:,} bytes; send smaller pictures")


class Answering:
    """The way of an answer, which gets the headers that all have.

    A large one goes in pieces, each when the client has read what was before it: written at once, it would lie in the
    buffer of every connection that asks for it.
    """

    def __init__(self, send: Send, id: str) -> None:
        self._send, self._id = send, id

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("cache-control", "no-store")
            headers["x-request-id"] = self._id
        body, more = message.get("body", b""), message.get("more_body", False)
        if len(body) <= PIECE:
            await self._send(message)
            return
        for place in range(0, len(body), PIECE):
            last = place + PIECE >= len(body)
            piece = {**message, "body": body[place : place + PIECE], "more_body": more or not last}
            await self._send(piece)


def refusal_at(path: str, error: Refused, forms: Forms, closing: bool) -> Response:
    """A refusal in the form of the interface that was asked."""
    plain = refusal(error, closing)
    form = next((form for base, form in forms.items() if path.startswith(f"{base}/")), None)
    if form is None:
        return plain
    answer = form(error)
    for name in ("connection", "retry-after", "www-authenticate"):
        if name in plain.headers:
            answer.headers[name] = plain.headers[name]
    return answer


def refusal(error: Refused, closing: bool = False) -> JSONResponse:
    """A refusal as an answer."""
    headers = {"Connection": "close"} if closing else {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(max(1, round(error.retry_after)))
    if error.status == 401:
        headers["WWW-Authenticate"] = 'Basic realm="pleinair", charset="UTF-8"'
    return JSONResponse({"error": error.trouble.as_json()}, error.status, headers)


def is_address(name: str) -> bool:
    """Whether a host is an IP address."""
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True


def place_of(error: BaseException) -> str:
    """Where a bug is, without its message."""
    places: Iterable[str] = ()
    trace = error.__traceback__
    while trace is not None:
        frame = trace.tb_frame
        places = (*places, f"{frame.f_code.co_filename}:{trace.tb_lineno}")
        trace = trace.tb_next
    return f"{type(error).__name__} at {' < '.join(reversed([*places][-6:]))}"
