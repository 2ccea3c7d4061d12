"""EXIF: the texts in it that say how a picture was made, read and written as bytes."""

import struct

EXIF_HEADER = b"Exif\x00\x00"
USER_COMMENT, EXIF_POINTER = 0x9286, 0x8769
STRINGS = (0x010D, 0x010E, 0x010F, 0x0110)  # DocumentName, ImageDescription, Make, Model
MAX_ENTRIES = 512  # of one directory


def read(data: bytes) -> dict[str, str]:
    """The UserComment, and the strings "prompt:..." and "workflow:..." that ComfyUI puts into Make and Model.

    Raises ValueError for EXIF that is damaged.
    """
    tiff = data.removeprefix(EXIF_HEADER)
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        raise ValueError("no byte order")
    try:
        main = _directory(tiff, order, struct.unpack_from(order + "I", tiff, 4)[0])
        pointer = main.get(EXIF_POINTER)
        place = int.from_bytes(pointer, "big" if order == ">" else "little") if pointer else 0
        details = _directory(tiff, order, place) if pointer else {}
    except struct.error as error:
        raise ValueError(str(error)) from None
    texts: dict[str, str] = {}
    for tag in STRINGS:
        name, _, text = decoded(main.get(tag, b"")).rstrip("\x00").partition(":")
        if name in ("prompt", "workflow"):
            texts.setdefault(name, text)
    if comment := details.get(USER_COMMENT) or main.get(USER_COMMENT):
        texts["UserComment"] = _comment(comment)
    return texts


def write(comment: str) -> bytes:
    """EXIF with nothing but a UserComment, in UTF-16BE as A1111 writes it through piexif."""
    value = b"UNICODE\x00" + comment.encode("utf-16-be")
    main = struct.pack(">H HHII I", 1, EXIF_POINTER, 4, 1, 26, 0)
    details = struct.pack(">H HHII I", 1, USER_COMMENT, 7, len(value), 44, 0)
    return EXIF_HEADER + b"MM\x00\x2a" + struct.pack(">I", 8) + main + details + value


def decoded(data: bytes, encoding: str = "utf-8") -> str:
    """UTF-8 where the bytes are that, whatever the format says: stable-diffusion.cpp writes it into Latin-1 chunks."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode(encoding, "replace")


def _directory(tiff: bytes, order: str, start: int) -> dict[int, bytes]:
    """tag -> value of the entries of an EXIF directory that are read here, the first of each; raises struct.error."""
    (count,) = struct.unpack_from(order + "H", tiff, start)
    values = {}
    for at in range(start + 2, start + 2 + 12 * min(count, MAX_ENTRIES), 12):
        tag, kind, length = struct.unpack_from(order + "HHI", tiff, at)
        if tag in values:
            continue
        if tag == EXIF_POINTER:
            values[tag] = tiff[at + 8 : at + 12]
        elif tag in (USER_COMMENT, *STRINGS) and kind in (1, 2, 7):  # BYTE, ASCII, UNDEFINED
            place = at + 8 if length <= 4 else struct.unpack_from(order + "I", tiff, at + 8)[0]
            if place + length <= len(tiff):
                values[tag] = tiff[place : place + length]
    return values


def _comment(value: bytes) -> str:
    """A UserComment by its 8-byte code; UTF-16 in either byte order, for writers disagree."""
    code, text = value[:8], value[8:]
    if code == b"UNICODE\x00":
        little = text[1::2].count(0) > text[::2].count(0)  # the zeros of ASCII letters tell
        return text.decode("utf-16-le" if little else "utf-16-be", "replace").strip("\ufeff\x00")
    known = code in (b"ASCII\x00\x00\x00", b"JIS\x00\x00\x00\x00\x00", bytes(8))
    return decoded(text if known else value).strip("\x00")
