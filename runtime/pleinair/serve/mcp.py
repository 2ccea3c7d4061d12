"""The Model Context Protocol: tools that paint for language models, over HTTP at /mcp or over a process's streams."""

import asyncio
import base64
import json
import logging
import re
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

import anyio
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.session import ServerSession
from mcp.server.stdio import stdio_server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.types import (
    CallToolRequestParams,
    CallToolResult,
    ImageContent,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
    ToolAnnotations,
)

from pleinair.checks import one_of
from pleinair.request.help import words
from pleinair.serve.asking import GENERATE, OFFERED, PICTURES, UPSCALE, asked_job, checked
from pleinair.serve.capabilities import model_facts
from pleinair.serve.counts import MCP
from pleinair.serve.fitting import control_fits
from pleinair.serve.guards import place_of
from pleinair.serve.job import DONE, ENDED, Job
from pleinair.serve.jobs import Jobs
from pleinair.serve.naming import Index
from pleinair.serve.refusals import Refused
from pleinair.serve.schema import TEXT, object_of, option_schema
from pleinair.serve.settings import RequestLimits, ServeSettings
from pleinair.serve.shared import Shared
from pleinair.serve.supervising import Supervisor
from pleinair.version import __version__

EDIT, LIST_MODELS = "edit", "list_models"
TASKS = {GENERATE: GENERATE, EDIT: GENERATE, UPSCALE: UPSCALE}  # tool -> the task of its job
USUAL = ("prompt", "negative", "size", "steps", "guidance", "seed", "count", "sampler", "loras", "controls", "upscale")
FURTHER = [name for name in OFFERED if name not in (*USUAL, *PICTURES, "strength")]
EARLIER = re.compile(r"([0-9a-f]{32})/(\d{1,4})")  # a picture of a job: its id and the picture's place
PICTURE = {**TEXT, "description": "the `picture` of an earlier answer, or a PNG, JPEG or WebP as base64 or data URL"}
IDLE_S = 1800.0  # that a session is kept without a request
log = logging.getLogger(__name__)
Context = ServerRequestContext[Any, Any]


def speaking(shared: Shared) -> Server[Any]:
    """MCP's server over the jobs that every interface shares."""

    async def list_tools(context: Context, params: PaginatedRequestParams | None) -> ListToolsResult:
        return ListToolsResult(tools=tools(shared.settings.limits))

    async def call_tool(context: Context, params: CallToolRequestParams) -> CallToolResult:
        try:
            arguments = shared.large_texts.restored(params.arguments or {})
            return await called(shared, context.session, params.name, arguments)
        except Refused as error:
            shared.jobs.counts.refused[error.trouble.code] += 1
            return failed(error.trouble.message)
        except Exception as error:  # a bug, whose message may hold a prompt
            log.error("a tool of MCP: %s", place_of(error))
            return failed("a bug stopped the tool; see the server's log, and report it")

    return Server(
        "pleinair",
        version=__version__,
        instructions="Paints pictures with Stable Diffusion on this machine. Call list_models to see what there is.",
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


def over_http(server: Server[Any], limits: RequestLimits) -> StreamableHTTPSessionManager:
    """Streamable HTTP for a server; hosts, origins and keys are the guard's affair."""
    return StreamableHTTPSessionManager(
        server,
        max_request_body_size=limits.body,
        max_sessions=limits.connections,
        session_idle_timeout=IDLE_S,
    )


async def serve_stdio(settings: ServeSettings) -> None:
    """Serve one client on stdin and stdout until it closes them."""
    jobs = Jobs(settings)
    server = speaking(Shared(settings, jobs, await asyncio.to_thread(Index, settings.model)))
    supervisor = Supervisor(settings, jobs)
    async with stdio_server() as (heard, said):
        supervisor.start()
        try:
            await server.run(heard, said, server.create_initialization_options())
        finally:
            with anyio.CancelScope(shield=True):
                await supervisor.close(0)


def tools(limits: RequestLimits) -> list[Tool]:
    """What can be asked for; arguments have the schemas of the table of options."""

    def offered(*names: str) -> dict[str, Any]:
        return {name: {**schema_of(name, limits), "description": words(OFFERED[name])} for name in names}

    further = {"type": "object", "description": f"further options by name: {', '.join(FURTHER)}"}
    common = {"model": {**TEXT, "description": "a name from list_models"}, "options": further}
    edited = {"image": PICTURE, "mask": {**PICTURE, "description": f"{OFFERED['mask'].help}; {PICTURE['description']}"}}
    enlarged = {"image": PICTURE, "upscale": {**TEXT, "description": "an upscaler's name from list_models"}}
    return [
        tool(GENERATE, "Paint pictures of a prompt.", {**offered(*USUAL), **common}, ["prompt"]),
        tool(
            EDIT,
            "Repaint a picture, or its masked part, as a prompt says.",
            {**edited, **offered(*USUAL, "strength"), **common},
            ["image", "prompt"],
        ),
        tool(UPSCALE, "Make a picture larger.", {**enlarged, **offered("tile")}, ["image"]),
        tool(LIST_MODELS, "List models with their defaults, LoRAs, upscalers and embeddings.", {}, []),
    ]


def schema_of(name: str, limits: RequestLimits) -> dict[str, Any]:
    """An option's schema, in which a ControlNet's picture may be an earlier one."""
    found = option_schema(OFFERED[name], limits)
    if name != "controls":
        return found
    entry = found["items"]
    return {**found, "items": {**entry, "properties": {**entry["properties"], "image": PICTURE}}}


def tool(name: str, what: str, properties: dict[str, Any], required: list[str]) -> Tool:
    hints = ToolAnnotations(read_only_hint=name == LIST_MODELS, destructive_hint=False, open_world_hint=False)
    return Tool(name=name, description=what, input_schema=object_of(properties, required), annotations=hints)


async def called(shared: Shared, session: ServerSession, name: str, arguments: Mapping[str, Any]) -> CallToolResult:
    """A tool's answer. Raises Refused for what cannot be followed, and for a job that fails."""
    there = {each.name: each for each in tools(shared.settings.limits)}
    checked("tool", one_of, "tool", name, there)
    schema = there[name].input_schema
    for each in arguments:
        checked(each, one_of, f"argument of {name}", each, schema["properties"])
    for each in schema["required"]:
        if arguments.get(each) is None:
            raise Refused(422, "invalid_request", f"there is no {each}; send one", field=each)
    if name == LIST_MODELS:
        return CallToolResult(content=[said(await shared.checks(listed, shared))])
    body = body_of(shared.jobs, TASKS[name], arguments)
    spec = await shared.checks(asked_job, body, shared.index, shared.settings.limits, False)
    job, _ = await shared.jobs.submit(spec, interface=MCP)
    await painted(shared.jobs, job, session)
    pictures = await shared.checks(lambda: [shown(each.data) for each in job.pictures])
    return CallToolResult(content=[*pictures, said(facts(job))])


def body_of(jobs: Jobs, task: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments as the body of a job, with pictures of earlier jobs in the place of their names."""
    further = arguments.get("options") or {}
    if not isinstance(further, Mapping):
        raise Refused(422, "invalid_request", "options must be an object; send names and values", field="options")
    plain = {name: value for name, value in arguments.items() if name != "options" and value is not None}
    body = {**further, **plain, "task": task}
    body |= {name: meant(jobs, name, body[name]) for name in PICTURES if name in body}
    if isinstance(body.get("controls"), list):
        body["controls"] = [with_picture(jobs, each) for each in body["controls"]]
    return body


def with_picture(jobs: Jobs, control: Any) -> Any:
    """One of `controls`, with an earlier picture in the place of its name."""
    if not isinstance(control, Mapping) or "image" not in control:
        return control
    return {**control, "image": meant(jobs, "controls", control["image"])}


def meant(jobs: Jobs, field: str, value: Any) -> Any:
    """The picture of an earlier job where a value is its name, and the value itself where not."""
    match = EARLIER.fullmatch(value) if isinstance(value, str) else None
    if not match:
        return value
    pictures = jobs.find(match[1]).pictures
    if int(match[2]) >= len(pictures):
        raise Refused(404, "picture_unknown", f"the job has {len(pictures)} pictures; choose one", field=field)
    return pictures[int(match[2])].data


async def painted(jobs: Jobs, job: Job, session: ServerSession) -> None:
    """Wait for a job's end and tell of its steps; a client that gives up, cancels it."""
    told = 0
    try:
        async with aclosing(job.follow()) as events:
            async for event in events:
                if event.kind == "step" and event.data["step"] > told:  # progress has to rise, also after a restart
                    told = event.data["step"]
                    await session.report_progress(told, event.data["steps"], f"step {told} of {event.data['steps']}")
    finally:
        if job.status not in ENDED:
            with anyio.CancelScope(shield=True):
                await jobs.cancel(job)
    if job.status != DONE:
        message = job.trouble.message if job.trouble else "the job was cancelled; send it again"
        raise Refused(500, job.trouble.code if job.trouble else "cancelled", message)


def facts(job: Job) -> dict[str, Any]:
    """What an answer says of its pictures: names to ask for more with, and the settings that made them."""
    pictures = [
        {"picture": f"{job.id}/{place}", "seed": each.seed, "width": each.width, "height": each.height}
        for place, each in enumerate(job.pictures)
    ]
    record = job.pictures[0].settings if job.pictures else {}
    settings = {name: value for name, value in record.items() if name != "bundle"}  # hashes, which the PNG has
    return {"pictures": pictures, "settings": settings, "warnings": job.warnings}


def listed(shared: Shared) -> dict[str, Any]:
    """The models of this machine, and for which of them its add-ons are."""
    index, here = shared.index, shared.index.listed()
    return {
        "models": [model_facts(name, each, name == index.default) for name, each in here.models.items()],
        "loras": shared.lora_fits.of(here),
        "controlnets": {name: control_fits(each, here) for name, each in here.controlnets.items()},
        "upscalers": {name: each.manifest.scale for name, each in here.upscalers.items()},
        "embeddings": list(here.embeddings),
    }


def shown(data: bytes) -> ImageContent:
    return ImageContent(data=base64.b64encode(data).decode(), mime_type="image/png")


def said(what: Any) -> TextContent:
    return TextContent(text=json.dumps(what))


def failed(message: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(text=message)], is_error=True)
