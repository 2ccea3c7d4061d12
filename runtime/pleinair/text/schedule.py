"""A1111's [from:to:when] and [a|b]: what a part of a prompt says at each step."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from pleinair.errors import RequestError
from pleinair.text.syntax import SHOWN, shown
from pleinair.text.warned import Warnings

MAX_SAID = 200_000  # characters of all that a prompt says at one step or another
SCHEDULE_TOKEN = re.compile(r"\\.|[\[\]():|]|[^\\\[\]():|]+|\\")
WHEN = re.compile(r"\s*([-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)\s*")
PARTNER = {")": "(", "]": "["}


@dataclass(frozen=True)
class Version:
    """What a part says at some of the steps, which count from 1."""

    text: str
    steps: tuple[int, ...]


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
            f"the prompt changes so often that it has more than {MAX_SAID:,} characters over all steps; shorten it,"
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
                warnings.say(f"'{quoted}' is not a [from:to:when], which ends with a number; it is read as text")
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
        warnings.say(f"the change at '{shown(when)}' never comes: there are {steps} steps")
    return int(max(0.0, min(number, float(steps))))


def _unscheduled(text: str, warnings: Warnings, why: str) -> list[Item]:
    if "[" in text:
        warnings.say(f"'{shown(text)}' has {why}, with which A1111 reads no [from:to:when] and no [a|b]; remove it")
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
