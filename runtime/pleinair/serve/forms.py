"""Multipart forms: bounded in parts and bytes, with the files that are expected and no others."""

import json
from typing import Any

from starlette.datastructures import UploadFile
from starlette.requests import Request

from pleinair.checks import one_line
from pleinair.serve.reading import check_texts
from pleinair.serve.refusals import Refused, shortage

FORM = "multipart/form-data"


async def read_form(request: Request, files: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, list[bytes]]]:
    """The fields of a form, and its files by name. Raises Refused, and Starlette's HTTPException for no form."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise Refused(415, "unsupported_media_type", f"the body must be {FORM}; send the picture as a file")
    limits = request.app.state.serve.settings.limits
    fields: dict[str, Any] = {}
    found: dict[str, list[bytes]] = {}
    try:
        async with request.form(max_files=limits.parts, max_fields=limits.parts, max_part_size=limits.body) as form:
            for name, value in form.multi_items():
                if not isinstance(value, UploadFile):
                    fields[name] = value
                elif name in files:
                    found.setdefault(name, []).append(await value.read())
                else:
                    raise Refused(
                        422,
                        "invalid_request",
                        "a file was sent under another name; call it image",
                        field=one_line(name, 80),
                    )
    except (MemoryError, OSError) as error:  # large parts go through a file
        raise shortage(error) or error from None
    try:
        check_texts([*fields, *fields.values()])
    except ValueError:
        raise Refused(400, "invalid_request", "the form's text is not valid Unicode; send UTF-8") from None
    return fields, found


def listed_loras(text: str) -> Any:
    """LoRAs as a field of a form has them, which holds no list: a name, or JSON."""
    if not text.startswith("["):
        return [text]
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise Refused(422, "invalid_request", "lora must be a name or JSON; check it", field="loras") from None
