"""`pleinair bench`: the benchmark suite, where it is installed."""

import typer
from typer.main import get_command

from pleinair.errors import EngineError
from pleinair.system import install

app = typer.Typer(add_completion=False)


@app.command(add_help_option=False, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def bench(context: typer.Context) -> int:
    """Measure this machine, compare and report: see `pleinair bench --help`."""
    try:
        from pleinair_bench.cli import app as benchmarks
    except ModuleNotFoundError as error:
        line = install.line("bench")
        raise EngineError(f"the benchmark suite is not installed ({error.name}); install it with: {line}") from None
    return get_command(benchmarks).main(context.args, prog_name="pleinair bench", standalone_mode=False) or 0
