"""The LoRAs of a picture that is made again: as its record has them, from files that are given or kept."""

from collections.abc import Collection, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from pleinair.checks import shown_path
from pleinair.errors import RequestError
from pleinair.files.foreign.record import shown
from pleinair.files.metadata import FoundRecord
from pleinair.request.lora_types import MAX_LORAS, Loras
from pleinair.request.loras import kept, loras_of
from pleinair.system.home import is_name
from pleinair.text.lora_tags import TAG, name_in


class Recalled(NamedTuple):
    """The LoRAs to paint with beside those that the `prompt` names, and what is left out of it."""

    loras: list[Any]
    prompt: str
    warnings: tuple[str, ...] = ()


def recalled_loras(file: str | Path, found: FoundRecord, given: Sequence[Any]) -> Recalled:
    """The LoRAs of a record with its weights, those that are given or kept.

    Of those that the prompt names, what is given only says where they lie. Raises RequestError for one that is neither
    given nor kept, and for one that is given and not recorded; but for those of another tool's picture, which is not
    made to the bit anyway: it is painted without them, with a warning for each.
    """
    if found.ours is None:
        return of_another_tool(found.prompt, given)
    told = found.ours.get("loras")
    told = told if isinstance(told, dict) else {}
    files = {each.file.stem: each.file for each in Loras().read("loras", given)}
    unknown = [name for name in files if name not in told]
    if unknown:
        raise RequestError(f"'{shown_path(file)}' was made without the LoRA '{shown(unknown[0])}'; leave it out")
    wanted: list[Any] = []
    for name, facts in islice(told.items(), MAX_LORAS):
        facts = facts if isinstance(facts, dict) else {}
        where = files.get(name) or (kept(name) if is_name(name) else None)
        if facts.get("in_prompt"):
            wanted += [(where, 0)] if where else []
        elif where is None:
            raise RequestError(
                f"'{shown_path(file)}' was made with the LoRA '{shown(name)}', which no record holds; give --lora FILE"
            )
        else:
            wanted.append((where, facts.get("weight", 1)))
    return Recalled(wanted, found.prompt)


def of_another_tool(prompt: str, given: Sequence[Any]) -> Recalled:
    """The LoRAs that a prompt names and that are here; those that are given are painted with, too."""
    named = {name_in(said) for said in TAG.findall(prompt)}
    files = [each._replace(weight=0.0) if each.file.stem in named else each for each in Loras().read("loras", given)]
    places = [each for each in files if not each.weight]
    kept_words, warnings, seen, at = [], [], set(), 0
    for tag in TAG.finditer(prompt):
        kept_words.append(prompt[at : tag.start()])
        at = tag.end()
        try:
            if name_in(tag[1]) in seen:
                raise RequestError("the prompt names it twice; its first weight counts")
            loras_of(places, tag[0])
        except RequestError as error:
            warnings.append(f"painted without {shown(tag[0])}: {error}")
            continue
        kept_words.append(tag[0])
        seen.add(name_in(tag[1]))
    return Recalled(files, "".join([*kept_words, prompt[at:]]), shortened(dict.fromkeys(warnings)))


def shortened(warnings: Collection[str]) -> tuple[str, ...]:
    """The first of them, and how many others there are."""
    more = len(warnings) - MAX_LORAS
    return (*islice(warnings, MAX_LORAS), *([f"painted without {more} more LoRAs"] if more > 0 else []))
