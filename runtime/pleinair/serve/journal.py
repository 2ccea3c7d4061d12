"""Accepted jobs on the disk, so that they outlive the server: what they are asked for, until they have ended.

A SQLite file that its owner alone may read. A job's prompt and pictures leave it when the job ends, and are overwritten
with zeros.
"""

import errno
import json
import math
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from pleinair.serve.job import JobSpec

VERSION = 2
BUSY_S = 5.0
RESERVE = 64 << 20  # bytes that stay free: SQLite writes down what it deletes, and a large job is as large as that
TABLES = """
create table if not exists jobs (
  id text primary key, task text, model text, options text, work integer, attempts integer, key text, digest text
);
create table if not exists pictures (job text references jobs on delete cascade, name text, data blob);
create table if not exists gone (number integer primary key autoincrement, id text);
"""


@dataclass(frozen=True)
class Left:
    """A job that had not ended when the server did, how often it was begun, and the idempotency key that it came with
    and the digest of its request, where it had one."""

    id: str
    spec: JobSpec
    attempts: int
    key: str | None = None
    digest: str | None = None


class Journal:
    """The file; one thread at a time may use it. Raises sqlite3.Error where the disk is full or cannot be read.

    Rows are read in the order in which they were written, whatever the clock said then.
    """

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
        self._file = file
        with closing(self._open()) as base, base:
            found = base.execute("pragma user_version").fetchone()[0]
            if found not in (0, VERSION):
                raise sqlite3.DatabaseError(f"written by another version ({found})")
            base.executescript(TABLES)
            base.execute(f"pragma user_version = {VERSION}")

    def accept(self, id: str, spec: JobSpec, key: str | None = None, digest: str | None = None) -> None:
        """Write a job down before it is promised; OSError where there would be no room to take it out again."""
        row = (id, spec.task, spec.model, json.dumps(spec.options), spec.work, 0, key, digest)
        with closing(self._open()) as base, base:
            unused = math.prod(base.execute(f"pragma {name}").fetchone()[0] for name in ("freelist_count", "page_size"))
            more = max(0, 2 * sum(map(len, spec.pictures.values())) - unused)
            if shutil.disk_usage(self._file.parent).free < RESERVE + more:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            base.execute("insert into jobs values (?, ?, ?, ?, ?, ?, ?, ?)", row)
            base.executemany(
                "insert into pictures values (?, ?, ?)", [(id, name, data) for name, data in spec.pictures.items()]
            )

    def begun(self, id: str, attempts: int) -> None:
        """A job is begun once more."""
        with closing(self._open()) as base, base:
            base.execute("update jobs set attempts = ? where id = ?", (attempts, id))

    def ended(self, id: str, most: int) -> None:
        """Forget what a job was asked for; its id is known to be gone, as are the last `most` of them."""
        with closing(self._open()) as base, base:
            if base.execute("delete from jobs where id = ?", (id,)).rowcount:
                number = base.execute("insert into gone (id) values (?)", (id,)).lastrowid
                base.execute("delete from gone where number <= ?", (number - most,))

    def gone(self) -> list[str]:
        """The ids of jobs that have ended, the oldest first."""
        with closing(self._open()) as base:
            return [id for (id,) in base.execute("select id from gone order by number")]

    def left(self) -> Iterator[Left]:
        """The jobs that have not ended, in the order in which they were accepted."""
        with closing(self._open()) as base:
            rows = base.execute(
                "select id, task, model, options, work, attempts, key, digest from jobs order by rowid"
            ).fetchall()
            for id, task, model, options, work, attempts, key, digest in rows:
                pictures = dict(base.execute("select name, data from pictures where job = ?", (id,)))
                yield Left(id, JobSpec(task, model, json.loads(options), pictures, work), attempts, key, digest)

    def _open(self) -> sqlite3.Connection:
        base = sqlite3.connect(self._file, timeout=BUSY_S)
        base.execute("pragma foreign_keys = on")
        base.execute("pragma secure_delete = on")
        return base
