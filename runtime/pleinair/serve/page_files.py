"""The page: files of this package, read once, with their types and their ETags."""

import gzip
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from pleinair.serve.refusals import Refused

FOLDER = Path(__file__).with_name("page")
FIRST = "index.html"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".webp": "image/webp",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
    ".txt": "text/plain; charset=utf-8",
    ".md": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
}


@dataclass(frozen=True)
class PageFile:
    """A file of the page, as it is and packed."""

    data: bytes
    packed: bytes
    type: str
    etag: str


def page_files(folder: Path = FOLDER) -> dict[str, PageFile]:
    """Path below the folder, with slashes -> file; what has no known type is not served."""
    found = {}
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.suffix in TYPES:
            data = file.read_bytes()
            name = file.relative_to(folder).as_posix()
            found[name] = PageFile(data, gzip.compress(data), TYPES[file.suffix], f'"{sha256(data).hexdigest()[:24]}"')
    return found


async def page(request: Request) -> Response:
    """GET of a file: found by its name in a table, so that no name leads anywhere else."""
    name = request.path_params.get("name") or FIRST
    file = request.app.state.page.get(name)
    if file is None:
        raise Refused(404, "not_found", "there is nothing here; the page is at /, and the interface below /api/v1")
    headers = {"ETag": file.etag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
    if file.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    headers["Content-Type"] = file.type
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(file.packed, headers=headers | {"Content-Encoding": "gzip"})
    return Response(file.data, headers=headers)
