"""The LoRAs of a request: those that are given and those that its prompt names, found on the disk."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pleinair.adapters.few_steps import suggested
from pleinair.bundle.shipped import addons_folder
from pleinair.checks import one_line, shown_path
from pleinair.errors import RequestError
from pleinair.request.lora_types import SAFE, GivenLora, LoraUse
from pleinair.system.home import is_name, loras_folder
from pleinair.text.lora_tags import tags_in


def loras_of(given: Sequence[GivenLora], prompt: str) -> tuple[LoraUse, ...]:
    """All of them, in their order, those of the prompt last; raises RequestError for one that is not there.

    A file of weight 0 only says where one lies that the prompt names.
    """
    files = [lora_at(each.file) for each in given]
    found = [LoraUse(file, each.weight, each.weight) for file, each in zip(files, given, strict=True)]
    tags = tags_in(prompt)
    folders = dict.fromkeys([*(file.parent for file in files), loras_folder(), addons_folder()]) if tags else {}
    named = [LoraUse(named_file(tag.name, folders), tag.weight, tag.text_weight, in_prompt=True) for tag in tags]
    told = {use.name for use in named}
    uses = [*(use for use in found if use.weight or use.name not in told), *named]
    names = [use.name for use in uses]
    for use in uses:
        if names.count(use.name) > 1:
            raise RequestError(f"two LoRAs are called '{one_line(use.name, 80)}'; give one of them")
    return tuple(uses)


def lora_at(file: Path) -> Path:
    """A file, or the one that is kept under a name."""
    if not file.is_file() and is_name(str(file)):
        return kept(str(file)) or file
    return file


def kept(name: str) -> Path | None:
    """The LoRA that is kept, or ships, under this name."""
    return within(loras_folder(), name) or within(addons_folder(), name)


def lora_names() -> list[str]:
    """The names of all that are kept or ship."""
    return sorted({file.stem for folder in (loras_folder(), addons_folder()) for file in folder.glob(f"*{SAFE}")})


def within(folder: Path, name: str) -> Path | None:
    places = (folder / f"{name}{SAFE}", folder / name)
    return next((place for place in places if place.suffix == SAFE and place.is_file()), None)


def named_file(name: str, folders: Iterable[Path]) -> Path:
    """The file that a prompt names, in one of the folders."""
    found = [within(folder, name) for folder in folders] if is_name(name) else []
    if file := next(filter(None, found), None):
        return file
    raise RequestError(
        f"no LoRA '{one_line(name, 80)}', which the prompt names; put {one_line(name, 80)}{SAFE} into"
        f" '{shown_path(loras_folder())}', or name a file in its folder with --lora"
    )


def with_few_steps(given: dict[str, Any], loras: Sequence[LoraUse]) -> tuple[dict[str, Any], list[str]]:
    """The options that a LoRA for a few steps asks for, where the caller gives none, and a line that says so."""
    asks = {use.name: suggested(use.file) for use in loras if use.weight}
    name, few = next(((name, few) for name, few in asks.items() if few), ("", None))
    if few is None:
        return given, []
    listed, chosen = {"sigmas", "timesteps"} & set(given), "sampler" in given
    kept = {*given, *(("steps",) if listed else ()), *(("spacing",) if listed or chosen else ())}
    fresh = {option: value for option, value in few.options.items() if option not in kept}
    if not fresh:
        return given, []
    how = ", ".join(f"{option} {value}" for option, value in fresh.items())
    note = f"'{one_line(name, 80)}' is {few.kind}: painted with {how}; give these options to paint otherwise"
    return {**given, **fresh}, [note]
