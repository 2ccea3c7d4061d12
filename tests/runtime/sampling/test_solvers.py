"""Solvers on their paths against golden numbers of pinned diffusers, and properties that need no oracle."""

from itertools import pairwise
from math import log2, sqrt
from pathlib import Path

import numpy as np
import pytest

import toy
from every import every
from pleinair.errors import BundleError, RequestError
from pleinair.sampling.configured import make_solver
from pleinair.sampling.coordinates import ancestral, langevin, move
from pleinair.sampling.extrapolation import dpm
from pleinair.sampling.grids import unfollowed
from pleinair.sampling.laying import make_path
from pleinair.sampling.names import default_sampler
from pleinair.sampling.noise import TorchNoise, stacked
from pleinair.sampling.path import Path as NoisePath
from pleinair.sampling.path import Point
from pleinair.sampling.predictions import TO_X0, prediction_type
from pleinair.sampling.runge_kutta import restarted
from pleinair.sampling.samplers import SAMPLERS
from pleinair.sampling.sigmas import beta_quantile
from pleinair.sampling.solvers import multistep
from pleinair.sampling.spacings import resolve_spacing

GOLDEN = np.load(Path(__file__).parents[2] / "golden" / "trajectories.npz")


PLAIN = [case for case in GOLDEN.files if case.split("/")[0] in SAMPLERS]
VARIANTS = {toy.variant_name(variant): variant for variant in toy.VARIANTS}


def walk(sampler, path, prediction, seed, shape=toy.SHAPE):
    """Final latents of our sampler on the toy network."""
    generator = TorchNoise(seed)

    def denoise(x, point, step):
        return TO_X0[prediction](toy.network(x, point.t, np.sin), x, point)

    x = path.start * generator.normal(shape)
    for state in make_solver(sampler, toy.CONFIGS[prediction])(denoise, x, path, lambda: generator.normal(shape)):
        x = state.x
    return x


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_trajectories_equal_diffusers(sampler):
    def check(case):
        _, spacing, prediction, steps = case.split("/")
        spacing, steps = None if spacing == "-" else spacing, int(steps)
        ours = toy.walk(toy.CONFIGS[prediction], sampler, spacing, steps, seed=steps)
        assert toy.difference(ours, GOLDEN[case]) <= toy.tolerance(sampler, spacing, steps)

    every({case: [case] for case in PLAIN if case.startswith(f"{sampler}/")}, check)


@pytest.mark.parametrize("kind", sorted({variant["_class_name"] for variant in toy.VARIANTS}))
def test_what_a_config_says_of_its_solver_is_followed(kind):
    def check(name, variant):
        config = {**toy.CONFIGS["epsilon"], **variant}
        sampler = default_sampler(config)
        for steps in toy.VARIANT_STEPS:
            ours = toy.walk(config, sampler, None, steps, seed=steps)
            assert toy.difference(ours, GOLDEN[f"variant/{name}/{steps}"]) <= toy.variant_tolerance(config)
        assert not unfollowed(config, SAMPLERS[sampler].grid)

    every({name: (name, change) for name, change in VARIANTS.items() if change["_class_name"] == kind}, check)


@pytest.mark.parametrize("number", range(len(toy.OPTIONS)))
@pytest.mark.parametrize("prediction", toy.CONFIGS)
def test_options_equal_the_published_formulas(number, prediction):
    sampler, options = toy.OPTIONS[number]
    ours = toy.walk(toy.CONFIGS[prediction], sampler, None, 10, seed=10, **options)
    assert toy.difference(ours, GOLDEN[f"option/{number}/{prediction}"]) <= 1e-5


def test_no_golden_number_is_left_over():
    expected = len(PLAIN) + len(VARIANTS) * len(toy.VARIANT_STEPS) + len(toy.OPTIONS) * len(toy.CONFIGS)
    assert {case.split("/")[0] for case in PLAIN} == set(SAMPLERS)
    assert len(GOLDEN.files) == expected


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


PATHS = [(sampler, spacing) for sampler in SAMPLERS for spacing in (None, "karras")]


def at_every_level(sampler, path):
    """The strides that a sampler takes on a path: those of the path, but for restart."""
    return restarted(path) if sampler == "restart" else path.strides


@pytest.mark.parametrize("sampler, spacing", [path for path in PATHS if not SAMPLERS[path[0]].stochastic])
def test_a_perfect_denoiser_is_followed_at_every_step(sampler, spacing):
    """With x = alpha * image + sigma * noise at the start and the image known, every later x is of the same form."""
    path = make_path(toy.CONFIGS["epsilon"], GRID_OF[sampler], 10, spacing)
    image, noise = np.full(toy.SHAPE, 0.7), TorchNoise(1).normal(toy.SHAPE).astype(np.float64)
    start = path.strides[0][0]
    x = start.alpha * image + start.sigma * noise
    walked = make_solver(sampler, toy.CONFIGS["epsilon"])(lambda x, point, step: image, x, path, lambda: 0)
    for state, (_, b) in zip(walked, path.strides, strict=True):
        np.testing.assert_allclose(state.x, b.alpha * image + b.sigma * noise, atol=1e-9)


NOISY = [
    *((sampler, {}) for sampler, info in SAMPLERS.items() if info.stochastic),
    ("ddim", {"eta": 1.0}),
    ("ddim", {"eta": 0.5}),
    ("euler", {"s_churn": 10.0}),
    ("heun", {"s_churn": 10.0}),
    ("dpm2", {"s_churn": 10.0}),
    ("euler_a", {"eta": 0.5}),
    ("dpmpp_sde", {"eta": 0.5}),
    ("dpmpp_3m_sde", {"eta": 0.5}),
    ("sa_solver", {"eta": 0.5}),
    ("tcd", {"eta": 1.0}),
]


@pytest.mark.parametrize("sampler, options", NOISY, ids=str)
def test_new_noise_keeps_the_noise_level_at_every_step(sampler, options):
    """With the image known, x stays normal around alpha * image with deviation sigma, however much is renewed."""
    rng = np.random.default_rng(0)
    path = make_path(toy.CONFIGS["epsilon"], GRID_OF[sampler], 24)
    image, count = 0.7, 10_000
    start = path.strides[0][0]
    x = start.alpha * image + start.sigma * rng.standard_normal(count)
    walked = make_solver(sampler, toy.CONFIGS["epsilon"], **options)(
        lambda x, point, step: np.full(count, image), x, path, lambda: rng.standard_normal(count)
    )
    for state, (_, b) in zip(walked, at_every_level(sampler, path), strict=True):
        assert state.x.mean() == pytest.approx(b.alpha * image, abs=0.03 * b.sigma + 1e-4)
        assert state.x.std() == pytest.approx(b.sigma, rel=0.03, abs=1e-4)


LAWS = [case for case in NOISY if case[0] not in ("lcm", "tcd")]  # those two expect a distilled network


@pytest.mark.parametrize("sampler, options", LAWS, ids=str)
def test_the_law_of_gaussian_data_comes_out(sampler, options):
    """With the ideal denoiser of N(0.4, 0.5^2) many small steps end in N(0.4, 0.5^2)."""
    rng = np.random.default_rng(1)
    path = make_path(toy.CONFIGS["epsilon"], GRID_OF[sampler], 120, "karras")
    mean, spread, count = 0.4, 0.5, 10_000

    def ideal(x, p, step):
        gain = p.alpha * spread**2 / (p.alpha**2 * spread**2 + p.sigma**2)
        return mean + gain * (x - p.alpha * mean)

    start = path.strides[0][0]
    x = start.alpha * (mean + spread * rng.standard_normal(count)) + start.sigma * rng.standard_normal(count)
    solver = make_solver(sampler, toy.CONFIGS["epsilon"], **options)
    *_, last = solver(ideal, x, path, lambda: rng.standard_normal(count))
    end = path.strides[-1][1]
    assert last.x.mean() == pytest.approx(end.alpha * mean, abs=0.02)
    assert last.x.std() == pytest.approx(sqrt((end.alpha * spread) ** 2 + end.sigma**2), rel=0.03)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_batch_walks_like_its_singles(sampler):
    path = make_path(toy.CONFIGS["epsilon"], GRID_OF[sampler], 21)
    singles = [walk(sampler, path, "epsilon", seed) for seed in (1, 2)]
    generators = [TorchNoise(1), TorchNoise(2)]

    def denoise(x, point, step):
        return TO_X0["epsilon"](toy.network(x, point.t, np.sin), x, point)

    x = path.start * stacked(generators, toy.SHAPE[1:])
    noise = lambda: stacked(generators, toy.SHAPE[1:])  # noqa: E731
    for state in make_solver(sampler, toy.CONFIGS["epsilon"])(denoise, x, path, noise):
        x = state.x
    np.testing.assert_allclose(x, np.concatenate(singles), rtol=0, atol=1e-6 * np.abs(x).max())


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_network_is_told_which_step_asks(sampler):
    """From 0, and the same for every evaluation of a step, so that a prompt may change between steps."""
    path = make_path(toy.CONFIGS["epsilon"], GRID_OF[sampler], 21)
    asked = []

    def denoise(x, point, step):
        asked.append(step)
        return 0 * x

    states = make_solver(sampler, toy.CONFIGS["epsilon"])(denoise, np.ones(4), path, lambda: np.zeros(4))
    for number, _ in enumerate(states):
        assert set(asked) == {number}
        asked.clear()
    assert number == len(path) - 1


SPREAD = 0.5


def ideal_of_zero_mean(x, p, step):
    return p.alpha * SPREAD**2 / (p.alpha**2 * SPREAD**2 + p.sigma**2) * x


def even_path(steps, orders=()):
    """From sigma 2 to 0.1 evenly in log sigma."""

    def point(ratio):
        alpha = 1 / sqrt(1 + ratio**2)
        return Point(0.0, alpha, ratio * alpha)

    points = [point(float(ratio)) for ratio in np.geomspace(2, 0.1, steps + 1)]
    return NoisePath(tuple(pairwise(points)), 1.0, point, orders)


def without_noise(solver, path, denoise=ideal_of_zero_mean):
    """Where x = 1 ends up if all new noise is zero."""
    *_, last = solver(denoise, np.ones((1, 1, 1, 1)), path, lambda: np.zeros((1, 1, 1, 1)))
    return last.x.item()


def orders_of(error, start=16):
    """How often doubling the steps halves the error, from `start` steps on."""
    errors = [abs(error(steps)) for steps in (start, 2 * start, 4 * start)]
    return [log2(coarse / fine) for coarse, fine in pairwise(errors)]


@pytest.mark.parametrize(
    "sampler, order",
    [
        *[(name, 1) for name in ("euler", "ddim", "euler_a")],
        *[(name, 2) for name in ("heun", "dpm2", "dpm2_a", "dpmpp_2s", "dpmpp_2s_a", "dpmpp_sde", "restart")],
        *[(name, 2) for name in ("dpmpp_2m", "dpmpp_2m_sde", "dpmpp_3m", "dpmpp_3m_sde", "pndm", "deis")],
        ("sa_solver", 2.25),
        ("lms", 2.5),
        ("unipc", 3),
        ("ipndm", 1.3),  # its weights are those of equal strides in sigma
    ],
)
def test_error_falls_with_the_order_of_the_solver(sampler, order):
    """Halving the strides divides the error by about 2^order, on an ODE whose solution is known.

    The orders from the third on are held back by the first steps and, in DPM-Solver's third, by a halved second
    difference. For Gaussian data of deviation s the ideal denoiser is linear, and x is carried from sigma 2 to 0.1 in
    closed form. Samplers with noise follow the same ODE when they are given none (eta 0).
    """
    options = {"eta": 0.0} if "eta" in SAMPLERS[sampler].options else {}
    path = even_path(1)
    (first, final) = path.strides[0]
    exact = sqrt((final.alpha * SPREAD) ** 2 + final.sigma**2) / sqrt((first.alpha * SPREAD) ** 2 + first.sigma**2)

    def error(steps):
        orders = (2, 1) * (steps // 2) if sampler == "dpmpp_2s" else ()
        return without_noise(make_solver(sampler, {}, **options), even_path(steps, orders)) - exact

    for measured in orders_of(error):
        assert order - 0.35 < measured < order + 0.5


def test_third_order_sde_needs_the_sign_that_diffusers_has_wrong():
    """The drift of the SDE converges with order 2; with diffusers' sign of the second difference only with order 1."""

    def diffusers_sign(past, b):
        target = dpm(2.0)(past, b)
        if len(past) < 3:
            return target
        (a, x0), (p, x1), (q, x2) = past
        h = b.lam - a.lam
        near, far = (a.lam - p.lam) / h, (p.lam - q.lam) / h
        return target - ((x0 - x1) / near - (x1 - x2) / far) / (near + far) / -np.expm1(-2 * h)

    def curved(x, p, step):
        return np.sin(3 * p.lam) + 0.3 * np.tanh(x)

    def orders(aim):
        solver = multistep(aim, langevin, memory=3)
        return orders_of(lambda steps: without_noise(solver, even_path(steps), curved) - exact, start=128)

    exact = without_noise(multistep(dpm(2.0), langevin, memory=3), even_path(8192), curved)
    assert min(orders(dpm(2.0))) > 1.7
    assert max(orders(diffusers_sign)) < 1.3


def test_move_renews_exactly_the_noise_it_is_told_to():
    a, b = Point(0, 0.6, 0.8), Point(0, 0.8, 0.6)
    x0, fresh = np.full(1000, 0.3), np.full(1000, 2.0)
    x = a.alpha * x0 + a.sigma * np.full(1000, 1.0)
    moved = move(x, x0, a, b, fresh=0.36, draw=lambda: fresh)
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
    assert inherited == set(SAMPLERS) - {"ddim", "ddpm", "euler_a", "pndm", "lcm", "tcd"}


@pytest.mark.parametrize("spacing", ["karas", "leading,foo", "None", "leading,linspace", ","])
def test_unknown_spacings_are_refused(spacing):
    with pytest.raises(RequestError, match="choose from|two of one kind"):
        make_path(toy.CONFIGS["epsilon"], "k", 5, spacing)


@pytest.mark.parametrize("grid, steps", [("dpm", 1000), ("ddim", 1000)])
def test_more_steps_than_noise_levels_are_refused(grid, steps):
    with pytest.raises(RequestError, match="fewer"):
        make_path(toy.CONFIGS["epsilon"], grid, steps, "leading")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"beta_schedule": "cubic"}, "beta schedule"),
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
