"""Tiles: covering, weights, and equality with the whole where a network sees only its neighbourhood."""

import numpy as np
import pytest

from pleinair.errors import BundleError
from pleinair.pictures.tiles import cut, tall_tile, tiled, upscale_tiled


@pytest.mark.parametrize("side, overlap", [(16, 4), (17, 5), (8, 1), (32, 16), (2, 1)])
def test_tiles_cover_everything_have_one_size_and_overlap(side, overlap):
    for length in range(1, 150):
        axis = cut(length, side, overlap, 3)
        assert axis.size <= side and axis.starts[0] == 0 and axis.starts[-1] + axis.size == length
        assert all(a < b <= a + axis.size - overlap for a, b in zip(axis.starts, axis.starts[1:], strict=False))
        total = np.zeros(length * 3)
        for start, weights in zip(axis.starts, axis.weights, strict=True):
            total[start * 3 : (start + axis.size) * 3] += weights
        np.testing.assert_allclose(total, 1, atol=1e-6)
        assert axis.weights.min() >= 0


def blur(x):
    """A 3x3 convolution with zero padding, as networks have it; then every pixel four times."""
    wide = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    h, w = x.shape[2:]
    near = sum(wide[:, :, i : i + h, j : j + w] * (1 + i + 3 * j) for i in range(3) for j in range(3)) / 45
    return near.repeat(2, 2).repeat(2, 3)


@pytest.mark.parametrize("size", [(40, 40), (13, 90), (37, 51), (5, 7), (16, 17)])
def test_a_network_that_sees_less_than_the_overlap_gives_the_whole(size):
    x = np.random.RandomState(0).rand(2, 3, *size).astype(np.float32)
    shapes = []

    def run(tile):
        shapes.append(tile.shape)
        return blur(tile)

    np.testing.assert_allclose(tiled(run, x, (16, 16), 8, unit_out=2), blur(x), atol=1e-6)
    assert len(set(shapes)) == 1 and max(shapes[0][2:]) <= 16


def test_what_fits_is_run_as_it_is():
    x = np.random.RandomState(0).rand(1, 3, 16, 9).astype(np.float32)
    assert np.array_equal(tiled(blur, x, (16, 16), 8, unit_out=2), blur(x))


def test_input_units_of_several_pixels():
    """As an encoder: 8 x 8 pixels become one number."""
    x = np.random.RandomState(0).rand(1, 3, 160, 96).astype(np.float32)

    def run(tile):
        assert tile.shape[2] % 8 == tile.shape[3] % 8 == 0
        return tile.reshape(1, 3, tile.shape[2] // 8, 8, tile.shape[3] // 8, 8).mean((3, 5))

    np.testing.assert_allclose(tiled(run, x, (6, 7), 2, unit_in=8), run(x), atol=1e-6)


@pytest.mark.parametrize("side, overlap", [(8, 4), (9, 2), (32, 16), (96, 16)])
def test_tall_tiles_stay_within_their_area_and_are_not_dear(side, overlap):
    for height, width in np.random.RandomState(side).randint(1, 5 * side, (200, 2)):
        tall, wide = tall_tile(int(height), int(width), side, overlap)
        rows, columns = cut(height, tall, overlap), cut(width, wide, overlap)
        assert (rows.size, columns.size) == (tall, wide) and tall * wide <= side * side
        squares = cut(height, side, overlap), cut(width, side, overlap)
        cost, square = (
            len(down.starts) * down.size * len(across.starts) * across.size
            for down, across in ((rows, columns), squares)
        )
        assert cost <= 1.25 * square + 1e-9


def test_tall_tiles_are_as_tall_as_the_picture_where_that_is_cheap():
    assert tall_tile(96, 96, 96, 16) == (96, 96)
    assert tall_tile(48, 192, 96, 16) == (48, 192)  # not more than 96 x 96 either
    assert tall_tile(128, 128, 96, 16) == (128, 72)
    assert tall_tile(64, 96, 48, 16) == (64, 36)
    assert tall_tile(256, 256, 96, 16)[0] < 256


class Upscaler:
    """An ESRGAN-type graph: twice as large, each pixel from its neighbours."""

    def __init__(self):
        self.shapes = set()

    def __call__(self, image):
        self.shapes.add(image.shape)
        return {"upscaled": blur(blur(image)[:, :, ::2, ::2])}


@pytest.mark.parametrize("size", [(300, 270), (7, 5), (33, 700), (1, 1)])
def test_upscaling_in_tiles_equals_upscaling_the_whole(size):
    picture = np.random.RandomState(1).rand(*size, 3)
    graph = Upscaler()
    result = upscale_tiled(graph, picture, 2)
    (expected,) = Upscaler()(image=picture.transpose(2, 0, 1)[None].astype(np.float32)).values()
    assert result.shape == (2 * size[0], 2 * size[1], 3)
    np.testing.assert_allclose(result, expected[0].transpose(1, 2, 0).clip(0, 1), atol=1e-6)
    assert len(graph.shapes) == 1 and max(next(iter(graph.shapes))[2:]) <= 256


def test_upscaled_numbers_stay_within_a_picture():
    result = upscale_tiled(
        lambda image: {"image": image.repeat(2, 2).repeat(2, 3) * 3 - 1}, np.eye(4)[:, :, None] * np.ones(3), 2
    )
    assert result.min() == 0 and result.max() == 1


def test_an_upscaler_of_another_scale_is_refused():
    with pytest.raises(BundleError, match="not 4 times"):
        upscale_tiled(Upscaler(), np.zeros((8, 8, 3)), 4)
