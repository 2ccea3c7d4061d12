"""What the commands of `pleinair bench` share: the results file, lists as options, and lines on a terminal."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from pleinair.cli.terminal import data, say, sketch
from pleinair_bench import records

RESULTS = Path("pleinair-bench.jsonl")
WIDTH = 79  # columns of a line that passes
Results = Annotated[Path, typer.Option("--results", help="File of JSON lines that records are added to.")]
TableFormat = Annotated[str, typer.Option("-o", "--output", help="md, csv, json or jsonl, on stdout.")]


def listed(help: str, *names: str) -> type:
    return Annotated[str | None, typer.Option(*names, help=f"{help}; comma-separated.", show_default=False)]


def prepare(results: Path) -> None:
    """See that the file can be written, which is better known now than in ten minutes; add what a killed run left."""
    records.append(results, [])
    if count := records.recover(results):
        say(f"{count} unfinished cases of a run that was killed are added to {results}")


def shown(text: str) -> None:
    """Print a table or lines of JSON on stdout."""
    data(*text.rstrip("\n").split("\n"))


def passing(words: str) -> None:
    """Put a line on a terminal in the place of the last such one; nothing elsewhere."""
    if sys.stderr is not None and sys.stderr.isatty():
        sketch(words[:WIDTH].ljust(WIDTH))
