"""What a tool wrote, as what pleinair would be asked for: its numbers and names read with nothing taken on trust."""

import json
import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pleinair.checks import one_line
from pleinair.errors import RequestError
from pleinair.request.options import OPTIONS
from pleinair.sampling.names import sampler_named
from pleinair.sampling.samplers import SAMPLERS
from pleinair.sampling.spacings import SPACINGS

MAX_DEPTH = 64  # of JSON
MAX_LISTED = 100  # names in one warning: more than any tool writes, and a bound
MAX_WARNINGS = 100
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
GENERATORS = {word.lower(): noise for noise, word in OPTIONS["noise"].a1111_values.items()} | {
    "gpu": "philox",
    "cuda": "philox",
}


@dataclass
class ForeignRecord:
    """What a tool wrote: its own fields, keyword arguments of Pipeline.generate made of them, and what was lost."""

    tool: str
    version: str | None = None
    prompt: str = ""
    negative: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    inputs: tuple[str, ...] = ()  # the pictures it was made of, which no record holds: none, image, or image and mask

    def lose(self, what: str) -> None:
        """Warn once of what has no counterpart here."""
        if what not in self.warnings and len(self.warnings) < MAX_WARNINGS:
            self.warnings.append(what)


@dataclass
class Fields:
    """A tool's fields that remember which of them were asked for, so that none is dropped in silence.

    What is of no usable type counts as not asked for.
    """

    raw: dict[str, Any]
    path: str = ""  # of the object they are in: "sampling."
    asked: set[str] = field(default_factory=set)
    parts: list["Fields"] = field(default_factory=list)

    def get(self, name: str) -> Any:
        self.asked.add(name)
        return self.raw.get(name)

    def text(self, name: str) -> str:
        """A text, or an empty one."""
        value = self.raw.get(name)
        return self.get(name) if isinstance(value, str) else ""

    def part(self, name: str) -> "Fields":
        """The object of that name, or an empty one."""
        value = self.raw.get(name)
        inner = Fields(self.get(name) if isinstance(value, dict) else {}, f"{self.path}{name}.")
        self.parts.append(inner)
        return inner

    def unread(self, harmless: Collection[str], usual: Mapping[str, Collection[Any]]) -> Iterator[str]:
        """Paths of what was not asked for, is neither empty nor `harmless`, and has none of its `usual` values.

        A flag is usually not set.
        """
        for name, value in self.raw.items():
            path = f"{self.path}{name}"
            if name in self.asked or path in harmless or value in (None, "", [], {}):
                continue
            if not any(value is each or (value == each and each is not False) for each in usual.get(path, (False,))):
                yield path
        for each in self.parts:
            yield from each.unread(harmless, usual)


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


def take(
    record: ForeignRecord, option: str, value: Any, kind: Callable[[Any], int | float | None], name: str | None = None
) -> None:
    """Put the number of a field `name` into the options; one that is none is named in the warnings."""
    if value is None or value == "":
        return
    number = kind(value)
    if number is None:
        field_of = f" ({shown(name)})" if name and name != option else ""
        record.lose(f"the file's {option} '{shown(value)}'{field_of} is not a usable number and was left out")
    else:
        record.options[option] = number


def whole_or_none(value: Any) -> int | None:
    """A whole number from 0 to 2 ** 64 - 1, the largest seed, of any JSON type."""
    number = real(value)
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,20}", value.strip()):
        count = int(value)
    elif isinstance(value, int) and number is not None:
        count = value
    else:
        count = int(number) if number is not None and number == int(number) else -1
    return count if 0 <= count < 1 << 64 else None


def real(value: Any) -> float | None:
    """A finite number of any JSON type."""
    if isinstance(value, bool) or not isinstance(value, int | float | str) or len(str(value)[:41]) > 40:
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def numbers_of(text: str) -> list[float]:
    """'14.6, 2' -> [14.6, 2.0]; an empty list where anything else stands between the commas."""
    numbers = [real(each) for each in text.strip("[]").split(",") if each.strip()]
    return [] if None in numbers else numbers


def take_sampler(
    record: ForeignRecord, sampler: Any, schedule: Any = None, option: str = "sampler", what: str = "sampler"
) -> None:
    """Sampler and sigma schedule by any tool's names; `what` the tool calls a sampler."""
    if not isinstance(sampler, str) or not sampler.strip():
        return
    name = sampler.strip().lower().removeprefix("sample_").removeprefix("k_").removesuffix("_gpu")
    try:
        ours, spacing = sampler_named(SAMPLER_NAMES.get(name, name))
    except RequestError:
        with_it = f" (schedule '{shown(schedule)}')" if schedule else ""
        record.lose(f"the {what} '{shown(sampler)}'{with_it} is not known here; the model's own is used")
        return
    if name == "ddim_trailing":
        spacing = "trailing"
    record.options[option] = ours
    if spacing:
        record.options[f"{option.removesuffix('sampler')}spacing"] = spacing
    take_schedule(record, schedule, f"{option.removesuffix('sampler')}spacing")


def take_schedule(record: ForeignRecord, schedule: Any, option: str = "spacing") -> None:
    """Sigma schedule by any tool's name."""
    if not isinstance(schedule, str) or not schedule.strip():
        return
    wanted = schedule.strip().lower()
    choices = SCHEDULE_NAMES.get(wanted, (wanted.replace(" ", "_"),))
    spacing = next((choice for choice in choices if choice in SPACINGS), None)
    if spacing:
        record.options[option] = spacing
    elif choices:
        record.lose(f"the schedule '{shown(schedule)}' is not known here and was left out")


def take_eta(record: ForeignRecord, value: Any, name: str = "eta") -> None:
    """`eta`, where a pass's sampler has one; infinity asks for nothing, nor does what samplers without it do anyway."""
    names = [record.options.get(name) for name in ("sampler", "hires_sampler")]
    passes = [SAMPLERS[name] for name in names if name in SAMPLERS]
    eta, usual = real(value), bool(passes) and passes[0].stochastic
    if value in (None, "", "inf", "nan"):
        return
    if eta is not None and any("eta" in each.options for each in passes):
        record.options["eta"] = eta
    elif eta != usual:
        record.lose(f"not followed: {name} '{shown(value)}'")


def take_noise(record: ForeignRecord, value: Any) -> None:
    """Which generator drew the noise; A1111's GPU noise is CUDA's Philox, which NV imitates."""
    kind = GENERATORS.get(str(value).strip().lower())
    if kind:
        record.options["noise"] = kind
    else:
        record.lose(f"the noise generator '{shown(value)}' is not known here; the picture will differ")


def lost_fields(record: ForeignRecord, names: Iterable[str], what: str = "not followed") -> None:
    """One warning for all fields that have no counterpart."""
    rest = list(dict.fromkeys(shown(name) for name in names))
    if rest:
        more = f" and {len(rest) - MAX_LISTED} more" if len(rest) > MAX_LISTED else ""
        record.lose(f"{what}: {', '.join(rest[:MAX_LISTED])}{more}")


def check_prompt(record: ForeignRecord) -> None:
    """Name what a prompt asks of networks that are not in a bundle."""
    if extra := re.findall(r"<hypernet:[^<>]{1,200}>", record.prompt):
        record.lose(
            f"the prompt's networks are not here and are read as words: {', '.join(map(shown, extra[:MAX_LISTED]))}"
        )
