"""What other tools wrote into their pictures, read as what pleinair would be asked for.

    A1111, Forge           `parameters`: prompt, "Negative prompt: ...", one line of "Name: value" pairs
    stable-diffusion.cpp   the same, with its own names of samplers and, lately, a JSON object at the end
    InvokeAI               `invokeai_metadata`: a JSON object; before version 3 `sd-metadata`
    ComfyUI                `prompt`: the graph of nodes that made the picture
    NovelAI                `Comment`: a JSON object
    Fooocus                `parameters`: a JSON object, where `fooocus_scheme` says so

What has no counterpart here is named in `Record.warnings`; nothing is guessed in silence.
"""

import re
from collections.abc import Callable

from pleinair.foreign.comfyui import read_comfyui
from pleinair.foreign.infotext import read_infotext
from pleinair.foreign.invokeai import read_invokeai, read_old_invokeai
from pleinair.foreign.record import Record, parsed, real, take, take_sampler, text_of, whole


def read_foreign(texts: dict[str, str]) -> tuple[Record, str] | None:
    """The record of whichever tool wrote these texts, and the text it was read from."""
    readers: tuple[tuple[str, Callable[[str], Record | None]], ...] = (
        ("invokeai_metadata", read_invokeai),
        ("sd-metadata", read_old_invokeai),
        ("parameters", read_fooocus if texts.get("fooocus_scheme") == "fooocus" else read_infotext),
        ("UserComment", read_infotext),
        ("comment", read_infotext),
        ("prompt", read_comfyui),
        ("Comment", lambda _: read_novelai(texts)),
    )
    for name, reader in readers:
        if name in texts and (record := reader(texts[name])):
            return record, texts[name]
    return None


def read_novelai(texts: dict[str, str]) -> Record | None:
    """NovelAI's PNG: the prompt in `Description`, all else in the JSON of `Comment`."""
    raw = parsed(texts.get("Comment", ""))
    if texts.get("Software") != "NovelAI" or not isinstance(raw, dict):
        return None
    record = Record("NovelAI", texts.get("Source"), settings=raw)
    record.prompt = text_of(raw.get("prompt")) or texts.get("Description", "")
    record.negative = text_of(raw.get("uc"))
    for option in ("width", "height", "seed", "steps"):
        take(record, option, raw.get(option), whole)
    take(record, "guidance", raw.get("scale"), real)
    take_sampler(record, raw.get("sampler"), raw.get("noise_schedule"))
    if raw.get("cfg_rescale"):
        take(record, "rescale", raw["cfg_rescale"], real)
    if re.search(r"[{}]", record.prompt):
        record.lose("the prompt's weights in {braces} are read as words")
    return record


def read_fooocus(text: str) -> Record | None:
    """The JSON of Fooocus' own scheme; its other scheme is A1111's text."""
    raw = parsed(text)
    if not isinstance(raw, dict) or "prompt" not in raw:
        return None
    record = Record("Fooocus", text_of(raw.get("version")) or None, text_of(raw.get("prompt")), settings=raw)
    record.negative = text_of(raw.get("negative_prompt"))
    take(record, "steps", raw.get("steps"), whole)
    take(record, "seed", raw.get("seed"), whole)
    take(record, "guidance", raw.get("guidance_scale"), real)
    take_sampler(record, raw.get("sampler"), raw.get("scheduler"))
    if size := re.fullmatch(r"\(([0-9]{1,9}), ([0-9]{1,9})\)", text_of(raw.get("resolution"))):
        record.options |= {"width": int(size[1]), "height": int(size[2])}
    if raw.get("styles") not in (None, "", "[]", []):
        record.lose("not followed: styles")
    return record
