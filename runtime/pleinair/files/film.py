"""Moving pictures: animations written frame by frame, strips, and how noise becomes a picture.

GIF, WebP and APNG are containers around single encoded pictures. Pillow encodes those, and would hold all frames of a
film until the last one; here each leaves memory as soon as it is written. MP4 is left to PyAV (`pleinair[video]`).
"""

import io
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from itertools import chain, islice, repeat
from math import ceil, sqrt
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image

from pleinair.checks import number, whole
from pleinair.errors import Cancelled, PleinairError, RequestError, ResourceError
from pleinair.files.embedded import EXIF_HEADER, gif_xmp, mp4_xmp
from pleinair.files.metadata import left_out, save_options
from pleinair.files.output import PICTURES, check_folder, check_free, numbered, whole_file
from pleinair.pipeline import Frame
from pleinair.system.machine import need

ANIMATIONS = (".gif", ".webp", ".png", ".apng", ".mp4")
STRIPS = (".png", ".jpg", ".jpeg")
SHORTEST = 0.02  # seconds: viewers slow down what claims to be faster
LONGEST = 600.0
HOLD = 2.0  # seconds that the last picture of a film stays
MOST = 60  # frames of a film of one picture
QUALITY = 90  # of lossy WebP and JPEG
PALETTE_SIDE = 128  # pixels of the copy that a GIF's colours are chosen from
MP4_QUALITY = 18  # x264 rate factor, where a loss is hard to see
MP4_CLOCK = 1000  # ticks a second
FOREVER = 0

Timed = Iterable[tuple[Image.Image, float]]  # pictures and the seconds each stays
View = Callable[[Frame], list[Image.Image]]
Told = dict[str, Any]  # what the file says of how it was made, as metadata.save_options gives it; empty for nothing


def save(
    frames: Iterable[Image.Image],
    file: Path,
    seconds: float | Sequence[float] = 0.1,
    *,
    hold: float = 0.0,
    loop: bool = True,
    overwrite: bool = False,
    settings: dict[str, Any] | None = None,
    seed: int | None = None,
) -> Path:
    """Write pictures of one size as a .gif, .webp, .png (or .apng) or .mp4 and return the file.

    `seconds` that each stays, or a list of them; `hold` is added to the last. The film repeats unless `loop` is false
    (an .mp4 leaves that to its player). `settings` and `seed` (None: their first), those of a result, are recorded as
    in a picture; nothing is without them. The file is whole or absent. Raises RequestError, ResourceError for a file
    that would be overwritten, EngineError where the package for .mp4 is missing.
    """
    planned_film(file, overwrite)
    timed = _timed(frames, seconds, number("hold", hold, 0, LONGEST))
    first = next(timed, None)
    if first is None:
        raise RequestError(f"there is no picture to write into '{file.name}'; make at least one")
    suffix = file.suffix.lower()
    told = {}
    if settings:
        kind = "PNG" if suffix in (".png", ".apng") else "WEBP"
        told = save_options(kind, settings, settings["seeds"][0] if seed is None else seed)
    written: list[Path] = []
    with whole_file(file, overwrite, written) as stream:
        WRITERS[suffix](stream, _alike(chain([first], timed)), first[0].size, loop, told)
    return written[0]


def planned_film(file: Path, overwrite: bool = False, kinds: Sequence[str] = ANIMATIONS) -> Path:
    """Check before anything costly is done that `save` can write this file; raises what `save` raises."""
    if file.suffix.lower() not in kinds:
        raise RequestError(f"cannot write '{file.name}': its name must end in {', '.join(kinds)}; rename it")
    if file.suffix.lower() == ".mp4":
        need("MP4 films")
    check_free(file, overwrite)
    check_folder(file.parent)
    return file


def playing_time(frames: int, seconds: float) -> float:
    """Seconds that a film of so many frames lasts where it is asked to last `seconds`: no frame has less than SHORTEST.

    RequestError where a frame would have more than LONGEST.
    """
    return max(number("seconds", seconds, SHORTEST, frames * LONGEST), frames * SHORTEST)


def ping_pong(frames: Iterable[Image.Image]) -> Iterator[Image.Image]:
    """The frames forwards, then backwards to the second one, so that a repeating film has no cut; holds them all."""
    seen = []
    for frame in frames:
        seen.append(frame)
        yield frame
    yield from seen[-2:0:-1]


def strip(frames: Sequence[Image.Image]) -> Image.Image:
    """All frames side by side, in rows that read like text; about half again as wide as high."""
    if not frames:
        raise RequestError("a strip needs at least one picture")
    rows = ceil(len(frames) / ceil(sqrt(1.5 * len(frames))))
    columns = ceil(len(frames) / rows)
    width, height = frames[0].size
    sheet = Image.new("RGB", (columns * width, ceil(len(frames) / columns) * height), "white")
    for place, frame in enumerate(frames):
        row, column = divmod(place, columns)
        sheet.paste(_rgb(frame, (width, height)), (column * width, row * height))
    return sheet


def planned_films(file: Path, seeds: Sequence[int], overwrite: bool = False) -> list[Path]:
    """The film of each seed, F-1.gif, F-2.gif ... for several, checked like `planned_film`."""
    kinds = tuple(dict.fromkeys([*ANIMATIONS, *STRIPS]))
    return [planned_film(each, overwrite, kinds) for each in numbered(file, len(seeds))]


def recorded(
    frames: Iterable[Frame],
    files: Sequence[Path],
    *,
    seconds: float = 0.1,
    most: int = MOST,
    view: View | None = None,
    overwrite: bool = False,
    metadata: bool = True,
    written: list[tuple[int, Path]] | None = None,
    warnings: list[str] | None = None,
    failed: list[PleinairError] | None = None,
) -> Iterator[Frame]:
    """Pass a job's frames through, and film how each of its pictures comes out of the noise.

    `files` are those of `planned_films`: a .png or .jpg becomes a strip of all frames, any other suffix an animation
    (.apng for one in PNG) that holds its last picture. Of more than `most` steps, evenly chosen ones are shown.
    `view` turns a frame into pictures, through the VAE where it is None. A film is written when its picture is done
    and that frame has been passed on, so that no film can cost a picture; leaving the loop earlier writes nothing.
    With `metadata` it holds the record of its picture, and how many `frames` show it. `written` takes the seed and
    file of each film, `warnings` what its file has no room for, and `failed` the error of each film that could not be
    made, which is raised without it.
    """
    most = whole("frames", most, 2, 10_000)
    view = view or (lambda frame: frame.preview())
    waiting = iter(files)
    seen: list[list[Image.Image]] = []
    for frame in frames:
        yield frame
        if frame.result is None:
            if filmed(frame.step, frame.steps, most):
                with sparing(failed):
                    seen.append(view(frame))
            continue
        seen = seen[: most - 1] + [frame.result.images]
        settings = {**frame.result.settings, "film": {"frames": len(seen)}} if metadata else None
        here = islice(waiting, len(frame.seeds))
        for pictures, file, seed in zip(zip(*seen, strict=True), here, frame.seeds, strict=True):
            with sparing(failed):
                size = pictures[-1].size
                pictures = [_rgb(each, size) for each in pictures]
                if file.suffix.lower() in STRIPS:
                    made = _write_strip(pictures, file, overwrite, settings, seed, warnings)
                else:
                    options = {"overwrite": overwrite, "settings": settings, "seed": seed}
                    made = save(pictures, file, seconds, hold=HOLD, **options)
                if written is not None:
                    written.append((seed, made))
        seen = []


@contextmanager
def sparing(failed: list[PleinairError] | None) -> Iterator[None]:
    """Put what goes wrong with a film into `failed`, so that its picture is painted to the end; raise it without."""
    try:
        yield
    except Cancelled:
        raise
    except (PleinairError, MemoryError) as error:
        if failed is None:
            raise
        short = ResourceError("out of memory for the film; choose a smaller --size")
        failed.append(error if isinstance(error, PleinairError) else short)


def filmed(step: int, steps: int, most: int) -> bool:
    """Whether step 1..steps is among the at most `most` - 1 that are filmed before the finished picture."""
    if steps < most:
        return True
    return step * (most - 1) // steps > (step - 1) * (most - 1) // steps


def _write_strip(
    pictures: list[Image.Image],
    file: Path,
    overwrite: bool,
    settings: dict[str, Any] | None,
    seed: int,
    warnings: list[str] | None,
) -> Path:
    kind = PICTURES[file.suffix.lower()]
    options = save_options(kind, settings, seed) if settings else {}
    missing = left_out(kind, settings, seed) if settings else None
    if warnings is not None and missing and missing not in warnings:
        warnings.append(missing)
    written: list[Path] = []
    with whole_file(file, overwrite, written) as stream:
        strip(pictures).save(stream, kind, **{**options, **({} if kind == "PNG" else {"quality": QUALITY})})
    return written[0]


def _timed(frames: Iterable[Image.Image], seconds: float | Sequence[float], hold: float) -> Iterator:
    """(picture, its seconds) one by one; `hold` goes to the last."""
    several = hasattr(seconds, "__len__") and not isinstance(seconds, str) and getattr(seconds, "shape", None) != ()
    times = iter(seconds) if several else repeat(seconds)
    before = None
    for frame in frames:
        if before:
            yield before
        time = next(times, None)
        if time is None:
            raise RequestError("there are fewer seconds than frames; give one number for each frame, or one for all")
        before = frame, number("seconds", time, SHORTEST, LONGEST, "0.1 is usual")
    if before:
        yield before[0], before[1] + hold


def _alike(timed: Timed) -> Timed:
    """Plain RGB frames of the first one's size; another size is an error."""
    size = None
    for frame, seconds in timed:
        size = size or frame.size
        if frame.size != size:
            wrong, right = ("x".join(map(str, each)) for each in (frame.size, size))
            raise RequestError(f"a frame of {wrong} does not fit a film of {right}; make all frames one size")
        yield _rgb(frame, size), seconds


def _rgb(frame: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The frame as RGB at a size (frames before an enlargement are smaller)."""
    return (frame if frame.mode == "RGB" else frame.convert("RGB")).resize(size, Image.Resampling.BICUBIC)


def _encoded(frame: Image.Image, kind: str, **options: Any) -> bytes:
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


def _write_gif(stream: BinaryIO, timed: Timed, size: tuple[int, int], loop: bool, told: Told) -> None:
    """GIF89a with a palette for each frame, which keeps a painting above 40 dB where one for all gives 36."""
    clock = Clock(100)
    stream.write(b"GIF89a" + struct.pack("<HHBBB", *size, 0x70, 0, 0))  # no global palette
    if loop:
        stream.write(b"\x21\xff\x0bNETSCAPE2.0\x03\x01" + struct.pack("<H", FOREVER) + b"\x00")
    if told:
        stream.write(gif_xmp(told["xmp"]))
    for frame, seconds in timed:
        palette, data = gif_parts(_encoded(_few_colours(frame), "GIF", interlace=0))
        bits = (len(palette) // 3).bit_length() - 2  # 2^(bits + 1) colours
        stream.write(b"\x21\xf9\x04\x04" + struct.pack("<HBB", clock(seconds), 0, 0))
        stream.write(b"\x2c" + struct.pack("<HHHHB", 0, 0, *size, 0x80 | bits) + palette + data)
    stream.write(b"\x3b")


def _few_colours(frame: Image.Image) -> Image.Image:
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


def _write_webp(stream: BinaryIO, timed: Timed, size: tuple[int, int], loop: bool, told: Told) -> None:
    """An extended WebP file: VP8X, ANIM and an ANMF chunk for each frame."""
    clock = Clock(1000)
    canvas = uint24(size[0] - 1) + uint24(size[1] - 1)
    flags = 0x02 | (0x0C if told else 0)  # animation, XMP and EXIF
    stream.write(b"RIFF\0\0\0\0WEBP" + webp_chunk(b"VP8X", struct.pack("<I", flags) + canvas))
    stream.write(webp_chunk(b"ANIM", struct.pack("<IH", 0xFFFFFFFF, FOREVER if loop else 1)))
    for frame, seconds in timed:
        still = _encoded(frame, "WEBP", quality=QUALITY, method=4)[12:]  # behind the RIFF header
        stream.write(webp_chunk(b"ANMF", bytes(6) + canvas + uint24(clock(seconds)) + b"\x02" + still))
    if told:
        stream.write(webp_chunk(b"EXIF", told["exif"].removeprefix(EXIF_HEADER)) + webp_chunk(b"XMP ", told["xmp"]))
    end = stream.tell()
    stream.seek(4)
    stream.write(struct.pack("<I", end - 8))
    stream.seek(end)


def webp_chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def uint24(value: int) -> bytes:
    return struct.pack("<I", value)[:3]


def _write_apng(stream: BinaryIO, timed: Timed, size: tuple[int, int], loop: bool, told: Told) -> None:
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
        for data in png_data(_encoded(frame, "PNG")):
            if frames:
                stream.write(png_chunk(b"fdAT", struct.pack(">I", number_of) + data))
                number_of += 1
            else:
                stream.write(png_chunk(b"IDAT", data))
        frames += 1
    stream.write(png_chunk(b"IEND", b""))
    stream.seek(control)
    stream.write(png_chunk(b"acTL", struct.pack(">II", frames, FOREVER if loop else 1)))
    stream.seek(0, io.SEEK_END)


def png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_data(png: bytes) -> Iterator[bytes]:
    """What a PNG's IDAT chunks hold."""
    place = 8
    while place < len(png):
        size, name = struct.unpack(">I4s", png[place : place + 8])
        if name == b"IDAT":
            yield png[place + 8 : place + 8 + size]
        place += size + 12


def _write_mp4(stream: BinaryIO, timed: Timed, size: tuple[int, int], loop: bool, told: Told) -> None:
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
        stream.write(mp4_xmp(told["xmp"]))


WRITERS: dict[str, Callable[[BinaryIO, Timed, tuple[int, int], bool, Told], None]] = {
    ".gif": _write_gif,
    ".webp": _write_webp,
    ".png": _write_apng,
    ".apng": _write_apng,
    ".mp4": _write_mp4,
}
