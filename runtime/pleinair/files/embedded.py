"""Texts inside picture and film files: PNG chunks, EXIF, XMP and JPEG comments, found among the bytes.

Nothing here decodes a pixel, follows an XML entity or trusts a length: a file from anywhere costs at most MAX_TEXTS of
memory and a walk over its first MAX_CHUNKS chunks. What is damaged, too large or cut off is left out and named in
`Embedded.skipped`.
"""

import hashlib
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from pleinair.checks import shown_path
from pleinair.errors import RequestError
from pleinair.files import xmp
from pleinair.files.exif import EXIF_HEADER, decoded
from pleinair.files.found_texts import MAX_TEXT, Embedded, read_exif, read_xmp

MAX_CHUNKS = 200_000  # or segments, blocks and boxes; 1.6 GB of a PNG in the usual chunks of 8 kB
MAX_FILL = 1 << 16  # fill bytes in all of a JPEG

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
REST = f"what follows the first {MAX_CHUNKS:,} chunks"


def read_texts(file: Path) -> Embedded:
    """Every text in a PNG, JPEG, WebP, GIF or MP4 file; RequestError where it is none of these or cannot be read."""
    try:
        if not file.is_file():  # a pipe would be waited for
            raise RequestError(f"no picture '{shown_path(file)}'; check the path")
        with file.open("rb") as stream:
            kind = kind_of(stream.read(12))
            if kind is not None:
                found = Embedded(kind)
                READERS[kind](stream, found)
                return found
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL in it
        why = getattr(error, "strerror", error)
        raise RequestError(f"cannot read '{shown_path(file)}' ({why}); check the path") from None
    if file.suffix.lower() == ".npz":
        raise RequestError(f"'{shown_path(file)}' holds arrays; numpy.load shows its 'settings', or name a picture")
    raise RequestError(f"'{shown_path(file)}' is not a PNG, JPEG, WebP, GIF or MP4 file; name one of these")


def kind_of(start: bytes) -> str | None:
    """The format of a file by its first 12 bytes, if it is one of those read here."""
    if start.startswith(PNG_SIGNATURE):
        return "PNG"
    if start.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if start.startswith(b"RIFF") and start[8:12] == b"WEBP":
        return "WEBP"
    if start[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    return "MP4" if start[4:8] == b"ftyp" else None


def _read_png(stream: BinaryIO, found: Embedded) -> None:
    stream.seek(len(PNG_SIGNATURE))
    for _ in range(MAX_CHUNKS):
        head = stream.read(8)
        if len(head) < 8 or head[4:] == b"IEND":
            return
        size, kind = int.from_bytes(head[:4], "big"), head[4:]
        if kind == b"IHDR" and size == 13:
            found.size = struct.unpack(">II", stream.read(8).ljust(8, b"\0"))
            stream.seek(size - 8 + 4, 1)
            continue
        what = f"a {kind.decode('latin-1')} chunk"
        if kind not in (b"tEXt", b"zTXt", b"iTXt", b"eXIf") or not found.fits(size, what):
            stream.seek(size + 4, 1)
            continue
        data, checksum = stream.read(size), stream.read(4)
        if len(data) < size or zlib.crc32(kind + data).to_bytes(4, "big") != checksum:
            found.skip(f"{what} that is damaged")
        elif kind == b"eXIf":
            read_exif(data, found)
        else:
            _read_png_text(kind, data, found)
    found.skip(REST)


def _read_png_text(kind: bytes, data: bytes, found: Embedded) -> None:
    name, _, value = data.partition(b"\x00")
    packed, encoding = kind == b"zTXt", "latin-1"
    if kind == b"zTXt":
        value = value[1:]
    elif kind == b"iTXt":
        packed, encoding = value[:1] == b"\x01", "utf-8"
        value = value[2:].split(b"\x00", 2)[-1]
    if packed:
        value = _unpacked(value, found)
    if value is None:
        return
    key, text = name.decode("latin-1"), decoded(value, encoding)
    if key == "XML:com.adobe.xmp":
        read_xmp(text, found)
    else:
        found.add(key, text)


def _unpacked(data: bytes, found: Embedded) -> bytes | None:
    """What zlib packed into `data`, or None where it is damaged or larger than a text may be."""
    limit = min(MAX_TEXT, found.room)
    unpacker = zlib.decompressobj()
    try:
        text = unpacker.decompress(data, limit + 1)
    except zlib.error:
        text = b""
    if unpacker.eof and found.fits(len(text), "a compressed text"):
        return text
    found.room -= limit  # the work of unpacking is done, whatever became of it
    if len(text) <= limit:
        found.skip("a compressed text that is damaged")
    else:
        found.skip(f"a compressed text of more than {limit >> 10} KiB")
    return None


def _read_jpeg(stream: BinaryIO, found: Embedded) -> None:
    stream.seek(2)
    pieces: dict[bytes, list[bytes]] = {}  # of extended XMP, in any order, by the MD5 of what they are pieces of
    fill = MAX_FILL
    for _ in range(MAX_CHUNKS):
        mark = stream.read(2)
        while mark[1:] == b"\xff" and fill:  # markers may be padded
            mark, fill = mark[1:] + stream.read(1), fill - 1
        if len(mark) < 2 or mark[0] != 0xFF or mark[1] in (0xD9, 0xDA):
            break
        if mark[1] == 0x01 or 0xD0 <= mark[1] <= 0xD7:  # markers without a length
            continue
        size = int.from_bytes(stream.read(2), "big") - 2
        if size < 0:
            break
        if 0xC0 <= mark[1] <= 0xCF and mark[1] not in (0xC4, 0xC8, 0xCC) and size >= 5:  # a frame header
            _, height, width = struct.unpack(">BHH", stream.read(5).ljust(5, b"\0"))
            found.size, size = (width, height), size - 5
        if mark[1] not in (0xE1, 0xFE) or not found.fits(size, "a JPEG segment"):
            stream.seek(size, 1)
            continue
        data = stream.read(size)
        if len(data) < size:
            found.skip("a JPEG segment that is cut off")
        elif mark[1] == 0xFE:
            name, _, text = data.partition(b"\x00")  # stable-diffusion.cpp writes "parameters", NUL, text
            found.add("parameters" if name == b"parameters" else "comment", decoded(text or name, "latin-1"))
        elif data.startswith(EXIF_HEADER):
            read_exif(data, found)
        elif data.startswith(xmp.JPEG_HEADER):
            read_xmp(decoded(data[len(xmp.JPEG_HEADER) :]), found)
        elif data.startswith(xmp.JPEG_MORE_HEADER):
            piece = data[len(xmp.JPEG_MORE_HEADER) :]
            pieces.setdefault(piece[:32], []).append(piece[36:])
    else:
        found.skip(REST)
    _read_extended_xmp(pieces, found)


def _read_extended_xmp(pieces: dict[bytes, list[bytes]], found: Embedded) -> None:
    """Join the pieces (offset, data) of each MD5, and read what they make if it fits."""
    for digest, ours in sorted(pieces.items()):
        packet = b"".join(piece[4:] for piece in sorted(ours, key=lambda piece: piece[:4]))
        if hashlib.md5(packet, usedforsecurity=False).hexdigest().upper().encode() == digest:
            read_xmp(decoded(packet), found)
        else:
            found.skip("extended XMP that is damaged")


def _read_webp(stream: BinaryIO, found: Embedded) -> None:
    stream.seek(12)
    for _ in range(MAX_CHUNKS):
        head = stream.read(8)
        if len(head) < 8:
            return
        kind, size = head[:4], int.from_bytes(head[4:], "little")
        if kind in (b"VP8X", b"VP8 ", b"VP8L") and size >= 10 and found.size is None:
            found.size = _webp_size(kind, stream.read(10).ljust(10, b"\0"))
            stream.seek(size - 10 + size % 2, 1)
            continue
        if kind not in (b"EXIF", b"XMP ") or not found.fits(size, f"a {kind.decode('latin-1').strip()} chunk"):
            stream.seek(size + size % 2, 1)
            continue
        data = stream.read(size)
        stream.seek(size % 2, 1)
        if len(data) < size:
            found.skip("a WebP chunk that is cut off")
        elif kind == b"EXIF":
            read_exif(data, found)
        else:
            read_xmp(decoded(data), found)
    found.skip(REST)


def _webp_size(kind: bytes, data: bytes) -> tuple[int, int]:
    """Width and height out of the first 10 bytes of a VP8X, VP8 or VP8L chunk."""
    if kind == b"VP8X":
        return int.from_bytes(data[4:7], "little") + 1, int.from_bytes(data[7:10], "little") + 1
    if kind == b"VP8 ":
        return int.from_bytes(data[6:8], "little") & 0x3FFF, int.from_bytes(data[8:10], "little") & 0x3FFF
    bits = int.from_bytes(data[1:5], "little")
    return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1


def _read_gif(stream: BinaryIO, found: Embedded) -> None:
    """The extensions before the first picture, among which we write XMP."""
    stream.seek(10)
    flags = int.from_bytes(stream.read(1), "big")
    stream.seek(13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0))  # behind the palette for all pictures
    inside = False
    for _ in range(MAX_CHUNKS):
        head = b"" if inside else stream.read(2)  # 0x21 and what kind of extension; blocks follow, up to an empty one
        if not inside and head[:1] != b"\x21":
            return
        size = int.from_bytes(stream.read(1), "big")
        block = stream.read(size)
        if head[1:] == b"\xff" and block == xmp.GIF_HEADER:
            packet, end, _ = stream.read(MAX_TEXT + len(xmp.GIF_END)).partition(xmp.GIF_END[:3])
            if not end:
                found.skip("XMP that is too large or cut off")
            elif found.fits(len(packet), "XMP"):
                read_xmp(decoded(packet), found)
            return
        inside = size > 0
    found.skip(REST)


def _read_mp4(stream: BinaryIO, found: Embedded) -> None:
    """The outermost boxes."""
    place, end = 0, stream.seek(0, 2)
    for _ in range(MAX_CHUNKS):
        if place >= end:
            return
        stream.seek(place)
        head = stream.read(32)
        size, start = int.from_bytes(head[:4], "big"), 8
        if size == 1:
            size, start = int.from_bytes(head[8:16], "big"), 16
        if head[4:8] == b"uuid" and head[start : start + 16] == xmp.MP4_UUID:
            stream.seek(place + start + 16)
            length = size - start - 16
            if length >= 0 and found.fits(length, "a uuid box"):
                packet = stream.read(length)
                if len(packet) == length:
                    read_xmp(decoded(packet), found)
                else:
                    found.skip("a uuid box that is cut off")
        if size < start:  # 0: up to the end
            return
        place += size
    found.skip(REST)


READERS: dict[str, Callable[[BinaryIO, Embedded], None]] = {
    "PNG": _read_png,
    "JPEG": _read_jpeg,
    "WEBP": _read_webp,
    "GIF": _read_gif,
    "MP4": _read_mp4,
}
