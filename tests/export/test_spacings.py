"""Paths and whole walks against pinned diffusers: steps x spacings x prediction types x strengths, on the toy network.

Walks are made in float64 on both sides, so that what differs is the path; diffusers' own tables are float32. Its
schedulers of the Euler kind hold latents of size sigma_max in float32, so their last digits go where that is large.
"""

import itertools

import diffusers
import numpy as np
import pytest
import torch

import oracle
import toy
from pleinair.sampling.configured import make_solver
from pleinair.sampling.laying import make_path
from pleinair.sampling.noise import TorchNoise
from pleinair.sampling.predictions import TO_X0, prediction_type
from pleinair.sampling.samplers import SAMPLERS
from pleinair.sampling.trained import training

STEPS = (1, 2, 3, 5, 10, 20, 50)  # walks of 100 steps are in test_parity.py
FEW = (1, 2, 3, 20)  # for all spacings but the first
STRENGTHS = (1, 0.75, 0.5, 0.3)
NOISE, IMAGE = (TorchNoise(seed).normal(toy.SHAPE).astype(np.float64) for seed in (5, 6))
BETAS = {**toy.BETAS, "prediction_type": "v_prediction"}
CONFIGS = {
    **toy.CONFIGS,
    "sample": {**toy.CONFIGS["epsilon"], "prediction_type": "sample"},
    "zero snr": {**toy.CONFIGS["v_prediction"], "rescale_betas_zero_snr": True},
}
SPACINGS = {
    "epsilon": ("leading", "linspace", "trailing", "karras", "exponential", "beta", "trailing,karras"),
    "v_prediction": ("linspace", "trailing", "karras"),
    "sample": ("leading", "beta"),
    "zero snr": ("leading", "trailing", "karras"),
}
SECOND_ORDER = ("heun", "dpm2")
DETERMINISTIC = ("ddim", "euler", "heun", "lms", "dpm2", "dpmpp_2m", "dpmpp_3m", "dpmpp_2s", "unipc", "deis")
WITHOUT = {("dpm2", "sample"), *((sampler, "zero snr") for sampler in ("heun", "lms", "dpm2", "dpmpp_2s", "deis"))}
WITHOUT_SPACINGS = ("dpmpp_2s",)  # diffusers' class knows linspace only, and sigmas


def strengths(sampler, steps, turn):
    """The whole walk, and one from the middle, of a strength by turns.

    diffusers' LMS weighs derivatives that a walk from the middle does not have: there is nothing to equal.

    Nor for PNDM, which is left out here: its pipelines cut a list of timesteps in which one stands twice, and the walk
    is off by a stride from there on.
    """
    whole, *others = [strength for strength in STRENGTHS if int(steps * strength)]
    return [whole, others[turn % len(others)]] if others and sampler != "lms" else [whole]


def theirs(stepper, sampler, steps, strength, lists=None):
    """Final latents of a diffusers scheduler, begun like its img2img pipelines begin where `strength` is below 1."""
    stepper.set_timesteps(**lists) if lists else stepper.set_timesteps(steps)
    order = 2 if sampler in SECOND_ORDER else 1
    piped = type(stepper).__name__.startswith("FlowMatch")  # whose pipelines cut down what is left out, not what stays
    start = int(steps - steps * strength) if piped else steps - int(steps * strength)
    if hasattr(stepper, "set_begin_index"):  # without it, two equal first timesteps end in an IndexError
        stepper.set_begin_index(start * order)
    timesteps = stepper.timesteps[start * order :]
    image, noise = torch.from_numpy(IMAGE), torch.from_numpy(NOISE)
    if strength == 1:
        x = noise * getattr(stepper, "init_noise_sigma", 1.0)
    elif hasattr(stepper, "add_noise"):
        x = stepper.add_noise(image, noise, timesteps[:1])
    else:
        x = stepper.scale_noise(image, timesteps[0] if sampler == "heun" else timesteps[:1], noise)
    for t in timesteps:
        seen = stepper.scale_model_input(x, t) if hasattr(stepper, "scale_model_input") else x
        x = stepper.step(toy.network(seen, float(t), torch.sin), t, x).prev_sample
    return x.numpy()


def ours(config, path, sampler, strength):
    prediction = prediction_type(config)
    a = path.strides[0][0]
    x = path.start * NOISE if strength == 1 else a.alpha * IMAGE + a.sigma * NOISE
    solver = make_solver(sampler, config)
    *_, last = solver(lambda x, p, step: TO_X0[prediction](toy.network(x, p.t, np.sin), x, p), x, path, lambda: 0)
    return last.x


def compare(stepper, config, sampler, spacing=None, steps=STEPS, turn=0):
    for place, count in enumerate(steps, turn):
        path = make_path(config, SAMPLERS[sampler].grid, count, spacing)
        for strength in strengths(sampler, count, place):
            known = theirs(stepper, sampler, count, strength)
            found = ours(config, path.after(strength), sampler, strength)
            close(found, known, stepper, f"{sampler} {spacing} {count} steps strength {strength}")


def close(found, known, stepper, where):
    sigma = float(stepper.sigmas.max()) if hasattr(stepper, "sigmas") else 1.0
    lms = isinstance(stepper, diffusers.LMSDiscreteScheduler)  # its integrals are good to 1e-4
    tolerance = max(5e-5 if lms else 1e-5, 3e-7 * sigma)
    worst = np.abs(found - known).max() / np.abs(known).max()
    assert worst <= tolerance, f"{where}: {worst:.1e}"


@pytest.mark.parametrize("prediction", CONFIGS)
@pytest.mark.parametrize("sampler", DETERMINISTIC)
def test_walks_equal_diffusers(sampler, prediction):
    if (sampler, prediction) in WITHOUT:
        return
    # diffusers' LMS integrates numerically, its DPM2 searches each t; its DEIS loses digits where steps are many
    slow = sampler in ("lms", "dpm2", "deis")
    spacings, steps = (SPACINGS[prediction][-3:], (1, 2, 3, 5, 20)) if slow else (SPACINGS[prediction], STEPS)
    if sampler in WITHOUT_SPACINGS:
        spacings = [spacing for spacing in spacings if not spacing.startswith(("leading", "trailing"))]
    for number, spacing in enumerate(spacings):
        stepper = oracle.scheduler(CONFIGS[prediction], sampler, spacing)
        compare(stepper, CONFIGS[prediction], sampler, spacing, FEW if number else steps, turn=number)


def levels(stepper, sampler):
    """A diffusers scheduler's timesteps (n,) and Karras sigmas, the end left out (n,)."""
    t = stepper.timesteps.numpy().astype(float)
    if not hasattr(stepper, "sigmas"):
        bar = stepper.alphas_cumprod.numpy()[t.astype(int)].astype(float)
        return t, np.sqrt((1 - bar) / np.where(bar, bar, np.nan))
    sigmas = stepper.sigmas.numpy().astype(float)
    return (t[::2], sigmas[: len(t) + 1][::2]) if sampler in SECOND_ORDER else (t, sigmas[: len(t)])


@pytest.mark.parametrize("prediction", ["epsilon", "zero snr"])
@pytest.mark.parametrize("sampler", (*DETERMINISTIC, "euler_a", "ddpm"))
def test_timesteps_and_sigmas_equal_diffusers(sampler, prediction):
    if (sampler, prediction) in WITHOUT:
        return
    config, many = CONFIGS[prediction], itertools.cycle((5, 10) if sampler == "dpm2" else (5, 10, 50, 100))
    for spacing in (*SPACINGS["epsilon"], "linspace,exponential", "leading,beta"):
        if sampler in WITHOUT_SPACINGS and spacing.startswith(("leading", "trailing")):
            continue
        stepper = oracle.scheduler(config, sampler, spacing)
        for steps in (*FEW, next(many)):
            stepper.set_timesteps(steps)
            t, sigmas = levels(stepper, sampler)
            points = [a for a, _ in make_path(config, SAMPLERS[sampler].grid, steps, spacing).strides]
            where = f"{spacing} {steps}"
            near, off = (1e-6, 2e-4) if prediction == "epsilon" else (1e-5, 2e-3)  # see the square roots below
            np.testing.assert_allclose([a.t for a in points], t, rtol=near, atol=off, err_msg=where)
            ratios = [a.sigma / a.alpha if a.alpha else np.nan for a in points]
            np.testing.assert_allclose(ratios, sigmas, rtol=near, err_msg=where)


@pytest.mark.parametrize("schedule", ["linear", "scaled_linear", "squaredcos_cap_v2"])
@pytest.mark.parametrize("zero", [False, True])
def test_trained_levels_are_bit_for_bit_those_of_diffusers(schedule, zero):
    """Except with zero terminal SNR, where torch's square roots are a last bit off on some machines."""
    for low, high, count in ((0.00085, 0.012, 1000), (0.0001, 0.02, 1000), (0.001, 0.03, 333)):
        config = {"beta_start": low, "beta_end": high, "beta_schedule": schedule, "num_train_timesteps": count}
        config["rescale_betas_zero_snr"] = zero
        known = diffusers.DDIMScheduler.from_config(config).alphas_cumprod.numpy()
        found = training(config, finite_sigma=False).alpha_bar
        np.testing.assert_allclose(found, known, rtol=0, atol=1e-6 if zero else 0)


def test_heun_knows_one_more_beta_schedule():
    config = {**toy.BETAS, "beta_schedule": "exp"}
    compare(diffusers.HeunDiscreteScheduler.from_config(config), config, "heun", steps=(5, 20))


@pytest.mark.parametrize("schedule", ["laplace", "sigmoid"])
def test_ddpm_knows_two_more_beta_schedules(schedule):
    config = {**toy.BETAS, "beta_schedule": schedule}
    known = diffusers.DDPMScheduler.from_config(config).alphas_cumprod.numpy()
    path = make_path(config, "ddpm", 1000, "linspace")
    np.testing.assert_allclose([a.alpha**2 for a, _ in path.strides], known[::-1], rtol=2e-6)


def dpm(**changes):
    return diffusers.DPMSolverMultistepScheduler, "dpmpp_2m", {**BETAS, **changes}


def unipc(**changes):
    return diffusers.UniPCMultistepScheduler, "unipc", {**BETAS, **changes}


def euler(**changes):
    return diffusers.EulerDiscreteScheduler, "euler", {**BETAS, **changes}


SETTINGS = {  # scheduler configs beyond spacings, as diffusers writes them
    "lu": dpm(use_lu_lambdas=True),
    "lu cosine": dpm(use_lu_lambdas=True, beta_schedule="squaredcos_cap_v2"),
    "karras cosine": dpm(use_karras_sigmas=True, beta_schedule="squaredcos_cap_v2"),
    "unipc karras cosine": unipc(use_karras_sigmas=True, beta_schedule="squaredcos_cap_v2"),
    "clipped": dpm(beta_schedule="squaredcos_cap_v2", lambda_min_clipped=-5.1),
    "clipped much": dpm(lambda_min_clipped=-2.0, timestep_spacing="leading"),
    "not clipped": dpm(lambda_min_clipped=-float("inf")),
    "sigma_min": dpm(final_sigmas_type="sigma_min"),
    "sigma_min karras": dpm(final_sigmas_type="sigma_min", use_karras_sigmas=True),
    "euler at the end": dpm(euler_at_final=True, lower_order_final=False),
    "unipc sigma_min": unipc(final_sigmas_type="sigma_min", timestep_spacing="trailing"),
    "unipc sigma_min karras": unipc(final_sigmas_type="sigma_min", use_karras_sigmas=True),
    "unipc range": unipc(use_exponential_sigmas=True, sigma_min=0.1, sigma_max=5.0),
    "unipc range and end": unipc(use_karras_sigmas=True, sigma_min=0.1, sigma_max=5.0, final_sigmas_type="sigma_min"),
    "euler sigma_min": euler(final_sigmas_type="sigma_min", timestep_spacing="leading"),
    "euler range": euler(use_karras_sigmas=True, sigma_min=0.1, sigma_max=5.0),
    "continuous": euler(timestep_type="continuous"),
    "video": euler(timestep_type="continuous", use_karras_sigmas=True, sigma_min=0.002, sigma_max=700.0,
                   timestep_spacing="leading", steps_offset=1),
    "log_linear": euler(interpolation_type="log_linear"),
    "log_linear trailing": euler(interpolation_type="log_linear", timestep_spacing="trailing"),
    "log_linear karras": euler(interpolation_type="log_linear", use_karras_sigmas=True),
}  # fmt: skip


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_are_followed(name):
    kind, sampler, config = SETTINGS[name]
    compare(kind.from_config(config), config, sampler)


def flow(sampler="euler", **config):
    heun = sampler == "heun"
    kind = diffusers.FlowMatchHeunDiscreteScheduler if heun else diffusers.FlowMatchEulerDiscreteScheduler
    return kind, sampler, {"num_train_timesteps": 1000, **config, "_class_name": kind.__name__}


FLOWS = {
    "plain": flow(),
    "shifted": flow(shift=3.0),
    "terminal": flow(shift=3.0, shift_terminal=0.02),
    "karras": flow(shift=3.0, use_karras_sigmas=True),
    "exponential": flow(use_exponential_sigmas=True),
    "beta": flow(shift=2.0, use_beta_sigmas=True),
    "heun": flow("heun"),
    "heun shifted": flow("heun", shift=3.0),
    **{
        f"{make.__name__} {prediction} {shift} {end}": make(
            use_flow_sigmas=True, prediction_type=prediction, flow_shift=shift, final_sigmas_type=end
        )
        for make in (dpm, unipc)
        for prediction in ("flow_prediction", "epsilon")
        for shift, end in ((1.0, "zero"), (3.0, "sigma_min"))
    },
    "unipc terminal": unipc(use_flow_sigmas=True, prediction_type="flow_prediction", shift_terminal=0.1),
    "unipc karras": unipc(use_flow_sigmas=True, prediction_type="flow_prediction", use_karras_sigmas=True),
}


@pytest.mark.parametrize("name", FLOWS)
def test_flow_models_are_walked_like_diffusers(name):
    """One step down to shift_terminal is left out: diffusers divides 0 by 0 there."""
    kind, sampler, config = FLOWS[name]
    compare(kind.from_config(config), config, sampler, steps=STEPS["shift_terminal" in config :])


def test_stochastic_sampling_renews_all_noise():
    """Whatever the seed: the noise drawn by torch's generator is given to both."""
    _, _, config = flow(shift=3.0, stochastic_sampling=True)
    stepper = diffusers.FlowMatchEulerDiscreteScheduler.from_config(config)
    stepper.set_timesteps(6)
    torches, mine = torch.Generator().manual_seed(4), TorchNoise(4)
    known, x = torch.from_numpy(NOISE.astype(np.float32)), NOISE.astype(np.float32)
    for t in stepper.timesteps:
        known = stepper.step(toy.network(known, float(t), torch.sin), t, known, generator=torches).prev_sample
    path = make_path(config, "euler", 6)
    for (a, b), state in zip(path.strides, stochastic(config, path, x, mine), strict=True):
        assert state.x.shape == toy.SHAPE and a.sigma > b.sigma
    np.testing.assert_allclose(state.x, known.numpy(), atol=2e-6)


def stochastic(config, path, x, generator):
    def denoise(x, p, step):
        return TO_X0["flow"](toy.network(x, p.t, np.sin), x, p)

    return make_solver("euler", config)(denoise, x, path, lambda: generator.normal(toy.SHAPE))


EDM = {"sigma_min": 0.002, "sigma_max": 80.0, "sigma_data": 0.5, "rho": 7.0}


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("schedule", ["karras", "exponential"])
@pytest.mark.parametrize("end", ["zero", "sigma_min"])
def test_edm_models_are_walked_like_diffusers(prediction, schedule, end):
    """One exponential step is left out: diffusers lays sigma_min there, under noise of sigma_max."""
    config = {**EDM, "prediction_type": prediction, "sigma_schedule": schedule, "final_sigmas_type": end}
    steps = STEPS[schedule == "exponential" :]
    for kind, sampler in (
        (diffusers.EDMEulerScheduler, "euler"),
        (diffusers.EDMDPMSolverMultistepScheduler, "dpmpp_2m"),
    ):
        compare(kind.from_config(config), {**config, "_class_name": kind.__name__}, sampler, steps=steps)


def test_edm_data_and_rho_are_followed():
    config = {**EDM, "sigma_data": 1.0, "rho": 5.0, "sigma_max": 30.0, "_class_name": "EDMEulerScheduler"}
    compare(diffusers.EDMEulerScheduler.from_config(config), config, "euler", steps=(5, 20))


# explicit lists

SIGMAS = [14.0, 6.5, 2.0, 0.7, 0.1, 0.0]
TIMESTEPS = [999, 811, 500, 200, 20]


def given(kind, config, sampler, **lists):
    stepper = kind.from_config(config)
    path = make_path({**config, "_class_name": kind.__name__}, SAMPLERS[sampler].grid, 0, **lists)
    for strength in STRENGTHS:
        known = theirs(stepper, sampler, len(path), strength, lists)
        close(ours(config, path.after(strength), sampler, strength), known, stepper, f"{kind.__name__} {strength}")


@pytest.mark.parametrize("spacing", ["leading", "trailing"])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "zero snr"])
def test_given_sigmas_equal_diffusers(spacing, prediction):
    config = {**CONFIGS[prediction], "timestep_spacing": spacing}
    given(diffusers.EulerDiscreteScheduler, config, "euler", sigmas=SIGMAS)


@pytest.mark.parametrize("end", ["zero", "sigma_min"])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_given_timesteps_equal_diffusers(prediction, end):
    config = {**CONFIGS[prediction], "final_sigmas_type": end}
    given(diffusers.EulerDiscreteScheduler, config, "euler", timesteps=TIMESTEPS)
    given(diffusers.DPMSolverMultistepScheduler, config, "dpmpp_2m", timesteps=TIMESTEPS)
    given(diffusers.DPMSolverMultistepScheduler, {**config, "solver_order": 3}, "dpmpp_3m", timesteps=TIMESTEPS)


def test_given_timesteps_of_heun_equal_diffusers_at_full_strength():
    """Its pipelines count the given timesteps twice when they cut them for img2img."""
    config = toy.CONFIGS["epsilon"]
    stepper = diffusers.HeunDiscreteScheduler.from_config(config)
    path = make_path(config, "k", 0, timesteps=TIMESTEPS)
    known = theirs(stepper, "heun", len(path), 1, {"timesteps": TIMESTEPS})
    close(ours(config, path, "heun", 1), known, stepper, "heun")


def test_given_timesteps_of_ddpm_equal_diffusers():
    config = {**toy.CONFIGS["epsilon"], "_class_name": "DDPMScheduler"}
    stepper = diffusers.DDPMScheduler.from_config(config)
    stepper.set_timesteps(timesteps=TIMESTEPS)
    path = make_path(config, "ddpm", 0, timesteps=TIMESTEPS)
    t, sigmas = levels(stepper, "ddpm")
    np.testing.assert_allclose([(a.t, a.sigma / a.alpha) for a, _ in path.strides], np.stack([t, sigmas], 1), rtol=1e-6)


def test_given_lists_of_flow_models_equal_diffusers():
    kind, sampler, config = flow(shift=3.0, shift_terminal=0.05)
    given(kind, config, sampler, sigmas=np.array([1.0, 0.8, 0.5, 0.2]))
    given(kind, config, sampler, timesteps=[1000.0, 700.0, 400.0, 50.0])
    kind, sampler, config = unipc(use_flow_sigmas=True, prediction_type="flow_prediction", flow_shift=2.0)
    given(kind, config, sampler, sigmas=np.array([1.0, 0.8, 0.5, 0.2]))
