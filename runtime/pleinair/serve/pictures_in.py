"""Pictures as requests bring them: base64 or data URLs, never a path, never an address."""

import base64
import re
import warnings
from io import BytesIO

from PIL import Image

from pleinair.checks import one_line
from pleinair.errors import RequestError
from pleinair.pictures.reading import FORMATS, ORIENTATION

DATA_URL = re.compile(r"data:[\w.+/-]{0,80}(?:;[\w.+-]{1,40}=[\w.+-]{1,40})*;base64,", re.IGNORECASE)
ADDRESS = re.compile(r"[a-zA-Z][\w+.-]{0,20}:")
QUARTERS = (5, 6, 7, 8)  # values of EXIF's orientation
PIECE = 1 << 20  # characters; a multiple of 4
REMEDY = "send the bytes of a PNG, JPEG or WebP as base64"


def picture_bytes(name: str, value: object, most_pixels: int) -> bytes:
    """The bytes of a picture; raises RequestError for what is none, or has too many pixels."""
    if isinstance(value, bytes):  # which a form has, and JSON has not
        size_of(name, value, most_pixels)
        return value
    if value is None:
        raise RequestError(f"there is no {name}; {REMEDY}")
    if not isinstance(value, str):
        raise RequestError(f"{name} must be text; {REMEDY}")
    prefix = DATA_URL.match(value)
    if not prefix and ADDRESS.match(value):
        raise RequestError(f"{name} is an address, and none is ever fetched; {REMEDY}")
    try:
        data = decoded(value[prefix.end() if prefix else 0 :])
    except ValueError:
        raise RequestError(f"{name} is not base64; {REMEDY}") from None
    size_of(name, data, most_pixels)
    return data


def decoded(text: str) -> bytes:
    """The bytes of base64, read in pieces: all threads wait while one is read. Raises ValueError for what is none."""
    if "\n" in text:  # as base64 of command lines and mails has it
        text = "".join(text.split())
    if text.find("=", 0, -2) >= 0:
        raise ValueError("padding in the middle")
    return b"".join(base64.b64decode(text[at : at + PIECE], validate=True) for at in range(0, len(text), PIECE))


def size_of(name: str, data: bytes, most_pixels: int) -> tuple[int, int]:
    """Width and height, upright, by the head of a PNG, JPEG or WebP, of which nothing is decoded.

    Raises RequestError for all else.
    """
    if not data:
        raise RequestError(f"{name} is empty; {REMEDY}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(BytesIO(data), formats=FORMATS) as picture:
                size = picture.size[::-1] if lies_on_its_side(picture) else picture.size
    except Image.DecompressionBombError:
        raise RequestError(f"{name} has far too many pixels; send it smaller") from None
    except Image.UnidentifiedImageError:
        raise RequestError(f"{name} is no PNG, JPEG or WebP; {REMEDY}") from None
    except Exception as error:  # a damaged head makes Pillow stumble in any of many ways
        raise RequestError(f"{name} is damaged ({one_line(error, 60)}); {REMEDY}") from None
    if min(size) < 1 or size[0] * size[1] > most_pixels:
        raise RequestError(
            f"{name} has {size[0]}x{size[1]} pixels; at most {most_pixels / 1e6:.1f} million are taken; send it smaller"
        )
    return size


def lies_on_its_side(picture: Image.Image) -> bool:
    """Whether a picture's EXIF data turn it by a quarter; not where they cannot be read."""
    try:
        return Image.Image.getexif(picture).get(ORIENTATION, 1) in QUARTERS  # that of PNGs decodes them
    except Exception:
        return False
