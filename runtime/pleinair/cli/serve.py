"""`pleinair serve`: pictures over HTTP, and a page for people."""

import asyncio
import logging
import os
import webbrowser
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Annotated, Any

import typer

from pleinair.cli.flags import Json, Ray, takes
from pleinair.cli.terminal import printable, say, tell
from pleinair.cli.usage import examples
from pleinair.errors import RequestError
from pleinair.request.loading import LOADING
from pleinair.serve.settings import KEY, MB, Keeping, RequestLimits, ServeSettings
from pleinair.system import install
from pleinair.system.home import home

app = typer.Typer(add_completion=False)
LIMITS, KEEPING = RequestLimits(), Keeping()
MOST_WORKERS, MOST_HERE = 256, 16
QUIET = tuple((name, logging.CRITICAL) for name in ("mcp", "asyncio", "python_multipart"))  # they quote clients


@app.command(epilog=examples("serve"))
@takes(options=(), loading=tuple(LOADING))
def serve(
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
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
            help="Jobs to paint at the same time.",
            show_default="1; on a cluster, as many as fit",
        ),
    ] = None,
    ray: Ray = None,
    max_queue: Annotated[int, typer.Option(min=1, max=10_000, help="Most jobs that may wait.")] = 16,
    max_pixels: Annotated[int, typer.Option(min=1, max=1 << 26, help="Most pixels of a picture.")] = LIMITS.pixels,
    max_steps: Annotated[int, typer.Option(min=1, max=LIMITS.steps, help="Most steps of a pass.")] = LIMITS.steps,
    max_count: Annotated[int, typer.Option(min=1, max=1000, help="Most pictures of a job.")] = LIMITS.count,
    max_body_mb: Annotated[int, typer.Option(min=1, max=512, help="Most megabytes of a request.")] = LIMITS.body // MB,
    max_results: Annotated[int, typer.Option(min=1, max=100_000, help="Most ended jobs to keep.")] = KEEPING.jobs,
    max_results_mb: Annotated[
        int, typer.Option(min=1, max=1 << 20, help="Most megabytes of their pictures.")
    ] = KEEPING.bytes // MB,
    result_ttl: Annotated[
        float, typer.Option(min=1, max=30 * 86_400, help="Seconds to keep ended jobs.")
    ] = KEEPING.seconds,
    grace: Annotated[
        float, typer.Option(min=0, max=3600, help="Seconds that running jobs get when the server ends.")
    ] = 10,
    stall: Annotated[
        float, typer.Option(min=1, max=86_400, help="Seconds without a step after which a process counts as hung.")
    ] = 600,
    no_journal: Annotated[bool, typer.Option("--no-journal", help="Forget waiting jobs when the server ends.")] = False,
    log_prompts: Annotated[bool, typer.Option("--log-prompts", help="Write prompts into the log.")] = False,
    metrics: Annotated[bool, typer.Option("--metrics", help="Answer /metrics for Prometheus.")] = False,
    as_json: Json = False,
    *,
    loading: dict[str, Any],
    options: dict[str, Any],
) -> None:
    """Serve pictures over HTTP to programs, and a page to people, until Ctrl-C."""
    install.need("the server")
    if metrics:
        install.need("metrics")
    from pleinair.serve.serving import check, read_key
    from pleinair.serve.serving import serve as run

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
        limits=replace(
            LIMITS,
            queue=max_queue,
            pixels=max_pixels,
            steps=max_steps,
            count=max_count,
            body=max_body_mb * MB,
            bodies=max(LIMITS.bodies, 2 * max_body_mb * MB),
            result=max_results_mb * MB,
        ),
        keeping=replace(KEEPING, seconds=result_ttl, jobs=max_results, bytes=max_results_mb * MB),
        journal=None if no_journal else home() / "serve" / f"jobs-{port}.sqlite",
        log_prompts=log_prompts,
        metrics=metrics,
    )
    check(settings)
    log_to_stderr()

    def ready(address: str) -> None:
        tell({"address": address}, address, as_json=as_json)
        say(f"serving at {address}; Ctrl-C ends it")
        if open_page:
            Thread(target=webbrowser.open, args=(address,), daemon=True).start()  # one of a terminal stays in the call

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
