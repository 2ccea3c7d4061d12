"""What diffusers itself does, as the reference for ours. Needs torch and diffusers."""

import diffusers
import numpy as np
import torch

import toy

SAMPLERS = {
    "ddim": diffusers.DDIMScheduler,
    "euler": diffusers.EulerDiscreteScheduler,
    "euler_a": diffusers.EulerAncestralDiscreteScheduler,
    "dpmpp_2m": diffusers.DPMSolverMultistepScheduler,
    "dpmpp_2m_sde": diffusers.DPMSolverMultistepScheduler,
    "dpmpp_3m": diffusers.DPMSolverMultistepScheduler,
    "ddpm": diffusers.DDPMScheduler,
    "heun": diffusers.HeunDiscreteScheduler,
    "lms": diffusers.LMSDiscreteScheduler,
    "dpm2": diffusers.KDPM2DiscreteScheduler,
    "dpm2_a": diffusers.KDPM2AncestralDiscreteScheduler,
    "unipc": diffusers.UniPCMultistepScheduler,
}
STOCHASTIC = ("ddpm", "euler_a", "dpm2_a", "dpmpp_2m_sde")
SPACINGS = ("leading", "linspace", "trailing", "karras", "trailing,karras", "exponential", "beta")
SWITCHES = {"karras": "use_karras_sigmas", "exponential": "use_exponential_sigmas", "beta": "use_beta_sigmas"}


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
    if sampler in ("ddim", "ddpm"):
        changes["clip_sample"] = False
    if sampler == "dpmpp_3m":
        changes["solver_order"] = 3
    if sampler == "dpmpp_2m_sde":
        changes["algorithm_type"] = "sde-dpmsolver++"
    return SAMPLERS[sampler].from_config(config, **changes, **switches)


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


def trajectory(config, sampler, spacing, steps, seed):
    """Final latents (1, 4, 5, 3) of a diffusers scheduler on the toy network."""
    stepper = scheduler(config, sampler, spacing)
    stepper.set_timesteps(steps)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(toy.SHAPE, generator=generator) * stepper.init_noise_sigma
    stochastic = {"generator": generator} if sampler in STOCHASTIC else {}
    for t in stepper.timesteps:
        output = toy.network(stepper.scale_model_input(x, t), float(t), torch.sin)
        x = stepper.step(output, t, x, **stochastic).prev_sample
    return x.numpy().astype(np.float32)
