"""`pleinair generate --prompts`: every line of a list, and what became of it."""

import sys
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import typer

from pleinair.cli.progress import ProgressBar
from pleinair.cli.terminal import complain, data, document, failure, say, warn
from pleinair.errors import QualityError, RequestError, ResourceError
from pleinair.files.output import ARRAYS, PICTURES, standing, write_pictures
from pleinair.pipeline import Pipeline
from pleinair.tasks.ledger import ledger_of
from pleinair.tasks.lines import BadLine, binary, read_lines
from pleinair.tasks.lists import run


def paint_list(
    pipe: Pipeline,
    progress: ProgressBar,
    source: Path,
    common: dict[str, Any],
    folder: Path | None,
    force: bool = False,
    as_json: bool = False,
    metadata: bool = True,
) -> None:
    """Paint every line of a list ("-": stdin) into a folder; `common` options hold where a line says nothing.

    Prints the file (or a JSON object) of each picture as it is done, and names each line that cannot be painted; where
    there are any, the exit code is that of QualityError.
    """
    folder, piped = folder or Path(), str(source) == "-"
    if folder.suffix.lower() in {*PICTURES, ARRAYS} and not (standing(folder) and folder.is_dir()):
        raise RequestError(f"'{folder}' is the name of a picture, and a list needs a folder; name one with -o")
    lines = read_lines(binary(sys.stdin) if piped else source, pipe.bundle, common)
    first = next(lines, None)
    if first is None:
        raise RequestError(f"the list '{'stdin' if piped else source}' is empty; put one prompt on each line")
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise ResourceError(
            f"cannot make the folder '{folder}' ({error.strerror or error}); choose another -o"
        ) from None
    bad, before, warned = [], 0, set()
    ledger = ledger_of(None if piped else source, folder)
    for report in run(
        chain([first], lines),
        pipe,
        folder,
        ledger=ledger,
        overwrite=force,
        watch=progress.frames,
        save=partial(write_pictures, metadata=metadata),
    ):
        if isinstance(report, BadLine):
            bad.append(report.line)
            say(f"line {report.line}: {report.reason}")
            facts = {"line": report.line, **failure(report.reason, QualityError.exit_code, QualityError.__name__)}
        else:
            before += report.result is None
            facts = {"line": report.line, "path": str(report.file), "seed": report.seed}
            facts |= {"painted": report.result is not None}
            if report.result:
                facts |= {"settings": report.result.settings, "warnings": list(report.result.warnings)}
                new = [f"line {report.line}: {warning}" for warning in report.result.warnings]
                warn(*(each for each in new if each not in warned))
                warned |= set(new)
        if as_json:
            document(facts)
        elif "path" in facts and facts["painted"]:
            data(facts["path"])
    if before:
        say(f"already there: {before}")
    if bad:
        shown = ", ".join(map(str, bad[:10])) + ("..." if len(bad) > 10 else "")
        words = (
            f"not painted: {len(bad)} of the lines ({shown}); correct them and run the list again: what is done stays"
        )
        raise typer.Exit(complain(words, QualityError.exit_code, QualityError.__name__))
