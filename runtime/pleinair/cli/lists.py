"""`pleinair generate --prompts`: every line of a list, and what became of it."""

import sys
from collections.abc import Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import typer

from pleinair.bundle.opening import Bundle
from pleinair.checks import shown_path
from pleinair.cli.progress import ProgressBar
from pleinair.cli.terminal import complain, data, document, failure, say, warn
from pleinair.errors import QualityError, RequestError, ResourceError
from pleinair.files.output import ARRAYS, PICTURES, standing, write_pictures
from pleinair.pipeline import Pipeline
from pleinair.tasks.ledger import ledger_of
from pleinair.tasks.lines import BadLine, Line, binary, read_lines
from pleinair.tasks.lists import Painted, run


def paint_list(
    pipe: Pipeline,
    progress: ProgressBar,
    source: Path,
    common: dict[str, Any],
    folder: Path | None,
    force: bool = False,
    as_json: bool = False,
    metadata: bool = True,
    workers: str = "1",
    cluster: str | None = None,
) -> None:
    """Paint every line of a list ("-": stdin) into a folder; `common` options hold where a line says nothing.

    Prints the file (or a JSON object) of each picture as it is done, and names each line that cannot be painted; where
    there are any, the exit code is that of QualityError.
    """
    folder = list_folder(folder or Path())
    lines = some_lines(source, pipe.bundle, common)
    made_folder(folder)
    how = {"overwrite": force, "watch": progress.frames, "save": partial(write_pictures, metadata=metadata)}
    how |= {"workers": workers, "cluster": cluster, "say": progress.news}
    bad, before, warned = [], 0, set()
    for report in run(lines, pipe, folder, ledger=ledger_of(None if piped(source) else source, folder), **how):
        if isinstance(report, BadLine):
            bad.append(report.line)
            progress.hide()
            say(f"line {report.line}: {report.reason}")
        elif report.result is None:
            before += 1
        else:
            new = dict.fromkeys(f"line {report.line}: {warning}" for warning in progress.untold(report.result.warnings))
            warn(*(each for each in new if each not in warned))
            warned |= set(new)
        if as_json:
            document(facts_of_report(report))
        elif isinstance(report, Painted) and report.result:
            data(report.file)
    if before:
        say(f"already there: {before}")
    if bad:
        raise typer.Exit(complain(not_painted(bad), QualityError.exit_code, QualityError.__name__))


def list_folder(folder: Path) -> Path:
    """Where a list paints; RequestError for the name of a picture."""
    if folder.suffix.lower() in {*PICTURES, ARRAYS} and not (standing(folder) and folder.is_dir()):
        raise RequestError(
            f"'{shown_path(folder)}' is the name of a picture, and a list needs a folder; name one with -o"
        )
    return folder


def piped(source: Path) -> bool:
    """Whether a list comes from stdin."""
    return str(source) == "-"


def some_lines(source: Path, bundle: Bundle, common: dict[str, Any]) -> Iterator[Line | BadLine]:
    """The lines of a list; RequestError where there are none."""
    lines = read_lines(binary(sys.stdin) if piped(source) else source, bundle, common)
    first = next(lines, None)
    if first is None:
        name = "stdin" if piped(source) else shown_path(source)
        raise RequestError(f"the list '{name}' is empty; put one prompt on each line")
    return chain([first], lines)


def made_folder(folder: Path) -> None:
    """Make a folder that is not there; raises ResourceError."""
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise ResourceError(
            f"cannot make the folder '{shown_path(folder)}' ({error.strerror or error}); choose another -o"
        ) from None


def facts_of_report(report: Painted | BadLine) -> dict[str, Any]:
    """What became of a line, for programs."""
    if isinstance(report, BadLine):
        return {"line": report.line, **failure(report.reason, QualityError.exit_code, QualityError.__name__)}
    facts = {"line": report.line, "path": str(report.file), "seed": report.seed, "painted": report.result is not None}
    if report.result:
        facts |= {"settings": report.result.settings, "warnings": list(report.result.warnings)}
    return facts


def not_painted(lines: list[int]) -> str:
    """What is said in the end of lines that failed."""
    shown = ", ".join(map(str, lines[:10])) + ("..." if len(lines) > 10 else "")
    return (
        f"not painted: {len(lines)} of the lines ({shown}); correct them and run the list again: what is done is kept"
    )
