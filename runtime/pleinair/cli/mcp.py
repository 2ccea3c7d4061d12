"""`pleinair mcp`: tools for a program with a language model, which starts this command and talks over its streams."""

import asyncio
import signal
from typing import Any

import typer

from pleinair.cli.flags import takes
from pleinair.cli.process import watch
from pleinair.cli.serve import log_to_stderr
from pleinair.cli.usage import examples
from pleinair.request.loading import LOADING
from pleinair.system import install

app = typer.Typer(add_completion=False)


@app.command(epilog=examples("mcp"))
@takes(options=(), loading=tuple(LOADING))
def mcp(*, loading: dict[str, Any], options: dict[str, Any]) -> None:
    """Serve pictures to one MCP client over stdin and stdout, until it closes them."""
    install.need("MCP")
    from pleinair.serve.mcp import serve_stdio
    from pleinair.serve.settings import ServeSettings

    model = loading.pop("model", None)
    loading = {name: value for name, value in loading.items() if value is not None}
    for name, value in loading.items():
        LOADING[name].type.read(name, value)
    log_to_stderr()
    watch(signal.SIG_DFL)  # nothing outlives it, and a thread that reads stdin would hold up a tidy end
    asyncio.run(serve_stdio(ServeSettings(model=None if model is None else str(model), loading=loading)))
