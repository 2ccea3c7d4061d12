"""A1111's prompt syntax, first of all AND, which joins parts; what may be said at most, and how a warning quotes it.

Read in A1111's order: AND, then [from:to:when] and [a|b] (`schedule`), then brackets, weights and BREAK in the text
that a step is left with (`emphasis`). Everything there and here is linear in the length of the text, recursive in
nothing, and raises nothing but RequestError for a prompt that asks for too much: what is malformed is read as A1111's
modules/prompt_parser.py reads it, and said in `warnings`.
"""

import math
import re
from dataclasses import dataclass

from pleinair.checks import one_line
from pleinair.errors import RequestError
from pleinair.text.warned import Warnings

MAX_PROMPT = 10_000  # characters of a prompt or negative prompt: five pages; longer ones take minutes to paint
MAX_PARTS = 32  # joined by AND, each of which costs a network call at every step
MOST = 100.0  # the largest weight: beyond it nothing but that word is left, and far beyond it float32 ends
SHOWN = 40  # characters of a prompt that a warning quotes

WORD_AND = re.compile(r"\bAND\b")
PART_WEIGHT = re.compile(r"\s*([-+]?(?:\d+\.?|\d*\.\d+))\s*")


@dataclass(frozen=True)
class PromptPart:
    """One side of an AND, and the weight of its guidance."""

    text: str
    weight: float


def checked(name: str, prompt: str) -> str:
    """The prompt or negative prompt; RequestError where it is longer, or of more parts, than any that is read."""
    if len(prompt) > MAX_PROMPT:
        raise RequestError(f"the {name} has {len(prompt):,} characters; shorten it to at most {MAX_PROMPT:,}")
    parts = len(WORD_AND.findall(prompt)) + 1
    if name == "prompt" and parts > MAX_PARTS:
        raise RequestError(f"the prompt has {parts:,} parts joined by AND; join at most {MAX_PARTS}")
    return prompt


def split_parts(prompt: str, warnings: Warnings) -> list[PromptPart]:
    """The parts joined by AND, each with the number behind its last colon as weight ("a AND b :0.5"), or 1."""
    texts = WORD_AND.split(prompt)
    parts = [_weighted_part(text, warnings) for text in texts]
    if len(texts) == 1 and parts[0].text != prompt.rstrip():
        warnings.say(
            f"the number at the end of '{shown(prompt, end=True)}' is read as the weight of the whole prompt;"
            " put a comma after it to keep it as text"
        )
    if len(texts) > 1 and not all(part.text.strip() for part in parts):
        warnings.say("a side of AND is empty and is painted as an empty prompt; remove the AND")
    return parts


def _weighted_part(text: str, warnings: Warnings) -> PromptPart:
    colon = text.rfind(":")
    found = PART_WEIGHT.fullmatch(text, colon + 1) if colon >= 0 else None
    if found is None:
        return PromptPart(text.rstrip() or text, 1.0)
    return PromptPart(text[:colon].rstrip(), bounded(float(found[1]), warnings))


def bounded(weight: float, warnings: Warnings) -> float:
    """A weight from -MOST to MOST."""
    if abs(weight) <= MOST:
        return weight
    warnings.say(f"weights beyond {MOST:g} are read as {MOST:g}; choose about 0.5 to 1.5")
    return math.copysign(MOST, weight)


def shown(text: str, end: bool = False) -> str:
    """At most SHOWN characters of a prompt, on one line."""
    return one_line(text, SHOWN, end)
