"""What `speed` asks for: in how many of the steps the network is asked, or why in all of them."""

from collections.abc import Mapping
from typing import Any

from pleinair.request.options import values
from pleinair.request.pass_options import MOST_REUSED, Saving, Steps
from pleinair.sampling.reuse import EXACT, calls_at
from pleinair.sampling.samplers import SAMPLERS

FEW = 8  # steps, none of which can be spared
DIGITS = 2  # of `reuse`, as it stands in records


def saving_of(
    given: Mapping[str, Any], passes: list[Steps], config: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """The options of `Saving`, where `reuse` is what `speed` stands for, and a line where that changes nothing.

    A `reuse` that is given holds. `passes` are the first one and, if there is one, the second; `config`
    is the model's scheduler config.
    """
    found = values(Saving, given)
    if found["speed"] == EXACT or "reuse" in given:
        return found, []
    if reason := whole_reason(passes, config):
        return found | {"speed": EXACT}, [f"'speed' has no effect, because {reason}"]
    count = passes[0].count
    reuse = min(count / calls_at(found["speed"], count), MOST_REUSED)
    return found | {"reuse": round(reuse, DIGITS)}, []


def whole_reason(passes: list[Steps], config: Mapping[str, Any]) -> str | None:
    """Why every step of these passes must ask the network, if it must."""
    count = passes[0].count
    if count <= FEW:
        return f"{count} {'steps are' if count > 1 else 'step is'} few already; leave it out"
    for steps in passes:
        if adds_noise(steps, config):
            return f"{steps.sampler} adds new noise in its steps; leave it out, or choose a sampler such as dpmpp_2m"
    return None


def adds_noise(steps: Steps, config: Mapping[str, Any]) -> bool:
    """Whether a sampler renews the noise, by its options or the scheduler config, so that none that was found holds."""
    asked = SAMPLERS[steps.sampler].stochastic and steps.eta != 0 or steps.eta or steps.s_churn
    configured = {
        "euler": config.get("stochastic_sampling"),
        "dpmpp_2s": str(config.get("algorithm_type")).startswith("sde"),
    }
    return bool(asked or configured.get(steps.sampler))
