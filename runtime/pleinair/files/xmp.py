"""XMP: packets that say what kind of picture this is and how it was made, and their places in JPEG, GIF and MP4."""

import hashlib
import re
import struct

JPEG_HEADER = b"http://ns.adobe.com/xap/1.0/\x00"
JPEG_MORE_HEADER = b"http://ns.adobe.com/xmp/extension/\x00"
MAX_SEGMENT = 65533  # bytes that a JPEG segment holds
JPEG_PIECE = 65000
GIF_HEADER = b"XMP DataXMP"
# the packet is not in blocks: from whichever of its bytes a reader jumps, taking that for a length, it lands in here
GIF_END = b"\x01" + bytes(range(255, -1, -1)) + b"\x00"
MP4_UUID = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")  # of the box that holds XMP
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
NAMESPACE = "urn:pleinair:1#"
ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"}  # xml.sax.saxutils would load http, email and ssl
NAMED = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
ENTITY = re.compile(r"&(?:(amp|lt|gt|quot|apos)|#([0-9]{1,7})|#x([0-9a-fA-F]{1,6}));")  # html.unescape is unbounded
IN_XMP = {"pleinair": "pleinair:settings", "parameters": "sdcpp:parameters"}  # text -> the XMP property that holds it


def read(text: str) -> dict[str, str]:
    """Our settings and stable-diffusion.cpp's text; looked for as text, so that no XML can harm."""
    texts = {}
    for name, prop in IN_XMP.items():
        start = text.find(f"<{prop}>")
        end = text.find(f"</{prop}>", start)
        if 0 <= start < end:
            texts[name] = ENTITY.sub(_letter, text[start + len(prop) + 2 : end])
    return texts


def _letter(entity: re.Match[str]) -> str:
    """&lt; or &#60; or &#x3c; -> <; as it stands where it is no letter."""
    if entity[1]:
        return NAMED[entity[1]]
    number = int(entity[2]) if entity[2] else int(entity[3], 16)
    return chr(number) if number < 0x110000 and not 0xD800 <= number < 0xE000 else entity[0]


def packet(creator: str, settings: str = "", more: str = "") -> str:
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
    return _wrapped(f'  <rdf:Description rdf:about=""{declared}>\n{inside}\n  </rdf:Description>')


def _wrapped(description: str) -> str:
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


def jpeg_segments(creator: str, settings: str) -> bytes:
    """APP1 segments with XMP; settings too long for one lie in extended XMP (XMP specification, part 3, 1.1.3.1)."""
    whole = packet(creator, settings).encode()
    if len(JPEG_HEADER) + len(whole) <= MAX_SEGMENT:
        return _segment(JPEG_HEADER + whole)
    digest = hashlib.md5(whole, usedforsecurity=False).hexdigest().upper()
    segments = [_segment(JPEG_HEADER + packet(creator, more=digest).encode())]
    for start in range(0, len(whole), JPEG_PIECE):
        head = JPEG_MORE_HEADER + digest.encode() + struct.pack(">II", len(whole), start)
        segments.append(_segment(head + whole[start : start + JPEG_PIECE]))
    return b"".join(segments)


def gif_extension(data: bytes) -> bytes:
    """The application extension that holds XMP in a GIF (XMP specification, part 3)."""
    return b"\x21\xff" + bytes([len(GIF_HEADER)]) + GIF_HEADER + data + GIF_END


def mp4_box(data: bytes) -> bytes:
    """The box that holds XMP in an MP4, to be put behind the others (XMP specification, part 3)."""
    return struct.pack(">I4s", 24 + len(data), b"uuid") + MP4_UUID + data


def _segment(data: bytes) -> bytes:
    return b"\xff\xe1" + struct.pack(">H", len(data) + 2) + data
