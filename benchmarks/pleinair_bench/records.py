"""Records in a file of JSON lines: appended whole or not at all, read from any version, checked against the schema.

Each line is complete in itself, so that merging files is `cat`.
"""

import errno
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from pleinair.errors import RequestError, ResourceError
from pleinair_bench.statistics import Rounds, Summary, summary

VERSION = 2
SCHEMA = Path(__file__).with_name("schema.json")
MAIN = ("total", "run")  # what a case is about: the first of them that it has
PATIENCE_S = 30.0
Record = dict[str, Any]


def append(file: Path, records: Iterable[Record]) -> None:
    """Add records to the end of a file that other runs may be adding to; ResourceError when the disk is full.

    After an error the file is what it was before. A line that a power cut left unfinished is closed first.
    """
    lines = "".join(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n" for record in records).encode()
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


def read(files: Iterable[Path]) -> tuple[list[Record], list[str]]:
    """All records of the files, brought to this version, and a warning for each line that is none."""
    found, warnings = [], []
    for file in files:
        try:
            lines = file.read_text(encoding="utf-8", errors="replace").split("\n")
        except OSError as error:
            raise RequestError(f"cannot read '{file}' ({error.strerror or error}); check the path") from None
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                found.append(upgraded(json.loads(line)))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                warnings.append(f"{file.name}, line {number} is left out: {error}")
    return found, warnings


def upgraded(raw: Record) -> Record:
    """A record of any version as one of this version; ValueError with the reason where that cannot be.

    A new version adds its step from the one before to UPGRADES, so that old files stay readable.
    """
    version = raw.get("schema") if isinstance(raw, dict) else None
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ValueError("not a benchmark record")
    if version > VERSION:
        raise ValueError(f"a record of version {version}, and this pleinair reads up to {VERSION}; update pleinair")
    while raw["schema"] < VERSION:
        raw = UPGRADES[raw["schema"]](raw)
    if wrong := next(problems(raw), None):
        raise ValueError(wrong)
    return raw


UPGRADES: dict[int, Callable[[Record], Record]] = {  # version -> what makes the next one of it
    1: lambda raw: raw | {"schema": 2, "pace": [], "left_out": []},  # there was no yardstick
}


def newest(records: Iterable[Record]) -> list[Record]:
    """Of several records of one case on one machine, the last; in the order of the first."""
    found: dict[str, Record] = {}
    for record in records:
        found[f"{machine_key(record)} {case_key(record)}"] = record
    return list(found.values())


def case_key(record: Record, without: tuple[str, ...] = ()) -> str:
    """The same for all records of one case."""
    return json.dumps({name: value for name, value in record["case"].items() if name not in without}, sort_keys=True)


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
    return {"unit": unit, **{name: float(f"{value:.6g}") for name, value in figures.items()}, "rounds": kept}


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
        for number, item in enumerate(value):
            yield from problems(item, rule.get("items", {}), f"{where}: {number}")


_schema: dict[str, Any] = json.loads(SCHEMA.read_text(encoding="utf-8"))


def schema() -> dict[str, Any]:
    """The published schema of a record."""
    return _schema


def _is(value: Any, kind: str) -> bool:
    if kind in ("number", "integer"):
        whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        return not isinstance(value, bool) and (whole if kind == "integer" else isinstance(value, int | float))
    types = {"string": str, "boolean": bool, "object": dict, "array": list, "null": type(None)}
    return isinstance(value, types[kind])


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
