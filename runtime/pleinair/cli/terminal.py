"""The one door for what is printed: data on stdout, all else on stderr, and nothing that would command a terminal."""

import contextlib
import os
import sys
import unicodedata
from collections.abc import Iterator
from typing import Any, TextIO

from pleinair.errors import ResourceError

UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # control and format characters, lone surrogates, separators of lines
JOINERS = "\u200c\u200d"  # format characters that words and emoji are made of
READER_GONE = 1
INTERRUPTED = "interrupted; only complete files were kept"


def data(*lines: object) -> None:
    """Print each value as one line on stdout.

    Raises SystemExit where the reader has gone (`| head -1`), ResourceError where stdout takes no more.
    """
    _to_stdout("".join(f"{printable(line)}\n" for line in lines))


def document(facts: Any) -> None:
    """Print facts as one line of JSON in ASCII on stdout, and raise as `data` does; NaN and infinity become null."""
    import json

    _to_stdout(json.dumps(finite(facts), allow_nan=False) + "\n")


def tell(facts: Any, *lines: object, as_json: bool) -> None:
    """What a command has found or done: its facts as one line of JSON, or lines for people."""
    if as_json:
        document(facts)
    else:
        data(*lines)


def flush() -> None:
    """Let others' writing to stdout (the help's) reach it, and raise as `data` does."""
    _to_stdout("")


def say(words: object) -> None:
    """Print one line on stderr, which may be closed or full: what was painted does not depend on it."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(f"pleinair: {printable(words)}\n")
        sys.stderr.flush()


def warn(*warnings: object) -> None:
    """Print each warning as one line on stderr."""
    for words in warnings:
        say(f"warning: {words}")


def complain(message: str, code: int, kind: str, as_json: bool = False) -> int:
    """Print why the program ends on stderr, with `as_json` on stdout too; returns the exit code."""
    line = " ".join(message.split())
    if as_json:
        with contextlib.suppress(SystemExit, ResourceError):
            document(failure(line, code, kind))
    say(line)
    return code


def failure(message: str, code: int, kind: str) -> dict[str, Any]:
    """An error as `--json` shows it."""
    return {"error": {"kind": kind, "message": message, "exit_code": code}}


def sketch(words: str) -> None:
    """Put words on a terminal that `erase` takes away again."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(f"\r{words}")
        sys.stderr.flush()


def erase(words: str) -> None:
    """Take away what `sketch` has put there."""
    sketch(" " * len(words) + "\r")


def printable(text: object) -> str:
    """A text on one line, with escapes for what would command a terminal, reorder its letters or hide."""
    line = str(text)
    if line.isascii() and line.isprintable():
        return line
    return "".join(
        c if unicodedata.category(c) not in UNSEEN or c in JOINERS else c.encode("unicode_escape").decode()
        for c in line
    )


def finite(value: Any) -> Any:
    """The same facts with None for the numbers that JSON has no words for."""
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    if isinstance(value, dict):
        return {key: finite(each) for key, each in value.items()}
    return [finite(each) for each in value] if isinstance(value, list | tuple) else value


def aligned(facts: dict[str, Any], indent: str = "") -> Iterator[str]:
    """Nested facts as indented lines, for people."""
    width = max((len(name) for name in facts), default=0)
    for name, value in facts.items():
        if isinstance(value, dict):
            yield f"{indent}{name}"
            yield from aligned(value, indent + "  ")
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list) else "-" if value is None else value
            yield f"{indent}{name:{width}}  {text}"


def fill_streams() -> None:
    """Give the process the standard streams it lacks, as windowed programs and services do, and `>&-`.

    Otherwise the next file that is opened would get the number of a closed one, and what an engine's library
    writes to stderr would end up in a picture.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a console's code page need not know every letter


def _to_stdout(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        _drop(sys.stdout)
        raise SystemExit(READER_GONE) from None
    except OSError as error:
        _drop(sys.stdout)
        raise ResourceError(
            f"cannot write to stdout ({error.strerror or error}); free space, or send it somewhere else"
        ) from None


def _drop(stream: TextIO) -> None:
    """Let what a stream still holds go nowhere: Python writes it once more when it ends, and would complain."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
