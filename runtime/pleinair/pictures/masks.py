"""Masks: which part of a picture is painted anew, what is there before, and how the new part is put back.

A mask is a PIL image of mode "L" and of the picture's size: white (255) is repainted, black (0) is kept.
"""

import numpy as np
from PIL import Image, ImageFilter

from pleinair.checks import number, one_of, whole
from pleinair.errors import RequestError
from pleinair.pictures.reading import MAX_PIXELS, PictureSource, check_pixels, opaque, open_picture

Box = tuple[int, int, int, int]  # left, top, right, bottom, as PIL has it
FILLS = ("original", "noise", "blank", "spread")
HALF = 128  # diffusers repaints from 0.5 upwards
GRAY = 128  # blank: 0 in the VAE's -1..1
MAX_RADIUS = 256  # pixels that a mask is blurred by
SIDES = ("left", "top", "right", "bottom")
NOISE = 16.0  # levels of 255 that outpainting's noise deviates by
OVERLAP = 8  # pixels of the picture that outpainting repaints along the seam
BLURS = (2, 8, 32)  # pixels; each holds at twice as many pixels from the picture


def open_mask(source: PictureSource, size: tuple[int, int] | None = None) -> Image.Image:
    """A mask: white is repainted, black kept, between them softly. `size` is the width and height it must have.

    A mask with transparency is read in one of two ways. Where all that is visible is gray and some of it is light, it
    is a drawn layer, and what is transparent is kept. Otherwise it is a picture with a hole, or a mask rubbed out of
    black, and what is transparent is repainted. Raises RequestError for another size, or a mask that repaints nothing.
    """
    picture = open_picture(source)
    if size is not None and picture.size != tuple(size):
        raise RequestError(
            f"the mask is {_by(picture.size)} and the picture {_by(size)}; resize the mask to {_by(size)}"
        )
    mask = from_alpha(picture) if picture.mode == "RGBA" and not _drawn(picture) else _luminance(picture)
    if not repainted(mask).any():
        raise RequestError("the mask is empty: nothing in it is white, which marks what is repainted; paint some white")
    return mask


def from_alpha(picture: Image.Image) -> Image.Image:
    """The mask that repaints where an RGBA picture is transparent."""
    return Image.fromarray(255 - np.asarray(picture.getchannel("A")))


def latent_mask(mask: Image.Image, h: int, w: int) -> np.ndarray:
    """A mask of the picture's size -> (1, 1, h, w) of 0 and 1, in the way of StableDiffusionInpaintPipeline.

    Binarized at 0.5, then every latent takes its nearest pixel as torch's `interpolate(mode="nearest")` picks it:
    the top left one. Raises RequestError where a mask is so thin that no latent is left of it.
    """
    marked = repainted(mask)
    chosen = marked[np.ix_(_nearest(h, mask.height), _nearest(w, mask.width))]
    if marked.any() and not chosen.any():
        raise RequestError(
            "the mask is too thin to repaint at this size; widen it, choose a larger --size, or add --only-masked"
        )
    return chosen[None, None].astype(np.float32)


def blurred(mask: Image.Image, radius: float) -> Image.Image:
    """The mask with a soft edge: a Gaussian of `radius` pixels, as diffusers' `mask_processor.blur`."""
    radius = number("mask_blur", radius, 0, MAX_RADIUS)
    return mask.filter(ImageFilter.GaussianBlur(radius)) if radius else mask.copy()


def filled(picture: Image.Image, mask: Image.Image, kind: str = "original") -> Image.Image:
    """What the network finds under the mask, at a strength below 1 (RGB; unmasked pixels stay as they are).

    "original" is the picture itself; "noise" is pixels of its unmasked part, each picked at random, so that the colours
    are its own and the shapes are gone; "blank" is mid gray, the VAE's zero; "spread" is the colours around the mask,
    the softer the farther in.
    """
    one_of("fill", kind, FILLS)
    picture = opaque(picture)
    if kind == "original":
        return picture
    if kind == "blank":
        return Image.composite(Image.new("RGB", picture.size, (GRAY, GRAY, GRAY)), picture, mask)
    if kind == "spread":
        colours = _spread(np.asarray(picture, np.float32), ~repainted(mask))
        return Image.composite(Image.fromarray(colours.round().astype(np.uint8)), picture, mask)
    kept = np.asarray(picture)[~repainted(mask)]  # (n, 3)
    random = np.random.RandomState(0)
    size = (picture.height, picture.width)
    colours = kept[random.randint(len(kept), size=size)] if len(kept) else random.randint(256, size=(*size, 3))
    return Image.composite(Image.fromarray(colours.astype(np.uint8)), picture, mask)


def masked_region(mask: Image.Image, padding: int, width: int, height: int) -> Box:
    """The smallest box with the proportions of `width` x `height` that holds the mask and `padding` pixels around it.

    It never leaves the picture: where that has no room for the proportions, the box ends at its borders.
    """
    padding = whole("padding", padding, 0, MAX_PIXELS)
    width, height = whole("width", width, 1, MAX_PIXELS), whole("height", height, 1, MAX_PIXELS)
    marked = repainted(mask)
    rows, columns = np.flatnonzero(marked.any(1)), np.flatnonzero(marked.any(0))
    if not len(rows):
        raise RequestError("the mask is empty: nothing in it is white, which marks what is repainted; paint some white")
    left, right = max(int(columns[0]) - padding, 0), min(int(columns[-1]) + 1 + padding, mask.width)
    top, bottom = max(int(rows[0]) - padding, 0), min(int(rows[-1]) + 1 + padding, mask.height)
    across = max(right - left, -(-(bottom - top) * width // height))
    down = max(bottom - top, -(-(right - left) * height // width))
    left, right = _widened(left, right, across, mask.width)
    top, bottom = _widened(top, bottom, down, mask.height)
    return left, top, right, bottom


def paste(original: Image.Image, patch: Image.Image, box: Box | None, mask: Image.Image) -> Image.Image:
    """`original` with `patch`, brought to the size of `box` (None: everything), where the mask is not black.

    Under a black mask every byte stays, and under a gray one both are mixed.
    """
    left, top, right, bottom = box or (0, 0, *original.size)
    if not (0 <= left < right <= original.width and 0 <= top < bottom <= original.height):
        raise RequestError(f"the box {box} is not inside a picture of {_by(original.size)}; choose one that is")
    if mask.size != original.size:
        raise RequestError(f"the mask is {_by(mask.size)} and the picture {_by(original.size)}; resize the mask")
    if patch.size != (right - left, bottom - top):
        patch = patch.resize((right - left, bottom - top), Image.Resampling.LANCZOS)
    result = original.copy()
    result.paste(patch.convert(original.mode), (left, top), mask.crop((left, top, right, bottom)))
    return result


def outpainted(picture: Image.Image, left: int, top: int, right: int, bottom: int) -> tuple[Image.Image, Image.Image]:
    """A larger canvas (RGB) around the picture, and the mask of what is new on it.

    The new area mirrors the picture, ever more blurred with the distance, with noise on it for the network to work on.
    The mask reaches OVERLAP pixels into the picture, so that the seam is painted as well. Raises RequestError.
    """
    grown = [whole(name, value, 0, MAX_PIXELS) for name, value in zip(SIDES, (left, top, right, bottom), strict=True)]
    if not any(grown):
        raise RequestError("outpainting by 0 on every side changes nothing; give LEFT,TOP,RIGHT,BOTTOM in pixels")
    left, top, right, bottom = grown
    check_pixels("the outpainted picture", picture.width + left + right, picture.height + top + bottom)
    inside = np.asarray(opaque(picture))
    canvas = np.pad(inside, ((top, bottom), (left, right), (0, 0)), mode="symmetric")
    distance = np.hypot(
        _outside(picture.height, top, bottom)[:, None], _outside(picture.width, left, right)
    )  # of each pixel from the picture
    new = distance > 0
    painted = _faded(canvas, distance, max(grown))
    random = np.random.RandomState(0)
    painted += random.normal(0, NOISE, painted.shape).astype(np.float32)
    canvas = np.where(new[:, :, None], painted.round().clip(0, 255).astype(np.uint8), canvas)
    reach = [min(OVERLAP, size // 2) if side else 0 for side, size in zip(grown, (*picture.size,) * 2, strict=True)]
    mask = np.full(new.shape, 255, np.uint8)
    mask[
        top + reach[1] : top + picture.height - reach[3],
        left + reach[0] : left + picture.width - reach[2],
    ] = 0
    return Image.fromarray(canvas), Image.fromarray(mask)


def _faded(canvas: np.ndarray, distance: np.ndarray, furthest: int) -> np.ndarray:
    """The canvas (H, W, 3) blurred by about half the distance (H, W), as floats."""
    result, before = canvas.astype(np.float32), 0.0
    image = Image.fromarray(canvas)
    for radius in BLURS:
        if before >= furthest:
            break
        softer = np.asarray(image.filter(ImageFilter.GaussianBlur(radius)), np.float32)
        share = np.clip((distance - before) / (2 * radius - before), 0, 1).astype(np.float32)[:, :, None]
        result += share * (softer - result)
        before = 2.0 * radius
    return result


def _spread(colours: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Colours (H, W, 3) of 0..255, those that are not known (H, W) taken from around, mid gray where none is known.

    Pull-push, as in Gortler et al., The Lumigraph (1996): means of known pixels at half the size, as often as it takes,
    and back up again with linear interpolation.
    """
    if known.all():
        return colours
    if not known.any():
        return np.full_like(colours, GRAY)
    count, sums = _summed(known[:, :, None]), _summed(np.where(known[:, :, None], colours, 0))
    around = _spread(sums / np.maximum(count, 1), count[:, :, 0] > 0)
    coarse = Image.fromarray(around.round().astype(np.uint8))
    finer = coarse.resize((2 * coarse.width, 2 * coarse.height), Image.Resampling.BILINEAR)
    return np.where(known[:, :, None], colours, np.asarray(finer, np.float32)[: known.shape[0], : known.shape[1]])


def _summed(values: np.ndarray) -> np.ndarray:
    """Sums over squares of 2x2 of (H, W, C); beyond an odd side it is 0."""
    height, width, channels = values.shape
    even = np.pad(values.astype(np.float32), ((0, height % 2), (0, width % 2), (0, 0)))
    return even.reshape(-(-height // 2), 2, -(-width // 2), 2, channels).sum((1, 3))


def _outside(length: int, before: int, after: int) -> np.ndarray:
    """Distance to a stretch of `length` pixels, from `before` pixels ahead of it to `after` behind it."""
    place = np.arange(-before, length + after)
    return np.maximum(np.maximum(-place, place - length + 1), 0).astype(np.float32)


def _widened(first: int, last: int, length: int, room: int) -> tuple[int, int]:
    """An interval made `length` long around its middle, moved back into 0..room, cut where that is too small."""
    length = min(length, room)
    first = min(max(first - (length - (last - first)) // 2, 0), room - length)
    return first, first + length


def _drawn(picture: Image.Image) -> bool:
    """Whether what is visible of an RGBA picture is a mask itself: all of the picture, or gray and light somewhere."""
    pixels = np.asarray(picture)
    visible = pixels[pixels[:, :, 3] >= HALF][:, :3].astype(np.int16)
    if len(visible) == picture.width * picture.height:
        return True
    return bool(len(visible)) and int(np.ptp(visible, axis=1).max()) <= 8 and int(visible.max()) >= HALF


def _luminance(picture: Image.Image) -> Image.Image:
    return opaque(picture, (0, 0, 0)).convert("L")


def repainted(mask: Image.Image) -> np.ndarray:
    """(H, W) of bool: what counts as white."""
    return np.asarray(mask) >= HALF


def _nearest(count: int, length: int) -> np.ndarray:
    """Which of `length` pixels each of `count` takes, in float32 like torch."""
    places = (np.arange(count, dtype=np.float32) * (np.float32(length) / np.float32(count))).astype(np.int64)
    return np.minimum(places, length - 1)


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
