"""Noise equals torch's bit for bit, A1111's philox and NumPy's, for every size and across calls."""

import zlib
from math import log, pi, sin, sqrt
from pathlib import Path

import numpy as np
import pytest

from pleinair.errors import RequestError
from pleinair.sampling.noise import (
    NOISES,
    NoiseSource,
    NumpyNoise,
    PhiloxNoise,
    TorchNoise,
    philox,
    slerp,
    source,
    stacked,
)

GOLDEN = np.load(Path(__file__).parents[2] / "golden" / "noise.npz")
DRAWS = [name.removesuffix("/last") for name in GOLDEN.files if name.endswith("/last")]
VARIATIONS = [name for name in GOLDEN.files if name.startswith("varied/")]
LOW = 0xFFFFFFFF


def shape_of(name):
    return tuple(map(int, name.split("/")[-1].split("x")))


@pytest.mark.parametrize("seed", dict.fromkeys(name.split("/")[1] for name in DRAWS))
def test_noise_equals_torch_bit_for_bit(seed):
    generator = source(int(seed))
    for name in DRAWS:  # in the order they were drawn: a later draw depends on the earlier ones
        if name.split("/")[1] == seed:
            drawn = generator.normal(shape_of(name))
            assert drawn.shape == shape_of(name) and drawn.dtype == np.float32
            assert np.array_equal(drawn.reshape(-1)[-64:].view(np.uint32), GOLDEN[f"{name}/last"].view(np.uint32))
            assert zlib.crc32(drawn.astype("<f4").tobytes()) == GOLDEN[f"{name}/crc32"]


def test_torch_never_makes_a_negative_zero():
    numbers = TorchNoise(0).normal((1 << 20,))
    assert not np.signbit(numbers[numbers == 0]).any()


# counter, key and result of Random123's kat_vectors (philox 4x32, 10 rounds)
PHILOX = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


@pytest.mark.parametrize("counter, key, result", PHILOX)
def test_philox_known_answers(counter, key, result):
    counter, key, result = ([int(word, 16) for word in words.split()] for words in (counter, key, result))
    words = philox([np.array([word], np.uint64) for word in counter], tuple(key))
    assert [int(word[0]) for word in words] == result


def test_philox_noise_equals_the_numbers_that_a1111_publishes():
    published = [
        [-0.92466259, -0.42534415, -2.6438457, 0.14518388],
        [-0.12086647, -0.57972564, -0.62285122, -0.32838709],
        [-1.07454231, -0.36314407, -1.67105067, 2.26550497],
    ]
    # they were written down before A1111 took CUDA's float32 value of 2 pi / 2^32, which moves angles by 2e-7
    np.testing.assert_allclose(PhiloxNoise(0).normal((3, 4)), published, rtol=0, atol=3e-7)


def one_philox_number(seed, draw, index):
    """The same number by number, as the paper writes it down."""
    counter, key = [draw, 0, index, 0], [seed & LOW, seed >> 32]
    for _ in range(10):
        high0, low0 = divmod(0xD2511F53 * counter[0], 1 << 32)
        high1, low1 = divmod(0xCD9E8D57 * counter[2], 1 << 32)
        counter = [high1 ^ counter[1] ^ key[0], low1, high0 ^ counter[3] ^ key[1], low0]
        key = [(key[0] + 0x9E3779B9) & LOW, (key[1] + 0xBB67AE85) & LOW]
    turn = float(np.float32(2.3283064e-10 * 6.2831855))
    return sqrt(-2 * log((counter[0] + 0.5) / (1 << 32))) * sin(counter[1] * turn + turn / 2)


@pytest.mark.parametrize("seed", [0, 7, 2**32 - 1, 2**40 + 3, 2**64 - 1])
def test_philox_noise_equals_one_number_at_a_time(seed):
    generator = PhiloxNoise(seed)
    for draw, shape in enumerate([(2, 3, 5), (1,), (100,)]):
        expected = [one_philox_number(seed, draw, index) for index in range(int(np.prod(shape)))]
        np.testing.assert_allclose(generator.normal(shape).reshape(-1), expected, rtol=2e-7, atol=1e-9)


def test_numpy_noise_is_that_of_the_legacy_generator():
    np.testing.assert_allclose(NumpyNoise(0).normal((4,)), [1.76405235, 0.40015721, 0.97873798, 2.2408932], rtol=1e-7)
    ours, theirs = source(11, "numpy"), np.random.RandomState(11)
    for shape in ((4, 9, 7), (3,)):
        assert np.array_equal(ours.normal(shape), theirs.randn(*shape).astype(np.float32))


@pytest.mark.parametrize("kind", NOISES)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (4, 1, 1), (4, 5, 3), (2, 4, 8, 8)])
def test_every_kind_gives_every_shape(kind, shape):
    generator: NoiseSource = source(3, kind)
    numbers = generator.normal(shape)
    assert numbers.shape == shape and numbers.dtype == np.float32 and np.isfinite(numbers).all()
    assert not np.array_equal(numbers, generator.normal(shape)) or not numbers.size


@pytest.mark.parametrize("kind", NOISES)
def test_noise_is_standard_normal(kind):
    numbers = source(0, kind).normal((400_000,))
    assert abs(numbers.mean()) < 0.005 and abs(numbers.std() - 1) < 0.005 and np.isfinite(numbers).all()
    assert abs(np.mean(numbers**4) - 3) < 0.05
    assert abs(np.corrcoef(numbers[:-1], numbers[1:])[0, 1]) < 0.006
    for below, share in ((-2, 0.02275), (-1, 0.15866), (0, 0.5), (1.5, 0.93319)):
        assert abs(np.mean(numbers < below) - share) < 0.003


@pytest.mark.parametrize("kind", NOISES)
def test_a_batch_equals_its_singles_and_seeds_differ(kind):
    together = stacked([source(1, kind), source(2, kind)], (4, 9, 7))
    assert np.array_equal(together[1], source(2, kind).normal((4, 9, 7)))
    assert np.abs(together[0] - together[1]).max() > 0.1


def test_only_philox_takes_all_64_bits_of_a_seed():
    for kind in NOISES:
        low, high = source(9, kind).normal((20,)), source(9 + (1 << 32), kind).normal((20,))
        assert np.array_equal(low, high) == (kind != "philox")


@pytest.mark.parametrize("name", VARIATIONS)
def test_variations_equal_a1111s(name):
    _, seed, subseed, strength, _ = name.split("/")
    varied = source(int(seed), "torch", int(subseed), float(strength)).normal(shape_of(name))
    np.testing.assert_allclose(varied, GOLDEN[name], rtol=0, atol=2e-6)


@pytest.mark.parametrize("kind", NOISES)
def test_only_the_first_draw_varies(kind):
    plain, varied = source(1, kind), source(1, kind, 2, 0.3)
    assert np.abs(plain.normal((4, 8, 8)) - varied.normal((4, 8, 8))).max() > 0.1
    for shape in ((4, 8, 8), (3,), (100,)):
        assert np.array_equal(plain.normal(shape), varied.normal(shape))


def test_a_variation_runs_from_the_seed_to_the_subseed():
    shape = (4, 16, 12)
    seed, subseed = source(1).normal(shape), source(2).normal(shape)
    assert np.array_equal(source(1, "torch", 2, 0.0).normal(shape), seed)
    assert np.array_equal(source(1, "torch", None, 0.5).normal(shape), seed)
    np.testing.assert_allclose(source(1, "torch", 2, 1.0).normal(shape), subseed, atol=1e-6)
    turned = np.array([source(1, "torch", 2, share).normal(shape) for share in np.linspace(0, 1, 9)])
    distances = np.abs(turned - seed).mean((1, 2, 3))
    assert (np.diff(distances) > 0).all()


def test_slerp_keeps_the_variance_where_a_straight_line_would_not():
    a, b = source(1).normal((64, 64, 64)), source(2).normal((64, 64, 64))
    assert abs(slerp(a, b, 0.5).std() - 1) < 0.01 and abs(((a + b) / 2).std() - 1) > 0.2


@pytest.mark.parametrize("other", [1.0, -1.0, 2.0, 0.0])
@pytest.mark.parametrize("shape", [(4, 1, 1), (4, 1, 7), (4, 8, 8), (2, 4, 3, 3)])
def test_slerp_of_parallel_and_empty_noise_is_finite(other, shape):
    a = source(1).normal(shape)
    for share in (0, 0.3, 0.5, 1):
        turned = slerp(a, other * a, share)
        assert turned.dtype == np.float32 and np.isfinite(turned).all()
    np.testing.assert_allclose(slerp(a, a, 0.3), a, rtol=1e-6)


def test_slerp_follows_the_arc():
    angles = np.linspace(0, pi / 2, 7)
    a, b = np.array([[1.0], [0.0]], np.float32), np.array([[0.0], [1.0]], np.float32)
    for angle in angles:
        arc = slerp(a, b, angle / (pi / 2))
        np.testing.assert_allclose(arc[:, 0], [np.cos(angle), np.sin(angle)], atol=1e-6)


@pytest.mark.parametrize("wrong", ["Torch", "cuda", "", "philox "])
def test_unknown_kinds_are_refused(wrong):
    with pytest.raises(RequestError, match="choose from torch, philox, numpy"):
        source(1, wrong)


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan"), "much"])
def test_strengths_out_of_range_are_refused(strength):
    with pytest.raises(RequestError, match="choose 0 to 1"):
        source(1, "torch", 2, strength)
