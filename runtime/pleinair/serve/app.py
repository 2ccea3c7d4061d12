"""The application: the interfaces of one server, behind its guard."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from pleinair.serve import a1111, openai, own
from pleinair.serve.a1111_lists import Chosen
from pleinair.serve.guards import Guard, refusal_at
from pleinair.serve.jobs import Jobs
from pleinair.serve.large_texts import Lightened
from pleinair.serve.naming import Index
from pleinair.serve.page_files import page, page_files
from pleinair.serve.refusals import Refused, shortage
from pleinair.serve.settings import ServeSettings
from pleinair.serve.shared import Shared, speaks_mcp
from pleinair.system import install

TIDY_S = 30.0  # between two looks at what is kept too long
GONE = 499  # nobody reads this status

FORMS = {openai.BASE: openai.in_their_form, a1111.BASE: a1111.in_their_form}


def build(settings: ServeSettings, jobs: Jobs, index: Index) -> ASGIApp:
    """The ASGI application; whoever calls it sees to it that jobs are painted."""
    shared = Shared(settings, jobs, index)
    answer_mcp, living = speaking_mcp(shared)
    routes = [
        Route("/health", health),
        *([Route("/metrics", metrics_of(jobs))] if settings.metrics else []),
        *own.ROUTES,
        *openai.ROUTES,
        *a1111.ROUTES,
        Route("/mcp", answer_mcp, methods=["GET", "POST", "DELETE"]),
        Route("/{name:path}", page),
    ]
    handlers = {Refused: say_refused, HTTPException: say_http, ClientDisconnect: say_nothing, Exception: say_bug}
    handlers |= {MemoryError: say_short, OSError: say_short}
    app = Starlette(routes=routes, exception_handlers=handlers, lifespan=tidying)
    app.state.serve, app.state.living = shared, living
    app.state.a1111 = Chosen()
    app.state.page = page_files()
    return Guard(app, settings, jobs.counts, FORMS)


def speaking_mcp(shared: Shared) -> tuple[Any, AbstractAsyncContextManager]:
    """What answers /mcp, and the context that it lives in."""
    if not speaks_mcp():
        return no_mcp, nullcontext()
    from mcp.server.streamable_http_manager import StreamableHTTPASGIApp

    from pleinair.serve.mcp import over_http, speaking

    sessions = over_http(speaking(shared), shared.settings.limits)
    return Lightened(StreamableHTTPASGIApp(sessions), shared.large_texts, shared.settings.limits), sessions.run()


def metrics_of(jobs: Jobs) -> Any:
    """What answers /metrics."""
    from pleinair.serve.metrics import answering

    return answering(jobs)


async def no_mcp(request: Request) -> Response:
    """/mcp where its extra is missing."""
    remedy = install.PARTS["MCP"][1]
    raise Refused(501, "not_installed", f"the server lacks a package for MCP; install it with: {remedy}")


async def health(request: Request) -> Response:
    """GET /health: that the event loop runs."""
    return JSONResponse({"status": "ok"})


@asynccontextmanager
async def tidying(app: Starlette) -> AsyncIterator[None]:
    """Let pictures go when their time is over, though nobody asks."""

    async def tidy() -> None:
        while True:
            await asyncio.sleep(TIDY_S)
            app.state.serve.jobs.tidy()
            await app.state.serve.jobs.journal.settle()

    task = asyncio.create_task(tidy())
    async with app.state.living:
        yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def say_refused(request: Request, error: Exception) -> Response:
    request.app.state.serve.jobs.counts.refused[error.trouble.code] += 1
    return refusal_at(request.url.path, error, FORMS, closing=error.status in (408, 413))


async def say_http(request: Request, error: Exception) -> Response:
    """What Starlette itself refuses: no such path or method."""
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "invalid_request")
    refused = Refused(error.status_code, code, f"{error.detail}; see /api/v1/openapi.json")
    answer = await say_refused(request, refused)
    answer.headers.update(error.headers or {})
    return answer


async def say_short(request: Request, error: Exception) -> Response:
    """Where memory or disk is short while a request is read or answered."""
    short = shortage(error)
    if short is None:
        raise error
    return await say_refused(request, short)


async def say_nothing(request: Request, error: Exception) -> Response:
    return Response(status_code=GONE)


async def say_bug(request: Request, error: Exception) -> Response:
    message = f"a bug stopped request {request.scope['pleinair.request']}; see the server's log, and report it"
    return refusal_at(request.url.path, Refused(500, "internal", message), FORMS, closing=False)
