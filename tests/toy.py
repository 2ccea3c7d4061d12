"""A small deterministic "network" that NumPy and torch compute alike: what samplers are compared on."""

import math

SHAPE = (1, 4, 5, 3)  # 60 numbers: not a multiple of the 16 that torch makes noise in
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000}
CONFIGS = {
    "epsilon": {**BETAS, "prediction_type": "epsilon", "steps_offset": 1, "set_alpha_to_one": False,
                "clip_sample": False, "timestep_spacing": "leading"},
    "v_prediction": {**BETAS, "prediction_type": "v_prediction", "steps_offset": 1, "set_alpha_to_one": False,
                     "clip_sample": False, "timestep_spacing": "trailing"},
}  # fmt: skip
STEPS = (1, 2, 3, 14, 20)


def network(x, t, sin):
    """Latents and a timestep -> an output of the same shape; `sin` is numpy's or torch's."""
    return 0.6 * sin(1.3 * x + t / 300) + 0.3 * math.cos(t / 500) * x + 0.05
