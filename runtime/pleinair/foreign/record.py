"""What a tool wrote, as what pleinair would be asked for: its numbers and names read with nothing taken on trust."""

import json
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from pleinair.checks import one_line
from pleinair.errors import RequestError
from pleinair.sampling import SAMPLERS, named
from pleinair.schedule import SPACINGS

MAX_DEPTH = 64  # of JSON, and of links between nodes
MAX_LISTED = 8  # names in one warning
MAX_NAME = 60  # characters of a name or value that a warning quotes

SAMPLER_NAMES = {  # as ComfyUI, InvokeAI, stable-diffusion.cpp, NovelAI and old A1111 call them, lower case -> ours
    "euler_ancestral": "euler_a",
    "dpm_2": "dpm2",
    "dpm_2_a": "dpm2_a",
    "dpm_2_ancestral": "dpm2_a",
    "kdpm_2": "dpm2",
    "kdpm_2_a": "dpm2_a",
    "dpmpp_2": "dpmpp_2m",
    "dpmpp_2_a": "dpmpp_2s_a",
    "dpmpp_2s_ancestral": "dpmpp_2s_a",
    "dpm++2m": "dpmpp_2m",
    "dpm++2s_a": "dpmpp_2s_a",
    "dpm++2m_sde": "dpmpp_2m_sde",
    "dpm++2m_sde_bt": "dpmpp_2m_sde",
    "uni_pc": "unipc",
    "uni_pc_bh2": "unipc",
    "plms": "pndm",
    "ddim_v3": "ddim",
    "ddim_trailing": "ddim",
}
SCHEDULE_NAMES = {  # lower case -> the spacings that mean it, the first one that this version has
    "automatic": (),
    "uniform": ("linspace",),
    "normal": ("normal", "linspace"),
    "discrete": ("normal", "linspace"),  # stable-diffusion.cpp
    "native": (),  # NovelAI
    "sgm uniform": ("sgm_uniform", "trailing"),
    "sgm_uniform": ("sgm_uniform", "trailing"),
    "ddim": ("ddim_uniform",),
    "kl optimal": ("kl_optimal",),
    "align your steps": ("ays",),
}
NOISES = {"cpu": "torch", "gpu": "philox", "nv": "philox", "cuda": "philox", "numpy": "numpy"}


@dataclass
class Record:
    """What a tool wrote: its own fields, keyword arguments of Pipeline.generate made of them, and what was lost."""

    tool: str
    version: str | None = None
    prompt: str = ""
    negative: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def lose(self, what: str) -> None:
        if what not in self.warnings:
            self.warnings.append(what)


def shown(value: Any) -> str:
    """A name or value of a file as a warning quotes it: short, printable, on one line."""
    return one_line(value, MAX_NAME)


def parsed(text: str) -> Any:
    """JSON from a file, NaN and infinity as null; None where it is malformed or nested deeper than any tool writes."""
    try:
        value = json.loads(text, parse_float=real, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return None
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return value
    return None


def part(outer: Any, name: str) -> dict[str, Any]:
    """The object `name` inside another, or an empty one."""
    inner = outer.get(name) if isinstance(outer, dict) else None
    return inner if isinstance(inner, dict) else {}


def text_of(value: Any) -> str:
    return value if isinstance(value, str) else ""


def take(record: Record, option: str, value: Any, kind: Callable[[Any], int | float | None], what: str = "") -> None:
    """Put a number into the options; one that is none is named in the warnings."""
    if value is None or value == "":
        return
    number = kind(value)
    if number is None:
        record.lose(f"the file's {what or option} '{shown(value)}' is no usable number and was left out")
    else:
        record.options[option] = number


def whole(value: Any) -> int | None:
    """A non-negative whole number of any JSON type."""
    number = real(value)
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,20}", value.strip()):
        return int(value)
    if isinstance(value, int) and number is not None:
        return value if value >= 0 else None
    return int(number) if number is not None and number >= 0 and number == int(number) else None


def real(value: Any) -> float | None:
    """A finite number of any JSON type."""
    if isinstance(value, bool) or not isinstance(value, int | float | str) or len(str(value)[:41]) > 40:
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def take_sampler(record: Record, sampler: Any, schedule: Any = None, option: str = "sampler") -> None:
    """Sampler and sigma schedule by any tool's names."""
    if not isinstance(sampler, str) or not sampler.strip():
        return
    name = sampler.strip().lower().removeprefix("sample_").removeprefix("k_").removesuffix("_gpu")
    try:
        ours, spacing = named(SAMPLER_NAMES.get(name, name))
    except RequestError:
        record.lose(f"the sampler '{shown(sampler)}' is not known here; the model's own is used")
        return
    if name == "ddim_trailing":
        spacing = "trailing"
    record.options[option] = ours
    if option != "sampler":
        return
    if isinstance(schedule, str) and schedule.strip():
        wanted = schedule.strip().lower()
        choices = SCHEDULE_NAMES.get(wanted, (wanted.replace(" ", "_"),))
        spacing = next((choice for choice in choices if choice in SPACINGS), spacing)
        if choices and spacing is None:
            record.lose(f"the schedule '{shown(schedule)}' is not known here; the model's own is used")
    if spacing:
        record.options["spacing"] = spacing


def take_eta(record: Record, value: Any) -> None:
    """`eta`, where the sampler has one and it is not what the sampler does anyway."""
    sampler, eta = record.options.get("sampler"), real(value)
    if eta is None or sampler not in SAMPLERS:
        return
    stochastic = SAMPLERS[sampler].stochastic
    if (stochastic or sampler == "ddim") and eta != (1.0 if stochastic else 0.0):
        record.options["eta"] = eta


def take_noise(record: Record, value: Any) -> None:
    """Which generator drew the noise; A1111's GPU noise is CUDA's Philox, which NV imitates."""
    kind = NOISES.get(str(value).strip().lower())
    if kind:
        record.options["noise"] = kind
    else:
        record.lose(f"the noise generator '{shown(value)}' is not known here; the picture will be another one")


def lost_fields(record: Record, names: Iterable[str]) -> None:
    """One warning for all fields that have no counterpart."""
    rest = list(dict.fromkeys(shown(name) for name in names))
    if rest:
        more = f" and {len(rest) - MAX_LISTED} more" if len(rest) > MAX_LISTED else ""
        record.lose(f"not followed: {', '.join(rest[:MAX_LISTED])}{more}")


def check_prompt(record: Record) -> None:
    """Name what a prompt asks of networks that are not in a bundle."""
    if extra := re.findall(r"<(?:lora|hypernet|lyco):[^<>]{1,200}>", record.prompt):
        record.lose(
            f"the prompt's networks are not here and are read as words: {', '.join(map(shown, extra[:MAX_LISTED]))}"
        )
