"""A diffusers scheduler_config.json: values of the kinds that paths and solvers count on, and what they describe."""

import math
from typing import Any

from pleinair.checks import shown_value
from pleinair.errors import BundleError

LONGEST_TEXT = 100
MOST_BETAS = 100_000
WHOLE = {  # key -> the smallest and the largest value
    "num_train_timesteps": (2, MOST_BETAS),
    "steps_offset": (0, MOST_BETAS),
    "solver_order": (1, 3),
    "predictor_order": (1, 4),
    "corrector_order": (1, 4),
    "original_inference_steps": (1, MOST_BETAS),
    "base_image_seq_len": (1, 1 << 24),
    "max_image_seq_len": (1, 1 << 24),
}
REAL = {
    "beta_start": (0.0, 1.0),
    "beta_end": (0.0, 1.0),
    "dynamic_thresholding_ratio": (0.5, 1.0),
    "sample_max_value": (1.0, 1e6),
    "lambda_min_clipped": (-math.inf, 1e3),
    "sigma_min": (0.0, 1e6),
    "sigma_max": (0.0, 1e6),
    "sigma_data": (1e-6, 1e6),
    "rho": (1e-2, 1e3),
    "shift": (1e-6, 1e6),
    "flow_shift": (1e-6, 1e6),
    "base_shift": (-20.0, 20.0),
    "max_shift": (-20.0, 20.0),
    "shift_terminal": (0.0, 0.999),
    "timestep_scaling": (1e-6, 1e6),
}
FLAGS = (
    *("rescale_betas_zero_snr", "set_alpha_to_one", "clip_sample", "thresholding", "skip_prk_steps", "predict_x0"),
    *("euler_at_final", "lower_order_final", "use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas"),
    *("use_lu_lambdas", "use_flow_sigmas", "use_dynamic_shifting", "invert_sigmas", "stochastic_sampling"),
)
TEXTS = (
    *("_class_name", "beta_schedule", "prediction_type", "timestep_spacing", "timestep_type", "variance_type"),
    *("algorithm_type", "solver_type", "final_sigmas_type", "interpolation_type", "sigma_schedule", "time_shift_type"),
)


def check_config(config: dict[str, Any]) -> dict[str, Any]:
    """The config without its nulls, which mean a key's default; BundleError for a value of the wrong kind or size.

    Keys that are not followed here are kept as they are.
    """
    return {key: _checked(key, value) for key, value in config.items() if value is not None}


FLOW_MATCH, TRIGONOMETRIC = "FlowMatch", "SCM"  # what the names of diffusers' schedulers of flow models begin with


def is_flow_match(kind: Any) -> bool:
    """Whether a scheduler class is one of diffusers' FlowMatch ones, whose pipelines lay what configs leave open."""
    return str(kind or "").startswith(FLOW_MATCH)


def is_flow_class(kind: Any) -> bool:
    """Whether a scheduler class knows flow models alone."""
    return str(kind or "").startswith((FLOW_MATCH, TRIGONOMETRIC))


def trained_as(config: dict[str, Any]) -> str:
    """What lays the noise levels of a config: "betas", "flow" or "edm"; from its class, as diffusers has it."""
    name = str(config.get("_class_name") or "")
    if name.startswith("EDM"):
        return "edm"
    flow = config.get("use_flow_sigmas") or config.get("prediction_type") == "flow_prediction"
    return "flow" if flow or is_flow_class(name) else "betas"


def _checked(key: str, value: Any) -> Any:
    if key in WHOLE:
        low, high = WHOLE[key]
        fine = _is_number(value) and value == int(value) and low <= value <= high
        return int(value) if fine else _refuse(key, value, f"a whole number from {low} to {high}")
    if key in REAL:
        low, high = REAL[key]
        fine = _is_number(value, infinite=low == -math.inf) and low <= value <= high
        return float(value) if fine else _refuse(key, value, f"a number from {low:g} to {high:g}")
    if key in FLAGS:
        return bool(value) if value in (True, False) else _refuse(key, value, "true or false")
    if key in TEXTS:
        fine = isinstance(value, str) and len(value) <= LONGEST_TEXT and value.isprintable()
        return value if fine else _refuse(key, value, "a word")
    if key == "trained_betas":
        fine = isinstance(value, list) and 1 < len(value) <= MOST_BETAS and all(map(_is_number, value))
        return value if fine else _refuse(key, value, "a list of numbers")
    if key == "disable_corrector":
        fine = isinstance(value, list) and all(isinstance(step, int) for step in value)
        return value if fine else _refuse(key, value, "a list of whole numbers")
    return value


def _is_number(value: Any, infinite: bool = False) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 1e300 or (infinite and isinstance(value, float) and math.isinf(value))


def _refuse(key: str, value: Any, wanted: str) -> None:
    raise BundleError(
        f"the scheduler config's {key} is {shown_value(value)}, not {wanted}; correct scheduler_config.json, or"
        " export the model again"
    )
