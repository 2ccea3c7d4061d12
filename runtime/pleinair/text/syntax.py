"""A1111's prompt syntax: parts joined by AND, [from:to:when] and [a|b] by step, (weights), BREAK.

Read in A1111's order: AND first, then the schedule, then brackets and weights in the text that a step is left with.
Everything here is linear in the length of the text, recursive in nothing, and raises nothing but RequestError for a
prompt that asks for too much: what is malformed is read as A1111's modules/prompt_parser.py reads it, and said in
`warnings`.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from pleinair.checks import one_line
from pleinair.errors import RequestError

MAX_PROMPT = 10_000  # characters of a prompt or negative prompt: five pages; longer ones take minutes to paint
MAX_PARTS = 32  # joined by AND, each of which costs a network call at every step
MAX_SAID = 200_000  # characters of all that a prompt says at one step or another
MOST = 100.0  # the largest weight: beyond it nothing but that word is left, and far beyond it float32 ends
ROUND = 1.1
DEEPEST = 300  # brackets whose factors are multiplied; 1.1 ** 300 is far beyond MOST
SHOWN = 40  # characters of a prompt that a warning quotes

WORD_AND = re.compile(r"\bAND\b")
WORD_BREAK = re.compile(r"\bBREAK\b")
PART_WEIGHT = re.compile(r"\s*([-+]?(?:\d+\.?|\d*\.\d+))\s*")
SCHEDULE_TOKEN = re.compile(r"\\.|[\[\]():|]|[^\\\[\]():|]+|\\")
WHEN = re.compile(r"\s*([-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)\s*")
WEIGHT_TOKEN = re.compile(r"\\[()\[\]\\]|\\|[()\[\]]|:\s*([+-]?[.\d]+)\s*\)|[^\\()\[\]:]+|:")
ALMOST_WEIGHT = re.compile(r":\s*[-+]?\.?\d[^\\()\[\]:]*\)")
PARTNER = {")": "(", "]": "["}

Warnings = dict[str, None]  # what is told to the caller, each once and in order


@dataclass(frozen=True)
class PromptPart:
    """One side of an AND, and the weight of its guidance."""

    text: str
    weight: float


@dataclass(frozen=True)
class Version:
    """What a part says at some of the steps, which count from 1."""

    text: str
    steps: tuple[int, ...]


@dataclass(frozen=True)
class Piece:
    """Text of one weight; text None is a BREAK."""

    text: str | None
    weight: float


@dataclass(frozen=True, eq=False)
class Timed:
    """[before:after:when]; `before` up to and including step `when`."""

    before: list["Item"]
    after: list["Item"]
    when: int

    def at(self, step: int) -> list["Item"]:
        return self.before if step <= self.when else self.after


@dataclass(frozen=True, eq=False)
class Turns:
    """[a|b|c]; one after the other, step by step."""

    options: list[list["Item"]]

    def at(self, step: int) -> list["Item"]:
        return self.options[(step - 1) % len(self.options)]


Item = str | Timed | Turns


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
        warnings.setdefault(
            f"the number at the end of '{shown(prompt, end=True)}' is read as the weight of the whole prompt;"
            " put a comma behind it to keep it as text"
        )
    if len(texts) > 1 and not all(part.text.strip() for part in parts):
        warnings.setdefault("a side of AND is empty and is painted as an empty prompt; remove the AND")
    return parts


def _weighted_part(text: str, warnings: Warnings) -> PromptPart:
    colon = text.rfind(":")
    found = PART_WEIGHT.fullmatch(text, colon + 1) if colon >= 0 else None
    if found is None:
        return PromptPart(text.rstrip() or text, 1.0)
    return PromptPart(text[:colon].rstrip(), _bounded(float(found[1]), warnings))


def versions(text: str, steps: int, warnings: Warnings) -> list[Version]:
    """What [from:to:when] and [a|b] leave of a part at each of `steps` steps; the first is what step 1 sees.

    `when` with a dot is a share of the steps, without one the number of the last step of `from`. Raises RequestError
    where the versions come to more than MAX_SAID characters.
    """
    items = parse_schedule(text, steps, warnings)
    whens, lengths = _changes(items)
    by_choice: dict[tuple[int, ...], list[int]] = {}
    for step in range(1, steps + 1):
        choice = (sum(when < step for when in whens), *(step % length for length in lengths))
        by_choice.setdefault(choice, []).append(step)
    by_text: dict[str, list[int]] = {}
    said = 0
    for members in by_choice.values():
        text = render(items, members[0])
        if text not in by_text:
            said = affordable(said + len(text))
        by_text.setdefault(text, []).extend(members)
    return [Version(version, tuple(sorted(members))) for version, members in by_text.items()]


def affordable(said: int) -> int:
    """So many characters over all steps, or RequestError where a prompt says too much."""
    if said > MAX_SAID:
        raise RequestError(
            f"the prompt changes so often that it says more than {MAX_SAID:,} characters over all steps; shorten it,"
            " or write fewer [from:to:when] and [a|b]"
        )
    return said


@dataclass
class _Open:
    """A bracket that waits for its partner: where it stands among the items, and the : and | directly inside."""

    mark: str
    start: int
    cuts: list[int] = field(default_factory=list)
    sound: bool = True  # nothing malformed inside, so that it may become a Timed or Turns


def parse_schedule(text: str, steps: int, warnings: Warnings) -> list[Item]:
    """Text with each well-formed [from:to:when] and [a|b] made a node; brackets of every other kind stay text.

    A bracket group is well-formed when everything inside is; a malformed one does not keep those inside it from being
    read. With a | outside of [a|b], or a backslash that escapes nothing, A1111 reads no schedule at all.
    """
    items: list[Item] = []
    waiting = [_Open("", 0)]
    for token in SCHEDULE_TOKEN.findall(text):
        if token == "\\":
            return _unscheduled(text, warnings, "a backslash that escapes nothing")
        if token in ("(", "["):
            waiting.append(_Open(token, len(items)))
        elif token in (":", "|"):
            waiting[-1].cuts.append(len(items))
        elif token in PARTNER and waiting[-1].mark != PARTNER[token]:
            waiting[-1].sound = False
        elif token in PARTNER:
            group = waiting.pop()
            node = _node(group, items, token, steps, warnings)
            if node is not None:
                del items[group.start :]
                items.append(node)
                continue
            if any(items[cut] == "|" for cut in group.cuts):
                return _unscheduled(text, warnings, "a '|' outside of [a|b]")
            plain = group.sound and len(group.cuts) <= (token == ")")
            waiting[-1].sound &= plain
            if token == "]" and group.cuts:
                first = items[group.start : group.start + SHOWN]
                quoted = shown("".join(item[: SHOWN + 1] for item in first if isinstance(item, str)) + "]")
                warnings.setdefault(f"'{quoted}' is no [from:to:when], which ends with a number; it is read as text")
        items.append(token)
    if any(items[cut] == "|" for group in waiting for cut in group.cuts):
        return _unscheduled(text, warnings, "a '|' outside of [a|b]")
    return items


def _node(group: _Open, items: list[Item], token: str, steps: int, warnings: Warnings) -> Timed | Turns | None:
    """What a square bracket that just closed says about steps; None where it is an ordinary bracket."""
    if token == ")" or not group.sound or not group.cuts:
        return None
    marks = {items[cut] for cut in group.cuts}
    edges = [group.start, *group.cuts, len(items)]
    sections = [items[left + 1 : right] for left, right in zip(edges, edges[1:], strict=False)]
    if marks == {"|"}:
        return Turns(sections)
    if marks == {":"} and len(sections) <= 3 and len(sections[-1]) == 1 and isinstance(sections[-1][0], str):
        found = WHEN.fullmatch(sections[-1][0])
        if found:
            before = sections[0] if len(sections) == 3 else []
            return Timed(before, sections[-2], _step(found[1], steps, warnings))
    return None


def _step(when: str, steps: int, warnings: Warnings) -> int:
    """'0.25' -> a quarter of the steps, '7' -> 7; within 0 .. steps."""
    number = float(when) * (steps if "." in when else 1)
    if number > steps:
        warnings.setdefault(f"the change at '{shown(when)}' never comes: there are {steps} steps")
    return int(max(0.0, min(number, float(steps))))


def _unscheduled(text: str, warnings: Warnings, why: str) -> list[Item]:
    if "[" in text:
        warnings.setdefault(
            f"'{shown(text)}' has {why}, with which A1111 reads no [from:to:when] and no [a|b]; remove it"
        )
    return [text]


def _changes(items: list[Item]) -> tuple[set[int], set[int]]:
    """The steps after which something changes, and the lengths of all rounds of turns."""
    whens, lengths, todo = set(), set(), [items]
    while todo:
        for item in todo.pop():
            if isinstance(item, Timed):
                whens.add(item.when)
                todo += [item.before, item.after]
            elif isinstance(item, Turns):
                lengths.add(len(item.options))
                todo += item.options
    return whens, lengths


def render(items: list[Item], step: int) -> str:
    """The text that is left at a step, which counts from 1."""
    said: list[str] = []
    todo: list[Iterator[Item]] = [iter(items)]
    while todo:
        for item in todo[-1]:
            if not isinstance(item, str):
                todo.append(iter(item.at(step)))
                break
            said.append(item)
        else:
            todo.pop()
    return "".join(said)


def pieces(text: str, warnings: Warnings) -> list[Piece]:
    """(x) 1.1, [x] 1 / 1.1, (x:1.3), nested and escaped; neighbours of equal weight are one piece.

    A bracket that is never closed reaches to the end, one that was never opened is text. Unlike A1111, BREAK inside
    brackets is a BREAK (there it becomes a word of weight -1.1).
    """
    said: list[str | None] = []
    depth = [0]  # how many more factors of ROUND apply from here on
    numbered: list[list] = []  # of each round bracket in order: first piece, piece after its last, weight or None
    rounds: list[int] = []
    squares: list[int] = []

    def add(piece: str | None) -> None:
        said.append(piece)
        depth.append(0)

    for found in WEIGHT_TOKEN.finditer(text):
        token, weight = found[0], found[1]
        if token == "(":
            rounds.append(len(numbered))
            numbered.append([len(said), 0, None])
        elif token == "[":
            squares.append(len(said))
        elif weight is not None and rounds:
            number = _number(weight)
            if number is None:
                add(token[:-1])
                _no_weight(token, warnings)
            group = numbered[rounds.pop()]
            group[1:] = len(said), number
            if number is None:
                _nest(depth, group[0], len(said), 1)
        elif token == ")" and rounds:
            group = numbered[rounds.pop()]
            _nest(depth, group[0], len(said), 1)
        elif token == "]" and squares:
            _nest(depth, squares.pop(), len(said), -1)
        elif token.startswith("\\"):
            add(token[1:])
        else:
            if token in (")", "]") or weight is not None:
                warnings.setdefault(f"'{token[-1]}' was never opened and is read as text; escape it: \\{token[-1]}")
            elif token == ":" and rounds and (almost := ALMOST_WEIGHT.match(text, found.start())):
                _no_weight(almost[0], warnings)
            for n, part in enumerate(_around_breaks(token)):
                if n:
                    add(None)
                add(part)
    for count, mark in ((len(rounds), "("), (len(squares), "[")):
        if count:
            warnings.setdefault(f"{count} '{mark}' never closed: the weight reaches to the end of the prompt")
    for group in rounds:
        _nest(depth, numbered[group][0], len(said), 1)
    for start in squares:
        _nest(depth, start, len(said), -1)
    return _merged(said, _weights(len(said), depth, numbered, warnings))


def _nest(depth: list[int], start: int, end: int, by: int) -> None:
    """One bracket around the pieces start .. end."""
    depth[start] += by
    depth[end] -= by


def _weights(count: int, depth: list[int], numbered: list[list], warnings: Warnings) -> list[float]:
    """The product of all brackets around each piece; numbered brackets never overlap, and come in opening order."""
    weights, level, waiting, products = [], 0, 0, [(math.inf, 1.0)]
    for n in range(count):
        level += depth[n]
        while products[-1][0] <= n:
            products.pop()
        while waiting < len(numbered) and numbered[waiting][0] <= n:
            _, end, weight = numbered[waiting]
            if weight is not None and end > n:
                product = max(-1e30, min(products[-1][1] * weight, 1e30))  # finite, whatever is multiplied
                products.append((end, product))
            waiting += 1
        factor = ROUND ** max(-DEEPEST, min(level, DEEPEST))
        weights.append(_bounded(products[-1][1] * factor, warnings))
    return weights


def _number(text: str) -> float | None:
    """'1.3' -> 1.3, None for '1.2.3'; never infinite."""
    try:
        return max(-1e30, min(float(text), 1e30))
    except ValueError:
        return None


def _no_weight(token: str, warnings: Warnings) -> None:
    warnings.setdefault(f"'{shown(token[:-1])}' is no weight and is read as text; write for example (word:1.3)")


def _around_breaks(text: str) -> list[str]:
    """The texts between BREAKs, without the white space around them."""
    parts = WORD_BREAK.split(text)
    last = len(parts) - 1
    return [
        part.strip() if 0 < n < last else part.lstrip() if n else part.rstrip() if last else part
        for n, part in enumerate(parts)
    ]


def _merged(said: list[str | None], weights: list[float]) -> list[Piece]:
    runs: list[tuple[list[str], float] | None] = []
    for text, weight in zip(said, weights, strict=True):
        if text is None:
            runs.append(None)
        elif runs and runs[-1] and runs[-1][1] == weight:
            runs[-1][0].append(text)
        else:
            runs.append(([text], weight))
    return [Piece("".join(run[0]), run[1]) if run else Piece(None, 1.0) for run in runs]


def _bounded(weight: float, warnings: Warnings) -> float:
    if abs(weight) <= MOST:
        return weight
    warnings.setdefault(f"weights beyond {MOST:g} are read as {MOST:g}; choose about 0.5 to 1.5")
    return math.copysign(MOST, weight)


def shown(text: str, end: bool = False) -> str:
    """At most SHOWN characters of a prompt, on one line."""
    return one_line(text, SHOWN, end)
