"""`pleinair serve`: pictures over HTTP, and a page for people."""

import asyncio
import logging
import os
import webbrowser
from pathlib import Path
from typing import Annotated, Any

import typer

from pleinair.cli.flags import Json, Ray, takes
from pleinair.cli.terminal import printable, say, tell
from pleinair.cli.usage import examples
from pleinair.errors import RequestError
from pleinair.request.loading import LOADING
from pleinair.system import install
from pleinair.system.home import home

app = typer.Typer(add_completion=False)
KEY = "PLEINAIR_API_KEY"
MOST_WORKERS, MOST_HERE = 256, 16
QUIET = (("mcp", logging.CRITICAL),)  # quotes what clients send


@app.command(epilog=examples("serve"))
@takes(options=(), loading=tuple(LOADING))
def serve(
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 7860,
    api_key_file: Annotated[
        Path | None, typer.Option(help=f"File with the key that clients must send; or set {KEY}.")
    ] = None,
    allow_host: Annotated[list[str] | None, typer.Option(help="Another name of this server; may be repeated.")] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MOST_WORKERS,
            help="Jobs that are painted at a time.",
            show_default="1, on a cluster what it holds",
        ),
    ] = None,
    ray: Ray = None,
    max_queue: Annotated[int, typer.Option(min=1, max=10_000, help="Jobs that may wait.")] = 16,
    grace: Annotated[float, typer.Option(min=0, max=3600, help="Seconds that running jobs have when it ends.")] = 10,
    stall: Annotated[
        float, typer.Option(min=1, max=86_400, help="Seconds without a step after which a process counts as hung.")
    ] = 600,
    no_journal: Annotated[bool, typer.Option("--no-journal", help="Forget waiting jobs when it ends.")] = False,
    log_prompts: Annotated[bool, typer.Option("--log-prompts", help="Write prompts into the log.")] = False,
    as_json: Json = False,
    *,
    loading: dict[str, Any],
    options: dict[str, Any],
) -> None:
    """Serve pictures over HTTP to programs, and a page to people, until Ctrl-C."""
    install.need("the server")
    from pleinair.serve.serving import check, read_key
    from pleinair.serve.serving import serve as run
    from pleinair.serve.settings import RequestLimits, ServeSettings

    key = read_key(api_key_file) if api_key_file else os.environ.get(KEY) or None
    if ray is None and (workers or 1) > MOST_HERE:
        raise RequestError(f"one machine has at most {MOST_HERE} --workers; choose fewer, or more machines with --ray")
    model = loading.pop("model", None)
    loading = {name: value for name, value in loading.items() if value is not None}
    for name, value in loading.items():
        LOADING[name].type.read(name, value)
    settings = ServeSettings(
        host=host,
        port=port,
        key=key,
        hosts=tuple(allow_host or ()),
        workers=workers or (1 if ray is None else 0),
        cluster=ray,
        grace_s=grace,
        stall_s=stall,
        model=None if model is None else str(model),
        loading=loading,
        limits=RequestLimits(queue=max_queue),
        journal=None if no_journal else home() / "serve" / f"jobs-{port}.sqlite",
        log_prompts=log_prompts,
    )
    check(settings)
    log_to_stderr()

    def ready(address: str) -> None:
        tell({"address": address}, address, as_json=as_json)
        say(f"serving at {address}; Ctrl-C ends it")
        if open_page:
            webbrowser.open(address)

    asyncio.run(run(settings, ready))


class Lines(logging.Handler):
    """Each record as one line that commands no terminal and cannot be taken for two."""

    def emit(self, record: logging.LogRecord) -> None:
        say(f"{self.formatter.formatTime(record)} {record.levelname.lower()}: {printable(record.getMessage())}")


def log_to_stderr() -> None:
    """What the server has to say, beside its answers."""
    handler = Lines()
    handler.setFormatter(logging.Formatter(datefmt="%Y-%m-%dT%H:%M:%S"))
    for name, level in (("pleinair.serve", logging.INFO), ("uvicorn", logging.ERROR), *QUIET):
        log = logging.getLogger(name)
        log.handlers[:] = [handler]
        log.setLevel(level)
        log.propagate = False
