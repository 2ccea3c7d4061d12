"""GIF, WebP, APNG and MP4 files of pictures that are written one by one.

The first three are containers around single encoded pictures. Pillow encodes those, and would hold all frames of a film
until the last one; here each leaves memory as soon as it is written. MP4 is left to PyAV (`pleinair[video]`).
"""

import io
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from typing import Any, BinaryIO

from PIL import Image

from pleinair.files.exif import EXIF_HEADER
from pleinair.files.xmp import gif_extension, mp4_box

QUALITY = 90  # of lossy WebP and JPEG
PALETTE_SIDE = 128  # pixels of the copy that a GIF's colours are chosen from
MP4_QUALITY = 18  # x264 rate factor, where a loss is hard to see
MP4_CLOCK = 1000  # ticks a second
FOREVER = 0

TimedPictures = Iterable[tuple[Image.Image, float]]  # pictures and the seconds each stays
SavedWith = dict[str, Any]  # the record as metadata.save_options gives it; empty for nothing


def encoded(frame: Image.Image, kind: str, **options: Any) -> bytes:
    """The bytes of a picture file."""
    stream = io.BytesIO()
    frame.save(stream, kind, **options)
    return stream.getvalue()


class Clock:
    """Seconds -> whole ticks, so that rounding never adds up."""

    def __init__(self, ticks: int) -> None:
        self._ticks, self._now, self._told = ticks, 0.0, 0

    def __call__(self, seconds: float) -> int:
        self._now += seconds
        ticks = round(self._now * self._ticks) - self._told
        self._told += ticks
        return ticks


def write_gif(stream: BinaryIO, timed: TimedPictures, size: tuple[int, int], told: SavedWith) -> None:
    """GIF89a with a palette for each frame, which keeps a painting above 40 dB where one for all gives 36."""
    clock = Clock(100)
    stream.write(b"GIF89a" + struct.pack("<HHBBB", *size, 0x70, 0, 0))  # no global palette
    stream.write(b"\x21\xff\x0bNETSCAPE2.0\x03\x01" + struct.pack("<H", FOREVER) + b"\x00")
    if told:
        stream.write(gif_extension(told["xmp"]))
    for frame, seconds in timed:
        palette, data = gif_parts(encoded(few_colours(frame), "GIF", interlace=0))
        bits = (len(palette) // 3).bit_length() - 2  # 2^(bits + 1) colours
        stream.write(b"\x21\xf9\x04\x04" + struct.pack("<HBB", clock(seconds), 0, 0))
        stream.write(b"\x2c" + struct.pack("<HHHHB", 0, 0, *size, 0x80 | bits) + palette + data)
    stream.write(b"\x3b")


def few_colours(frame: Image.Image) -> Image.Image:
    """The frame in the 256 colours that suit it best; dithering would double the file and lose 3 dB."""
    small = frame.copy()
    small.thumbnail((PALETTE_SIDE, PALETTE_SIDE), Image.Resampling.BOX)
    palette = small.quantize(256, Image.Quantize.MEDIANCUT, kmeans=1)
    return frame.quantize(palette=palette, dither=Image.Dither.NONE)


def gif_parts(gif: bytes) -> tuple[bytes, bytes]:
    """(palette, LZW data) of a GIF of one picture and a global palette, as Pillow writes it."""
    colours = 3 << ((gif[10] & 7) + 1)
    palette, place = gif[13 : 13 + colours], 13 + colours
    while gif[place] == 0x21:  # an extension: its label, then blocks up to an empty one
        place += 2
        while gif[place]:
            place += 1 + gif[place]
        place += 1
    return palette, gif[place + 10 : -1]


def write_webp(stream: BinaryIO, timed: TimedPictures, size: tuple[int, int], told: SavedWith) -> None:
    """An extended WebP file: VP8X, ANIM and an ANMF chunk for each frame."""
    clock = Clock(1000)
    canvas = uint24(size[0] - 1) + uint24(size[1] - 1)
    flags = 0x02 | (0x0C if told else 0)  # animation, XMP and EXIF
    stream.write(b"RIFF\0\0\0\0WEBP" + webp_chunk(b"VP8X", struct.pack("<I", flags) + canvas))
    stream.write(webp_chunk(b"ANIM", struct.pack("<IH", 0xFFFFFFFF, FOREVER)))
    for frame, seconds in timed:
        still = encoded(frame, "WEBP", quality=QUALITY, method=4)[12:]  # behind the RIFF header
        stream.write(webp_chunk(b"ANMF", bytes(6) + canvas + uint24(clock(seconds)) + b"\x02" + still))
    if told:
        stream.write(webp_chunk(b"EXIF", told["exif"].removeprefix(EXIF_HEADER)) + webp_chunk(b"XMP ", told["xmp"]))
    end = stream.tell()
    stream.seek(4)
    stream.write(struct.pack("<I", end - 8))
    stream.seek(end)


def webp_chunk(name: bytes, data: bytes) -> bytes:
    """A RIFF chunk, filled up to an even length."""
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def uint24(value: int) -> bytes:
    """Three bytes, the least first."""
    return struct.pack("<I", value)[:3]


def write_apng(stream: BinaryIO, timed: TimedPictures, size: tuple[int, int], told: SavedWith) -> None:
    """PNG with acTL, fcTL and fdAT chunks; a viewer that does not know them shows the first frame."""
    clock, number_of, frames = Clock(1000), 0, 0
    stream.write(b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, 0)))
    for name, data, *_ in told["pnginfo"].chunks if told else ():
        stream.write(png_chunk(name, data))
    control = stream.tell()
    stream.write(png_chunk(b"acTL", bytes(8)))
    for frame, seconds in timed:
        delay = Fraction(clock(seconds), 1000).limit_denominator(65535)
        times = min(delay.numerator, 65535), delay.denominator
        stream.write(png_chunk(b"fcTL", struct.pack(">IIIIIHHBB", number_of, *size, 0, 0, *times, 0, 0)))
        number_of += 1
        for data in png_data(encoded(frame, "PNG")):
            if frames:
                stream.write(png_chunk(b"fdAT", struct.pack(">I", number_of) + data))
                number_of += 1
            else:
                stream.write(png_chunk(b"IDAT", data))
        frames += 1
    stream.write(png_chunk(b"IEND", b""))
    stream.seek(control)
    stream.write(png_chunk(b"acTL", struct.pack(">II", frames, FOREVER)))
    stream.seek(0, io.SEEK_END)


def png_chunk(name: bytes, data: bytes) -> bytes:
    """A PNG chunk with its length and checksum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_data(png: bytes) -> Iterator[bytes]:
    """What a PNG's IDAT chunks hold."""
    place = 8
    while place < len(png):
        size, name = struct.unpack(">I4s", png[place : place + 8])
        if name == b"IDAT":
            yield png[place + 8 : place + 8 + size]
        place += size + 12


def write_mp4(stream: BinaryIO, timed: TimedPictures, size: tuple[int, int], told: SavedWith) -> None:
    """H.264 in yuv420p, which everything plays; an odd side loses a pixel."""
    import av

    even = tuple(max(2, side // 2 * 2) for side in size)
    clock, now = Clock(MP4_CLOCK), 0
    with av.open(stream, "w", format="mp4", options={"movflags": "faststart"}) as container:
        # without frames that refer to later ones: with them the muxer loses the time that the last one stays
        video = container.add_stream("libx264", rate=MP4_CLOCK, options={"crf": str(MP4_QUALITY), "bf": "0"})
        video.width, video.height = even
        video.pix_fmt = "yuv420p"
        video.codec_context.time_base = Fraction(1, MP4_CLOCK)
        for frame, seconds in timed:
            ticks = clock(seconds)
            # the last sample's length is not stored, so that each frame is shown twice: at its start and its last tick
            for when in (now, now + ticks - 1):
                picture = av.VideoFrame.from_image(frame.crop((0, 0, *even)))
                picture.pts, picture.time_base = when, Fraction(1, MP4_CLOCK)
                container.mux(video.encode(picture))
            now += ticks
        container.mux(video.encode(None))
    if told:
        stream.seek(0, io.SEEK_END)
        stream.write(mp4_box(told["xmp"]))


WRITERS: dict[str, Callable[[BinaryIO, TimedPictures, tuple[int, int], SavedWith], None]] = {
    ".gif": write_gif,
    ".webp": write_webp,
    ".png": write_apng,
    ".apng": write_apng,
    ".mp4": write_mp4,
}
