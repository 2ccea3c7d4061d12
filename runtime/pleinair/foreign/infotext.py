"""The `parameters` text of A1111, Forge and stable-diffusion.cpp.

Prompt, "Negative prompt: ...", and a last line of "Name: value" pairs. stable-diffusion.cpp has its own names of
samplers and, lately, a JSON object at the end.
"""

import re
from typing import Any

from pleinair.foreign.record import (
    Record,
    check_prompt,
    lost_fields,
    parsed,
    part,
    real,
    shown,
    take,
    take_eta,
    take_noise,
    take_sampler,
    whole,
)

AUTOMATIC = {  # what A1111 means by "Automatic", where that is not its uniform one
    "dpmpp_2m": "karras",
    "dpmpp_sde": "karras",
    "dpmpp_2s_a": "karras",
    "dpm2": "karras",
    "dpm2_a": "karras",
    "restart": "karras",
    "dpmpp_2m_sde": "exponential",
    "dpmpp_3m_sde": "exponential",
}
UNSPACED = ("ddim", "ddpm", "pndm", "unipc", "lcm", "tcd")  # A1111 lays these as the model's scheduler does
FILLS = {"original": "original", "latent noise": "noise", "latent nothing": "blank", "fill": "blank"}
QUOTED = re.compile(r'"(?:\\.|[^\\"]++)++"(?=,|$)')
KEY = re.compile(r"\w[\w \-/]+$")
SDCPP = "Version: stable-diffusion.cpp"
LONGEST_NAME = 100
LONGEST_LIST = 1 << 14
SIZE = re.compile(r"([0-9]{1,9})x([0-9]{1,9})")
KNOWN_FIELDS = {
    *("Steps", "Sampler", "Schedule type", "CFG scale", "Seed", "Size", "Model hash", "Model", "Version", "RNG"),
    *("Variation seed", "Variation seed strength", "Denoising strength", "Clip skip", "Eta", "Eta DDIM"),
    *("Sigma churn", "Sigma noise", "Tiling", "Mask blur", "Masked content", "Inpaint area", "Masked area padding"),
    *("Hires upscale", "Hires scale", "Hires steps", "Hires sampler", "Hires upscaler", "Hires resize"),
    *("CFG rescale", "Guidance start", "Guidance end", "Sigmas", "Timesteps", "Init image hash"),
    *("Batch size", "Batch pos", "VAE", "VAE hash", "TI hashes", "Emphasis", "SDCPP", "Guidance", "TE", "Unet"),
}


def infotext_fields(line: str) -> dict[str, str]:
    """The pairs of a last line, in linear time; for well-formed lines what A1111's regular expression finds.

    Beyond A1111, a value that opens with a bracket ends with it: stable-diffusion.cpp does not quote its lists.
    """
    fields: dict[str, str] = {}
    at = 0
    while at < len(line):
        colon, comma = line.find(":", at), line.find(",", at)
        if colon < 0:
            break
        if 0 <= comma < colon:
            at = line.rfind(",", comma, colon) + 1
        start = colon + 1
        while line[start : start + 1].isspace():
            start += 1
        value, end = _value(line, start)
        if name := KEY.search(line[max(at, colon - LONGEST_NAME) : colon]):
            fields[name[0]] = value
        at = end + 1
    return fields


def _value(line: str, start: int) -> tuple[str, int]:
    """The value that starts there, and where the comma after it is."""
    if quoted := QUOTED.match(line, start):
        text, end = parsed(quoted[0]), line.find(",", quoted.end())
        return (text if isinstance(text, str) else quoted[0]), end if end >= 0 else len(line)
    closing = line.find("]", start, start + LONGEST_LIST) if line[start : start + 1] == "[" else start
    end = line.find(",", max(closing, start))
    end = end if end >= 0 else len(line)
    return line[start:end].strip(), end


def read_infotext(text: str) -> Record | None:
    """A `parameters` text; None where it has no line of fields and so may be any comment."""
    text, mark, extra = text.strip().partition(f"{SDCPP}, SDCPP: ")
    *lines, last = f"{text}{SDCPP if mark else ''}".split("\n")
    fields = infotext_fields(last)
    if len(fields) < 3 or "Steps" not in fields:
        return None
    prompt, negative = [], []
    into = prompt
    for line in map(str.strip, lines):
        if line.startswith("Negative prompt:"):
            into, line = negative, line[16:].strip()
        into.append(line)
    version = fields.get("Version", "")
    record = Record(_author(version, fields), version or None, "\n".join(prompt), "\n".join(negative), dict(fields))
    if version.startswith(("pleinair ", "stable-diffusion.cpp")):
        record.version = version.partition(" ")[2] or None
    if record.tool == "stable-diffusion.cpp":
        _take_sdcpp(record, parsed(extra) if extra else None)
    _take_fields(record, fields)
    check_prompt(record)
    return record


def _author(version: str, fields: dict[str, str]) -> str:
    if version.startswith("pleinair "):
        return "pleinair"
    if version.startswith("stable-diffusion.cpp"):
        return "stable-diffusion.cpp"
    return "Forge" if re.match(r"f[0-9]|neo", version) else "A1111"


def _take_fields(record: Record, fields: dict[str, str]) -> None:
    get = fields.get
    take(record, "steps", get("Steps"), whole)
    if record.tool != "stable-diffusion.cpp":
        take_sampler(record, get("Sampler"), get("Schedule type"))
        if record.tool != "pleinair":
            _take_uniform(record)
    take(record, "guidance", get("CFG scale"), real)
    take(record, "seed", get("Seed"), whole)
    _take_size(record, get("Size", ""))
    take(record, "clip_skip", get("Clip skip"), whole)
    if get("Variation seed strength"):
        take(record, "subseed", get("Variation seed"), whole)
        take(record, "subseed_strength", get("Variation seed strength"), real)
    take_noise(record, get("RNG", "GPU"))  # A1111 leaves its default out
    take_eta(record, get("Eta") or get("Eta DDIM"))
    take(record, "s_churn", get("Sigma churn"), real)
    take(record, "s_noise", get("Sigma noise"), real)
    take(record, "rescale", get("CFG rescale"), real)
    take(record, "guidance_start", get("Guidance start"), real)
    take(record, "guidance_end", get("Guidance end"), real)
    if get("Tiling") == "True":
        record.options["tile"] = True
    for name in ("Sigmas", "Timesteps"):
        numbers = [real(part) for part in get(name, "").split(",") if part.strip()]
        if numbers and None not in numbers:
            record.options[name.lower()] = numbers
    for name, standard in (("Emphasis", "Original"), ("VAE", "")):
        if get(name, standard) != standard:
            record.lose(f"not followed: {name} '{shown(fields[name])}'")
    if get("TI hashes"):
        record.lose(f"made with embeddings, which have to be given again: {shown(fields['TI hashes'])}")
    _take_hires(record, fields)
    _take_mask(record, fields)
    lost_fields(record, (name for name in fields if name not in KNOWN_FIELDS))


def _take_uniform(record: Record) -> None:
    """The schedule A1111 uses where none is named: its sampler's own ("Automatic", since 1.9) or the uniform one."""
    sampler = record.options.get("sampler")
    if sampler is None or "spacing" in record.options or sampler in UNSPACED:
        return
    if record.settings.get("Schedule type", "Uniform").lower() not in ("automatic", "uniform"):
        return  # one that is not known here, which has been said
    automatic = AUTOMATIC.get(sampler) if "Schedule type" in record.settings else None
    record.options["spacing"] = automatic or "linspace"


def _take_size(record: Record, size: str) -> None:
    if found := SIZE.fullmatch(size.strip()):
        record.options |= {"width": int(found[1]), "height": int(found[2])}


def _take_hires(record: Record, fields: dict[str, str]) -> None:
    factor = fields.get("Hires scale") or fields.get("Hires upscale")
    if found := SIZE.fullmatch(fields.get("Hires resize", "")):
        width, height = record.options.get("width"), record.options.get("height")
        if width and height and int(found[1]) * height == int(found[2]) * width:
            factor = int(found[1]) / width
        elif real(factor) is None:
            record.lose(f"not followed: Hires resize {found[0]}, which is of another shape")
    if not real(factor):
        if real(fields.get("Denoising strength")) != 0:  # written by some where no picture was given
            take(record, "strength", fields.get("Denoising strength"), real)
        return
    take(record, "hires", factor, real)
    take(record, "hires_strength", fields.get("Denoising strength"), real)
    take(record, "hires_steps", fields.get("Hires steps"), whole)
    if record.options.get("hires_steps") == 0:  # A1111: as many as in the first pass
        del record.options["hires_steps"]
    if fields.get("Hires sampler", "Use same sampler") != "Use same sampler":
        take_sampler(record, fields["Hires sampler"], option="hires_sampler")
    if not fields.get("Hires upscaler", "Latent").startswith("Latent"):
        record.lose(f"the upscaler '{shown(fields['Hires upscaler'])}' is replaced by the default one")


def _take_mask(record: Record, fields: dict[str, str]) -> None:
    take(record, "mask_blur", fields.get("Mask blur"), real)
    if "Masked content" in fields:
        fill = FILLS.get(fields["Masked content"])
        if fill:
            record.options["fill"] = fill
        if fill is None or fields["Masked content"] == "fill":
            record.lose(f"not followed: Masked content '{shown(fields['Masked content'])}'")
    if fields.get("Inpaint area") == "Only masked":
        record.options["only_masked"] = True


def _take_sdcpp(record: Record, extra: Any) -> None:
    """Its "Sampler: euler_a karras", and what its JSON says more exactly."""
    sampler, _, schedule = record.settings.get("Sampler", "").partition(" ")
    if isinstance(extra, dict):
        record.settings["SDCPP"] = extra
        sampling, prompt, maker = (part(extra, name) for name in ("sampling", "prompt", "generator"))
        sampler, schedule = sampling.get("method", sampler), sampling.get("scheduler", schedule)
        if isinstance(prompt.get("positive"), str):  # without the <lora:...> that the text repeats
            record.prompt, record.negative = prompt["positive"], str(prompt.get("negative") or "")
        record.version = str(maker.get("version") or record.version or "") or None
        if extra.get("loras"):
            record.lose("not followed: loras")
    take_sampler(record, sampler, schedule)
    sigmas = [real(part) for part in record.settings.get("Custom Sigmas", "").strip("[]").split(",") if part.strip()]
    if sigmas and None not in sigmas:
        record.options["sigmas"] = sigmas
