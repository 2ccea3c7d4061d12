"""What all interfaces of a running server share."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from pleinair.serve.fitting import LoraFits
from pleinair.serve.jobs import Jobs
from pleinair.serve.large_texts import LargeTexts
from pleinair.serve.naming import Index
from pleinair.serve.refusals import shortage
from pleinair.serve.settings import ServeSettings
from pleinair.serve.words import Readers
from pleinair.system import install

CHECKING = 2  # threads that look at requests: each may hold a white picture as large as one that was sent
Answer = TypeVar("Answer")


class Shared:
    """The settings, the jobs, the index of models, and the threads in which requests are looked at."""

    def __init__(self, settings: ServeSettings, jobs: Jobs, index: Index) -> None:
        self.settings, self.jobs, self.index = settings, jobs, index
        self.readers = Readers()
        self.lora_fits = LoraFits()
        self.large_texts = LargeTexts()
        self._checking = ThreadPoolExecutor(CHECKING, thread_name_prefix="checks")

    async def checks(self, work: Callable[..., Answer], *arguments: Any) -> Answer:
        """`work(*arguments)` beside the event loop, which never waits for it; Refused where memory or disk is short."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._checking, partial(work, *arguments))
        except (MemoryError, OSError) as error:
            raise shortage(error) or error from None


def speaks_mcp() -> bool:
    """Whether the extra `mcp` is installed."""
    return not install.missing(install.PARTS["MCP"][0])
