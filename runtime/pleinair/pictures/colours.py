"""A linear map from latents to colours, so that a step can be shown without running the VAE."""

from collections.abc import Callable

import numpy as np

SIDE = 8  # latent pixels along one side of a picture; a thousand samples for a map of a dozen numbers
EACH = 4  # pictures of every kind
SHAPES = 12
RIDGE = 1e-3  # of a unit variance; keeps the map of an untrained VAE, whose latents hardly vary, from growing

Rgb = tuple[tuple[float, ...], ...]


def fit_rgb(encode: Callable[[np.ndarray], np.ndarray], factor: int) -> Rgb | None:
    """Least squares from the latents of made-up pictures to their colours: (channels + 1) rows of 3, the last the bias.

    `encode` makes of pictures (B, H, W, 3) in 0..1 latents (B, c, H / factor, W / factor), scaled as the network of the
    loop sees them; colours are 0..1, the mean over what a latent pixel covers. None where it makes nothing finite.
    """
    pictures = synthetic(np.random.default_rng(3), SIDE * factor)  # (N, 3, H, W)
    latents = np.concatenate([encode(one[None].transpose(0, 2, 3, 1)) for one in pictures])  # (N, c, h, w)
    colours = pictures.reshape(*pictures.shape[:2], SIDE, factor, SIDE, factor).mean((3, 5))  # (N, 3, h, w)
    seen, wanted = pixels(latents), pixels(colours)
    if not np.isfinite(seen).all():
        return None
    middle = seen.mean(0)
    away = seen - middle
    square = away.T @ away / len(away) + RIDGE * np.eye(len(middle))
    weights = np.linalg.solve(square, away.T @ (wanted - wanted.mean(0)) / len(away))  # (c, 3)
    bias = wanted.mean(0) - middle @ weights
    return tuple(tuple(round(float(number), 5) for number in row) for row in [*weights, bias])


def pixels(maps: np.ndarray) -> np.ndarray:
    """(N, c, h, w) -> (N h w, c), in float64."""
    return maps.transpose(0, 2, 3, 1).reshape(-1, maps.shape[1]).astype(np.float64)


def synthetic(rng: np.random.Generator, side: int) -> np.ndarray:
    """Colour gradients, shapes upon gradients, waves with grain, and clouds: (N, 3, side, side) float32 in 0..1."""
    grained = np.clip(waves(rng, EACH, side, side) / 2 + 0.5, 0, 1)
    shaped = gradients(rng, side)
    for one in shaped:
        draw_shapes(rng, one)
    return np.concatenate([gradients(rng, side), shaped, grained, clouds(rng, side)]).astype(np.float32)


def waves(rng: np.random.Generator, batch: int, height: int, width: int) -> np.ndarray:
    """Smooth colour gradients with grain, (B, 3, H, W) float32 in [-1, 1]."""
    y, x = np.linspace(0, 1, height)[:, None], np.linspace(0, 1, width)
    waves = rng.uniform(1, 9, (4, batch, 3, 1, 1))
    image = np.sin(waves[0] * x + waves[1] * y) * np.cos(waves[2] * x - waves[3] * y)
    return (image * 0.9 + rng.uniform(-0.1, 0.1, image.shape)).astype(np.float32)


def gradients(rng: np.random.Generator, side: int) -> np.ndarray:
    """Four random colours in the corners and what lies between: (EACH, 3, side, side)."""
    return enlarged(rng.uniform(0, 1, (EACH, 3, 2, 2)), side)


def clouds(rng: np.random.Generator, side: int) -> np.ndarray:
    """Colour noise of every size, the coarser the stronger: (EACH, 3, side, side)."""
    total = np.full((EACH, 3, side, side), 0.5)
    for grains in (2**n for n in range(1, side.bit_length() - 1)):
        total += 0.35 / grains**0.5 * enlarged(rng.standard_normal((EACH, 3, grains, grains)), side)
    return np.clip(total, 0, 1)


def draw_shapes(rng: np.random.Generator, canvas: np.ndarray) -> None:
    """Ellipses and boxes of one colour each, drawn on (3, side, side) in place."""
    y, x = np.mgrid[: canvas.shape[1], : canvas.shape[2]] / canvas.shape[1]
    for n in range(SHAPES):
        (across, down), (wide, high) = rng.uniform(0, 1, 2), rng.uniform(0.03, 0.3, 2)
        dx, dy = np.abs(x - across) / wide, np.abs(y - down) / high
        inside = dx**2 + dy**2 < 1 if n % 2 else np.maximum(dx, dy) < 1
        canvas[:, inside] = rng.uniform(0, 1, (3, 1))


def enlarged(maps: np.ndarray, side: int) -> np.ndarray:
    """(N, 3, n, n) -> (N, 3, side, side), bilinear, corners to corners."""
    place = np.linspace(0, maps.shape[2] - 1, side)
    low = np.minimum(place.astype(int), maps.shape[2] - 2)
    share = place - low
    rows = maps[:, :, low] * (1 - share[:, None]) + maps[:, :, low + 1] * share[:, None]
    return rows[..., low] * (1 - share) + rows[..., low + 1] * share
