"""What a request is refused with: a status, a code for programs, and a line for people that ends with the remedy."""

import errno
import re
from dataclasses import dataclass
from typing import Any

from pleinair.errors import BundleError, EngineError, PleinairError, RequestError, ResourceError
from pleinair.request.options import OPTIONS
from pleinair.system.home import HOME, home

CODES: dict[type[PleinairError], tuple[str, int]] = {  # the most special first
    RequestError: ("invalid_request", 422),
    BundleError: ("model_error", 422),
    ResourceError: ("out_of_resources", 503),
    EngineError: ("engine_error", 500),
}
FLAG = re.compile(r"--[a-z][a-z-]*")
FLAGS = {each.flag: name for name, each in OPTIONS.items() if each.flag} | {"--seeds": "seeds", "--frames": "frames"}
QUOTED = re.compile(r"'(?:[A-Za-z]:)?[\\/][^'\n]*[\\/]([^'\\/\n]+)'")  # a file with its folders
FOLDERS = re.compile(r"(?<![\w.:\\/-])(?:[A-Za-z]:)?(?:[\\/][^\\/\s'\"(),:;]+)+[\\/](?=[^\\/\s])")
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
STATUSES = dict(CODES.values())  # of the codes that failed jobs have


@dataclass(frozen=True)
class Trouble:
    """What went wrong, as answers and failed jobs have it."""

    code: str
    message: str
    field: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The `error` of an answer."""
        field = {"field": self.field} if self.field else {}
        return {"code": self.code, "message": self.message, **field}


class Refused(Exception):
    """A request that is not followed."""

    def __init__(
        self, status: int, code: str, message: str, *, field: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.trouble = Trouble(code, message, field)
        self.retry_after = retry_after


def trouble_of(error: PleinairError, field: str | None = None) -> Trouble:
    """An expected error as answers have it."""
    code = next((code for kind, (code, _) in CODES.items() if isinstance(error, kind)), "error")
    message = " ".join(str(error).split())
    return Trouble(code, in_words_of_requests(message) if isinstance(error, RequestError) else told(message), field)


def shortage(error: Exception) -> Refused | None:
    """The refusal of a request for which memory or disk was short; None for other errors."""
    if isinstance(error, MemoryError):
        return Refused(503, "out_of_resources", "the server is out of memory; send smaller pictures", retry_after=30)
    if isinstance(error, OSError) and error.errno in FULL:
        return Refused(503, "out_of_resources", "the server's disk is full; free space on it", retry_after=30)
    return None


def told(message: str) -> str:
    """A message for whoever asks: where files lie is the server's affair, and options have no flags."""
    return FOLDERS.sub("", QUOTED.sub(r"'\1'", in_words_of_requests(message)))


def in_words_of_requests(message: str) -> str:
    """A message that quotes what was sent, which may look like a file, with the names of options for their flags."""
    named = FLAG.sub(lambda flag: f"'{FLAGS[flag[0]]}'" if flag[0] in FLAGS else flag[0], message)
    return named.replace(str(home()), HOME)


def refused(error: PleinairError, field: str | None = None) -> Refused:
    """An expected error as a refusal."""
    trouble = trouble_of(error, field)
    return Refused(STATUSES.get(trouble.code, 500), trouble.code, trouble.message, field=field)
