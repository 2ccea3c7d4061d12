"""Finished pictures in the format that a client asks for."""

from io import BytesIO

from PIL import Image

from pleinair.files.metadata import save_options
from pleinair.serve.job import FinishedPicture


def in_format(picture: FinishedPicture, kind: str, quality: int | None = None) -> bytes:
    """A picture's bytes as PNG, JPEG or WEBP, with the settings that it has."""
    if kind == "PNG":
        return picture.data
    told = save_options(kind, picture.settings, picture.seed) if picture.settings else {}
    told |= {"quality": quality} if quality else {}
    stream = BytesIO()
    with Image.open(BytesIO(picture.data), formats=("PNG",)) as opened:
        opened.convert("RGB").save(stream, kind, **told)
    return stream.getvalue()
