"""What diffusers itself does, as the reference for ours. Needs torch and diffusers.

Where diffusers has no class, the published step formulas are written out here: k-diffusion's dpmpp_2s_ancestral and
churn, A1111's restart_sampler.
"""

import importlib
import sys
import types
from contextlib import contextmanager
from math import exp, log
from unittest import mock

import diffusers
import numpy as np
import torch

import toy


class CorrectedSde(diffusers.DPMSolverMultistepScheduler):
    """The third order SDE with the sign of its ODE form and of k-diffusion: half of D2 added, not subtracted."""

    def multistep_dpm_solver_third_order_update(self, model_output_list, *args, sample=None, noise=None, **kwargs):
        moved = super().multistep_dpm_solver_third_order_update(
            model_output_list, *args, sample=sample, noise=noise, **kwargs
        )
        if self.config.algorithm_type != "sde-dpmsolver++":
            return moved
        t, s0, s1, s2 = (self.sigmas[self.step_index + shift] for shift in (1, 0, -1, -2))
        h, h0, h1 = (torch.log(above / below) for above, below in ((s0, t), (s1, s0), (s2, s1)))
        m0, m1, m2 = model_output_list[-1], model_output_list[-2], model_output_list[-3]
        second = ((m0 - m1) * h / h0 - (m1 - m2) * h / h1) * h / (h0 + h1)
        return moved + self._sigma_to_alpha_sigma_t(t)[0] * second


class CorrectedSingleSde(diffusers.DPMSolverSinglestepScheduler):
    """The same correction for singlestep's solver type heun."""

    def singlestep_dpm_solver_third_order_update(self, model_output_list, *args, sample=None, noise=None, **kwargs):
        moved = super().singlestep_dpm_solver_third_order_update(
            model_output_list, *args, sample=sample, noise=noise, **kwargs
        )
        if self.config.algorithm_type != "sde-dpmsolver++" or self.config.solver_type != "heun":
            return moved
        t, s0, s1, s2 = (self.sigmas[self.step_index + shift] for shift in (1, 0, -1, -2))
        r0, r1 = torch.log(s2 / s0) / torch.log(s2 / t), torch.log(s2 / s1) / torch.log(s2 / t)
        m0, m1, m2 = model_output_list[-1], model_output_list[-2], model_output_list[-3]
        second = 2 * ((m0 - m2) / r0 - (m1 - m2) / r1) / (r0 - r1)
        return moved + self._sigma_to_alpha_sigma_t(t)[0] * second


SAMPLERS = {  # those whose diffusers class a pipeline can hold
    "ddim": diffusers.DDIMScheduler,
    "euler": diffusers.EulerDiscreteScheduler,
    "euler_a": diffusers.EulerAncestralDiscreteScheduler,
    "dpmpp_2m": diffusers.DPMSolverMultistepScheduler,
    "dpmpp_2m_sde": diffusers.DPMSolverMultistepScheduler,
    "dpmpp_3m": diffusers.DPMSolverMultistepScheduler,
    "dpmpp_3m_sde": CorrectedSde,
    "dpmpp_2s": diffusers.DPMSolverSinglestepScheduler,
    "ddpm": diffusers.DDPMScheduler,
    "pndm": diffusers.PNDMScheduler,
    "heun": diffusers.HeunDiscreteScheduler,
    "lms": diffusers.LMSDiscreteScheduler,
    "dpm2": diffusers.KDPM2DiscreteScheduler,
    "dpm2_a": diffusers.KDPM2AncestralDiscreteScheduler,
    "unipc": diffusers.UniPCMultistepScheduler,
    "deis": diffusers.DEISMultistepScheduler,
    "sa_solver": diffusers.SASolverScheduler,
    "lcm": diffusers.LCMScheduler,
    "tcd": diffusers.TCDScheduler,
}
FORMULAS = ("dpmpp_sde", "dpmpp_2s_a", "ipndm", "restart")  # walked here, on the sigmas of diffusers' LMS
SIGMAS_OF = {"euler": diffusers.EulerDiscreteScheduler, "dpmpp_2m_sde": diffusers.DPMSolverMultistepScheduler}
STOCHASTIC = ("ddpm", "euler_a", "dpm2_a", "dpmpp_2m_sde", "dpmpp_3m_sde", "sa_solver", "lcm", "tcd")
STOCHASTIC_CLASSES = ("DDPMScheduler", "SASolverScheduler", "LCMScheduler", "TCDScheduler")
SPACINGS = ("leading", "linspace", "trailing", "karras", "trailing,karras", "exponential", "beta")
SWITCHES = {"karras": "use_karras_sigmas", "exponential": "use_exponential_sigmas", "beta": "use_beta_sigmas"}
OF_A_SOLVER = {
    "dpmpp_3m": {"solver_order": 3},
    "dpmpp_2m_sde": {"algorithm_type": "sde-dpmsolver++"},
    "dpmpp_3m_sde": {"solver_order": 3, "algorithm_type": "sde-dpmsolver++"},
    "pndm": {"skip_prk_steps": True},
    "ddim": {"clip_sample": False},
    "ddpm": {"clip_sample": False},
}


def spacings(sampler):
    """The spacings on which diffusers has a counterpart; few-step models and PLMS have no sigma schedules there."""
    if sampler in ("lcm", "tcd"):
        return (None,)
    if sampler == "pndm":
        return tuple(name for name in SPACINGS if name not in SWITCHES and "," not in name)
    if sampler == "dpmpp_2s":
        return (None, *SWITCHES)
    return SPACINGS


def scheduler(config, sampler, spacing):
    """A diffusers scheduler set up as our `sampler` and `spacing` over a scheduler config.

    diffusers has no DDIM, DDPM or Euler a on sigma schedules: DDIM is Euler there, the others take Euler's sigmas.
    `clip_sample`, which DDIM and DDPM assume where a config is silent, is for pixels and ruins latents: off.
    """
    names = spacing.split(",") if spacing else []
    switches = {SWITCHES[name]: True for name in names if name in SWITCHES}
    changes = {"timestep_spacing": names[0]} if names and names[0] not in SWITCHES else {}
    if switches and sampler in ("euler_a", "ddpm"):
        return EulerAncestralOnSigmas(diffusers.EulerDiscreteScheduler.from_config(config, **changes, **switches))
    if switches and sampler == "ddim":
        sampler = "euler"
    return quickly_made(SAMPLERS[sampler], config, **changes, **switches, **OF_A_SOLVER.get(sampler, {}))


def quickly_made(kind, config, **changes):
    """A scheduler, without the time in which some constructors lay out all trained timesteps."""

    def later(self, *ignored):
        self.sigmas = torch.empty(0)

    with mock.patch.object(kind, "set_timesteps", later):
        return kind.from_config(config, **changes)


def of_config(config):
    """The scheduler that diffusers makes of a whole scheduler config."""
    kind = config["_class_name"]
    corrected = {"DPMSolverMultistepScheduler": CorrectedSde, "DPMSolverSinglestepScheduler": CorrectedSingleSde}
    changes = {"clip_sample": False} if kind in ("DDIMScheduler", "DDPMScheduler") else {}
    return quickly_made(corrected.get(kind, getattr(diffusers, kind)), config, **changes)


def of_variant(config, steps, seed, start=0):
    """Final latents of the scheduler that a whole config means."""
    kind, algorithm = config["_class_name"], str(config.get("algorithm_type"))
    stochastic = algorithm.startswith("sde") or kind in STOCHASTIC_CLASSES
    return walked(of_config(config), steps, seed, stochastic, start)


class EulerAncestralOnSigmas(diffusers.EulerAncestralDiscreteScheduler):
    """Euler a on the sigmas and timesteps of another scheduler."""

    def __init__(self, euler):
        names = ("beta_start", "beta_end", "beta_schedule", "prediction_type", "timestep_spacing", "steps_offset")
        super().__init__(**{name: euler.config[name] for name in names})
        self.euler = euler

    def set_timesteps(self, num_inference_steps, device=None):
        super().set_timesteps(num_inference_steps, device)
        self.euler.set_timesteps(num_inference_steps)
        self.sigmas, self.timesteps = self.euler.sigmas, self.euler.timesteps


def trajectory(config, sampler, spacing, steps, seed, start=0, dtype=torch.float32, **options):
    """Final latents (1, 4, 5, 3) of our `sampler`'s counterpart on the toy network; `options` as in `walker`.

    In float64 as far as diffusers lets itself be told: its tables, and some schedulers' latents, stay float32.
    """
    if sampler in FORMULAS or (options and sampler not in ("ddim", "tcd")):
        return by_formula(config, sampler, spacing, steps, seed, dtype, **options)
    stochastic = sampler in STOCHASTIC or bool(options)
    return walked(scheduler(config, sampler, spacing), steps, seed, stochastic, start, dtype, **options)


def walked(stepper, steps, seed, stochastic, start=0, dtype=torch.float32, **options):
    """Final latents of a diffusers scheduler; `start` strides are left out, as image to image does."""
    stepper.set_timesteps(steps)
    for table in ("sigmas", "sigmas_interpol", "sigmas_up", "sigmas_down", "alphas_cumprod"):
        if hasattr(stepper, table):
            setattr(stepper, table, getattr(stepper, table).to(dtype))
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(toy.SHAPE, generator=generator).to(dtype)
    timesteps = stepper.timesteps
    if hasattr(stepper, "set_begin_index"):  # else it is searched for by timestep, in vain where two are alike
        stepper.set_begin_index(start * stepper.order)
    if start:
        timesteps = timesteps[start * stepper.order :]
        x = stepper.add_noise(torch.full(toy.SHAPE, 0.5, dtype=dtype), noise, timesteps[:1])
    else:
        x = noise * stepper.init_noise_sigma
    draws = {"generator": generator} if stochastic else {}
    with drawn_in_float32(stepper):
        for t in timesteps:
            output = toy.network(stepper.scale_model_input(x, t), float(t), torch.sin)
            x = stepper.step(output, t, x, **draws, **options).prev_sample
    return x.numpy()


@contextmanager
def drawn_in_float32(stepper):
    """Let a scheduler draw the same noise for float64 latents as for float32: torch's two streams differ."""
    modules = [sys.modules[kind.__module__] for kind in type(stepper).__mro__]
    module = next(module for module in modules if module.__name__.startswith("diffusers.schedulers.scheduling_"))
    drawing = getattr(module, "randn_tensor", None)

    def draw(shape, generator=None, dtype=None, **ignored):
        return torch.randn(shape, generator=generator).to(dtype)

    if drawing:
        module.randn_tensor = draw
    try:
        yield
    finally:
        if drawing:
            module.randn_tensor = drawing


def by_formula(config, sampler, spacing, steps, seed, dtype, **options):
    """Final latents of a sampler in k-diffusion's form: x = image + sigma * noise."""
    names = spacing.split(",") if spacing else []
    switches = {SWITCHES[name]: True for name in names if name in SWITCHES}
    changes = {"timestep_spacing": names[0]} if names and names[0] not in SWITCHES else {}
    stepper = quickly_made(SIGMAS_OF.get(sampler, diffusers.LMSDiscreteScheduler), config, **changes, **switches)
    stepper.set_timesteps(steps)
    generator = torch.Generator().manual_seed(seed)

    def draw():
        return torch.randn(toy.SHAPE, generator=generator).to(dtype)

    def denoise(x, sigma, t=None):
        if t is None:
            t = float(stepper._sigma_to_t(np.float64(sigma), table))
        out = toy.network(x / (sigma**2 + 1) ** 0.5, t, torch.sin)
        if config["prediction_type"] == "epsilon":
            return x - sigma * out
        return x / (sigma**2 + 1) - sigma / (sigma**2 + 1) ** 0.5 * out

    table = np.log(np.array(((1 - stepper.alphas_cumprod) / stepper.alphas_cumprod) ** 0.5))
    variance_preserved = sampler == "dpmpp_2m_sde"  # that class starts from unit noise in x = alpha * image + ...
    x = draw() * ((stepper.sigmas[0] ** 2 + 1) ** 0.5 if variance_preserved else stepper.init_noise_sigma)
    if sampler == "dpmpp_sde":
        return brownian(config, {**changes, **switches}, steps, x, draw)
    sigmas = [float(sigma) for sigma in stepper.sigmas]
    known = dict(zip(sigmas, (float(t) for t in stepper.timesteps), strict=False))
    return globals()[sampler](lambda x, sigma: denoise(x, sigma, known.get(sigma)), x, sigmas, draw, **options).numpy()


def brownian(config, changes, steps, x, draw):
    """diffusers' DPMSolverSDE, its Brownian tree replaced by two independent draws a stride."""
    sys.modules.setdefault("torchsde", types.ModuleType("torchsde"))  # only the tree would need it
    kind = importlib.import_module("diffusers.schedulers.scheduling_dpmsolver_sde").DPMSolverSDEScheduler
    stepper = quickly_made(kind, config, **changes)
    stepper.set_timesteps(steps)
    stepper.sigmas = stepper.sigmas.to(x.dtype)
    drawn = []

    def increments(start, end):
        start, end = float(start), float(end)
        if not drawn:
            drawn.extend((end, (start - end) ** 0.5 * draw(), draw()))
            return drawn[1] / (start - end) ** 0.5
        middle, early, late = drawn
        drawn.clear()
        return (early + (middle - end) ** 0.5 * late) / (start - end) ** 0.5

    stepper.noise_sampler = increments
    for t in stepper.timesteps:
        output = toy.network(stepper.scale_model_input(x, t), float(t), torch.sin)
        x = stepper.step(output, t, x).prev_sample
    return x.numpy()


def split(start, end, eta):
    """(deterministic sigma, deviation of new noise) of an ancestral step."""
    up = min(end, eta * (end**2 * (start**2 - end**2) / start**2) ** 0.5)
    return (end**2 - up**2) ** 0.5, up


def raised(x, sigma, count, draw, s_churn, s_noise):
    """x and its sigma after Karras et al.'s churn."""
    higher = sigma * (1 + min(s_churn / count, 2**0.5 - 1))
    return (x + draw() * s_noise * (higher**2 - sigma**2) ** 0.5, higher) if s_churn else (x, sigma)


def euler(denoise, x, sigmas, draw, s_churn=0.0, s_noise=1.0):
    for sigma, end in zip(sigmas, sigmas[1:], strict=False):
        x, start = raised(x, sigma, len(sigmas) - 1, draw, s_churn, s_noise)
        x = x + (x - denoise(x, start)) / start * (end - start)
    return x


def heun(denoise, x, sigmas, draw, s_churn=0.0, s_noise=1.0):
    for sigma, end in zip(sigmas, sigmas[1:], strict=False):
        x, start = raised(x, sigma, len(sigmas) - 1, draw, s_churn, s_noise)
        x = heun_step(denoise, x, start, end)
    return x


def heun_step(denoise, x, start, end):
    slope = (x - denoise(x, start)) / start
    far = x + slope * (end - start)
    return x + (slope + (far - denoise(far, end)) / end) / 2 * (end - start) if end else far


def euler_a(denoise, x, sigmas, draw, eta=1.0, s_noise=1.0):
    for start, end in zip(sigmas, sigmas[1:], strict=False):
        down, up = split(start, end, eta)
        x = x + (x - denoise(x, start)) / start * (down - start)
        x = x + draw() * s_noise * up if end else x
    return x


def dpmpp_2m_sde(denoise, x, sigmas, draw, eta=1.0, s_noise=1.0):
    """k-diffusion's, solver type midpoint."""
    old = before = None
    for start, end in zip(sigmas, sigmas[1:], strict=False):
        seen = denoise(x, start)
        if not end:
            return seen
        h = log(start / end)
        x = end / start * exp(-h * eta) * x - np.expm1(-h - eta * h) * seen
        if old is not None:
            x = x - 0.5 * np.expm1(-h - eta * h) * h / before * (seen - old)
        x = x + draw() * end * (-np.expm1(-2 * eta * h)) ** 0.5 * s_noise if eta else x
        old, before = seen, h
    return x


def dpmpp_2s_a(denoise, x, sigmas, draw, eta=1.0, s_noise=1.0):
    for start, end in zip(sigmas, sigmas[1:], strict=False):
        seen = denoise(x, start)
        down, up = split(start, end, eta)
        if not down:
            x = x + (x - seen) / start * (down - start)
        else:
            h = log(start) - log(down)
            middle = exp(log(start) - h / 2)
            half = middle / start * x - np.expm1(-h / 2) * seen
            x = down / start * x - np.expm1(-h) * denoise(half, middle)
        x = x + draw() * s_noise * up if end else x
    return x


def ipndm(denoise, x, sigmas, draw):
    """As diffusers' IPNDM weighs the noise directions, on the sigmas that models were trained on."""
    seen = []
    for start, end in zip(sigmas, sigmas[1:], strict=False):
        seen = [(x - denoise(x, start)) / start, *seen][:4]
        weights = ([1], [3 / 2, -1 / 2], [23 / 12, -16 / 12, 5 / 12], [55 / 24, -59 / 24, 37 / 24, -9 / 24])
        x = x + (end - start) * sum(w * d for w, d in zip(weights[len(seen) - 1], seen, strict=True))
    return x


def restart(denoise, x, sigmas, draw, s_noise=1.0):
    """A1111's restart_sampler."""
    steps = len(sigmas) - 1

    def laid(count, low, high):
        return [(high ** (1 / 7) + i / (count - 1) * (low ** (1 / 7) - high ** (1 / 7))) ** 7 for i in range(count)]

    jumps = {}
    if steps >= 20:
        again, times = (9, 1) if steps < 36 else (steps // 4, 2)
        sigmas = [*laid(steps - again * times, sigmas[-2], sigmas[0]), 0.0]
        jumps = {min(range(len(sigmas)), key=lambda i: abs(sigmas[i] - 0.1)): (again + 1, times, 2.0)}
    strides = []
    for number, stride in enumerate(zip(sigmas, sigmas[1:], strict=False), 1):
        strides.append(stride)
        if number in jumps:
            count, times, top = jumps[number]
            high = min(range(len(sigmas)), key=lambda i: abs(sigmas[i] - top))
            down = laid(count, sigmas[number], sigmas[high]) if high < number else []
            strides += list(zip(down, down[1:], strict=False)) * times
    last = sigmas[0]
    for start, end in strides:
        x = x + draw() * s_noise * (start**2 - last**2) ** 0.5 if start > last * (1 + 1e-9) else x
        x, last = heun_step(denoise, x, start, end), end
    return x
