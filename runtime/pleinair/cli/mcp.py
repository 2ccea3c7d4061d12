"""`pleinair mcp`: tools for a program with a language model, which starts this command and talks over its streams."""

import asyncio
import signal
from typing import Any

import typer

from pleinair.cli.flags import takes
from pleinair.cli.process import watch
from pleinair.cli.serve import log_to_stderr
from pleinair.cli.usage import examples
from pleinair.errors import EngineError
from pleinair.request.loading import LOADING

app = typer.Typer(add_completion=False)
NEEDED = ("mcp", "anyio", "starlette")  # of the extra `mcp`
INSTALL = 'MCP needs {}, not installed; install with: pip install "pleinair[mcp]"'


@app.command(epilog=examples("mcp"))
@takes(options=(), loading=tuple(LOADING))
def mcp(*, loading: dict[str, Any], options: dict[str, Any]) -> None:
    """Serve pictures to one MCP client over stdin and stdout, until it closes them."""
    try:
        from pleinair.serve.mcp import serve_stdio
        from pleinair.serve.settings import ServeSettings
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in NEEDED:
            raise
        raise EngineError(INSTALL.format(error.name)) from None
    model = loading.pop("model", None)
    loading = {name: value for name, value in loading.items() if value is not None}
    for name, value in loading.items():
        LOADING[name].type.read(name, value)
    log_to_stderr()
    watch(signal.SIG_DFL)  # nothing outlives it, and a thread that reads stdin would hold up a tidy end
    asyncio.run(serve_stdio(ServeSettings(model=None if model is None else str(model), loading=loading)))
