"""Records in a file of JSON lines: appended whole or not at all, read from any version, checked against the schema.

Each line is complete in itself, so that merging files is `cat`. Files may come from strangers: what is read from them
is bounded in size, has finite numbers, and texts that a terminal shows as they are.
"""

import errno
import io
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from pleinair.checks import one_line
from pleinair.errors import RequestError, ResourceError
from pleinair.system.files import read_file
from pleinair_bench.statistics import Rounds, Summary, summary
from pleinair_bench.upgrades import UPGRADES

VERSION = 5
SCHEMA = Path(__file__).with_name("schema.json")
MAIN = ("total", "run")  # what a case is about: the first of them that it has
PATIENCE_S = 30.0
UNFINISHED = ".unfinished"  # added to the results file's name: what a killed run leaves
LARGEST_FILE = 64 << 20  # bytes: some thousand runs
LARGEST_LINE = 1 << 20  # bytes: a record has a few thousand samples at most
LARGEST_NUMBER = 1e18
LONGEST_TEXT = 500  # characters of one string
WARNED = 5  # lines of a file that are named for what is wrong with them
MOST_WRONG = 10_000  # lines that are no records, after which a file is none of ours
Record = dict[str, Any]


def append(file: Path, records: Iterable[Record]) -> None:
    """Add records to the end of a file that other runs may be adding to; ResourceError when the disk is full.

    After an error the file is what it was before. A line that a power cut left unfinished is closed first.
    """
    lines = _lines(records)
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
    except OSError as error:
        raise _unwritable(file, error) from None
    try:
        with _locked(descriptor, file):
            end = os.lseek(descriptor, 0, os.SEEK_END)
            try:
                if end:
                    os.lseek(descriptor, end - 1, os.SEEK_SET)
                    lines = lines if os.read(descriptor, 1) == b"\n" else b"\n" + lines
                written = 0
                while written < len(lines):
                    written += os.write(descriptor, lines[written:])
                os.fsync(descriptor)
            except BaseException:  # Ctrl-C too must leave no half line
                os.ftruncate(descriptor, end)
                raise
    except OSError as error:
        raise _unwritable(file, error) from None
    finally:
        os.close(descriptor)


def keep(file: Path, records: list[Record]) -> None:
    """Put what is measured so far beside the results file, in case this process is killed; nothing removes it again.

    That it cannot be written is no reason to stop measuring.
    """
    beside = unfinished(file)
    part = beside.with_name(f"{beside.name}.{os.getpid()}")
    with suppress(OSError):
        if not records:
            beside.unlink(missing_ok=True)
            return
        try:
            part.write_bytes(_lines(records))
            part.replace(beside)
        finally:
            part.unlink(missing_ok=True)


def recover(file: Path) -> int:
    """Add what a killed run has left beside the results file to it; returns how many records that were."""
    beside = unfinished(file)
    if not beside.is_file():
        return 0
    found, _ = read([beside])
    append(file, found)
    keep(file, [])
    return len(found)


def unfinished(file: Path) -> Path:
    """Where a run keeps the records of cases that are not done."""
    return file.with_name(file.name + UNFINISHED)


def read(files: Iterable[Path]) -> tuple[list[Record], list[str]]:
    """All records of the files, brought to this version, and warnings of lines that are none.

    Raises RequestError for what is no ordinary file, is too large, or has lines and no record among them.
    """
    found: list[Record] = []
    warnings: list[str] = []
    for file in files:
        good, bad = _read(file)
        if bad and not good:
            raise RequestError(f"'{_shown(file)}' holds no benchmark records ({bad[0]}); give a results file")
        found += good
        warnings += [f"'{_shown(file)}', {complaint}" for complaint in bad[:WARNED]]
        if len(bad) > WARNED:
            warnings.append(f"'{_shown(file)}', {len(bad) - WARNED} more lines are left out")
    return found, warnings


def _read(file: Path) -> tuple[list[Record], list[str]]:
    """One file's records, and what is wrong with its other lines."""
    content = read_file(file, LARGEST_FILE, RequestError, "check the path, or give fewer records at once")
    good, bad = [], []
    for number, line in enumerate(io.BytesIO(content), 1):
        if line.isspace():
            continue
        try:
            good.append(_parsed(line))
        except ValueError as error:
            bad.append(f"line {number} is left out: {one_line(error, 200)}")
        if len(bad) > MOST_WRONG:
            raise RequestError(
                f"'{_shown(file)}' has more than {MOST_WRONG:,} lines that are not records; give a results file"
            )
    return good, bad


def _parsed(line: bytes) -> Record:
    """The record that a line holds; ValueError with the reason where it holds none."""
    if len(line) > LARGEST_LINE:
        raise ValueError(f"longer than {LARGEST_LINE:,} bytes")
    try:
        return upgraded(json.loads(line.decode("utf-8", "replace"), parse_constant=_no_number))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def upgraded(raw: Record) -> Record:
    """A record of any version as one of this version; ValueError with the reason where that cannot be.

    A new version adds its step from the one before to UPGRADES, so that old files stay readable.
    """
    version = raw.get("schema") if isinstance(raw, dict) else None
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ValueError("not a benchmark record")
    if version > VERSION:
        raise ValueError(f"a record of version {version}, and this pleinair reads up to {VERSION}; update pleinair")
    try:
        while raw["schema"] < VERSION:
            raw = UPGRADES[raw["schema"]](raw)
    except KeyError as error:
        raise ValueError(f"record lacks {error}") from None
    except (TypeError, AttributeError):
        raise ValueError(f"not a record of version {version}") from None
    if wrong := next(problems(raw), None):
        raise ValueError(wrong)
    return _printable(raw)


def newest(records: Iterable[Record]) -> list[Record]:
    """Of several records of one case on one machine, the last; in the order of the first."""
    found: dict[str, Record] = {}
    for record in records:
        found[f"{machine_key(record)} {case_key(record)}"] = record
    return list(found.values())


def case_key(record: Record) -> str:
    """The same for all records of one case."""
    return json.dumps(record["case"], sort_keys=True)


def machine_key(record: Record) -> str:
    """The same for all records of one kind of machine: there is no name to tell two of a kind apart."""
    facts = record["machine"]
    return json.dumps([facts["cpu"], facts["cores"], facts["memory"], facts["os"].split()[:1]], sort_keys=True)


def main_measure(record: Record) -> str | None:
    """The name of the measure that a case is about; None where nothing was measured."""
    return next((name for name in MAIN if name in record["measures"]), None)


def rounds(record: Record, measure: str) -> Rounds:
    """The samples of a measure, one list for each process."""
    return record["measures"][measure]["rounds"] if measure in record["measures"] else []


def measured(samples: Rounds, unit: str) -> dict[str, Any]:
    """A measure as it stands in a record: the samples and what follows from them."""
    kept = [[float(f"{sample:.6g}") for sample in each] for each in samples]
    found: Summary = summary(kept)
    figures = {"median": found.median, "mad": found.mad, "low": found.low, "high": found.high, "cv": found.cv}
    short = {name: None if value is None else float(f"{value:.6g}") for name, value in figures.items()}
    return {"unit": unit, **short, "rounds": kept}


def problems(value: Any, rule: dict[str, Any] | None = None, where: str = "record") -> Iterator[str]:
    """What about a record breaks the schema: the part of JSON Schema 2020-12 that `schema.json` uses."""
    rules = schema()
    rule = rules if rule is None else rule
    if "$ref" in rule:
        yield from problems(value, rules["$defs"][rule["$ref"].removeprefix("#/$defs/")], where)
    kinds = rule.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(_is(value, kind) for kind in kinds):
        yield f"{where} is not {' or '.join(kinds)}"
        return
    if "const" in rule and value != rule["const"]:
        yield f"{where} is not {rule['const']}"
    if "enum" in rule and value not in rule["enum"]:
        yield f"{where} is none of {', '.join(map(str, rule['enum']))}"
    if "minimum" in rule and _is(value, "number") and value < rule["minimum"]:
        yield f"{where} is below {rule['minimum']}"
    if "maximum" in rule and _is(value, "number") and value > rule["maximum"]:
        yield f"{where} is above {rule['maximum']}"
    if "pattern" in rule and isinstance(value, str) and not re.search(rule["pattern"], value):
        yield f"{where} does not look like {rule['pattern']}"
    if isinstance(value, dict):
        yield from (f"{where} lacks '{name}'" for name in rule.get("required", []) if name not in value)
        others = rule.get("additionalProperties", True)
        for name, item in value.items():
            if name in rule.get("properties", {}):
                yield from problems(item, rule["properties"][name], f"{where}: {name}")
            elif others is False:
                yield f"{where} has '{name}', which it should not"
            elif isinstance(others, dict):
                yield from problems(item, others, f"{where}: {name}")
    if isinstance(value, list):
        if len(value) < rule.get("minItems", 0):
            yield f"{where} is too short"
        rest = rule.get("items", {})
        if rest.get("type") == "number" and _are_numbers(value, rest.get("minimum", -LARGEST_NUMBER)):
            return  # samples, of which there are many
        for number, item in enumerate(value):
            yield from problems(item, rest, f"{where}: {number}")


_schema: dict[str, Any] = json.loads(SCHEMA.read_text(encoding="utf-8"))


def schema() -> dict[str, Any]:
    """The published schema of a record."""
    return _schema


def _is(value: Any, kind: str) -> bool:
    if kind in ("number", "integer"):
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST_NUMBER:
            return False
        return kind == "number" or isinstance(value, int) or value.is_integer()
    types = {"string": str, "boolean": bool, "object": dict, "array": list, "null": type(None)}
    return isinstance(value, types[kind])


def _are_numbers(values: list[Any], least: float) -> bool:
    """Whether all are numbers that a record may have, in one go."""
    return all(type(value) in (int, float) and least <= value <= LARGEST_NUMBER for value in values)


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _printable(value: Any) -> Any:
    """The same with every text on one line, of bounded length, and without what steers a terminal."""
    if isinstance(value, str):
        return value if len(value) <= LONGEST_TEXT and value.isprintable() else one_line(value, LONGEST_TEXT)
    if isinstance(value, dict):
        return {_printable(name): _printable(item) for name, item in value.items()}
    return [_printable(item) for item in value] if isinstance(value, list) else value


def _lines(records: Iterable[Record]) -> bytes:
    return "".join(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n" for record in records).encode()


def _shown(file: Path) -> str:
    return one_line(file.name, 80, end=True)


def _unwritable(file: Path, error: OSError) -> ResourceError:
    full = error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
    remedy = "the disk is full; free space" if full else f"{error.strerror or error}; check the path"
    return ResourceError(f"cannot write '{file}': {remedy}, or choose another file with --results")


@contextmanager
def _locked(descriptor: int, file: Path) -> Iterator[None]:
    """Hold the file for this process alone."""
    if sys.platform == "win32":
        import msvcrt

        def hold() -> None:
            os.lseek(descriptor, 0x7FFFFFFF, os.SEEK_SET)  # a byte that nobody writes: locks there keep readers out
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

        def release() -> None:
            os.lseek(descriptor, 0x7FFFFFFF, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
    else:
        import fcntl

        def hold() -> None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

        def release() -> None:
            fcntl.flock(descriptor, fcntl.LOCK_UN)

    started = monotonic()
    while True:
        try:
            hold()
            break
        except OSError as error:
            if error.errno in (errno.ENOLCK, errno.ENOTSUP, errno.EINVAL):  # a file system without locks
                release = _nothing
                break
            if monotonic() - started > PATIENCE_S:
                raise ResourceError(
                    f"another program holds '{file}'; wait for it, or choose another file with --results"
                ) from None
            sleep(0.02)
    try:
        yield
    finally:
        release()


def _nothing() -> None:
    pass
