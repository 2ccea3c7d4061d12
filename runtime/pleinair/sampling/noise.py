"""Seeded noise, one generator per picture, the same numbers on every machine.

kind      the numbers of
torch     torch.randn with a CPU generator: diffusers with `torch.Generator("cpu")`, A1111's "CPU" source
philox    A1111's "NV" source, which follows torch.randn on a CUDA device
numpy     numpy.random.RandomState(seed).standard_normal: diffusers' ONNX pipelines
"""

from collections.abc import Callable, Sequence
from math import cos, log1p, pi, prod, sin, sqrt
from typing import Protocol

import numpy as np

from pleinair.checks import number, one_of

LOW = 0xFFFFFFFF  # the low 32 bits of a number
BLOCK = 16  # torch fills normal numbers in blocks of 16: 8 radii, then 8 angles

# cephes' single precision polynomials, as in ATen's avx_mathfun.h
LOG = np.array(
    [7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1,
     2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1], np.float32
)  # fmt: skip
SINE = np.array([-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1], np.float32)
COSINE = np.array([2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2], np.float32)
LN2 = np.array([0.693359375, -2.12194440e-4], np.float32)  # these, too, as sums: few bits first, then the rest
EIGHTH = np.array([0.78515625, 2.4187564849853515625e-4, 3.77489497744594108e-8], np.float32)  # of a turn, pi / 4
SQRT_HALF = np.float32(0.707106781186547524).view(np.int32)
ONE, HALF, FOUR_OVER_PI, TWO_PI = np.float32(1), np.float32(0.5), np.float32(4 / pi), np.float32(2 * pi)

PHILOX_FACTORS = (0xD2511F53, 0xCD9E8D57)
PHILOX_WEYL = (0x9E3779B9, 0xBB67AE85)
PHILOX_ROUNDS = 10
PHILOX_TURN = float(np.float32(2.3283064e-10 * 6.2831855))  # 2 pi / 2^32, in CUDA's float32

ALMOST_PARALLEL = 1e-4  # below this sine of their angle, two vectors are joined by a straight line


class NoiseSource(Protocol):
    """A seeded source of standard normal numbers."""

    def normal(self, shape: tuple[int, ...]) -> np.ndarray:
        """The next standard normal numbers, float32, in C order."""


class TorchNoise:
    """`torch.randn(shape, generator=torch.Generator().manual_seed(seed))`, bit for bit, without torch.

    MT19937 words, 24-bit uniforms and Box-Muller as in ATen's `normal_fill`; torch takes only the low 32 bits
    of a seed. These are the bits of torch on x86 with AVX2 or AVX-512; elsewhere (ARM, older x86) torch itself
    goes through the C library, and about four numbers in ten differ from these, by some 2e-6 at most.
    """

    def __init__(self, seed: int) -> None:
        self._words = np.random.RandomState(seed & LOW)
        self._spare: float | None = None  # the scalar path makes numbers in pairs and keeps one across calls

    def normal(self, shape: tuple[int, ...]) -> np.ndarray:
        size = prod(shape)
        if size < BLOCK:
            return np.array([self._scalar() for _ in range(size)], np.float32).reshape(shape)
        numbers = self._uniform(size)
        whole = size - size % BLOCK
        numbers[:whole] = box_muller(numbers[:whole])
        if whole < size:  # torch draws the last 16 again, over numbers already made
            numbers[-BLOCK:] = box_muller(self._uniform(BLOCK))
        return numbers.reshape(shape)

    def _uniform(self, count: int) -> np.ndarray:
        words = self._words.randint(0, 1 << 32, count, np.uint32)
        return (words & 0xFFFFFF).astype(np.float32) * np.float32(2**-24)

    def _uniform64(self) -> float:
        high, low = (int(word) for word in self._words.randint(0, 1 << 32, 2, np.uint32))
        return (((high << 32) | low) & ((1 << 53) - 1)) * 2.0**-53

    def _scalar(self) -> float:
        if self._spare is not None:
            number, self._spare = self._spare, None
            return number
        angle, radius = 2 * pi * self._uniform64(), sqrt(-2 * log1p(-self._uniform64()))
        self._spare = radius * sin(angle)
        return radius * cos(angle)


def box_muller(uniform: np.ndarray) -> np.ndarray:
    """Uniform numbers in [0, 1) (16k,) -> standard normal ones (16k,), block by block, as ATen's AVX2 kernel does.

    Every operation is rounded to float32 where that kernel rounds it; `log` and `sine_cosine` were compared with its
    machine code for all 2^24 uniform numbers there are.
    """
    pairs = uniform.reshape(-1, 2, BLOCK // 2)
    radius = np.sqrt(np.float32(-2) * log(ONE - pairs[:, 0]))
    sine, cosine = sine_cosine(TWO_PI * pairs[:, 1])
    return np.stack([radius * cosine, radius * sine], 1).reshape(-1) + np.float32(0)  # + 0: there is no -0 in torch


def log(x: np.ndarray) -> np.ndarray:
    """Natural logarithm of normal float32 numbers above 0."""
    bits = x.view(np.int32) - SQRT_HALF
    exponent = (bits >> 23).astype(np.float32)
    x = ((bits & 0x7FFFFF) + SQRT_HALF).view(np.float32) - ONE  # the mantissa, within sqrt(1/2) .. sqrt(2), less 1
    square = x * x
    tail = fused(x * polynomial(LOG, x), square, LN2[1] * exponent) - HALF * square
    return (x + tail) + LN2[0] * exponent


def sine_cosine(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sine and cosine of float32 angles within 0 .. 2 pi."""
    octant = ((FOUR_OVER_PI * x).astype(np.int32) + 1) & ~1  # 0, 2 .. 8: the nearest quarter of a turn, in eighths
    turns = octant.astype(np.float32)
    x = fused(turns, -EIGHTH[2], (x - turns * EIGHTH[0]) - turns * EIGHTH[1])
    square = x * x
    near_one = fused(square * polynomial(COSINE, square), square, -HALF * square) + ONE
    near_zero = fused(square * polynomial(SINE, square), x, x)
    swap = (octant & 2) != 0
    return (
        flipped(np.where(swap, near_one, near_zero), octant & 4),
        flipped(np.where(swap, near_zero, near_one), (octant + 2) & 4),
    )


def flipped(x: np.ndarray, where: np.ndarray) -> np.ndarray:
    """x with the other sign where `where` is 4 rather than 0."""
    return (x.view(np.int32) ^ (where << 29)).view(np.float32)


def polynomial(coefficients: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Horner's rule with one rounding to float32 a step, highest power first."""
    wide, y = x.astype(np.float64), coefficients[0]
    for coefficient in coefficients[1:]:
        y = (wide * y + coefficient).astype(np.float32)
    return y


def fused(a: np.ndarray, b: np.ndarray | np.float32, c: np.ndarray) -> np.ndarray:
    """a * b + c of float32 numbers, rounded once, as a processor's fused multiply-add is."""
    return (a.astype(np.float64) * b + c).astype(np.float32)  # the product of two float32 is exact in float64


class PhiloxNoise:
    """A1111's "NV" source: torch.randn on a CUDA device, one 128-bit counter for each number of each draw.

    Philox4x32-10 (Salmon et al. 2011) as cuRAND seeds it. Box-Muller is in float64 with float32 constants as in A1111;
    CUDA's own last bits differ. So do CUDA's numbers beyond one for each thread a GPU runs (40,960 on a T4, a picture
    of 810 x 810), which depend on the GPU; A1111 does not follow it there either.
    """

    def __init__(self, seed: int) -> None:
        self._key = (seed & LOW, seed >> 32 & LOW)
        self._draws = 0

    def normal(self, shape: tuple[int, ...]) -> np.ndarray:
        zero, index = np.zeros(1, np.uint64), np.arange(prod(shape), dtype=np.uint64)
        words = philox((zero + np.uint64(self._draws), zero, index, zero), self._key)
        self._draws += 1
        radius = np.sqrt(-2 * np.log((words[0] + 0.5) * 2.0**-32))
        return (radius * np.sin((words[1] + 0.5) * PHILOX_TURN)).astype(np.float32).reshape(shape)


def philox(counter: Sequence[np.ndarray], key: tuple[int, int]) -> Sequence[np.ndarray]:
    """Philox4x32-10: four counters (n,) or (1,) and two key words -> four random words (n,); 32 bits in each uint64."""
    low, half = np.uint64(LOW), np.uint64(32)
    for turn in range(PHILOX_ROUNDS):
        first, second = (np.uint64(word + turn * step & LOW) for word, step in zip(key, PHILOX_WEYL, strict=True))
        left, right = counter[0] * np.uint64(PHILOX_FACTORS[0]), counter[2] * np.uint64(PHILOX_FACTORS[1])
        counter = (
            right >> half ^ counter[1] ^ first,
            right & low,
            left >> half ^ counter[3] ^ second,
            left & low,
        )
    return counter


class NumpyNoise:
    """`numpy.random.RandomState(seed).standard_normal(shape)`; of a seed, the low 32 bits, for NumPy takes no more."""

    def __init__(self, seed: int) -> None:
        self._state = np.random.RandomState(seed & LOW)

    def normal(self, shape: tuple[int, ...]) -> np.ndarray:
        return self._state.standard_normal(shape).astype(np.float32)


class VariedNoise:
    """Noise whose first draw is carried towards another source's: A1111's variation seed."""

    def __init__(self, noise: NoiseSource, other: NoiseSource, strength: float) -> None:
        self._noise = noise
        self._other: NoiseSource | None = other  # until the first draw
        self._strength = strength

    def normal(self, shape: tuple[int, ...]) -> np.ndarray:
        drawn = self._noise.normal(shape)
        if self._other is None:
            return drawn
        other, self._other = self._other, None
        return slerp(drawn, other.normal(shape), self._strength)


SOURCES: dict[str, Callable[[int], NoiseSource]] = {"torch": TorchNoise, "philox": PhiloxNoise, "numpy": NumpyNoise}
NOISES = tuple(SOURCES)


def source(seed: int, kind: str = "torch", subseed: int | None = None, strength: float = 0.0) -> NoiseSource:
    """One picture's noise; its first draw lies `strength` of the way (0..1) to that of `subseed`.

    Seeds are 0 .. 2^64-1; only philox takes more than their low 32 bits. Raises RequestError.
    """
    make = SOURCES[one_of("noise", kind, NOISES)]
    strength = number("subseed_strength", strength, 0, 1)
    if subseed is None or not strength:
        return make(seed)
    return VariedNoise(make(seed), make(subseed), strength)


def slerp(a: np.ndarray, b: np.ndarray, share: float) -> np.ndarray:
    """From noise a (share 0) to noise b (share 1) along arcs, which keeps its variance; (..., h, w), float32.

    Column by column, as A1111 does it. Where two columns are parallel a straight line joins them; A1111 looks at their
    mean only, and then gives NaN where a latent has a single row.
    """
    a, b = a.astype(np.float64), b.astype(np.float64)
    lengths = np.linalg.norm(a, axis=-2, keepdims=True) * np.linalg.norm(b, axis=-2, keepdims=True)
    aligned = (a * b).sum(-2, keepdims=True) / np.maximum(lengths, np.finfo(np.float64).tiny)
    angle = np.arccos(np.clip(aligned, -1, 1))
    sine = np.sin(angle)
    straight = sine < ALMOST_PARALLEL
    sine = np.where(straight, 1, sine)
    from_a = np.where(straight, 1 - share, np.sin((1 - share) * angle) / sine)
    from_b = np.where(straight, share, np.sin(share * angle) / sine)
    return (from_a * a + from_b * b).astype(np.float32)


def stacked(generators: Sequence[NoiseSource], shape: tuple[int, ...]) -> np.ndarray:
    """One picture's noise from each generator: (len(generators), *shape), so that a batch equals its singles."""
    return np.stack([generator.normal(shape) for generator in generators])
