"""Reading pictures of every kind, refusing what is none, and fitting them to a size."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, features

from pleinair.errors import PleinairError, RequestError
from pleinair.pictures.reading import FITS, MAX_PIXELS, fitted, opaque, open_picture

RAMP = np.stack(np.meshgrid(np.arange(24) * 10, np.arange(16) * 15), 2).astype(np.uint8)
COLOURS = np.concatenate([RAMP, np.full((16, 24, 1), 40, np.uint8)], 2)  # (16, 24, 3)
CODECS = [
    pytest.param("PNG", {}),
    pytest.param("JPEG", {"quality": 100, "subsampling": 0}),
    pytest.param("WEBP", {"lossless": True}, marks=pytest.mark.skipif(not features.check("webp"), reason="no WebP")),
]


def file_of(picture, form="PNG", **options):
    stream = io.BytesIO()
    picture.save(stream, form, **options)
    return stream.getvalue()


def png(width, height, rows=b"", depth=8, kind=2):
    """A PNG file whose header may claim anything."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def refused(source, kind=RequestError):
    """The one line that `source` is refused with."""
    with pytest.raises(kind) as caught:
        open_picture(source)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300
    return str(caught.value)


@pytest.mark.parametrize("form, options", CODECS)
def test_a_file_its_bytes_and_the_picture_itself_are_the_same(tmp_path, form, options):
    picture = Image.fromarray(COLOURS)
    data = file_of(picture, form, **options)
    path = tmp_path / "picture"
    path.write_bytes(data)
    opened = [np.asarray(open_picture(source)) for source in (data, path, str(path), Image.open(path))]
    assert all(np.array_equal(opened[0], one) for one in opened)
    assert np.abs(opened[0].astype(int) - COLOURS).max() <= (3 if form == "JPEG" else 0)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form, options", CODECS)
def test_photographs_are_upright(form, options, orientation):
    """What a camera that was turned writes: the stored rows, and the tag that says how to turn them."""
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the transposition that the tag asks to take back
    upright = Image.fromarray(COLOURS)
    stored = upright.transpose(Image.Transpose(undo[orientation])) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    opened = open_picture(file_of(stored, form, exif=exif, **options))
    assert opened.size == (24, 16)
    assert np.abs(np.asarray(opened).astype(int) - COLOURS).max() <= 3


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"]
)
def test_damaged_exif_data_does_not_lose_the_picture(exif, recwarn):
    assert open_picture(file_of(Image.fromarray(COLOURS), "JPEG", exif=exif)).size == (24, 16)
    assert not recwarn


def test_palettes_become_colours_and_keep_their_transparency():
    picture = Image.fromarray(COLOURS).quantize(8)
    expected = np.asarray(picture.convert("RGB"))
    assert np.array_equal(open_picture(file_of(picture)), expected)
    clear = picture.getpixel((0, 0))
    opened = open_picture(file_of(picture, transparency=clear))
    assert opened.mode == "RGBA"
    assert np.array_equal(np.asarray(opened)[:, :, 3] == 0, np.asarray(picture) == clear)
    assert np.array_equal(np.asarray(opened)[:, :, :3], expected)


@pytest.mark.parametrize(
    "mode, becomes", [("1", "RGB"), ("L", "RGB"), ("LA", "RGBA"), ("RGB", "RGB"), ("RGBA", "RGBA")]
)
def test_every_mode_of_a_png(mode, becomes):
    picture = Image.fromarray(COLOURS).convert(mode)
    opened = open_picture(file_of(picture))
    assert opened.mode == becomes and np.array_equal(opened, picture.convert(becomes))


def test_the_transparent_colour_of_gray_and_rgb_pngs():
    gray = open_picture(file_of(Image.fromarray(COLOURS[:, :, 0]), transparency=30))
    assert np.array_equal(np.asarray(gray)[:, :, 3] == 0, COLOURS[:, :, 0] == 30)
    rgb = open_picture(file_of(Image.fromarray(COLOURS), transparency=(30, 45, 40)))
    assert np.argwhere(np.asarray(rgb)[:, :, 3] == 0).tolist() == [[3, 3]]


def test_sixteen_bits_are_scaled_not_cut():
    levels = np.linspace(0, 65535, 24 * 16).reshape(16, 24).astype(np.uint16)
    opened = np.asarray(open_picture(file_of(Image.fromarray(levels))))
    assert np.abs(opened[:, :, 0] - levels / 257).max() <= 0.5
    assert np.array_equal(opened, open_picture(levels))
    assert np.array_equal(opened, open_picture(Image.fromarray(levels.astype(np.int32))))
    clear = open_picture(png(3, 1, b"\0" + struct.pack(">3H", 0, 40000, 65535), depth=16, kind=0))
    assert np.asarray(clear)[0, :, 0].tolist() == [0, 156, 255]
    colour = open_picture(png(1, 1, b"\0" + struct.pack(">3H", 0, 40000, 65535), depth=16))
    assert np.asarray(colour)[0, 0].tolist() == [0, 156, 255]


def test_cmyk_jpegs_have_the_colours_they_had():
    picture = Image.new("RGB", (16, 16), (200, 30, 60))
    opened = open_picture(file_of(picture.convert("CMYK"), "JPEG", quality=100))
    assert opened.mode == "RGB"
    assert np.abs(np.asarray(opened).astype(int) - (200, 30, 60)).max() <= 4


def test_nothing_of_the_file_beside_its_pixels_goes_on():
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    data = file_of(Image.fromarray(COLOURS), "JPEG", exif=exif, comment=b"mine", icc_profile=b"profile")
    opened = open_picture(data)
    assert opened.info == {} and not opened.getexif()
    assert b"profile" not in file_of(opened) and b"camera" not in file_of(opened)


def test_opening_leaves_the_callers_picture_as_it_was():
    picture = Image.fromarray(COLOURS)
    picture.info["comment"] = "mine"
    open_picture(picture).paste((0, 0, 0), (0, 0, 24, 16))
    assert np.array_equal(picture, COLOURS) and picture.info["comment"] == "mine"


def test_arrays_of_every_kind():
    for same in (COLOURS, COLOURS / 255, (COLOURS / 255).astype(np.float32), COLOURS.astype(np.uint16) * 257):
        assert np.array_equal(open_picture(same), COLOURS)
    assert np.array_equal(open_picture(COLOURS[::-1, ::2]), COLOURS[::-1, ::2])  # not contiguous
    gray = COLOURS[:, :, 0]
    for same in (gray, gray[:, :, None]):
        assert np.array_equal(open_picture(same), gray[:, :, None].repeat(3, 2))
    assert np.array_equal(np.asarray(open_picture(gray > 100))[:, :, 0], (gray > 100) * 255)
    alpha = np.dstack([COLOURS, gray])
    assert open_picture(alpha).mode == "RGBA" and np.array_equal(open_picture(alpha), alpha)
    assert np.array_equal(np.asarray(open_picture(np.dstack([gray, gray]))), np.dstack([gray] * 4))


@pytest.mark.parametrize(
    "array, message",
    [
        (np.zeros((4, 4, 3), np.int64), "uint8"),
        (np.full((4, 4, 3), 255.0), "0..1"),
        (np.full((4, 4, 3), np.nan), "0..1"),
        (np.full((4, 4, 3), -0.5), "0..1"),
        (np.zeros((3, 4, 4), np.uint8)[None], "shape"),
        (np.zeros((3, 40, 40), np.uint8), "shape"),
        (np.zeros(4, np.uint8), "shape"),
        (np.zeros((0, 4, 3), np.uint8), "empty"),
        (np.zeros((4, 0, 3), np.uint8), "empty"),
        (np.zeros((4, 4, 3), complex), "uint8"),
        (np.array([["a"]]), "uint8"),
        (np.broadcast_to(np.uint8(0), (10_000, 10_000, 3)), "64 million"),
    ],
)
def test_arrays_that_are_no_picture(array, message):
    assert message in refused(array)


def test_one_pixel_is_a_picture():
    opened = open_picture(file_of(Image.new("RGB", (1, 1), (1, 2, 3))))
    assert opened.getpixel((0, 0)) == (1, 2, 3)
    for how in FITS:
        assert set(fitted(opened, 16, 8, how).getdata()) == {(1, 2, 3)}


@pytest.mark.parametrize("form, options", CODECS)
def test_truncated_files_are_refused(form, options):
    rng = np.random.RandomState(0)
    data = file_of(Image.fromarray(rng.randint(256, size=(64, 64, 3)).astype(np.uint8)), form, **options)
    for length in (1, 4, 12, 20, 40, len(data) // 4, len(data) // 2, len(data) * 3 // 4):
        refused(data[:length])


@pytest.mark.parametrize("form, options", CODECS)
def test_damaged_files_are_refused_or_read_never_more(form, options):
    rng = np.random.RandomState(1)
    data = file_of(Image.fromarray(COLOURS), form, **options)
    for _ in range(150):
        broken = bytearray(data)
        for place in rng.randint(len(data), size=rng.randint(1, 6)):
            broken[place] = rng.randint(256)
        try:
            opened = open_picture(bytes(broken))
        except PleinairError as error:
            assert "\n" not in str(error)
        else:
            assert opened.mode in ("RGB", "RGBA")


@pytest.mark.parametrize(
    "data", [b"garbage", b"\0" * 100, b"GIF89a" + b"\0" * 50, b"<svg/>", b"%PDF-1.7", b"\x89PNG\r\n\x1a\n", b"RIFF"]
)
def test_files_that_are_no_picture(data):
    refused(data)


@pytest.mark.parametrize("form", ["GIF", "BMP", "TIFF", "PPM", "ICO", "TGA"])
def test_only_png_jpeg_and_webp_are_decoded(form):
    assert "PNG, JPEG or WebP" in refused(file_of(Image.fromarray(COLOURS), form))


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_animations_are_refused(form):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    data = file_of(frames[0], form, save_all=True, append_images=frames[1:], duration=100)
    assert "animation of 3 frames" in refused(data)


def test_photographs_with_a_second_picture_inside_are_no_animation():
    picture = Image.fromarray(COLOURS)
    data = file_of(picture, "MPO", save_all=True, append_images=[picture.resize((8, 8))])
    assert open_picture(data).size == (24, 16)


@pytest.mark.parametrize(
    "size", [(10_000, 10_000), (100_000, 100_000), (1 << 30, 1), (MAX_PIXELS + 1, 1), (8193, 8192)]
)
def test_pixel_bombs_are_refused_before_they_are_unpacked(size, recwarn):
    assert "64 million" in refused(png(*size))
    assert not recwarn


def test_a_hundred_megapixels_that_are_really_there_are_refused():
    assert "64 million" in refused(file_of(Image.new("1", (10_000, 10_000))))


def test_headers_that_lie_about_the_size():
    row = b"\0" + b"\x10\x20\x30" * 4
    refused(png(4, 4, row * 3 + row[:5]))
    refused(png(8000, 8000, row * 4))
    assert open_picture(png(4, 4, row * 400)).size == (4, 4)  # more than it says is not looked at
    for empty in ((0, 4), (4, 0), (0, 0)):
        refused(png(*empty, row))


def test_the_same_mischief_in_a_webp_header():
    data = bytearray(file_of(Image.fromarray(COLOURS).convert("RGBA"), "WEBP", icc_profile=b"profile", lossless=True))
    assert data[12:16] == b"VP8X"
    data[24:30] = b"\xff\x3f\x00\xff\x3f\x00"  # the canvas of 16384 x 16384
    assert "64 million" in refused(bytes(data))


def test_paths_that_are_no_file(tmp_path):
    assert "check the path" in refused(tmp_path / "missing.png")
    assert "check the path" in refused(tmp_path / "missing" / "deep.png")
    assert "check the path" in refused(tmp_path)
    assert "check the path" in refused("a\0b.png")
    assert "check the path" in refused("a\nb.png")
    (tmp_path / "empty.png").write_bytes(b"")
    assert "empty" in refused(tmp_path / "empty.png")
    (tmp_path / "file.png").write_bytes(b"x")
    assert "check the path" in refused(tmp_path / "file.png" / "below.png")
    refused("x" * 5000, PleinairError)


def test_files_that_may_not_be_read(tmp_path, monkeypatch):
    path = tmp_path / "secret.png"
    path.write_bytes(file_of(Image.fromarray(COLOURS)))

    def forbidden(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.open", forbidden)
    assert "Permission denied" in refused(path)


def test_a_file_without_end_is_not_read_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr("pleinair.pictures.reading.MAX_BYTES", 1 << 20)
    (tmp_path / "endless").write_bytes(bytes((1 << 20) + 1))
    assert "too large" in refused(tmp_path / "endless")


@pytest.mark.parametrize("source", [None, 5, ["a.png"], object()])
def test_other_things_are_no_picture(source):
    assert "give a file" in refused(source)


def test_modes_without_a_known_range_are_refused():
    assert "unknown range" in refused(Image.fromarray(np.zeros((4, 4), np.float32)))
    assert "65535" in refused(Image.fromarray(np.full((4, 4), 1 << 20, np.int32)))


@pytest.mark.parametrize("how", FITS)
@pytest.mark.parametrize("size", [(24, 16), (64, 64), (8, 40), (40, 8), (1, 1), (33, 17)])
def test_a_fitted_picture_has_the_size_asked_for(how, size):
    for mode in ("RGB", "RGBA", "L"):
        result = fitted(Image.fromarray(COLOURS).convert(mode), *size, how)
        assert result.size == size and result.mode == mode


def test_cropping_keeps_proportions_and_the_middle():
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = 255
    assert np.asarray(fitted(Image.fromarray(wide), 20, 20)).min() == 255
    assert np.asarray(fitted(Image.fromarray(wide), 20, 20, "stretch")).min() == 0


def test_what_already_fits_is_not_touched():
    picture = Image.fromarray(COLOURS)
    assert all(np.array_equal(fitted(picture, 24, 16, how), COLOURS) for how in FITS)


def test_bad_fits_are_refused():
    picture = Image.fromarray(COLOURS)
    with pytest.raises(RequestError, match="choose from crop, stretch"):
        fitted(picture, 8, 8, "squash")
    with pytest.raises(RequestError, match="width"):
        fitted(picture, 0, 8)
    with pytest.raises(RequestError, match="64 million"):
        fitted(picture, 100_000, 100_000)


def test_transparency_is_laid_on_a_colour():
    picture = Image.fromarray(np.dstack([COLOURS, np.where(COLOURS[:, :, 0] > 100, 255, 0).astype(np.uint8)]))
    flat = np.asarray(opaque(picture))
    seen = COLOURS[:, :, 0] > 100
    assert np.array_equal(flat[seen], COLOURS[seen]) and (flat[~seen] == 255).all()
    assert (np.asarray(opaque(picture, (0, 9, 0)))[~seen] == (0, 9, 0)).all()
