"""Noise levels: published formulas worked out a second way, explicit lists, img2img strengths, and properties.

What diffusers lays is compared in tests/export/test_spacings.py and, as golden numbers, in test_solvers.py.
"""

from contextlib import suppress
from functools import cache
from itertools import pairwise
from math import atan, exp, log, tan

import numpy as np
import pytest

import toy
from pleinair.errors import BundleError, PleinairError, RequestError
from pleinair.sampling.configured import make_solver
from pleinair.sampling.grids import unfollowed
from pleinair.sampling.laying import falling, make_path
from pleinair.sampling.noise import TorchNoise
from pleinair.sampling.path_betas import GRIDS
from pleinair.sampling.predictions import TO_X0, prediction_type
from pleinair.sampling.samplers import SAMPLERS
from pleinair.sampling.sigmas import FROM_LEVELS, SIGMA_SCHEDULES
from pleinair.sampling.spacings import SPACINGS
from pleinair.sampling.trained import training

EPSILON = toy.CONFIGS["epsilon"]
FLOW = {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "shift": 3.0}
EDM = {"_class_name": "EDMEulerScheduler", "sigma_min": 0.002, "sigma_max": 80.0, "sigma_data": 0.5}
CONFIGS = {
    "betas": EPSILON,
    "cosine": {**EPSILON, "beta_schedule": "squaredcos_cap_v2"},
    "zero snr": {**toy.CONFIGS["v_prediction"], "rescale_betas_zero_snr": True},
    "flow": FLOW,
    "edm": EDM,
}
LOW_ENDS = ("ddim", "pndm", "tcd", "deis", "sa")  # they stop at a low noise level, not at none
FEW_STEP = ("lcm", "tcd")  # have timesteps of their own
STEPS = (1, 2, 3, 7, 20, 60)
STRENGTHS = (1.0, 0.75, 0.5, 0.3, 0.01)


def ratios(path):
    """Karras' sigmas of a path over betas, the end included."""
    return np.array([point.sigma / point.alpha for point in (*(a for a, _ in path.strides), path.strides[-1][1])])


@cache
def paths(name):
    """Every (grid, spacing, steps) that has a path, and that path."""
    found = []
    for grid in GRIDS:
        for spacing in SPACINGS:
            for steps in STEPS:
                with suppress(RequestError):  # where the mathematics forbids it: other tests say where
                    found.append((grid, spacing, steps, make_path(CONFIGS[name], grid, steps, spacing)))
    return found


@pytest.mark.parametrize("name", CONFIGS)
def test_noise_falls_on_every_grid_spacing_and_number_of_steps(name):
    for grid, spacing, steps, path in paths(name):
        where = (grid, spacing, steps)
        points = [a for a, _ in path.strides]
        assert len(path) == steps, where
        assert all(a.sigma > b.sigma for a, b in pairwise(points)), where
        assert all(a.t >= b.t for a, b in pairwise(points)), where
        assert all(a.sigma >= b.sigma and a.lam <= b.lam for a, b in path.strides), where
        assert path.strides[-1][1].sigma == 0 or grid in LOW_ENDS, where
        assert 0 < path.start <= 1.00001 or name == "edm", where
        assert all(type(number) is float for point in points for number in point), where


@pytest.mark.parametrize("name", CONFIGS)
def test_the_level_of_a_point_is_that_point(name):
    """At the noise of a point, `level` finds the point; t too where it was not rounded."""
    for grid, spacing, steps, path in paths(name):
        for a, _ in path.strides:
            if a.alpha and steps < 50:
                found = path.level(a.sigma / a.alpha)
                assert found.sigma == pytest.approx(a.sigma, rel=1e-6), (grid, spacing, steps)
                assert found.alpha == pytest.approx(a.alpha, rel=1e-6, abs=1e-7)
                if name == "betas":
                    assert found.t == pytest.approx(a.t, abs=1.01)


def test_variance_is_one_and_flow_paths_are_straight():
    for path in (make_path(config, "euler", 7) for config in (EPSILON, CONFIGS["zero snr"])):
        assert all(a.alpha**2 + a.sigma**2 == pytest.approx(1) for a, _ in path.strides)
    assert all(a.alpha + a.sigma == 1 for a, _ in make_path(FLOW, "euler", 7).strides)
    data = EDM["sigma_data"]
    edm = make_path(EDM, "euler", 7).strides
    assert all((a.alpha * data) ** 2 + a.sigma**2 == pytest.approx(1) for a, _ in edm)
    assert all(a.t == pytest.approx(log(a.sigma / a.alpha) / 4) for a, _ in edm)


@pytest.mark.parametrize("grid", GRIDS)
def test_every_spacing_works_on_every_grid(grid):
    """Only so many leading or ddim_uniform steps as there are timesteps: the issue's spacings combine freely."""
    for spacing in SIGMA_SCHEDULES if grid in FEW_STEP else SPACINGS:
        assert len(make_path(EPSILON, grid, 20, spacing)) == 20
        assert len(make_path(EPSILON, grid, 1, spacing)) == 1


@pytest.mark.parametrize("grid", GRIDS)
def test_schedules_of_other_tools_start_from_the_strongest_level(grid):
    strongest = training(EPSILON).sigmas[-1]
    for spacing in set(SIGMA_SCHEDULES) - {"karras", "exponential", "beta", "lu", "ddim_uniform"}:
        for steps in (1, 2, 10, 37):
            first = ratios(make_path(EPSILON, grid, steps, spacing))[0]
            assert first == pytest.approx(strongest, rel=1e-4), (spacing, steps)


def test_polyexponential_is_exponential():
    ours = ratios(make_path(EPSILON, "dpm", 9, "polyexponential"))
    np.testing.assert_allclose(ours, ratios(make_path(EPSILON, "dpm", 9, "exponential")), rtol=1e-12)


def levels():
    """Stable Diffusion's 1000 sigmas, rising, from its betas by a plain loop in float64."""
    bar, sigmas = 1.0, []
    for i in range(1000):
        root = 0.00085**0.5 + (0.012**0.5 - 0.00085**0.5) * i / 999
        bar *= 1 - root**2
        sigmas.append(((1 - bar) / bar) ** 0.5)
    return sigmas


def at(sigmas, t):
    """The level at a real-valued t, linear in log sigma."""
    low = min(int(t), len(sigmas) - 2)
    return exp(log(sigmas[low]) * (low + 1 - t) + log(sigmas[low + 1]) * (t - low))


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 10, 20, 50])
@pytest.mark.parametrize("grid", ["k", "dpm", "ddim"])
def test_formulas_of_comfyui_and_a1111(grid, steps):
    """Loops as the tools' papers and pages describe them, against what a path holds."""
    known = levels()
    low, high = atan(known[0]), atan(known[-1])
    expected = {
        "simple": [known[999 - int(i * 1000 / steps)] for i in range(steps)],
        "normal": [at(known, 999 * (1 - i / max(steps - 1, 1))) for i in range(steps)],
        "sgm_uniform": [at(known, 999 * (1 - i / steps)) for i in range(steps)],
        "ddim_uniform": [known[1 + i * (1000 // steps)] for i in reversed(range(steps))],
        "kl_optimal": [tan(high + (low - high) * i / max(steps - 1, 1)) for i in range(steps)],
    }
    for spacing, sigmas in expected.items():
        ours = ratios(make_path(EPSILON, grid, steps, spacing))
        np.testing.assert_allclose(ours, [*sigmas, 0], rtol=5e-5, err_msg=spacing)


PUBLISHED = {  # diffusers' AysSchedules, as the authors published them
    "ays": [14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.0],
    "ays_sdxl": [14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.0],
}
PUBLISHED_T = {
    "ays": [999, 850, 736, 645, 545, 455, 343, 233, 124, 24],
    "ays_sdxl": [999, 845, 730, 587, 443, 310, 193, 116, 53, 13],
}


@pytest.mark.parametrize("spacing", PUBLISHED)
def test_ten_aligned_steps_are_the_published_table(spacing):
    path = make_path(EPSILON, "dpm", 10, spacing)
    np.testing.assert_allclose(ratios(path), PUBLISHED[spacing], rtol=0.015)
    np.testing.assert_allclose([a.t for a, _ in path.strides], PUBLISHED_T[spacing], atol=1)


def test_other_numbers_of_aligned_steps_lie_between_the_published_ones_in_log_sigma():
    twenty, ten = (ratios(make_path(EPSILON, "dpm", steps, "ays")) for steps in (20, 10))
    np.testing.assert_allclose(twenty[:-1:2], ten[:-1], rtol=1e-9)
    np.testing.assert_allclose(twenty[1:-2:2], np.sqrt(ten[:-2] * ten[1:-1]), rtol=1e-9)


def test_tables_for_stable_diffusion_are_refused_elsewhere():
    for config in (FLOW, EDM):
        with pytest.raises(RequestError, match="use"):
            make_path(config, "euler", 10, "ays")
    with pytest.raises(RequestError, match="karras"):
        make_path(EDM, "euler", 10, "trailing")


def test_trailing_and_sgm_uniform_differ_by_rounding_only():
    trailing, uniform = (make_path(EPSILON, "k", 12, spacing) for spacing in ("trailing", "sgm_uniform"))
    assert 0 < max(abs(a.t - b.t) for (a, _), (b, _) in zip(trailing.strides, uniform.strides, strict=True)) < 1.5


# explicit lists


@pytest.mark.parametrize("grid", GRIDS)
def test_given_sigmas_are_walked_as_they_are(grid):
    given = [14.0, 6.5, 2.0, 0.7, 0.1, 0.0]
    path = make_path(EPSILON, grid, 99, sigmas=given)
    np.testing.assert_allclose(ratios(path), given, rtol=1e-12)
    assert all(a.t > b.t for (a, _), (b, _) in pairwise(path.strides))


def test_given_sigmas_may_stop_early():
    path = make_path(EPSILON, "k", 0, sigmas=(10, 1))
    assert len(path) == 1 and path.strides[0][1].sigma > 0 < path.strides[0][1].t


@pytest.mark.parametrize("grid", GRIDS)
def test_given_timesteps_are_walked_as_they_are(grid):
    path = make_path(EPSILON, grid, 99, timesteps=np.array([999, 500, 20]))
    assert [a.t for a, _ in path.strides] == [999, 500, 20]
    np.testing.assert_allclose(ratios(path)[:3], [levels()[t] for t in (999, 500, 20)], rtol=5e-5)


def test_a_spacing_written_out_gives_the_same_path():
    for spacing in ("karras", "ays", "simple"):
        named = make_path(EPSILON, "k", 8, spacing)
        given = make_path(EPSILON, "k", 8, sigmas=ratios(named))
        np.testing.assert_allclose(np.array(given.strides), np.array(named.strides), rtol=1e-6, atol=1e-9)
    named = make_path(EPSILON, "dpm", 8, "trailing")
    assert make_path(EPSILON, "dpm", 8, timesteps=[a.t for a, _ in named.strides]).strides == named.strides


@pytest.mark.parametrize(
    "lists, message",
    [
        ({"sigmas": []}, "empty"),
        ({"timesteps": []}, "empty"),
        ({"sigmas": [1, 2]}, "2 follows 1"),
        ({"sigmas": [2, 2, 0]}, "must fall"),
        ({"timesteps": [5, 5]}, "must fall"),
        ({"sigmas": [float("nan"), 0]}, "finite"),
        ({"sigmas": [float("inf"), 0]}, "finite"),
        ({"sigmas": [1, -1]}, "not negative"),
        ({"timesteps": [10, -1]}, "not negative"),
        ({"sigmas": ["a"]}, "list of numbers"),
        ({"sigmas": 5}, "list of numbers"),
        ({"sigmas": [14.6]}, "the end"),
        ({"timesteps": [1000, 3]}, "1000 is out of range"),
        ({"sigmas": [1, 0], "timesteps": [5]}, "exclude each other"),
    ],
)
def test_lists_that_make_no_path_are_refused(lists, message):
    for grid in GRIDS:
        with pytest.raises(RequestError, match=message):
            make_path(EPSILON, grid, 5, **lists)


def test_lists_exclude_a_spacing():
    with pytest.raises(RequestError, match="exclude"):
        make_path(EPSILON, "k", 5, "karras", sigmas=[1, 0])


@pytest.mark.parametrize("grid", ["ddim", "ddpm", "dpm", "unipc"])
def test_fractions_of_timesteps_are_refused_where_diffusers_would_drop_them(grid):
    with pytest.raises(RequestError, match="whole timesteps"):
        make_path(EPSILON, grid, 5, timesteps=[500.5, 3])
    assert make_path(EPSILON, "k", 5, timesteps=[500.5, 3]).strides[0][0].t == 500.5


@pytest.mark.parametrize(
    "config, lists, message",
    [
        (FLOW, {"sigmas": [1.5, 0.5]}, "1.5 is out of range"),
        (FLOW, {"sigmas": [0]}, "not a path"),
        (FLOW, {"timesteps": [1001, 5]}, "1001 is out of range"),
        (FLOW, {"timesteps": [500, 0]}, "0 is out of range"),
        (EDM, {"timesteps": [500]}, "sigmas instead"),
        (EDM, {"sigmas": [80]}, "the end"),
        ({**EPSILON, "prediction_type": "v_prediction", "timestep_type": "continuous"}, {"timesteps": [5]}, "sigmas"),
    ],
)
def test_lists_beyond_flow_and_edm_models_are_refused(config, lists, message):
    with pytest.raises(RequestError, match=message):
        make_path(config, "euler", 5, **lists)


def test_falling_keeps_a_good_list():
    assert falling("sigmas", ("3", 2, 0.0)).tolist() == [3, 2, 0]


# strength


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 10, 20, 49, 50, 100])
def test_strength_leaves_the_last_strides(steps):
    path = make_path(EPSILON, "dpm", steps, "trailing")
    for strength in (1, 0.75, 0.5, 0.3, 0.999):
        if kept := int(steps * strength):
            part = path.after(strength)
            assert part.strides == path.strides[-kept:]
            assert (part.last_orders, part.start) == (path.last_orders, path.start)
    assert path.after(1) == path


@pytest.mark.parametrize("strength", [-0.1, 1.01, float("nan"), float("inf"), "half", None])
def test_strengths_outside_0_to_1_are_refused(strength):
    with pytest.raises(RequestError, match="from 0 to 1"):
        make_path(EPSILON, "k", 5).after(strength)


def test_a_strength_that_leaves_no_step_names_the_least_that_leaves_one():
    for steps in (*range(1, 101), 333, 999):
        path = make_path(EPSILON, "k", steps, "trailing")
        with pytest.raises(RequestError, match="leaves none") as caught:
            path.after(0.5 / steps)
        least = float(str(caught.value).partition("use ")[2].partition(" or")[0])
        assert len(path.after(least)) == 1
        with pytest.raises(RequestError):
            path.after(least - 0.0011)


# models trained otherwise


@pytest.mark.parametrize("name", ["zero snr", "flow", "edm"])
@pytest.mark.parametrize("sampler", [name for name, info in SAMPLERS.items() if not info.stochastic])
def test_a_perfect_denoiser_is_followed_whatever_the_model_was_trained_on(sampler, name):
    image, noise = np.full(toy.SHAPE, 0.7), TorchNoise(1).normal(toy.SHAPE).astype(np.float64)
    if (sampler, name) == ("pndm", "zero snr"):
        return  # it knows no zero terminal SNR, in diffusers too
    for spacing in (None, "kl_optimal", "simple"):
        path = make_path(CONFIGS[name], SAMPLERS[sampler].grid, 10, spacing)
        start = path.strides[0][0]
        x = start.alpha * image + start.sigma * noise
        states = make_solver(sampler, CONFIGS[name])(lambda x, point, step: image, x, path, lambda: 0)
        for state, (_, b) in zip(states, path.strides, strict=True):
            np.testing.assert_allclose(state.x, b.alpha * image + b.sigma * noise, atol=1e-7)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("name", ["flow", "edm"])
def test_every_sampler_walks_flow_and_edm_models(sampler, name):
    prediction = prediction_type(CONFIGS[name])
    generator = TorchNoise(3)
    for steps in (1, 2, 9):
        path = make_path(CONFIGS[name], SAMPLERS[sampler].grid, steps)

        def denoise(x, p, step):
            return TO_X0[prediction](toy.network(x, p.t, np.sin), x, p)

        x = np.float32(path.start) * generator.normal(toy.SHAPE)
        for state in make_solver(sampler, CONFIGS[name])(denoise, x, path, lambda: generator.normal(toy.SHAPE)):
            assert np.isfinite(state.x).all() and state.x.dtype == np.float32


@pytest.mark.parametrize("kind", ["flow", "edm", "edm_v_prediction"])
def test_a_perfect_network_gives_the_image_back(kind):
    """The output that each kind of model was trained towards, made from a known image and noise, ends in that image."""
    image, noise = np.full(5, 0.3), np.linspace(-1, 1, 5)
    config = FLOW if kind == "flow" else EDM
    for p, _ in make_path(config, "euler", 6).strides:
        x = p.alpha * image + p.sigma * noise
        if kind == "flow":
            out = noise - image
        else:  # Karras et al. 2022, eq. 7 and 8, in their scale
            data, sigma = EDM["sigma_data"], p.sigma / p.alpha
            skip, scale = data**2 / (sigma**2 + data**2), sigma * data / (sigma**2 + data**2) ** 0.5
            out = (image - skip * x / p.alpha) / (scale if kind == "edm" else -scale)
        np.testing.assert_allclose(TO_X0[kind](out, x, p), image, atol=1e-9)


def test_the_prediction_follows_from_the_class_and_the_config():
    assert prediction_type({}) == "epsilon"
    assert prediction_type({"prediction_type": "flow_prediction", "use_flow_sigmas": True}) == "flow"
    assert prediction_type({"prediction_type": "epsilon", "use_flow_sigmas": True}) == "epsilon"
    assert prediction_type(FLOW) == "flow"
    assert prediction_type(EDM) == "edm"
    assert prediction_type({**EDM, "prediction_type": "v_prediction"}) == "edm_v_prediction"
    with pytest.raises(BundleError, match="'sample'"):
        prediction_type({**EDM, "prediction_type": "sample"})


@pytest.mark.parametrize(
    "config, message",
    [
        ({**FLOW, "use_dynamic_shifting": True}, "use_dynamic_shifting"),
        ({**FLOW, "invert_sigmas": True}, "invert_sigmas"),
        ({**FLOW, "shift": 0}, "shift"),
        ({**FLOW, "shift": "3"}, "shift"),
        ({**EDM, "sigma_schedule": "wild"}, "sigma_schedule"),
        ({**EDM, "sigma_max": 0.001}, "sigma_max"),
        ({**EDM, "sigma_min": None}, "sigma_min"),
        ({**EPSILON, "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}, "zero terminal SNR"),
    ],
)
def test_configs_of_other_models_beyond_this_version_are_named(config, message):
    with pytest.raises(BundleError, match=message):
        make_path(config, "ddim", 5)


@pytest.mark.parametrize("kind", ["exp", "laplace", "sigmoid", "squaredcos_cap_v2", "linear"])
def test_every_beta_schedule_of_diffusers_makes_rising_noise(kind):
    sigmas = training({"beta_schedule": kind}).sigmas
    assert len(sigmas) == 1000 and (np.diff(sigmas) > 0).all()


def test_what_is_followed_is_not_warned_of():
    followed = {"use_flow_sigmas": True, "lambda_min_clipped": -5.1, "interpolation_type": "log_linear"}
    assert not any(unfollowed(followed, grid) for grid in GRIDS)
    assert unfollowed({"timestep_type": "continuous"}, "dpm") and not unfollowed({"timestep_type": "continuous"}, "k")


def test_more_steps_than_levels_are_refused_in_one_line():
    for spacing in FROM_LEVELS:
        with pytest.raises(PleinairError, match="fewer"):
            make_path({**EPSILON, "num_train_timesteps": 20}, "k", 25, spacing)
