"""Samplers and schedules against golden numbers of pinned diffusers, and properties that need no oracle."""

from itertools import pairwise
from math import sqrt
from pathlib import Path

import numpy as np
import pytest

import toy
from pleinair.errors import BundleError, RequestError
from pleinair.noise import TorchNoise, stacked
from pleinair.sampling import SAMPLERS, TO_X0, ancestral, move
from pleinair.schedule import Path as NoisePath
from pleinair.schedule import Point, beta_quantile, make_path, prediction_type, resolve_spacing

GOLDEN = np.load(Path(__file__).parent / "golden" / "trajectories.npz")


def walk(sampler, path, prediction, seed, shape=toy.SHAPE):
    """Final latents of our sampler on the toy network."""
    generator = TorchNoise(seed)

    def denoise(x, point):
        return TO_X0[prediction](toy.network(x, point.t, np.sin), x, point)

    x = path.start * generator.normal(shape)
    for state in SAMPLERS[sampler].walk(denoise, x, path, lambda: generator.normal(shape)):
        x = state.x
    return x


@pytest.mark.parametrize("case", GOLDEN.files)
def test_trajectory_equals_diffusers(case):
    sampler, spacing, prediction, steps = case.split("/")
    path = make_path(toy.CONFIGS[prediction], SAMPLERS[sampler].grid, int(steps), spacing)
    assert len(path) == int(steps)
    ours, theirs = walk(sampler, path, prediction, int(steps)), GOLDEN[case]
    assert ours.dtype == np.float32
    assert np.abs(ours - theirs).max() <= tolerance(sampler, int(steps)) * np.abs(theirs).max()


def tolerance(sampler, steps):
    """Relative. diffusers' DPM2 a loses digits: it subtracts nearly equal float32 numbers where steps are long."""
    return 2e-4 if sampler == "dpm2_a" and steps <= 3 else 2e-5


BETA_QUANTILES = {
    0.0: 0.0,
    0.01: 0.0008612388215429059,
    0.1: 0.03958440558878085,
    0.37: 0.3227940020973615,
    0.5: 0.5000000000000001,
    0.8: 0.8770782495416671,
    0.999: 0.9999814412614826,
    1.0: 1.0,
}
GRID_OF = {name: sampler.grid for name, sampler in SAMPLERS.items()}


@pytest.mark.parametrize("sampler", [name for name, info in SAMPLERS.items() if not info.stochastic])
@pytest.mark.parametrize("spacing", ["leading", "karras"])
def test_a_perfect_denoiser_is_followed_at_every_step(sampler, spacing):
    """With x = alpha * image + sigma * noise at the start and the image known, every later x is of the same form."""
    path = make_path(toy.CONFIGS["epsilon"], GRID_OF[sampler], 10, spacing)
    image, noise = np.full(toy.SHAPE, 0.7), TorchNoise(1).normal(toy.SHAPE).astype(np.float64)
    start = path.strides[0][0]
    x = start.alpha * image + start.sigma * noise
    walker = SAMPLERS[sampler].walk(lambda x, point: image, x, path, lambda: 0)
    for state, (_, b) in zip(walker, path.strides, strict=True):
        np.testing.assert_allclose(state.x, b.alpha * image + b.sigma * noise, atol=1e-9)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_batch_walks_like_its_singles(sampler):
    path = make_path(toy.CONFIGS["epsilon"], GRID_OF[sampler], 6)
    singles = [walk(sampler, path, "epsilon", seed) for seed in (1, 2)]
    generators = [TorchNoise(1), TorchNoise(2)]

    def denoise(x, point):
        return TO_X0["epsilon"](toy.network(x, point.t, np.sin), x, point)

    x = path.start * stacked(generators, toy.SHAPE[1:])
    for state in SAMPLERS[sampler].walk(denoise, x, path, lambda: stacked(generators, toy.SHAPE[1:])):
        x = state.x
    np.testing.assert_allclose(x, np.concatenate(singles), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "sampler, order", [("euler", 1), ("ddim", 1), ("heun", 2), ("dpm2", 2), ("dpmpp_2m", 2), ("dpmpp_3m", 2)]
)
def test_error_falls_with_the_order_of_the_solver(sampler, order):
    """Halving the strides divides the error by about 2^order, on an ODE whose solution is known.

    A third-order multistep solver is held back to second order by its first steps.

    For Gaussian data of deviation s the ideal denoiser is linear, and x is carried from sigma 2 to 0.1 in closed form.
    """
    spread = 0.5

    def ideal(x, p):
        return p.alpha * spread**2 / (p.alpha**2 * spread**2 + p.sigma**2) * x

    def point(ratio):
        alpha = 1 / sqrt(1 + ratio**2)
        return Point(0.0, alpha, ratio * alpha)

    def end(steps):
        points = [point(float(ratio)) for ratio in np.geomspace(2, 0.1, steps + 1)]
        path = NoisePath(tuple(pairwise(points)), 1.0, point)
        *_, last = SAMPLERS[sampler].walk(ideal, np.ones((1, 1, 1, 1)), path, lambda: 0)
        return last.x.item(), points

    _, points = end(1)
    first, final = points[0], points[-1]
    exact = sqrt((final.alpha * spread) ** 2 + final.sigma**2) / sqrt((first.alpha * spread) ** 2 + first.sigma**2)
    errors = [abs(end(steps)[0] - exact) for steps in (16, 32, 64)]
    for coarse, fine in pairwise(errors):
        assert 2 ** (order - 0.35) < coarse / fine < 2 ** (order + 0.5)


def test_move_renews_exactly_the_noise_it_is_told_to():
    a, b = Point(0, 0.6, 0.8), Point(0, 0.8, 0.6)
    x0, fresh = np.full(1000, 0.3), np.full(1000, 2.0)
    x = a.alpha * x0 + a.sigma * np.full(1000, 1.0)
    moved = move(x, x0, a, b, fresh=0.36, noise=lambda: fresh)
    np.testing.assert_allclose(moved, 0.8 * 0.3 + 0.48 * 1.0 + 0.36 * 2.0)


def test_an_ancestral_step_keeps_the_noise_level():
    """Whatever share is new, the noise at b has deviation sigma_b: mean and variance of a Gaussian are preserved."""
    path = make_path(toy.CONFIGS["epsilon"], "k", 8)
    rng = np.random.default_rng(0)
    for a, b in path.strides[:-1]:
        x0 = np.full(200_000, 0.5)
        x = a.alpha * x0 + a.sigma * rng.standard_normal(200_000)
        moved = move(x, x0, a, b, ancestral(a, b), lambda: rng.standard_normal(200_000))
        assert moved.mean() == pytest.approx(b.alpha * 0.5, abs=0.01)
        assert moved.std() == pytest.approx(b.sigma, rel=0.01)


def test_spacing_overrides_only_what_it_names():
    config = {**toy.CONFIGS["epsilon"], "use_karras_sigmas": True}
    assert resolve_spacing(config, "k", None) == ("leading", "karras")
    assert resolve_spacing(config, "k", "trailing") == ("trailing", "karras")
    assert resolve_spacing(toy.CONFIGS["epsilon"], "dpm", "karras") == ("leading", "karras")
    assert resolve_spacing(toy.CONFIGS["epsilon"], "dpm", "trailing,karras") == ("trailing", "karras")
    assert resolve_spacing({}, "ddim", None) == ("leading", None)
    assert resolve_spacing({}, "k", None) == ("linspace", None)


def test_beta_quantiles_equal_known_ones():
    """scipy.stats.beta.ppf(q, 0.6, 0.6) of scipy 1.17."""
    for share, known in BETA_QUANTILES.items():
        assert beta_quantile(share) == pytest.approx(known, abs=1e-10)


def test_only_classes_that_have_karras_inherit_it():
    config = {**toy.CONFIGS["epsilon"], "use_karras_sigmas": True}
    inherited = {name for name, info in SAMPLERS.items() if resolve_spacing(config, info.grid, None)[1]}
    assert inherited == set(SAMPLERS) - {"ddim", "ddpm", "euler_a"}


@pytest.mark.parametrize("spacing", ["karas", "leading,foo", "None", "leading,linspace", ","])
def test_unknown_spacings_are_refused(spacing):
    with pytest.raises(RequestError, match="choose from|two of a kind"):
        make_path(toy.CONFIGS["epsilon"], "k", 5, spacing)


@pytest.mark.parametrize("grid, steps", [("dpm", 1000), ("ddim", 1000)])
def test_more_steps_than_noise_levels_are_refused(grid, steps):
    with pytest.raises(RequestError, match="fewer"):
        make_path(toy.CONFIGS["epsilon"], grid, steps, "leading")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"beta_schedule": "sigmoid"}, "beta schedule"),
        ({"timestep_spacing": "wild"}, "timestep spacing"),
        ({"num_train_timesteps": "1000"}, "num_train_timesteps"),
        ({"num_train_timesteps": 0}, "num_train_timesteps"),
        ({"num_train_timesteps": None}, "num_train_timesteps"),
        ({"beta_start": "low"}, "betas"),
        ({"beta_start": -1.0, "beta_schedule": "linear"}, "betas"),
        ({"beta_end": 1.5}, "betas"),
        ({"trained_betas": [[0.1]]}, "betas"),
    ],
)
def test_configs_beyond_this_version_are_named(changes, message):
    with pytest.raises(BundleError, match=message):
        make_path({**toy.CONFIGS["epsilon"], **changes}, "k", 5)


def test_unknown_prediction_types_are_named():
    with pytest.raises(BundleError, match="prediction type 'flow'"):
        prediction_type({"prediction_type": "flow"})
