"""The command line: data on stdout, everything else on stderr, one line for every error."""

from functools import cache, partial
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from pleinair.checks import shown_path
from pleinair.cli.converting import convert_plainly
from pleinair.cli.terminal import INTERRUPTED, complain, data, flush
from pleinair.cli.usage import examples, told
from pleinair.errors import Cancelled, PleinairError, RequestError, ResourceError
from pleinair.version import __version__

COMMANDS = {  # command -> the module of this folder that has it
    "generate": "generate",
    "morph": "morph",
    "export": "export",
    "pull": "pull",
    "models": "models",
    "adopt": "adopt",
    "pour": "pour",
    "quantize": "quantize",
    "prepare": "preparing",
    "info": "info",
    "prompt": "prompt",
    "metadata": "records",
    "rerun": "records",
    "samplers": "doctor",
    "bench": "bench",
    "serve": "serve",
    "mcp": "mcp",
    "tune": "tune",
    "cache": "cache",
    "doctor": "doctor",
    "embed": "embed",
}


class Commands(TyperGroup):
    """The commands, each imported when it is asked for: few need all that painting needs."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return command_named(cmd_name) if cmd_name in COMMANDS else None


@cache  # Typer builds the checks of its options anew for each object
def command_named(name: str) -> Any:
    """One of COMMANDS as Typer runs it."""
    found = get_command(import_module(f"pleinair.cli.{COMMANDS[name]}").app)
    command = found.commands[name] if isinstance(found, TyperGroup) else found
    convert_plainly(command)
    return command


app = typer.Typer(
    name="pleinair",
    help="Stable Diffusion pictures on machines without CUDA, offline and without PyTorch.",
    epilog=examples("pleinair"),
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def prepare(arguments: list[str]) -> None:
    """Import what a command needs, as long as a signal may still end the process at once."""
    name = next((each for each in arguments if not each.startswith("-")), None)
    if name in COMMANDS:
        import_module(f"pleinair.cli.{COMMANDS[name]}")


def run(arguments: list[str], kept: list[Any] | None = None) -> int:
    """Run one command; returns the exit code and lets only bugs escape as exceptions.

    What the command leaves in `kept` is for the caller to let go.
    """
    command = get_command(app)
    convert_plainly(command)
    refuse = partial(complain, as_json=wants_json(arguments))
    try:
        code = command.main(arguments, prog_name="pleinair", standalone_mode=False, obj=kept) or 0
        flush()
    except SystemExit as left:  # nobody reads stdout any more, or a shell was told what completes a command
        return int(left.code or 0)
    except Exception as error:
        if interrupted(error) and not isinstance(error, Cancelled):  # which says more itself
            return refuse(INTERRUPTED, Cancelled.exit_code, Cancelled.__name__)
        if isinstance(error, PleinairError):
            return refuse(str(error), error.exit_code, type(error).__name__)
        if isinstance(error, MemoryError):
            words = "out of memory; choose a smaller --size or --batch, or a model with int8 weights"
            return refuse(words, ResourceError.exit_code, ResourceError.__name__)
        if isinstance(error, OSError):
            where = f" '{shown_path(error.filename)}'" if error.filename else ""
            words = f"{error.strerror or error}{where}; check the path and the disk"
            return refuse(words, ResourceError.exit_code, ResourceError.__name__)
        if not hasattr(error, "format_message"):  # what the command line parser raises; all else is a bug
            raise
        words = told(error, arguments)
        return refuse(words, RequestError.exit_code, RequestError.__name__) if words else RequestError.exit_code
    return refuse(INTERRUPTED, code, Cancelled.__name__) if code == Cancelled.exit_code else code


def wants_json(arguments: list[str]) -> bool:
    """Whether stdout is read by a program, which must be known even where the command line cannot be parsed."""
    return "--json" in arguments or (arguments[:1] == ["bench"] and not {"json", "jsonl"}.isdisjoint(arguments))


def interrupted(error: BaseException | None) -> bool:
    """Whether a Ctrl-C is behind an error: the import of an engine, say, turns it into an ImportError."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt | EOFError | typer.Abort):
            return True
        error = error.__cause__ or error.__context__
    return False


@app.callback(invoke_without_command=True)
def top(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        data(__version__)
