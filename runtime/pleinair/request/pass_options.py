"""Options of passes: how one goes through the noise, and what a second one, over a larger picture, has of its own."""

from dataclasses import dataclass, field

from pleinair.bundle.manifest import MAX_STEPS
from pleinair.request.file_types import Enlarger
from pleinair.request.option import MODELS, option
from pleinair.request.value_types import SHARE, Choice, Factor, Falling, Real, Whole, Words
from pleinair.sampling.names import LABELS, SCHEDULE_TYPES
from pleinair.sampling.reuse import EXACT, SPEEDS
from pleinair.sampling.samplers import OFF, RANGES, SAMPLERS
from pleinair.sampling.spacings import SPACINGS

MAX_HIRES = 8.0
MOST_REUSED = 10.0
ENLARGERS = ("latent", "lanczos")

PASS, SAMPLER, SPACING = Whole(1, MAX_STEPS), Words(tuple(SAMPLERS)), Words(SPACINGS)
ETA, S_CHURN, S_NOISE = (Real(*RANGES[name]) for name in ("eta", "s_churn", "s_noise"))
FIRST = "the first pass's"
SECOND = ("hires",)


@dataclass(frozen=True)
class Steps:
    """How one pass goes through the noise."""

    sampler: str = option(
        None,
        SAMPLER,
        f"One of: {', '.join(SAMPLERS)}; or A1111's name for it.",
        usual=MODELS,
        a1111="Sampler",
        a1111_values=LABELS,
    )
    spacing: str | None = option(
        None,
        SPACING,
        f"Any of: {', '.join(SPACINGS)}; comma-separated.",
        usual=MODELS,
        a1111="Schedule type",
        a1111_values=SCHEDULE_TYPES,
    )
    count: int = option(None, PASS, "Denoising steps.", usual=MODELS, name="steps", a1111="Steps")
    sigmas: tuple[float, ...] | None = option(
        None, Falling(), "Noise levels instead of steps: 14.6,3.2,0.7.", a1111="Sigmas"
    )
    timesteps: tuple[float, ...] | None = option(
        None, Falling(), "Timesteps instead of steps: 999,600,200.", a1111="Timesteps"
    )
    eta: float | None = option(
        OFF["eta"], ETA, "Share of the noise that is renewed.", usual="the sampler's", a1111="Eta", by_sampler=True
    )
    s_churn: float = option(OFF["s_churn"], S_CHURN, "Noise added before a step.", a1111="Sigma churn", by_sampler=True)
    s_noise: float = option(OFF["s_noise"], S_NOISE, "Scale of renewed noise.", a1111="Sigma noise", by_sampler=True)


@dataclass(frozen=True)
class Hires:
    """A second pass at `factor` times the size."""

    factor: float = option(
        None, Factor(1, MAX_HIRES), "Paint again at a multiple of the size: 2x.", name="hires", a1111="Hires upscale"
    )
    strength: float = option(
        0.5,
        SHARE,
        "How much the second pass repaints.",
        name="hires_strength",
        needs=SECOND,
        a1111="Denoising strength",
        recorded=True,
    )
    enlarger: str = option(
        ENLARGERS[0],
        Enlarger(ENLARGERS),
        f"{', '.join(ENLARGERS)} or an upscaler bundle.",
        needs=SECOND,
        a1111="Hires upscaler",
        a1111_values={"latent": "Latent", "lanczos": "Lanczos"},
        recorded=True,
    )
    steps: Steps = field(kw_only=True)


@dataclass(frozen=True)
class SecondPass:
    """What the steps of a second pass have of their own."""

    count: int = option(
        None, PASS, "Steps of the second pass.", usual=FIRST, name="hires_steps", needs=SECOND, a1111="Hires steps"
    )
    sampler: str = option(
        None,
        SAMPLER,
        "Sampler of the second pass.",
        usual=FIRST,
        name="hires_sampler",
        needs=SECOND,
        a1111="Hires sampler",
        a1111_values=LABELS,
    )
    spacing: str = option(
        None,
        SPACING,
        "Spacing of the second pass.",
        usual=FIRST,
        name="hires_spacing",
        needs=SECOND,
        a1111="Hires schedule type",
        a1111_values=SCHEDULE_TYPES,
    )
    eta: float = option(
        None, ETA, "eta of the second pass.", usual=FIRST, name="hires_eta", needs=SECOND, by_sampler=True
    )
    s_churn: float = option(
        None, S_CHURN, "s_churn of the second pass.", usual=FIRST, name="hires_s_churn", needs=SECOND, by_sampler=True
    )
    s_noise: float = option(
        None, S_NOISE, "s_noise of the second pass.", usual=FIRST, name="hires_s_noise", needs=SECOND, by_sampler=True
    )


@dataclass(frozen=True)
class Saving:
    """How calls of the network are saved, at some cost in likeness to the picture that all of them make."""

    speed: str = option(
        EXACT,
        Choice(tuple(SPEEDS)),
        "How much likeness to give up for speed: sets `reuse` where the steps allow it.",
    )
    reuse: float = option(
        1.0,
        Real(1, MOST_REUSED),
        "Call the network in only one of N steps, mostly early ones; its last answer is used in between.",
    )
    wide_steps: int = option(
        0, Whole(0, MAX_STEPS), "Number of final steps that an int8 model (W8A8) computes in float."
    )
