"""Multipart forms: bounded in parts and bytes, with the files that are expected and no others."""

from typing import Any

from starlette.datastructures import UploadFile
from starlette.requests import Request

from pleinair.serve.refusals import Refused

FORM = "multipart/form-data"


async def read_form(request: Request, files: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, list[bytes]]]:
    """The fields of a form, and its files by name. Raises Refused, and Starlette's HTTPException for no form."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise Refused(415, "unsupported_media_type", f"the body must be {FORM}; send the picture as a file")
    limits = request.app.state.serve.settings.limits
    fields: dict[str, Any] = {}
    found: dict[str, list[bytes]] = {}
    async with request.form(max_files=limits.parts, max_fields=limits.parts, max_part_size=limits.body) as form:
        for name, value in form.multi_items():
            if not isinstance(value, UploadFile):
                fields[name] = value
            elif name in files:
                found.setdefault(name, []).append(await value.read())
            else:
                raise Refused(422, "invalid_request", "a file was sent under another name; send image", field=name[:80])
    return fields, found
