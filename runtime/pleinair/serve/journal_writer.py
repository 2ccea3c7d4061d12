"""The journal as the event loop uses it: written in a thread of its own, and once more where the disk was full."""

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from pleinair.serve.job import JobSpec
from pleinair.serve.journal import Journal, Left

BROKEN = (sqlite3.Error, OSError, ValueError)  # ValueError: a row that is no JSON
log = logging.getLogger(__name__)


class JournalWriter:
    """What is kept of jobs on the disk; nothing is where there is no file.

    A promise is written before it is given, or not given. What happens to a job afterwards may be written late: at
    worst a job is painted once more after a restart. `owed` are the jobs whose last note is not on the disk yet.
    """

    def __init__(self, file: Path | None) -> None:
        self.file = file
        self.owed: dict[str, Callable[[], None]] = {}
        self._journal: Journal | None = None
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._failing = False

    def keeps(self, spec: JobSpec) -> bool:
        """Whether a job is written down."""
        return self._journal is not None and spec.kept

    async def open(self) -> tuple[list[Left], list[str]]:
        """The jobs that have not ended, and the ids of those that have; raises sqlite3.Error or OSError."""
        if self.file is None:
            return [], []
        self._journal = await self._written(Journal, self.file)
        return await self._written(lambda: list(self._journal.left())), await self._written(self._journal.gone)

    async def promise(self, id: str, spec: JobSpec, key: str | None, digest: str | None) -> None:
        """Write an accepted job down; raises sqlite3.Error or OSError, and nothing is written then."""
        await self._written(self._journal.accept, id, spec, key, digest)
        await self.settle()

    async def begun(self, id: str, attempts: int) -> None:
        """A job is begun, or that is taken back."""
        self.owed[id] = partial(self._journal.begun, id, attempts)
        await self.settle()

    async def ended(self, id: str, most: int) -> None:
        """A job is over; `most` ids of such jobs are kept."""
        self.owed[id] = partial(self._journal.ended, id, most)
        await self.settle()

    async def settle(self) -> None:
        """Write what is owed, as far as the disk takes it."""
        for id, note in list(self.owed.items()):
            try:
                await self._written(note)
            except BROKEN as error:
                if not self._failing:
                    log.error("the journal cannot be written, trying again: %s", error)
                self._failing = True
                return
            if self.owed.get(id) is note:
                del self.owed[id]
        if self._failing:
            log.info("the journal can be written again")
        self._failing = False

    async def _written(self, write: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._writing, partial(write, *arguments))
