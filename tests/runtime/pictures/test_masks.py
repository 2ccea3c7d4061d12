"""Masks: reading, latents, regions, fills, pasting, outpainting."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from pleinair.errors import RequestError
from pleinair.pictures.masks import (
    FILLS,
    blurred,
    filled,
    from_alpha,
    latent_mask,
    masked_region,
    open_mask,
    outpainted,
    paste,
)

RNG = np.random.RandomState(0)
PICTURE = Image.fromarray(RNG.randint(256, size=(48, 64, 3)).astype(np.uint8))
HOLE = np.zeros((48, 64), bool)
HOLE[10:30, 20:40] = True
MASK = Image.fromarray(HOLE.astype(np.uint8) * 255)


def test_masks_of_every_kind_are_the_same():
    colour = np.where(HOLE[:, :, None], 255, 0).astype(np.uint8).repeat(3, 2)
    layer = np.dstack([np.full((48, 64, 3), 255), HOLE * 255]).astype(np.uint8)  # white strokes on nothing
    rubbed = np.dstack([np.zeros((48, 64, 3)), ~HOLE * 255]).astype(np.uint8)  # a hole in black
    photograph = np.dstack([np.asarray(PICTURE), ~HOLE * 255]).astype(np.uint8)  # a hole in a picture
    solid = np.dstack([colour, np.full((48, 64), 255, np.uint8)])
    for source in (MASK, HOLE, HOLE.astype(float), colour, layer, rubbed, photograph, solid, MASK.convert("1")):
        mask = open_mask(source, (64, 48))
        assert mask.mode == "L" and np.array_equal(np.asarray(mask) == 255, HOLE)


def test_soft_masks_stay_soft():
    soft = np.linspace(0, 1, 64)[None].repeat(48, 0)
    assert np.abs(np.asarray(open_mask(soft)) - soft * 255).max() <= 0.5
    assert np.array_equal(
        from_alpha(Image.fromarray(np.dstack([np.asarray(PICTURE), np.asarray(MASK)]))), 255 - np.asarray(MASK)
    )


def test_a_mask_of_another_size_is_refused():
    with pytest.raises(RequestError, match="the mask is 64x48 and the picture 128x128"):
        open_mask(MASK, (128, 128))


@pytest.mark.parametrize("empty", [np.zeros((8, 8), bool), np.full((8, 8), 127, np.uint8), HOLE.astype(np.uint8)])
def test_a_mask_that_repaints_nothing_is_refused(empty):
    with pytest.raises(RequestError, match="empty"):
        open_mask(empty)
    with pytest.raises(RequestError, match="empty"):
        masked_region(Image.fromarray(empty.astype(np.uint8)), 0, 64, 64)


def test_a_file_that_is_no_mask_is_refused(tmp_path):
    with pytest.raises(RequestError, match="check the path"):
        open_mask(tmp_path / "mask.png")
    with pytest.raises(RequestError):
        open_mask(b"garbage")


def test_latents_take_the_pixel_at_their_top_left():
    chosen = latent_mask(MASK, 6, 8)
    assert chosen.shape == (1, 1, 6, 8) and chosen.dtype == np.float32
    assert np.array_equal(chosen[0, 0], HOLE[::8, ::8])
    grays = np.array([[127, 128]], np.uint8).repeat(8, 1).repeat(8, 0)
    assert latent_mask(Image.fromarray(grays), 1, 2).ravel().tolist() == [0, 1]


def test_a_mask_that_no_latent_sees_is_refused():
    thin = np.zeros((48, 64), np.uint8)
    thin[:, 5] = 255
    with pytest.raises(RequestError, match="too thin"):
        latent_mask(Image.fromarray(thin), 6, 8)


def test_blurring_softens_and_zero_does_not():
    assert np.array_equal(blurred(MASK, 0), MASK)
    soft = np.asarray(blurred(MASK, 4)).astype(float)
    assert 80 < soft[20, 20] < 160 and soft[0, 0] == 0 and soft[20, 30] > 200
    assert abs(soft.sum() / np.asarray(MASK).astype(float).sum() - 1) < 0.02
    for radius in (-1, float("nan"), float("inf"), 257, "soft", True):
        with pytest.raises(RequestError, match="mask_blur"):
            blurred(MASK, radius)


@pytest.mark.parametrize("kind", FILLS)
def test_fills_leave_what_is_kept(kind):
    result = np.asarray(filled(PICTURE, MASK, kind))
    assert np.array_equal(result[~HOLE], np.asarray(PICTURE)[~HOLE])
    assert np.array_equal(result[HOLE], np.asarray(PICTURE)[HOLE]) == (kind == "original")


def test_blank_is_gray_and_noise_has_the_colours_of_the_rest():
    assert (np.asarray(filled(PICTURE, MASK, "blank"))[HOLE] == 128).all()
    two = np.where(HOLE[:, :, None], (0, 0, 255), (200, 30, 30)).astype(np.uint8)
    assert (np.asarray(filled(Image.fromarray(two), MASK, "noise"))[HOLE] == (200, 30, 30)).all()
    one, again = (np.asarray(filled(PICTURE, MASK, "noise")) for _ in range(2))
    assert np.array_equal(one, again)
    everything = filled(PICTURE, Image.new("L", PICTURE.size, 255), "noise")
    assert np.asarray(everything).std() > 50
    with pytest.raises(RequestError, match="original, noise, blank, spread"):
        filled(PICTURE, MASK, "latent")


@pytest.mark.parametrize("size", [(64, 64), (41, 67), (5, 1)])
def test_colours_are_spread_from_all_sides_into_the_mask(size):
    width, height = size
    across = np.arange(width) / max(1, width - 1)
    ramp = np.broadcast_to((across * 200)[None, :, None], (height, width, 3)).round().astype(np.uint8)
    hole = np.zeros((height, width), bool)
    hole[:, width // 4 : width - width // 4] = True
    broken = np.where(hole[:, :, None], 255, ramp).astype(np.uint8)
    mask = Image.fromarray(np.where(hole, 255, 0).astype(np.uint8))
    found = np.asarray(filled(Image.fromarray(broken), mask, "spread")).astype(int)
    low, high = ramp[~hole].min(), ramp[~hole].max()
    assert low <= found[hole].min() and found[hole].max() <= high
    row = found[0, :, 0]
    assert (np.diff(row) >= -1).all() and np.array_equal(found[~hole], ramp[~hole])


def test_nothing_to_spread_is_gray():
    assert (np.asarray(filled(PICTURE, Image.new("L", PICTURE.size, 255), "spread")) == 128).all()


@pytest.mark.parametrize("padding", [0, 5, 32, 1000])
@pytest.mark.parametrize("output", [(64, 64), (64, 32), (32, 128), (512, 384)])
def test_the_region_holds_the_mask_within_the_picture(padding, output):
    rng = np.random.RandomState(padding)
    for _ in range(50):
        size = rng.randint(8, 200, 2)
        mask = Image.new("L", tuple(int(side) for side in size))
        corners = np.sort(rng.randint(0, size, (2, 2)), 0)
        ImageDraw.Draw(mask).rectangle([tuple(corner) for corner in corners.tolist()], 255)
        left, top, right, bottom = masked_region(mask, padding, *output)
        assert 0 <= left < right <= mask.width and 0 <= top < bottom <= mask.height
        assert left <= max(corners[0, 0] - padding, 0) and right >= min(corners[1, 0] + 1 + padding, mask.width)
        assert top <= max(corners[0, 1] - padding, 0) and bottom >= min(corners[1, 1] + 1 + padding, mask.height)
        if right - left < mask.width and bottom - top < mask.height:
            assert abs((right - left) * output[1] - (bottom - top) * output[0]) <= max(output)


def test_pasting_leaves_every_byte_outside_the_mask():
    patch = Image.new("RGB", (33, 77), (1, 255, 1))
    box = masked_region(MASK, 4, 64, 64)
    result = np.asarray(paste(PICTURE, patch, box, MASK))
    assert np.array_equal(result[~HOLE], np.asarray(PICTURE)[~HOLE]) and (result[HOLE] == (1, 255, 1)).all()
    everywhere = np.asarray(paste(PICTURE, patch, None, MASK))
    assert np.array_equal(everywhere, result)
    soft = blurred(MASK, 2)
    mixed = np.asarray(paste(PICTURE, patch, None, soft))
    untouched = np.asarray(soft) == 0
    assert np.array_equal(mixed[untouched], np.asarray(PICTURE)[untouched])


def test_pasting_into_a_transparent_picture_makes_it_opaque_there():
    clear = Image.new("RGBA", PICTURE.size, (9, 9, 9, 0))
    result = np.asarray(paste(clear, PICTURE, None, MASK))
    assert (result[HOLE][:, 3] == 255).all() and (result[~HOLE] == (9, 9, 9, 0)).all()


@pytest.mark.parametrize("box", [(-1, 0, 8, 8), (0, 0, 65, 8), (8, 8, 8, 16), (8, 8, 4, 16)])
def test_bad_boxes_and_masks_are_refused(box):
    with pytest.raises(RequestError, match="inside"):
        paste(PICTURE, PICTURE, box, MASK)
    with pytest.raises(RequestError, match="resize the mask"):
        paste(PICTURE, PICTURE, None, MASK.resize((8, 8)))


@pytest.mark.parametrize("sides", [(8, 0, 0, 0), (0, 16, 0, 0), (0, 0, 200, 0), (0, 0, 0, 304), (8, 16, 24, 32)])
def test_outpainting_keeps_the_picture_and_marks_the_rest(sides):
    left, top, right, bottom = sides
    canvas, mask = outpainted(PICTURE, *sides)
    assert canvas.size == mask.size == (64 + left + right, 48 + top + bottom) and canvas.mode == "RGB"
    assert np.array_equal(np.asarray(canvas)[top : top + 48, left : left + 64], np.asarray(PICTURE))
    kept = np.zeros((48, 64), bool)
    kept[8 * bool(top) : 48 - 8 * bool(bottom), 8 * bool(left) : 64 - 8 * bool(right)] = True
    assert np.array_equal(np.asarray(mask)[top : top + 48, left : left + 64] == 0, kept)
    assert (np.asarray(mask) == 0).sum() == kept.sum() and set(np.unique(mask)) == {0, 255}


def test_new_ground_continues_the_colours_with_noise_on_them():
    halves = np.zeros((64, 64, 3), np.uint8)
    halves[:, 32:] = (200, 100, 50)
    canvas = np.asarray(outpainted(Image.fromarray(halves), 32, 0, 32, 0)[0]).astype(float)
    assert np.abs(canvas[:, 112:].mean((0, 1)) - (200, 100, 50)).max() < 25
    assert canvas[:, :16].mean() < 25 and 5 < canvas[:, 112:].std(0).mean() < 40
    one, again = (np.asarray(outpainted(PICTURE, 8, 0, 0, 0)[0]) for _ in range(2))
    assert np.array_equal(one, again)


@pytest.mark.parametrize(
    "sides, message",
    [
        ((0, 0, 0, 0), "LEFT,TOP,RIGHT,BOTTOM"),
        ((-8, 0, 0, 0), "left"),
        ((0, 0.5, 0, 0), "top"),
        ((0, 0, 60_000, 60_000), "64 million"),
    ],
)
def test_bad_outpainting_is_refused(sides, message):
    with pytest.raises(RequestError, match=message):
        outpainted(PICTURE, *sides)


def test_a_single_pixel_can_be_outpainted():
    canvas, mask = outpainted(Image.new("RGB", (1, 1), (90, 90, 90)), 3, 3, 4, 4)
    assert canvas.size == (8, 8) and abs(np.asarray(canvas).mean() - 90) < 10 and np.asarray(mask)[3, 3] == 0
