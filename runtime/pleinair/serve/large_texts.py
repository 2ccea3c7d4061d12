"""Large texts in bodies for an application that parses JSON on the event loop: short names stand for them there."""

import asyncio
import json
import secrets
from typing import Any

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pleinair.serve.reading import LARGE, check_values, parsed
from pleinair.serve.settings import RequestLimits

LARGE_TEXT = 1 << 16  # characters from which on a name stands for a text


class LargeTexts:
    """Texts by names that nobody can guess, each for as long as its request is answered."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def restored(self, value: Any) -> Any:
        """JSON with the texts in the place of their names."""
        if isinstance(value, dict):
            return {name: self.restored(each) for name, each in value.items()}
        if isinstance(value, list):
            return [self.restored(each) for each in value]
        return self._texts.get(value, value) if isinstance(value, str) else value

    def take_out(self, value: Any, names: list[str]) -> Any:
        """JSON with names, which `names` collects, in the place of large texts."""
        if isinstance(value, dict):
            return {name: self.take_out(each, names) for name, each in value.items()}
        if isinstance(value, list):
            return [self.take_out(each, names) for each in value]
        if not isinstance(value, str) or len(value) < LARGE_TEXT:
            return value
        name = secrets.token_hex(16)
        names.append(name)
        self._texts[name] = value
        return name

    def forget(self, names: list[str]) -> None:
        """Their request is answered."""
        for name in names:
            del self._texts[name]


class Lightened:
    """An ASGI application that parses JSON itself, which gets none with too many values, and no large texts."""

    def __init__(self, app: ASGIApp, texts: LargeTexts, limits: RequestLimits) -> None:
        self._app, self._texts, self._limits = app, texts, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        raw = await Request(scope, receive).body()
        names: list[str] = []
        try:
            if len(raw) > LARGE:
                raw = await asyncio.to_thread(self._lightened, raw, names)
            else:
                check_values(raw, self._limits.values)
            told = [{"type": "http.request", "body": raw, "more_body": False}]

            async def once_more() -> Message:
                return told.pop() if told else await receive()

            await self._app(scope, once_more, send)
        finally:
            self._texts.forget(names)

    def _lightened(self, raw: bytes, names: list[str]) -> bytes:
        return json.dumps(self._texts.take_out(parsed(raw, self._limits.depth, self._limits.values), names)).encode()
