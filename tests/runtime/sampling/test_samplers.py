"""The table of samplers: their names elsewhere, what configs and options make of them, and the page that lists them."""

from pathlib import Path

import numpy as np
import pytest

import toy
from pleinair.errors import BundleError, RequestError
from pleinair.sampling.configured import make_solver
from pleinair.sampling.grids import unfollowed
from pleinair.sampling.laying import make_path
from pleinair.sampling.names import SUFFIXES, default_sampler, pytorch_class, sampler_named, unknown_class
from pleinair.sampling.samplers import SAMPLERS
from pleinair.sampling.spacings import SPACINGS, TIMESTEP_SPACINGS

PAGE = Path(__file__).parents[3] / "docs" / "samplers.md"
CONFIG = toy.CONFIGS["epsilon"]


@pytest.mark.parametrize(
    "name, meant",
    [
        ("DPM++ 2M Karras", ("dpmpp_2m", "karras")),
        ("DPM++ 2M SDE Karras", ("dpmpp_2m_sde", "karras")),
        ("DPM++ 3M SDE Exponential", ("dpmpp_3m_sde", "exponential")),
        ("DPM++ 2M SDE SGMUniform", ("dpmpp_2m_sde", "sgm_uniform")),
        ("DPM++ SDE", ("dpmpp_sde", None)),
        ("DPM++ SDE Karras", ("dpmpp_sde", "karras")),
        ("DPM++ 2S a Karras", ("dpmpp_2s_a", "karras")),
        ("dpm++ 2s A", ("dpmpp_2s_a", None)),
        ("DPM2 a", ("dpm2_a", None)),
        ("DPM2 Karras", ("dpm2", "karras")),
        ("LMS Karras", ("lms", "karras")),
        ("Euler a", ("euler_a", None)),
        ("EULER A", ("euler_a", None)),
        ("Heun", ("heun", None)),
        ("Restart", ("restart", None)),
        ("DDIM", ("ddim", None)),
        ("DDPM", ("ddpm", None)),
        ("PLMS", ("pndm", None)),
        ("UniPC", ("unipc", None)),
        ("LCM", ("lcm", None)),
        ("TCD", ("tcd", None)),
        ("DEIS", ("deis", None)),
        ("IPNDM", ("ipndm", None)),
        ("SA Solver", ("sa_solver", None)),
        ("dpm++2m", ("dpmpp_2m", None)),  # stable-diffusion.cpp
        ("dpm++2s_a", ("dpmpp_2s_a", None)),
        ("ddim_trailing", ("ddim", "trailing")),
        ("euler_ancestral", ("euler_a", None)),  # ComfyUI
        ("dpm_2_ancestral", ("dpm2_a", None)),
        ("uni_pc", ("unipc", None)),
        ("dpmpp_2m_sde_k", ("dpmpp_2m_sde", "karras")),  # InvokeAI
        ("kdpm_2_a_k", ("dpm2_a", "karras")),
    ],
)
def test_names_of_other_tools_are_understood(name, meant):
    assert sampler_named(name) == meant


@pytest.mark.parametrize("name", SAMPLERS)
def test_own_names_and_labels_are_understood(name):
    assert sampler_named(name) == (name, None)
    assert sampler_named(SAMPLERS[name].a1111) == (name, None)
    assert sampler_named(SAMPLERS[name].a1111.upper() + "  KARRAS") == (name, "karras")


@pytest.mark.parametrize(
    "name, near",
    [("unipcc", "unipc"), ("Eulr", "euler"), ("DPM++ 2M Karas", "dpmpp_2m"), ("DPM++ 3M SED", "dpmpp_3m_sde")],
)
def test_unknown_names_are_refused_with_the_nearest(name, near):
    with pytest.raises(RequestError, match=f"did you mean '{near}"):
        sampler_named(name)


@pytest.mark.parametrize("name", ["", "   ", "karras", "DPM adaptive", "k", "\N{SNOWMAN}"])
def test_names_that_are_no_sampler_are_refused(name):
    with pytest.raises(RequestError, match="choose from"):
        sampler_named(name)


@pytest.mark.parametrize("name", [name for name, info in SAMPLERS.items() if info.diffusers])
def test_every_class_means_its_sampler(name):
    config = {"_class_name": SAMPLERS[name].diffusers}
    if name.startswith("dpmpp") and name not in ("dpmpp_2s", "dpmpp_sde"):
        config |= {
            "solver_order": 3 if "3m" in name else 2,
            "algorithm_type": "sde-dpmsolver++" if name.endswith("sde") else "dpmsolver++",
        }
    assert default_sampler(config) == name


@pytest.mark.parametrize(
    "config, sampler",
    [
        ({"_class_name": "EDMEulerScheduler"}, "euler"),
        ({"_class_name": "EDMDPMSolverMultistepScheduler", "solver_order": 2}, "dpmpp_2m"),
        ({"_class_name": "EDMDPMSolverMultistepScheduler", "algorithm_type": "sde-dpmsolver++"}, "dpmpp_2m_sde"),
        ({"_class_name": "FlowMatchEulerDiscreteScheduler"}, "euler"),
        ({"_class_name": "FlowMatchHeunDiscreteScheduler"}, "heun"),
        ({"_class_name": "SCMScheduler"}, "lcm"),
        ({"_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "sde-dpmsolver"}, "dpmpp_2m_sde"),
        ({"_class_name": "DPMSolverMultistepScheduler", "solver_order": 1}, "dpmpp_2m"),
    ],
)
def test_other_classes_mean_a_sampler_too(config, sampler):
    assert default_sampler(config) == sampler


@pytest.mark.parametrize("config", [{}, {"_class_name": "VQDiffusionScheduler"}, {"_class_name": ["DDIMScheduler"]}])
def test_unknown_classes_are_named(config):
    with pytest.raises(BundleError, match="--sampler"):
        default_sampler(config)


@pytest.mark.parametrize(
    "name, plain",
    [
        ("FlaxDDIMScheduler", "DDIMScheduler"),
        ("OneFlowDPMSolverMultistepScheduler", "DPMSolverMultistepScheduler"),
        ("DDIMScheduler", "DDIMScheduler"),
        ("FlaxKarrasVeScheduler", "FlaxKarrasVeScheduler"),
        ("FlaxFlaxDDIMScheduler", "FlaxFlaxDDIMScheduler"),
        ("MyDDIMScheduler", "MyDDIMScheduler"),
        ("flaxddimscheduler", "flaxddimscheduler"),
    ],
)
def test_ports_of_a_class_mean_the_same(name, plain):
    assert pytorch_class(name) == plain


def test_a_class_of_another_framework_is_walked_as_its_own():
    config = {**CONFIG, "_class_name": "FlaxPNDMScheduler"}
    assert default_sampler(config) == "pndm" and unknown_class(config, "pndm") == []


@pytest.mark.parametrize("kind", ["KarrasVeScheduler", "MyDDIMScheduler", "", 7, ["DDIMScheduler"], {"a": 1}])
def test_a_class_that_is_not_known_is_said_with_what_stands_in_for_it(kind):
    (warning,) = unknown_class({**CONFIG, "_class_name": kind}, "heun")
    assert repr(kind) in warning and "'heun'" in warning
    assert unknown_class({}, "heun") == unknown_class({"_class_name": "DDIMScheduler"}, "heun") == []


def test_a_name_wins_over_the_solver_of_another_config():
    """The order of a UniPC config is not the order of DPM++ 2M."""
    config = {**CONFIG, "_class_name": "UniPCMultistepScheduler", "solver_order": 3, "predict_x0": False}
    np.testing.assert_array_equal(
        toy.walk(config, "dpmpp_2m", "leading", 8, 1), toy.walk(CONFIG, "dpmpp_2m", "leading", 8, 1)
    )


def test_a_flow_config_can_ask_for_new_noise_at_every_step():
    config = {"_class_name": "FlowMatchEulerDiscreteScheduler", "stochastic_sampling": True}
    path = make_path(CONFIG, "euler", 5)
    drawn = []

    def draw():
        drawn.append(1)
        return np.ones(toy.SHAPE)

    states = make_solver("euler", config)(lambda x, p, step: 0.3 + 0 * x, np.zeros(toy.SHAPE), path, draw)
    for state, (_, b) in zip(states, path.strides, strict=True):
        np.testing.assert_allclose(state.x, b.alpha * 0.3 + b.sigma)
    assert len(drawn) == 4  # none for the end


@pytest.mark.parametrize(
    "sampler, options, message",
    [
        ("dpmpp_2m", {"eta": 0.5}, "has no eta; .*ddim"),
        ("ddim", {"s_churn": 1.0}, "has no s_churn; .*heun"),
        ("unipc", {"s_noise": 1.1}, "has no s_noise"),
        ("ddim", {"eta": 1.5}, "eta 1.5 is out of range"),
        ("ddim", {"eta": float("nan")}, "eta nan is out of range"),
        ("ddim", {"eta": "much"}, "eta must be a number, not 'much'"),
        ("euler", {"s_churn": -1.0}, "s_churn -1 is out of range"),
        ("euler", {"s_noise": float("inf")}, "s_noise inf is out of range"),
        ("eulr", {}, "did you mean 'euler'"),
    ],
)
def test_options_that_make_no_sense_are_refused(sampler, options, message):
    with pytest.raises(RequestError, match=message):
        make_solver(sampler, CONFIG, **options)


@pytest.mark.parametrize("sampler, options", [("euler_a", ["eta"]), ("euler", ["s_churn"]), ("tcd", ["eta"])])
def test_without_its_noise_a_sampler_draws_none(sampler, options):
    def forbidden():
        raise AssertionError("noise was drawn")

    path = make_path(CONFIG, SAMPLERS[sampler].grid, 6)
    solver = make_solver(sampler, CONFIG, **dict.fromkeys(options, 0.0))
    for _ in solver(lambda x, p, step: 0 * x, np.ones(4), path, forbidden):
        pass


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"_class_name": "UniPCMultistepScheduler", "solver_order": 4}, "solver_order is 4"),
        ({"_class_name": "DEISMultistepScheduler", "solver_order": "2"}, "solver_order is '2'"),
        ({"_class_name": "SASolverScheduler", "corrector_order": 5}, "SA-Solver orders"),
        (
            {"_class_name": "DPMSolverMultistepScheduler", "solver_order": 3, "algorithm_type": "sde-dpmsolver"},
            "does not exist",
        ),
    ],
)
def test_solvers_that_do_not_exist_are_named(changes, message):
    config = {**CONFIG, **changes}
    with pytest.raises(BundleError, match=message):
        make_solver(default_sampler(config), config)


@pytest.mark.parametrize("sampler", ["lcm", "tcd"])
def test_few_step_samplers_have_few_steps(sampler):
    with pytest.raises(RequestError, match="51 steps are more than the 50"):
        make_path(CONFIG, sampler, 51)
    with pytest.raises(RequestError, match="timesteps of their own"):
        make_path(CONFIG, sampler, 4, "trailing")
    with pytest.raises(BundleError, match="original_inference_steps"):
        make_path({**CONFIG, "original_inference_steps": 0}, sampler, 4)
    assert len(make_path(CONFIG, sampler, 50)) == 50
    assert len(make_path(CONFIG, sampler, 4, "karras")) == 4


@pytest.mark.parametrize("grid, key, value", [("ddpm", "variance_type", "learned"), ("sa", "tau_func", "x")])
def test_what_is_not_followed_is_said(grid, key, value):
    assert key in unfollowed({**CONFIG, key: value}, grid)[0]


def test_pndm_can_warm_up_with_fewer_steps_than_diffusers():
    """diffusers' Runge-Kutta start needs four steps; here one and two end at the picture as well."""
    config = {**CONFIG, "_class_name": "PNDMScheduler", "skip_prk_steps": False, "set_alpha_to_one": True}
    for steps in (1, 2, 4):
        path = make_path(config, "pndm", steps)
        *_, last = make_solver("pndm", config)(lambda x, p, step: np.full(4, 0.6), np.ones(4), path, lambda: 0)
        np.testing.assert_allclose(last.x, 0.6, atol=1e-9)


MODELS = {
    "betas": (CONFIG, SPACINGS),
    "zero terminal SNR": (
        {**toy.CONFIGS["v_prediction"], "rescale_betas_zero_snr": True},
        (None, "karras"),
    ),
    "flow": ({"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}, (None,)),
    "EDM": ({"_class_name": "EDMEulerScheduler", "sigma_min": 0.002, "sigma_max": 80.0}, (None,)),
}


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_walks_every_kind_of_model_on_every_spacing(sampler, kind):
    config, spacings = MODELS[kind]
    few = sampler in ("lcm", "tcd")
    for spacing in spacings:
        if not (few and spacing in TIMESTEP_SPACINGS):
            for steps in (1, 2, 12):
                assert np.isfinite(toy.walk(config, sampler, spacing, steps, 1)).all(), (spacing, steps)


def test_suffixes_are_spacings():
    assert set(SUFFIXES.values()) <= set(SPACINGS)


def rows():
    """The table of the page: {sampler: [cells]}."""
    table = PAGE.read_text("utf-8").partition("| sampler |")[2].partition("\n\n")[0]
    lines = [line for line in table.splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0].strip("`"): row[1:] for row in cells}


def test_the_page_lists_every_sampler_as_the_table_has_it():
    """`python tests/golden/samplers.py` writes the page again."""
    assert list(rows()) == list(SAMPLERS)
    for name, cells in rows().items():
        info = SAMPLERS[name]
        order, evaluations, stochastic, a1111, diffusers, options = cells[:6]
        assert (int(order), int(evaluations)) == (info.order, info.evaluations)
        assert stochastic == ("yes" if info.stochastic else "no")
        assert (a1111, diffusers.strip("`")) == (info.a1111, info.diffusers or toy.FORMULAS[name])
        assert tuple(option.strip("`") for option in options.split(", ") if option) == info.options


def test_the_page_lists_every_exception():
    assert toy.exceptions_table() in PAGE.read_text("utf-8")


def test_the_page_measured_no_more_than_is_tolerated():
    for name, cells in rows().items():
        bounds = [bound for sampler, *_, bound, _ in toy.EXCEPTIONS if sampler == name]
        assert float(cells[6]) <= max(bounds, default=1e-5)
