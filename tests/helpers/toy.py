"""A small deterministic "network" that NumPy and torch compute alike: what samplers are compared on."""

import math
from dataclasses import replace
from functools import cache
from itertools import count

import numpy as np

from pleinair.sampling.configured import make_solver
from pleinair.sampling.laying import make_path
from pleinair.sampling.noise import TorchNoise
from pleinair.sampling.predictions import TO_X0, prediction_type
from pleinair.sampling.samplers import SAMPLERS

SHAPE = (1, 4, 5, 3)  # 60 numbers: not a multiple of the 16 that torch makes noise in
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000}
CONFIGS = {
    "epsilon": {**BETAS, "prediction_type": "epsilon", "steps_offset": 1, "set_alpha_to_one": False,
                "clip_sample": False, "timestep_spacing": "leading"},
    "v_prediction": {**BETAS, "prediction_type": "v_prediction", "steps_offset": 1, "set_alpha_to_one": False,
                     "clip_sample": False, "timestep_spacing": "trailing"},
}  # fmt: skip
SAMPLE = {**CONFIGS["epsilon"], "prediction_type": "sample"}
STEPS = (1, 2, 3, 14, 20)
VARIANT_STEPS = (5, 14, 20)
OPTIONS = [
    ("ddim", {"eta": 0.5}),
    ("ddim", {"eta": 1.0}),
    ("tcd", {"eta": 0.0}),
    ("tcd", {"eta": 0.8}),
    ("euler_a", {"eta": 0.5, "s_noise": 1.1}),
    ("dpmpp_2m_sde", {"eta": 0.4}),
    ("dpmpp_2s_a", {"eta": 0.5}),
    ("euler", {"s_churn": 4.0, "s_noise": 1.01}),
    ("heun", {"s_churn": 100.0}),
]


def network(x, t, sin):
    """Latents and a timestep -> an output of the same shape; `sin` is numpy's or torch's."""
    return 0.6 * sin(1.3 * x + t / 300) + 0.3 * math.cos(t / 500) * x + 0.05


@cache
def drawn(seed):
    """A generator, and what it has drawn in SHAPE so far."""
    return TorchNoise(seed), []


def noises(seed):
    """What a generator of this seed draws in SHAPE, made once for all walks, which ask for the same again and again."""
    generator, made = drawn(seed)
    for number in count():
        if number == len(made):
            made.append(generator.normal(SHAPE))
        yield made[number]


def walk(config, sampler, spacing, steps, seed, start=0, precision=np.float32, **options):
    """Final latents of our sampler on the toy network; `start` strides are left out, as image to image does."""
    noise, prediction = noises(seed), prediction_type(config)
    path = make_path(config, SAMPLERS[sampler].grid, steps, spacing)
    assert len(path) == steps
    path = replace(path, strides=path.strides[start:])

    def draw():
        return next(noise).astype(precision)

    def denoise(x, point, step):
        return TO_X0[prediction](network(x, point.t, np.sin), x, point)

    first = path.strides[0][0]
    x = first.sigma * draw() + first.alpha * 0.5 if start else path.start * draw()
    for state in make_solver(sampler, config, **options)(denoise, x, path, draw):
        x = state.x
    assert x.dtype == precision
    return x


def difference(ours, theirs):
    """The largest difference relative to the largest number."""
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


FORMULAS = {"dpmpp_2s_a": "published formula", "restart": "A1111's formula"}  # what stands in for a diffusers class
SHORT = "the reference subtracts float32 sigmas, or functions of them, which are nearly equal over short strides"
EXCEPTIONS = (  # sampler, fewest and most steps, spacing (None: any), bound, why it is not 1e-5
    (
        "dpm2_a",
        1,
        3,
        None,
        2e-4,
        "diffusers subtracts float32 squares of sigmas, which three strides over the whole range make nearly equal",
    ),
    ("dpm2_a", 50, 100, None, 3e-5, SHORT),
    ("heun", 1, 3, "linspace", 3e-5, "one stride from t = 999 to t = 0: the latents themselves are float32"),
    ("restart", 1, 3, "linspace", 3e-5, "same as heun, which it is with so few steps"),
    ("pndm", 1, 3, "linspace", 5e-5, "same as heun"),
    (
        "lms",
        20,
        100,
        None,
        4e-4,
        "large weights of both signs in float32, and diffusers integrates to 1e-4 only",
    ),
    ("dpmpp_3m_sde", 10, 100, None, 2e-3, SHORT),
    ("dpmpp_2m_sde", 50, 100, None, 4e-5, SHORT),
    ("dpmpp_sde", 20, 100, None, 4e-5, SHORT),
    ("dpmpp_2s_a", 50, 100, None, 4e-5, SHORT),
    ("deis", 10, 100, None, 4e-4, SHORT),
    ("sa_solver", 10, 100, None, 2e-5, SHORT),
)


def exceptions_table():
    """EXCEPTIONS as docs/samplers.md shows them."""
    return "\n".join(
        f"| `{sampler}` | {low} to {high} | {spacing or 'any'} | {bound:.0e} | {reason} |"
        for sampler, low, high, spacing, bound, reason in EXCEPTIONS
    )


def tolerance(sampler, spacing, steps):
    """How far diffusers may be from us, relative to the largest number."""
    bounds = [
        bound
        for name, low, high, where, bound, _ in EXCEPTIONS
        if name == sampler and low <= steps <= high and where in (None, spacing)
    ]
    return max(bounds, default=1e-5)


def variant_tolerance(config):
    """The same for VARIANTS: high orders are weighed with coefficients that cancel in diffusers' float32."""
    if config.get("corrector_order", 0) > 2 or str(config.get("algorithm_type")).startswith("sde"):
        return 2e-4
    return 5e-5


def _variants(kind, *changes):
    return [{"_class_name": kind, **change} for change in changes]


def _crossed(key, values, changes):
    return [{**change, key: value} for change in changes for value in values]


_ORDERS = (1, 2, 3)
_SOLVERS = _crossed("solver_type", ("midpoint", "heun"), _crossed("solver_order", _ORDERS, [{}]))
_PLUS = _crossed("final_sigmas_type", ("zero", "sigma_min"), _SOLVERS)
_NOISE = [{**change, "algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min"} for change in _SOLVERS]
_ENDS_EARLY = {"final_sigmas_type": "sigma_min"}
_ZERO_SNR = {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction"}
_DEIS = _crossed("solver_order", _ORDERS, [{}])
_DPM = "DPMSolverMultistepScheduler"
_SINGLE = "DPMSolverSinglestepScheduler"
VARIANTS = [  # what scheduler_config.json may say of a solver: the sampler is the one that the class means
    *_variants(_DPM, *_crossed("algorithm_type", ("dpmsolver++", "sde-dpmsolver++"), _PLUS), *_NOISE),
    *_variants(
        _DPM,
        *[{**change, "algorithm_type": "sde-dpmsolver"} for change in _NOISE if change["solver_order"] < 3],
        {"lower_order_final": False}, {"euler_at_final": True}, {"lower_order_final": False, "solver_order": 3},
        {"use_lu_lambdas": True}, {"euler_at_final": True, "final_sigmas_type": "sigma_min", "solver_order": 3},
    ),
    *_variants(_SINGLE, *_crossed("algorithm_type", ("dpmsolver++", "sde-dpmsolver++"), _PLUS), *_NOISE),
    *_variants(_SINGLE, *_crossed("solver_order", _ORDERS, [{"lower_order_final": True}])),
    *_variants(_SINGLE, *_crossed("solver_order", _ORDERS, [{**_ENDS_EARLY, "lower_order_final": True}])),
    *_variants(
        "UniPCMultistepScheduler",
        *_crossed("predict_x0", (True, False), _crossed("solver_type", ("bh1", "bh2"), [
            {"solver_order": order, "final_sigmas_type": "sigma_min"} for order in _ORDERS
        ])),
        {"disable_corrector": [0, 1]}, {"solver_order": 3},
        {"lower_order_final": False, "final_sigmas_type": "sigma_min"},
    ),
    *_variants("DEISMultistepScheduler", *_crossed("lower_order_final", (True, False), _DEIS)),
    *_variants(
        "SASolverScheduler",
        *_crossed("algorithm_type", ("data_prediction", "noise_prediction"), [
            {"predictor_order": p, "corrector_order": c} for p in _ORDERS for c in (1, 2, 3, 4)
        ]),
        {"lower_order_final": False},
    ),
    *_variants("PNDMScheduler", {"skip_prk_steps": False}, {"skip_prk_steps": True, "set_alpha_to_one": True}),
    *_variants("DDPMScheduler", {"variance_type": "fixed_large"}, {"variance_type": "fixed_small_log"}),
    *_variants("LCMScheduler", {"original_inference_steps": 100, "timestep_scaling": 3.0}, _ZERO_SNR),
    *_variants("TCDScheduler", {"original_inference_steps": 100}, _ZERO_SNR),
    *_variants("DDIMScheduler", {"set_alpha_to_one": True}),
    *_variants("EulerDiscreteScheduler", {"final_sigmas_type": "sigma_min"}, {"use_karras_sigmas": True}),
]  # fmt: skip


def variant_name(change):
    """A short name for one of VARIANTS, good as a key and a test id."""
    return " ".join(str(value) if key == "_class_name" else f"{key}={value}" for key, value in change.items())
