"""Ranges, grids and int8 weights, in NumPy."""

import numpy as np
import pytest

from pleinair.quantizing.choosing import by_kind, chosen, kind_of
from pleinair.quantizing.ranges import Ranges, grid, int8_weight, unsaturated_weight


def rounded(values, cover):
    """As QuantizeLinear and DequantizeLinear do it."""
    whole = np.clip(np.rint(values / cover.scale) + cover.zero, 0, 255)
    return (whole - cover.zero) * cover.scale


@pytest.mark.parametrize("ends", [(-3.0, 5.0), (0.5, 2.0), (-7.0, -1.0), (0.0, 0.0)])
def test_a_grid_has_zero_exactly_and_covers_its_range(ends):
    cover = grid(*ends)
    values = np.linspace(*ends, 1001, dtype=np.float32)
    assert rounded(np.float32(0), cover) == 0
    assert np.abs(rounded(values, cover) - values).max() <= cover.scale * 1.01
    assert 0 <= cover.zero <= 255


def test_ranges_are_the_extremes_of_all_calls_and_survive_the_disk(tmp_path):
    ranges = Ranges(("a", "b"))
    ranges.add(np.array([[-1, 2, -9, 1], [0, 1, 0, 1]], np.float32))
    ranges.add(np.array([[-3, 1, -8, 4], [0, 5, 0, 2]], np.float32))
    ranges.save(tmp_path / "ranges.npz")
    again = Ranges.load(tmp_path / "ranges.npz")
    assert again.paths == ("a", "b")
    assert again.grid_in("a") == grid(-3, 2)
    assert again.grid_out("a") == grid(-9, 4)
    assert again.grid_in("b") == grid(0, 5)


@pytest.mark.parametrize("shape", [(6, 10), (5, 4, 3, 3), (4, 7, 1, 1)])
def test_weights_are_rounded_by_half_a_step_at_most(shape):
    weight = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    weight[0] = 0
    for made in (int8_weight, unsaturated_weight):
        whole, scale = made(weight)
        assert whole.dtype == np.int8
        assert scale.shape == (shape[0],) + (1,) * (len(shape) - 1)
        assert (np.abs(whole * scale - weight) <= scale * 0.5001).all()


@pytest.mark.parametrize("shape", [(8, 32), (8, 16, 3, 3)])
def test_unsaturated_weights_keep_pairs_within_sixteen_bits(shape):
    weight = np.random.default_rng(1).uniform(0.5, 1, shape).astype(np.float32)  # the worst case: all of one sign
    whole = unsaturated_weight(weight)[0].astype(np.int32)
    by_channel = np.moveaxis(whole.reshape(8, shape[1], -1), 1, -1).reshape(8, -1)
    for rows in (by_channel, whole.reshape(8, -1)):
        assert 255 * np.abs(rows[:, 0::2] + rows[:, 1::2]).max() < 2**15
    assert 255 * np.abs(int8_weight(weight)[0].astype(np.int32).reshape(8, -1)[:, :2].sum(1)).max() > 2**15


def test_what_costs_little_and_errs_most_stays_wide_within_the_budget():
    costs = {"first": 1, "small": 5, "large": 60, "exact": 34}
    errors = {"first": 0.0, "small": 4.0, "large": 40.0, "exact": 0.1}
    choice = chosen(costs, errors, {"first"}, 0.1)
    assert choice.wide == ("first", "small")
    assert choice.share == pytest.approx(0.06)
    assert chosen(costs, errors, set(), 0.0).wide == ()


def test_layers_of_a_kind_differ_in_numbers_alone():
    paths = ("down.0.attn.1.ff.net.2", "up.1.attn.0.ff.net.2", "down.0.resnets.1.conv1", "conv_in")
    assert kind_of(paths[0]) == "ff.net"
    assert by_kind(paths) == [paths[:2], paths[2:3], paths[3:]]
