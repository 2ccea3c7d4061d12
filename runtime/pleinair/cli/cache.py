"""`pleinair cache`: what is kept of compiled graphs for the next start."""

from datetime import UTC, datetime
from typing import Any

import typer

from pleinair.cli.flags import Json
from pleinair.cli.terminal import tell
from pleinair.cli.usage import examples
from pleinair.system.compiled import MOST, CompiledFile, clear_compiled, compiled_files, compiled_folder

app = typer.Typer(add_completion=False)
cache = typer.Typer(add_completion=False)
app.add_typer(cache, name="cache")


@cache.callback(epilog=examples("cache"), no_args_is_help=True)
def graphs_kept() -> None:
    """List or clear the compiled graphs kept for the next start."""


@cache.command("list")
def list_(as_json: Json = False) -> None:
    """List the kept compiled graphs, the last used first."""
    found = compiled_files()
    total = sum(each.size for each in found)
    facts = {
        "folder": str(compiled_folder()),
        "files": [facts_of_file(each) for each in found],
        "bytes": total,
        "most_bytes": MOST,
    }
    ending = f"{len(found)} files, {total / 1e6:.1f} MB of {MOST / 1e6:.0f} at most, in '{compiled_folder()}'"
    tell(facts, *map(line_of_file, found), ending, as_json=as_json)


@cache.command("clear")
def clear(as_json: Json = False) -> None:
    """Delete the kept compiled graphs; they are made again when needed."""
    count, size = clear_compiled()
    tell({"files": count, "bytes": size}, f"{count} files deleted, {size / 1e6:.1f} MB", as_json=as_json)


def facts_of_file(file: CompiledFile) -> dict[str, Any]:
    """A kept file for programs."""
    used = datetime.fromtimestamp(file.used, UTC).isoformat(timespec="seconds")
    told = {name: file.facts.get(name) for name in ("model", "graph", "engine", "device", "shapes", "settings")}
    return {"file": file.path.name, "bytes": file.size, "used": used, **(told if file.facts else {})}


def line_of_file(file: CompiledFile) -> str:
    """A kept file for people."""
    used = datetime.fromtimestamp(file.used).strftime("%Y-%m-%d %H:%M")
    if not file.facts:
        return f"{used}  {file.size / 1e6:8.1f} MB  {file.path.name}"
    shapes = ", ".join("x".join(map(str, shape)) or "1" for shape in file.facts["shapes"].values())
    return f"{used}  {file.size / 1e6:8.1f} MB  {file.facts['model']} {file.facts['graph']} ({shapes})"
