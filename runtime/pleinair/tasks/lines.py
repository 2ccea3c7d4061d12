"""The lines of a list of prompts: read one by one, understood, or refused with a reason."""

import io
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from pleinair.bundle.opening import Bundle
from pleinair.checks import one_line, one_of
from pleinair.errors import PleinairError, RequestError, ResourceError
from pleinair.library.given import with_models
from pleinair.request.keywords import asked
from pleinair.request.options import OPTIONS, PARAMETERS
from pleinair.request.request import resolve
from pleinair.system.files import read_file

LARGEST = 1 << 26  # bytes of a list, and of a ledger
LONGEST = 1 << 20  # bytes of a line
SHOWN = 400  # characters of the reason why a line is not painted
# what Windows takes for a device
DEVICES = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])\s*(\..*)?", re.I)
KEYS = ("output", *(name for name, option in OPTIONS.items() if option.type.json))  # of a line


@dataclass(frozen=True)
class Line:
    """One line, understood: what to paint and where to (None: a name made of line, prompt and seed)."""

    number: int
    prompt: str
    negative: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    output: Path | None = None
    seeds: tuple[int, ...] = field(default=(), compare=False)  # of this run; random ones are never the same


@dataclass(frozen=True)
class BadLine:
    """One line that cannot be painted, and why; the reason is one sentence with its remedy."""

    line: int
    reason: str


def read_lines(
    source: Path | BinaryIO, bundle: Bundle, common: dict[str, Any] | None = None
) -> Iterator[Line | BadLine]:
    """Read a list line by line, as far as it is asked for; empty lines and those that begin with # are skipped.

    `common` options hold where a line says nothing. Raises ResourceError for a file that cannot be read.
    """
    for number, raw in enumerate(_lines(open_list(source) if isinstance(source, Path) else source), 1):
        try:
            text = _text(raw, number)
            if text and not text.startswith("#"):
                yield _line(text, number, bundle, common or {})
        except (PleinairError, MemoryError) as error:
            yield bad_line(number, error)


def open_list(source: Path) -> BinaryIO:
    """The bytes of a list; raises ResourceError for a file that cannot be read."""
    return io.BytesIO(read_file(source, LARGEST, ResourceError, "check the path, or pipe it into `--prompts -`"))


def bad_line(line: int, error: Exception) -> BadLine:
    """A line that cannot be painted because of an error."""
    if isinstance(error, MemoryError):
        return BadLine(line, "out of memory; choose a smaller size or batch, or a model with int8 weights")
    return BadLine(line, one_line(error, SHOWN))


def _lines(stream: BinaryIO) -> Iterator[bytes | None]:
    """Lines without their end; None for one beyond LONGEST, which is never held in memory."""
    while raw := stream.readline(LONGEST + 1):
        if len(raw) <= LONGEST or raw.endswith(b"\n"):
            yield raw
            continue
        for _ in range(LARGEST // LONGEST):
            if not (rest := stream.readline(LONGEST)) or rest.endswith(b"\n"):
                break
        else:
            raise ResourceError(f"a line has more than {LARGEST:,} bytes; put one prompt on each line")
        yield None


def _text(raw: bytes | None, line: int) -> str:
    if raw is None:
        raise RequestError(f"the line is longer than {LONGEST:,} bytes; put one prompt on each line")
    try:
        text = raw.decode("utf-8").removeprefix("\ufeff" if line == 1 else "").strip()
    except UnicodeDecodeError:
        raise RequestError("the line is not UTF-8; save the list as UTF-8") from None
    if "\0" in text:
        raise RequestError("the line has a NUL character in it; save the list as UTF-8 text")
    return text


def _line(text: str, number: int, bundle: Bundle, common: dict[str, Any]) -> Line:
    """A line, understood; RequestError where it makes no sense."""
    given = _object(text) if text.startswith("{") else {"prompt": text}
    for name in given:
        one_of("option", name, KEYS)
    given = {name: value for name, value in given.items() if value is not None}
    prompt, negative, output = (given.pop(name, None) for name in (*PARAMETERS, "output"))
    for name, value in {"prompt": prompt, "output": output}.items():
        if value is not None and not isinstance(value, str):
            raise RequestError(f"{name} must be text, not {json.dumps(value)[:40]}; put it in quotes")
    if not (prompt or "").strip():
        raise RequestError('the line has no prompt; write {"prompt": "a boat"}')
    usual = {name: value for name, value in common.items() if name not in PARAMETERS}
    options = with_models(asked(usual) | asked(given))
    negative = common.get("negative") if negative is None else negative
    seeds = resolve(bundle, prompt, negative, **options).seeds
    return Line(number, prompt, negative, options, _output(output), seeds)


def _object(text: str) -> dict[str, Any]:
    try:
        return json.loads(text, object_pairs_hook=_once)
    except RequestError:
        raise
    except (ValueError, RecursionError) as error:
        why = f" ({error.msg} at column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        raise RequestError(f'the line is not a JSON object{why}; write {{"prompt": "a boat", "seed": 7}}') from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = Counter(name for name, _ in pairs)
    twice = [name for name, times in names.items() if times > 1]
    if twice:
        raise RequestError(f"the line names '{twice[0][:40]}' twice; leave one of them out")
    return dict(pairs)


def _output(name: str | None) -> Path | None:
    """A line's own file name: one in the folder that was asked for, on every system that the list may be taken to."""
    if name is None:
        return None
    parts = name.split("/")
    if any(part in ("", ".", "..") or DEVICES.fullmatch(part) for part in parts) or "\\" in name or ":" in name:
        raise RequestError(f"output '{name[:40]}' must be a file name in the folder of the list; leave the path out")
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name):
        raise RequestError("output has characters that no file name should have; leave them out")
    return Path(name)


def binary(stream: Any) -> BinaryIO:
    """The bytes of a text stream such as sys.stdin; ResourceError where there is none."""
    if stream is None:
        raise ResourceError("there is no standard input to read a list from; name a file with --prompts")
    return getattr(stream, "buffer", None) or io.BytesIO(stream.read().encode("utf-8"))
