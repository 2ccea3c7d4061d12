"""Reading the pictures a user gives, and fitting them to a size."""

import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from pleinair.checks import one_of, shown_path, whole
from pleinair.errors import PleinairError, RequestError, ResourceError
from pleinair.system.files import read_file

FORMATS = ("PNG", "JPEG", "WEBP")  # every further decoder is code that a stranger's file could attack
MAX_PIXELS = 64 << 20
MAX_BYTES = 512 << 20
ORIENTATION = 0x0112  # the EXIF tag
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SHOWN = 80  # characters of a reason that an error quotes
FITS = ("crop", "stretch")
PictureSource = str | Path | bytes | Image.Image | np.ndarray


def open_picture(source: PictureSource) -> Image.Image:
    """A picture as 8-bit RGB, or RGBA where it has transparency, upright and without its metadata.

    Takes a PNG, JPEG or WebP as path or bytes, a PIL image, or an array (H, W) or (H, W, 1 to 4): uint8, uint16,
    bool, or float in 0..1. 16 bits are scaled to 8, colour profiles are ignored, animations are refused. Raises
    RequestError for what is no such picture, ResourceError where memory does not suffice.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        return _plain(source, "the picture")
    if isinstance(source, bytes | bytearray | memoryview):
        return _decoded(bytes(source), "the picture")
    if isinstance(source, str | Path):
        data = read_file(Path(source), MAX_BYTES, RequestError, "check the path, or give a PNG, JPEG or WebP")
        return _decoded(data, f"'{shown_path(source)}'")
    raise RequestError(f"a picture cannot be a {type(source).__name__}; give a file, bytes, a PIL image or an array")


def opaque(picture: Image.Image, colour: tuple[int, int, int] = (255, 255, 255)) -> Image.Image:
    """The picture as RGB, laid on a colour where it is transparent."""
    if picture.mode != "RGBA":
        return picture.convert("RGB")
    return Image.alpha_composite(Image.new("RGBA", picture.size, colour), picture).convert("RGB")


def fitted(picture: Image.Image, width: int, height: int, how: str = "crop") -> Image.Image:
    """The picture at another size, by Lanczos: "crop" cuts what does not fit, "stretch" changes the proportions."""
    one_of("way to fit a picture", how, FITS)
    width, height = whole("width", width, 1, MAX_PIXELS), whole("height", height, 1, MAX_PIXELS)
    check_pixels("the fitted picture", width, height)
    if picture.size == (width, height):
        return picture
    if how == "stretch":
        return picture.resize((width, height), Image.Resampling.LANCZOS)
    return ImageOps.fit(picture, (width, height), Image.Resampling.LANCZOS)


def check_pixels(what: str, width: int, height: int) -> None:
    """Raise RequestError for a picture without pixels, or with more than this machine should hold."""
    if width < 1 or height < 1:
        raise RequestError(f"{what} is empty ({width}x{height}); give a picture of at least 1x1")
    if width * height > MAX_PIXELS:
        raise RequestError(
            f"{what} has {width}x{height} pixels, more than {MAX_PIXELS >> 20} million; make it smaller first"
        )


def _decoded(data: bytes, name: str) -> Image.Image:
    """The only frame of a PNG, JPEG or WebP; its size is checked before its pixels are unpacked."""
    if not data:
        raise RequestError(f"{name} is empty; give a PNG, JPEG or WebP file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damaged EXIF data
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = Image.open(BytesIO(data), formats=FORMATS)
            check_pixels(name, *picture.size)
            # a JPEG with several pictures is a photograph with its own preview or depth map
            frames = getattr(picture, "n_frames", 1) if picture.format in ("PNG", "WEBP") else 1
            if frames > 1:
                raise RequestError(f"{name} is an animation of {frames} frames; save the one you mean as a picture")
            return _plain(picture, name)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise RequestError(f"{name} has more than {MAX_PIXELS >> 20} million pixels; make it smaller first") from None
    except Image.UnidentifiedImageError:
        raise RequestError(f"{name} is not a PNG, JPEG or WebP picture; convert it to one of them") from None
    except PleinairError:
        raise
    except Exception as error:  # decoders raise whatever a damaged file makes them stumble over
        raise _unreadable(name, error) from None


def _plain(picture: Image.Image, name: str) -> Image.Image:
    """Upright 8-bit RGB or RGBA, with nothing in `info` that a later save would copy (profiles, EXIF, comments)."""
    check_pixels(name, *picture.size)
    try:
        picture.load()
        turn = UPRIGHT.get(_orientation(picture))
        if picture.mode == "I" or picture.mode.startswith("I;16"):
            plain = _from_sixteen_bits(picture, name)
        elif picture.mode == "F":
            raise RequestError(f"{name} holds floats of unknown range; give an array in 0..1")
        elif picture.has_transparency_data:
            plain = picture.convert("RGBA")
        else:
            plain = picture.convert("RGB")
    except PleinairError:
        raise
    except Exception as error:
        raise _unreadable(name, error) from None
    plain = plain.transpose(turn) if turn is not None else plain.copy()
    plain.info = {}
    return plain


def _orientation(picture: Image.Image) -> int:
    """How the camera was held; 1, upright, where the EXIF data cannot be read."""
    try:
        return picture.getexif().get(ORIENTATION, 1)
    except Exception:  # damaged EXIF data does not make a picture unreadable
        return 1


def _from_sixteen_bits(picture: Image.Image, name: str) -> Image.Image:
    """Grays of 16 bits ("I" is how older Pillows open them) scaled, not cut, to 8."""
    levels = np.asarray(picture)
    if levels.min() < 0 or levels.max() > 0xFFFF:
        raise RequestError(f"{name} holds numbers outside 0 to 65535; scale it to 8 or 16 bits")
    plain = Image.fromarray(_eight_bits(levels)).convert("RGB")
    if isinstance(clear := picture.info.get("transparency"), int):  # the one gray that is transparent
        plain.putalpha(Image.fromarray(np.where(levels == clear, 0, 255).astype(np.uint8)))
    return plain


def _from_array(array: np.ndarray) -> Image.Image:
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 2, 3, 4)):
        raise RequestError(f"an array of shape {array.shape} is not a picture; give (height, width, 3)")
    check_pixels("the array", array.shape[1], array.shape[0])
    if array.dtype.kind == "f":
        if not np.isfinite(array).all() or array.min() < -1e-3 or array.max() > 1 + 1e-3:
            raise RequestError("an array of floats must lie in 0..1; scale it, or pass uint8")
        levels = (array.clip(0, 1) * 255).round().astype(np.uint8)
    elif array.dtype == np.uint16:
        levels = _eight_bits(array)
    elif array.dtype in (np.uint8, np.bool_):
        levels = array if array.dtype == np.uint8 else array.astype(np.uint8) * 255
    else:
        raise RequestError(f"an array of {array.dtype} is not a picture; pass uint8, or floats in 0..1")
    if levels.ndim == 3 and levels.shape[2] <= 2:
        levels = np.concatenate([levels[:, :, :1].repeat(3, 2), levels[:, :, 1:]], 2)
    picture = Image.fromarray(np.ascontiguousarray(levels))
    return picture if picture.mode == "RGBA" else picture.convert("RGB")


def _eight_bits(levels: np.ndarray) -> np.ndarray:
    """0..65535 -> 0..255, rounded."""
    return ((levels.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _unreadable(name: str, error: Exception) -> PleinairError:
    if isinstance(error, MemoryError):
        return ResourceError(f"not enough memory to open {name}; make it smaller first")
    why = " ".join(str(error).split())[:SHOWN] or type(error).__name__
    return RequestError(f"{name} is damaged or of an unknown kind ({why}); save it again as PNG")
