"""Texts inside picture and film files: PNG chunks, EXIF, XMP and JPEG comments, read and written as bytes.

Nothing here decodes a pixel, follows an XML entity or trusts a length: a file from anywhere costs at most MAX_TEXTS of
memory and a walk over its first MAX_CHUNKS chunks. What is damaged, too large or cut off is left out and named in
`Embedded.skipped`.
"""

import hashlib
import re
import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from pleinair.errors import RequestError

MAX_TEXT = 1 << 22  # bytes of one text, unpacked; the largest ComfyUI workflows have some hundred kilobytes
MAX_TEXTS = 1 << 24  # of all texts of a file
OVERHEAD = 64  # what keeping one costs besides, so that a million empty ones are too many
MAX_CHUNKS = 200_000  # or segments, blocks and boxes; 1.6 GB of a PNG in the usual chunks of 8 kB
MAX_SKIPPED = 16
MAX_ENTRIES = 512  # of one EXIF directory
MAX_FILL = 1 << 16  # fill bytes in all of a JPEG

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
EXIF_HEADER = b"Exif\x00\x00"
XMP_HEADER = b"http://ns.adobe.com/xap/1.0/\x00"
XMP_MORE_HEADER = b"http://ns.adobe.com/xmp/extension/\x00"
MAX_SEGMENT = 65533  # bytes that a JPEG segment holds
XMP_PIECE = 65000
GIF_XMP = b"XMP DataXMP"
# the packet is not in blocks: from whichever of its bytes a reader jumps, taking that for a length, it lands in here
GIF_XMP_END = b"\x01" + bytes(range(255, -1, -1)) + b"\x00"
MP4_XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")  # the uuid of the box that holds XMP

REST = f"what follows the first {MAX_CHUNKS:,} chunks"
USER_COMMENT, EXIF_POINTER = 0x9286, 0x8769
EXIF_STRINGS = (0x010D, 0x010E, 0x010F, 0x0110)  # DocumentName, ImageDescription, Make, Model
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
NAMESPACE = "urn:pleinair:1#"
ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"}  # xml.sax.saxutils would load http, email and ssl
NAMED = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
ENTITY = re.compile(r"&(?:(amp|lt|gt|quot|apos)|#([0-9]{1,7})|#x([0-9a-fA-F]{1,6}));")  # html.unescape is unbounded
IN_XMP = {"pleinair": "pleinair:settings", "parameters": "sdcpp:parameters"}  # text -> the XMP property that holds it


@dataclass
class Embedded:
    """The texts of a picture file by their names, and what was left unread."""

    kind: str  # PNG, JPEG, WEBP, GIF or MP4
    texts: dict[str, str] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    size: tuple[int, int] | None = None  # width and height in pixels, where the header says so
    room: int = MAX_TEXTS

    def add(self, name: str, text: str) -> None:
        """Keep the first text of each name."""
        self.texts.setdefault(name, text)

    def fits(self, size: int, what: str) -> bool:
        """Whether there is room for a text of `size` bytes, which is then taken."""
        if size > min(MAX_TEXT, self.room):
            self.skip(f"{what} of more than {min(MAX_TEXT, self.room) >> 10} KiB")
            return False
        self.room = max(0, self.room - size - OVERHEAD)
        return True

    def skip(self, what: str) -> None:
        if what not in self.skipped and len(self.skipped) < MAX_SKIPPED:
            self.skipped.append(what)


def read_texts(file: Path) -> Embedded:
    """Every text in a PNG, JPEG, WebP, GIF or MP4 file; RequestError where it is none of these or cannot be read."""
    try:
        if not file.is_file():  # a pipe would be waited for
            raise RequestError(f"no picture '{file}'; check the path")
        with file.open("rb") as stream:
            start = stream.read(12)
            for kind, (fits, walk) in WALKS.items():
                if fits(start):
                    found = Embedded(kind)
                    walk(stream, found)
                    return found
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL in it
        raise RequestError(f"cannot read '{file}' ({getattr(error, 'strerror', error)}); check the path") from None
    if file.suffix.lower() == ".npz":
        raise RequestError(f"'{file}' holds arrays; numpy.load shows its 'settings', or name a picture")
    raise RequestError(f"'{file}' is not a PNG, JPEG, WebP, GIF or MP4 file; name one of these")


def _walk_png(stream: BinaryIO, found: Embedded) -> None:
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
            _read_exif(data, found)
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
    key, text = name.decode("latin-1"), _decoded(value, encoding)
    if key == "XML:com.adobe.xmp":
        _read_xmp(text, found)
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


def _decoded(data: bytes, encoding: str = "utf-8") -> str:
    """UTF-8 where the bytes are that, whatever the format says: stable-diffusion.cpp writes it into Latin-1 chunks."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode(encoding, "replace")


def _walk_jpeg(stream: BinaryIO, found: Embedded) -> None:
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
            found.add("parameters" if name == b"parameters" else "comment", _decoded(text or name, "latin-1"))
        elif data.startswith(EXIF_HEADER):
            _read_exif(data, found)
        elif data.startswith(XMP_HEADER):
            _read_xmp(_decoded(data[len(XMP_HEADER) :]), found)
        elif data.startswith(XMP_MORE_HEADER):
            piece = data[len(XMP_MORE_HEADER) :]
            pieces.setdefault(piece[:32], []).append(piece[36:])
    else:
        found.skip(REST)
    _read_extended_xmp(pieces, found)


def _read_extended_xmp(pieces: dict[bytes, list[bytes]], found: Embedded) -> None:
    """Join the pieces (offset, data) of each MD5, and read what they make if it fits."""
    for digest, ours in sorted(pieces.items()):
        packet = b"".join(piece[4:] for piece in sorted(ours, key=lambda piece: piece[:4]))
        if hashlib.md5(packet, usedforsecurity=False).hexdigest().upper().encode() == digest:
            _read_xmp(_decoded(packet), found)
        else:
            found.skip("extended XMP that is damaged")


def _walk_webp(stream: BinaryIO, found: Embedded) -> None:
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
            _read_exif(data, found)
        else:
            _read_xmp(_decoded(data), found)
    found.skip(REST)


def _webp_size(kind: bytes, data: bytes) -> tuple[int, int]:
    """Width and height out of the first 10 bytes of a VP8X, VP8 or VP8L chunk."""
    if kind == b"VP8X":
        return int.from_bytes(data[4:7], "little") + 1, int.from_bytes(data[7:10], "little") + 1
    if kind == b"VP8 ":
        return int.from_bytes(data[6:8], "little") & 0x3FFF, int.from_bytes(data[8:10], "little") & 0x3FFF
    bits = int.from_bytes(data[1:5], "little")
    return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1


def _walk_gif(stream: BinaryIO, found: Embedded) -> None:
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
        if head[1:] == b"\xff" and block == GIF_XMP:
            packet, end, _ = stream.read(MAX_TEXT + len(GIF_XMP_END)).partition(GIF_XMP_END[:3])
            if not end:
                found.skip("XMP that is too large or cut off")
            elif found.fits(len(packet), "XMP"):
                _read_xmp(_decoded(packet), found)
            return
        inside = size > 0
    found.skip(REST)


def _walk_mp4(stream: BinaryIO, found: Embedded) -> None:
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
        if head[4:8] == b"uuid" and head[start : start + 16] == MP4_XMP:
            stream.seek(place + start + 16)
            length = size - start - 16
            if length >= 0 and found.fits(length, "a uuid box"):
                packet = stream.read(length)
                if len(packet) == length:
                    _read_xmp(_decoded(packet), found)
                else:
                    found.skip("a uuid box that is cut off")
        if size < start:  # 0: up to the end
            return
        place += size
    found.skip(REST)


WALKS = {
    "PNG": (lambda start: start.startswith(PNG_SIGNATURE), _walk_png),
    "JPEG": (lambda start: start.startswith(b"\xff\xd8\xff"), _walk_jpeg),
    "WEBP": (lambda start: start.startswith(b"RIFF") and start[8:12] == b"WEBP", _walk_webp),
    "GIF": (lambda start: start[:6] in (b"GIF87a", b"GIF89a"), _walk_gif),
    "MP4": (lambda start: start[4:8] == b"ftyp", _walk_mp4),
}


def _read_exif(data: bytes, found: Embedded) -> None:
    """The UserComment, and the strings "prompt:..." and "workflow:..." that ComfyUI puts into Make and Model."""
    tiff = data.removeprefix(EXIF_HEADER)
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    try:
        if order is None:
            raise ValueError("no byte order")
        main = _directory(tiff, order, struct.unpack_from(order + "I", tiff, 4)[0])
        pointer = main.get(EXIF_POINTER)
        details = (
            _directory(tiff, order, int.from_bytes(pointer, "big" if order == ">" else "little")) if pointer else {}
        )
    except (struct.error, ValueError):
        found.skip("EXIF that is damaged")
        return
    for tag in EXIF_STRINGS:
        name, _, text = _decoded(main.get(tag, b"")).rstrip("\x00").partition(":")
        if name in ("prompt", "workflow"):
            found.add(name, text)
    if comment := details.get(USER_COMMENT) or main.get(USER_COMMENT):
        found.add("UserComment", _comment(comment))


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
        elif tag in (USER_COMMENT, *EXIF_STRINGS) and kind in (1, 2, 7):  # BYTE, ASCII, UNDEFINED
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
    return _decoded(text if known else value).strip("\x00")


def _read_xmp(packet: str, found: Embedded) -> None:
    """Our settings and stable-diffusion.cpp's text; looked for as text, so that no XML can harm."""
    for name, prop in IN_XMP.items():
        start = packet.find(f"<{prop}>")
        end = packet.find(f"</{prop}>", start)
        if 0 <= start < end:
            found.add(name, ENTITY.sub(_letter, packet[start + len(prop) + 2 : end]))


def _letter(entity: re.Match[str]) -> str:
    """&lt; or &#60; or &#x3c; -> <; as it stands where it is no letter."""
    if entity[1]:
        return NAMED[entity[1]]
    number = int(entity[2]) if entity[2] else int(entity[3], 16)
    return chr(number) if number < 0x110000 and not 0xD800 <= number < 0xE000 else entity[0]


def exif(comment: str) -> bytes:
    """EXIF with nothing but a UserComment, in UTF-16BE as A1111 writes it through piexif."""
    value = b"UNICODE\x00" + comment.encode("utf-16-be")
    main = struct.pack(">H HHII I", 1, EXIF_POINTER, 4, 1, 26, 0)
    details = struct.pack(">H HHII I", 1, USER_COMMENT, 7, len(value), 44, 0)
    return EXIF_HEADER + b"MM\x00\x2a" + struct.pack(">I", 8) + main + details + value


def xmp(creator: str, settings: str = "", more: str = "") -> str:
    """An XMP packet that says what kind of picture this is; with our JSON, or the MD5 of the packet that holds it."""
    lines = {
        "Iptc4xmpExt:DigitalSourceType": SOURCE_TYPE,
        "xmp:CreatorTool": creator,
        "pleinair:settings": settings,
        "xmpNote:HasExtendedXMP": more,
    }
    spaces = {
        "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
        "xmp": "http://ns.adobe.com/xap/1.0/",
        "pleinair": NAMESPACE,
        "xmpNote": "http://ns.adobe.com/xmp/note/",
    }
    used = {name: text for name, text in lines.items() if text}
    declared = "".join(
        f' xmlns:{name}="{uri}"' for name, uri in spaces.items() if any(p.startswith(f"{name}:") for p in used)
    )
    inside = "\n".join(f"   <{name}>{_xml(text)}</{name}>" for name, text in used.items())
    return _packet(f'  <rdf:Description rdf:about=""{declared}>\n{inside}\n  </rdf:Description>')


def _packet(description: str) -> str:
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">\n'
        ' <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">\n'
        f"{description}\n </rdf:RDF>\n</x:xmpmeta>\n"
        '<?xpacket end="r"?>'
    )


def _xml(text: str) -> str:
    """Escaped for XML; what XML cannot hold at all becomes a JSON escape, for only JSON has such characters here."""
    allowed = re.sub("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", lambda c: f"\\u{ord(c[0]):04x}", text)
    return re.sub("[&<>\r]", lambda c: ESCAPES[c[0]], allowed)


def jpeg_xmp(creator: str, settings: str) -> bytes:
    """APP1 segments with XMP; settings too long for one lie in extended XMP (XMP specification, part 3, 1.1.3.1)."""
    whole = xmp(creator, settings).encode()
    if len(XMP_HEADER) + len(whole) <= MAX_SEGMENT:
        return _segment(XMP_HEADER + whole)
    more = xmp(creator, settings).encode()
    digest = hashlib.md5(more, usedforsecurity=False).hexdigest().upper()
    segments = [_segment(XMP_HEADER + xmp(creator, more=digest).encode())]
    for start in range(0, len(more), XMP_PIECE):
        head = XMP_MORE_HEADER + digest.encode() + struct.pack(">II", len(more), start)
        segments.append(_segment(head + more[start : start + XMP_PIECE]))
    return b"".join(segments)


def gif_xmp(packet: bytes) -> bytes:
    """The application extension that holds XMP in a GIF (XMP specification, part 3)."""
    return b"\x21\xff" + bytes([len(GIF_XMP)]) + GIF_XMP + packet + GIF_XMP_END


def mp4_xmp(packet: bytes) -> bytes:
    """The box that holds XMP in an MP4, to be put behind the others (XMP specification, part 3)."""
    return struct.pack(">I4s", 24 + len(packet), b"uuid") + MP4_XMP + packet


def _segment(data: bytes) -> bytes:
    return b"\xff\xe1" + struct.pack(">H", len(data) + 2) + data
