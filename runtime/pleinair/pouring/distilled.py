"""Models distilled to few steps, which their weights do not show: how those are poured whose names speak of it."""

import re
from dataclasses import dataclass

from pleinair.bundle.manifest import Defaults


@dataclass(frozen=True)
class Way:
    """A way to distil: how names speak of it, and the options that it takes, in `steps` steps where none are said."""

    name: str
    pattern: str
    options: str
    steps: int = 4


LAST = "--sampler euler --timestep-spacing trailing --steps {steps}"  # from the last timestep on, without guidance
ONE = {  # those of one step -> their options
    "Lightning": "--sampler euler --prediction sample",
    "Hyper-SD": "--sampler lcm --timesteps 800 --guidance 1",
}
WAYS = (
    Way("LCM", r"lcm(?![a-z])|latent.?consistency", "--sampler lcm --steps {steps} --guidance 1.5"),
    Way("DMD", r"dmd2?(?![a-z])", "--sampler lcm --steps {steps} --guidance 1"),
    Way("Lightning", r"lightning", LAST),
    Way("Hyper-SD", r"hyper(?![a-z])|hyper.?sd", LAST, steps=8),
    Way("Turbo", r"turbo", LAST),
)
STEPS = re.compile(r"(?<!\d)(\d{1,2})[-_ ]?steps?(?![a-z])", re.I)


def note_on(defaults: Defaults, *texts: str) -> str:
    """What is said of a model of these names that will be painted with as most are."""
    text = " ".join(texts)
    way = next((way for way in WAYS if re.search(way.pattern, text, re.I)), None)
    if way is None:
        return (
            f"it paints {defaults.steps} steps with guidance {defaults.guidance:g}: weights do not show whether a model"
            " was distilled to fewer; if this one was, pour it with --timestep-spacing trailing --steps 4"
        )
    told = STEPS.search(text)
    steps = int(told[1]) if told else way.steps
    options = ONE[way.name] if steps == 1 and way.name in ONE else way.options.format(steps=steps)
    return f"its name suggests {way.name}, which weights do not show; if it is one, pour it with {options}"
