"""What a model is painted with unless told: its configs say so, and never its name."""

from pathlib import Path

import pytest

from pleinair.errors import ExportError
from pleinair.sources.architectures import ARCHITECTURES, family
from pleinair.sources.defaults import settled
from pleinair.sources.describing import Described

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
TRAILING = {"timestep_spacing": "trailing", "steps_offset": 1}
ZERO_SNR = {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction"}
HABITS = {  # scheduler class and config -> steps, guidance, timesteps
    "SDXL": ("EulerDiscreteScheduler", {"timestep_spacing": "leading"}, (20, 5.0, None)),
    "Turbo": ("EulerAncestralDiscreteScheduler", TRAILING, (4, 1.0, None)),
    "Lightning": ("EulerDiscreteScheduler", TRAILING, (4, 1.0, None)),
    "Lightning, one step": ("EulerDiscreteScheduler", TRAILING | {"prediction_type": "sample"}, (1, 1.0, None)),
    "Hyper-SD, one step": ("LCMScheduler", {"timesteps": [800]}, (1, 1.0, (800.0,))),
    "Hyper-SD, several": ("DDIMScheduler", TRAILING, (4, 1.0, None)),
    "LCM-LoRA": ("LCMScheduler", {}, (4, 1.5, None)),
    "zero signal at the end": ("DDIMScheduler", TRAILING | ZERO_SNR, (20, 5.0, None)),
    "Playground": ("EDMDPMSolverMultistepScheduler", {"sigma_max": 80.0}, (20, 3.0, None)),
}


def defaults(model, kind, config, wishes=None):
    configs = ARCHITECTURES[model]
    described = Described(family(model), {}, {name: dict(config) for name, config in configs.items()})
    return settled(Path("model"), described, {"_class_name": kind, **BETAS, **config}, wishes or {})


@pytest.mark.parametrize("name", HABITS)
def test_distilled_models_tell_themselves(name):
    kind, config, (steps, guidance, timesteps) = HABITS[name]
    found = defaults("sdxl", kind, config)
    assert (found.steps, found.guidance, found.timesteps) == (steps, guidance, timesteps)
    assert (found.width, found.height) == (1024, 1024)


def test_the_maker_of_a_model_may_say_otherwise():
    kind, config, _ = HABITS["Hyper-SD, one step"]
    assert defaults("sd15", kind, config, {"steps": 3}).timesteps is None
    assert defaults("sd15", kind, config, {"timesteps": [900, 500]}).steps == 2
    assert defaults("sd15", kind, config, {"guidance": 2}).timesteps == (800.0,)
    with pytest.raises(ExportError, match="2 timesteps and 3 steps contradict each other"):
        defaults("sd15", kind, config, {"timesteps": [900, 500], "steps": 3})


@pytest.mark.parametrize("timesteps", [[500, 800], ["a"], [1200], [800, 800], [[1]], [float("nan")]])
def test_timesteps_that_cannot_be_walked_are_refused(timesteps):
    with pytest.raises(ExportError, match="could not paint"):
        defaults("sd15", "LCMScheduler", {"timesteps": timesteps})
