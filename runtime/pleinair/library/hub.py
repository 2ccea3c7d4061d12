"""Talking to the Hugging Face hub, or to what HF_ENDPOINT names: what a repository holds, and its files as bytes.

Imported only where something is to be fetched. Token, endpoint, cache, proxy and offline mode are those of
huggingface_hub and its environment variables; what goes out with a request is the token and pleinair's version.
"""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from time import sleep
from typing import Any
from urllib.parse import quote

import httpx2
from huggingface_hub import constants, errors, get_session, get_token, try_to_load_from_cache
from huggingface_hub.utils import hf_raise_for_status

from pleinair.checks import one_line
from pleinair.errors import NetworkError
from pleinair.library.repository import DIGEST, Remote, Repository, check_names, present
from pleinair.sources.hub_ids import COMMIT
from pleinair.version import __version__

MAIN = "main"
LARGEST = 32 << 20  # bytes: the longest list of files that is read
PAUSES = (1, 2, 4, 8, 16)  # seconds before the next try, while nothing comes
PASSING = (408, 429, 500, 502, 503, 504)  # what a server says that may do better in a moment
AGAIN = "the same command continues from there"


class Cut(Exception):
    """The connection ended before the file did."""


def offline() -> bool:
    """Whether HF_HUB_OFFLINE is set."""
    return constants.is_offline_mode()


def listed(id: str, revision: str | None) -> Repository:
    """A repository at a branch, tag or commit; raises NetworkError."""
    url = f"{constants.ENDPOINT}/api/models/{id}/revision/{quote(revision or MAIN, safe='')}?blobs=true"
    with explained(id, revision or MAIN):
        content = asked(url)
    try:
        raw = json.loads(content)
        found = Repository(id, raw["sha"], {str(each["rfilename"]): remote(each) for each in raw["siblings"]})
        if not COMMIT.fullmatch(found.commit):
            raise ValueError("no commit")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise NetworkError(
            f"{constants.ENDPOINT} answers with no list of the files of '{id}'; check HF_ENDPOINT, or try later"
        ) from None
    check_names(found)
    return found


def remote(entry: dict[str, Any]) -> Remote:
    """A file as the hub lists it; raises ValueError or KeyError where its size is not there."""
    large = entry.get("lfs") or {}
    size, digest = large.get("size", entry["size"]), large.get("sha256", entry.get("blobId"))
    if type(size) is not int or size < 0:
        raise ValueError("no size")
    return Remote(size, digest if isinstance(digest, str) and DIGEST.fullmatch(digest) else None)


def cached(id: str, revision: str | None, *names: str) -> Repository:
    """What this machine's cache of the hub has of a repository, if it has one of `names`; raises NetworkError."""
    for name in names:
        found = try_to_load_from_cache(id, name, revision=revision or MAIN)
        if isinstance(found, str):
            snapshot = Path(found).parents[len(PurePosixPath(name).parts) - 1]
            files = {file.relative_to(snapshot).as_posix(): file for file in snapshot.rglob("*") if file.is_file()}
            return Repository(id, snapshot.name, {name: Remote(present(f), named(f)) for name, f in files.items()})
    raise NetworkError(f"HF_HUB_OFFLINE is set and '{id}' is not in the hub's cache; unset it to fetch the model")


def named(file: Path) -> str | None:
    """The digest that a file of the cache is named after, where the cache is made of links."""
    name = file.resolve().name
    return name if file.is_symlink() and DIGEST.fullmatch(name) else None


def in_cache(repository: Repository, name: str) -> Path | None:
    """A file that this machine's cache of the hub has."""
    found = try_to_load_from_cache(repository.id, name, revision=repository.commit)
    return Path(found) if isinstance(found, str) else None


def fetched(repository: Repository, name: str, part: Path) -> Iterator[int]:
    """Add to `part` what is missing of a file, yielding the bytes that it has; raises NetworkError, OSError."""
    size, failures = repository.files[name].size, 0
    url = f"{constants.ENDPOINT}/{repository.id}/resolve/{repository.commit}/{quote(name)}"
    with explained(repository.id, repository.commit):
        while not part.exists() or present(part) != size:
            before = present(part)
            try:
                yield from received(url, part, size)
            except (Cut, httpx2.TransportError, errors.HfHubHTTPError) as error:
                failures = 0 if present(part) > before else failures + 1
                if not passing(error) or failures > len(PAUSES):
                    raise
                sleep(PAUSES[max(failures - 1, 0)])


def received(url: str, part: Path, size: int) -> Iterator[int]:
    """What one request brings of the bytes that are missing, written as it comes."""
    have = present(part) if present(part) < size else 0
    with answer(url, {"range": f"bytes={have}-"} if have else {}) as response:
        have = have if response.status_code == 206 else 0  # else the whole file comes, whatever was asked for
        with part.open("ab" if have else "wb") as stream:
            for piece in response.iter_bytes():  # as they come: what is gathered first is lost when the connection is
                have += len(piece)
                if have > size:
                    raise NetworkError(f"a file is longer than {constants.ENDPOINT} says; do not use this model")
                stream.write(piece)
                yield have
    if have < size:
        raise Cut(f"the connection ended {size - have:,} bytes too early")


def asked(url: str) -> bytes:
    """A small answer, asked for again where the server may do better."""
    for pause in PAUSES:
        try:
            return read(url)
        except (httpx2.TransportError, errors.HfHubHTTPError) as error:
            if not passing(error) or isinstance(error, httpx2.ConnectError):  # there is no network, most likely
                raise
        sleep(pause)
    return read(url)


def read(url: str) -> bytes:
    content = bytearray()
    with answer(url, {}) as response:
        for piece in response.iter_bytes():
            content += piece
            if len(content) > LARGEST:
                raise NetworkError(f"{constants.ENDPOINT} lists far too many files; choose another repository")
    return bytes(content)


@contextlib.contextmanager
def answer(url: str, headers: dict[str, str]) -> Iterator[httpx2.Response]:
    """The response to a request; raises what huggingface_hub makes of a refusal. No other host gets the token."""
    sent = {"user-agent": f"pleinair/{__version__}", "accept-encoding": "identity", **headers}
    if token := get_token():
        sent["authorization"] = f"Bearer {token}"
    with get_session().stream("GET", url, headers=sent, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT) as response:
        hf_raise_for_status(response)
        yield response


def passing(error: Exception) -> bool:
    """Whether another try may do better."""
    if isinstance(error, errors.HfHubHTTPError):
        return error.response.status_code in PASSING
    return not isinstance(error, httpx2.ProxyError | httpx2.UnsupportedProtocol)


@contextlib.contextmanager
def explained(id: str, revision: str) -> Iterator[None]:
    """Turn what goes wrong between here and the hub into a NetworkError with what helps."""
    try:
        yield
    except errors.OfflineModeIsEnabled:
        raise NetworkError(f"HF_HUB_OFFLINE is set and '{id}' is not all here; unset it to fetch the model") from None
    except errors.GatedRepoError:
        raise NetworkError(
            f"'{id}' asks for its licence to be accepted first; accept it at {constants.ENDPOINT}/{id}, make a token"
            " there and set HF_TOKEN"
        ) from None
    except errors.RevisionNotFoundError:
        raise NetworkError(f"'{id}' has no revision '{one_line(revision, 80)}'; choose another --revision") from None
    except errors.HfHubHTTPError as error:
        raise NetworkError(refusal(id, error.response.status_code)) from None
    except (Cut, httpx2.HTTPError, httpx2.InvalidURL) as error:
        why = one_line(error, 120) or type(error).__name__
        raise NetworkError(
            f"cannot fetch '{id}' from {constants.ENDPOINT} ({why}); check the network, {AGAIN}"
        ) from None


def refusal(id: str, status: int) -> str:
    """What a status means for whoever asked, and what helps."""
    token = get_token() is not None
    if status == 401 and token:
        return f"the hub does not accept the token for '{id}'; make a new one and set HF_TOKEN, or unset it"
    if status == 403:
        return (
            f"the token may not read '{id}'; accept its licence at {constants.ENDPOINT}/{id}, or set another HF_TOKEN"
        )
    if status in (401, 404):
        private = "the token may not read it" if token else "it is private"
        return f"there is no '{id}' on {constants.ENDPOINT}, or {private}; check the name, or set HF_TOKEN"
    if status == 429:
        return f"the hub has had too many requests from here; wait a few minutes, {AGAIN}"
    return f"the hub answers for '{id}' with an error ({status}); try later, {AGAIN}"
