"""The `parameters` text of A1111, Forge and stable-diffusion.cpp.

Prompt, "Negative prompt: ...", and a last line of "Name: value" pairs. What stable-diffusion.cpp says otherwise is in
`sdcpp`.
"""

import math
import re

from pleinair.files.foreign.record import (
    Fields,
    ForeignRecord,
    check_prompt,
    lost_fields,
    numbers_of,
    parsed,
    real,
    shown,
    take,
    take_eta,
    take_noise,
    take_sampler,
    take_schedule,
    whole_or_none,
)
from pleinair.files.foreign.sdcpp import take_sdcpp
from pleinair.request.options import OPTIONS
from pleinair.request.value_types import Real, Whole

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
FILLS = {"original": "original"} | {word: fill for fill, word in OPTIONS["fill"].a1111_values.items()}
ENLARGERS = {word: enlarger for enlarger, word in OPTIONS["enlarger"].a1111_values.items()}
QUOTED = re.compile(r'"(?:\\.|[^\\"]++)++"')
KEY = re.compile(r"\w[\w \-/]+$")
SDCPP = "Version: stable-diffusion.cpp"
LONGEST_NAME = 100
LONGEST_LIST = 1 << 14
OWN_AREA = 512 * 512  # of a first pass whose size A1111 chose
MASKED = ("Mask blur", "Masked content", "Inpaint area", "Masked area padding", "Mask mode")
SIZE = re.compile(r"([0-9]{1,9})x([0-9]{1,9})")
HARMLESS = {  # what names the maker, a file or its place in a list, and changes no pixel
    *("Model hash", "Model", "VAE hash", "Hashes", "Lora hashes", "Refiner hash", "Version", "User", "Created Date"),
    *("Batch size", "Batch pos", "Init image hash", "TE", "Unet", "Guidance", "Raw prompt", "Raw negative prompt"),
}
USUAL = {  # field -> the values with which it asks for nothing
    "Tiling": ("False",),
    "Inpaint area": ("Whole picture",),
    "Mask mode": ("Inpaint masked",),
    "Emphasis": ("Original",),
    "Hires upscaler": ("Latent",),
    "Hires checkpoint": ("Use same checkpoint",),
    "Hires sampler": ("Use same sampler",),
    "Hires schedule type": ("Use same scheduler",),
    "VAE": ("Automatic", "None", "Default (model)"),
    "Refiner": ("None",),
    "Performance": ("Speed", "Quality"),
    "Denoising strength": ("0", "0.0"),
}


def infotext_fields(line: str) -> dict[str, str]:
    """The pairs of a last line, in linear time; for well-formed lines what A1111's regular expression finds.

    Beyond A1111, a value that opens with a bracket ends with it: stable-diffusion.cpp does not quote its lists.
    """
    fields: dict[str, str] = {}
    at = fruitless = 0
    while at < len(line):
        colon = line.find(":", at)
        if colon < 0:
            break
        at = max(at, line.rfind(",", at, colon) + 1)
        start = colon + 1
        while line[start : start + 1].isspace():
            start += 1
        value, end, fruitless = _value(line, start, fruitless)
        if name := KEY.search(line[max(at, colon - LONGEST_NAME) : colon]):
            fields[name[0]] = value
        at = end + 1
    return fields


def _value(line: str, start: int, fruitless: int) -> tuple[str, int, int]:
    """The value that starts there, where the comma after it is, and up to where no quotation mark opens a value.

    A quotation mark whose partner is followed by more text opens none; neither do those escaped ones between the two,
    which would have the same partner and need no search of their own.
    """
    if line[start : start + 1] == '"' and start >= fruitless:
        quoted = QUOTED.match(line, start)
        end = quoted.end() if quoted else len(line)
        if quoted and line[end : end + 1] in ("", ","):
            text = parsed(quoted[0])
            return (text if isinstance(text, str) else quoted[0]), end, fruitless
        fruitless = end
    closing = line.find("]", start, start + LONGEST_LIST) if line[start : start + 1] == "[" else start
    end = line.find(",", max(closing, start))
    end = end if end >= 0 else len(line)
    return line[start:end].strip(), end, fruitless


def read_infotext(text: str) -> ForeignRecord | None:
    """A `parameters` text; None where it has no line of fields and so may be any comment."""
    text, mark, extra = text.strip().partition(f"{SDCPP}, SDCPP: ")
    *lines, last = f"{text}{SDCPP if mark else ''}".split("\n")
    found = infotext_fields(last)
    if len(found) < 3 or "Steps" not in found:
        return None
    prompt, negative = [], []
    into = prompt
    for line in map(str.strip, lines):
        if line.startswith("Negative prompt:"):
            into, line = negative, line[16:].strip()
        into.append(line)
    version = found.get("Version", "")
    record = ForeignRecord(_author(version), version or None, "\n".join(prompt), "\n".join(negative), dict(found))
    if version.startswith(("pleinair ", "stable-diffusion.cpp", "Fooocus ")):
        record.version = version.partition(" ")[2] or None
    fields = Fields(found)
    if record.tool == "stable-diffusion.cpp":
        take_sdcpp(record, fields, extra)
    _take_fields(record, fields)
    lost_fields(record, fields.unread(HARMLESS, USUAL))
    check_prompt(record)
    return record


def _author(version: str) -> str:
    for tool in ("pleinair", "stable-diffusion.cpp", "Fooocus"):
        if version.startswith(tool):
            return tool
    return "Forge" if re.match(r"f[0-9]|neo", version) else "A1111"


def _take_fields(record: ForeignRecord, fields: Fields) -> None:
    if record.tool != "stable-diffusion.cpp":
        take_sampler(record, fields.get("Sampler"), fields.get("Schedule type") or fields.get("Scheduler"))
        if record.tool in ("A1111", "Forge"):
            _take_uniform(record)
    take(record, "seed", fields.get("Seed"), whole_or_none, "Seed")
    for name in NUMBERS:
        _take_option(record, fields, name)
    _take_size(record, fields.text("Size"))
    if fields.raw.get("Variation seed strength"):
        _take_option(record, fields, "subseed")
        _take_option(record, fields, "subseed_strength")
    # A1111 leaves its default out; Fooocus has no choice
    take_noise(record, fields.get("RNG") or ("CPU" if record.tool == "Fooocus" else "GPU"))
    if fields.raw.get("Tiling") == "True":
        record.options["tile"] = bool(fields.get("Tiling"))
    for name in ("Sigmas", "Timesteps"):
        if numbers := numbers_of(fields.raw.get(name, "")):
            fields.get(name)
            record.options[name.lower()] = numbers
    if hashes := fields.text("TI hashes"):
        record.lose(f"made with embeddings (TI hashes), which have to be given again: {shown(hashes)}")
    for name in ("Emphasis", "VAE"):
        if fields.raw.get(name, "") not in ("", *USUAL[name]):
            record.lose(f"not followed: {name} '{shown(fields.get(name))}'")
    _take_hires(record, fields)
    eta = "Eta" if fields.raw.get("Eta") else "Eta DDIM"
    take_eta(record, fields.get(eta), eta)
    _take_mask(record, fields)


def _take_option(record: ForeignRecord, fields: Fields, name: str) -> None:
    """An option that is a number, from its field."""
    option = OPTIONS[name]
    kind = whole_or_none if isinstance(option.type, Whole) else real
    take(record, name, fields.get(option.a1111), kind, option.a1111)


NUMBERS = [  # options that are read as they are
    name
    for name, option in OPTIONS.items()
    if option.a1111 and not option.needs and type(option.type) in (Whole, Real) and name != "eta"
]


def _take_uniform(record: ForeignRecord) -> None:
    """The schedule A1111 uses where none is named: its sampler's own ("Automatic", since 1.9) or the uniform one."""
    sampler = record.options.get("sampler")
    if sampler is None or "spacing" in record.options or sampler in UNSPACED:
        return
    if record.settings.get("Schedule type", "Uniform").lower() not in ("automatic", "uniform"):
        return  # one that is not known here, which has been said
    automatic = AUTOMATIC.get(sampler) if "Schedule type" in record.settings else None
    record.options["spacing"] = automatic or "linspace"


def _take_size(record: ForeignRecord, size: str) -> None:
    if found := SIZE.fullmatch(size.strip().strip("()").replace(", ", "x")):
        record.options |= {"width": int(found[1]), "height": int(found[2])}
    elif size:
        record.lose(f"the file's Size '{shown(size)}' is not a size and was left out")


def _take_hires(record: ForeignRecord, fields: Fields) -> None:
    factor = _factor(record, fields)
    if not factor and "First pass size" in fields.asked:
        fields.get("Denoising strength")  # of a second pass that is not followed
        return
    if not factor:
        if real(fields.raw.get("Denoising strength")) != 0:  # written by some where no picture was given
            _take_option(record, fields, "strength")
        return
    record.options["hires"] = factor
    _take_option(record, fields, "hires_strength")
    _take_option(record, fields, "hires_steps")
    if record.options.get("hires_steps") == 0:  # A1111: as many as in the first pass
        del record.options["hires_steps"]
    for name, read in (("Hires sampler", _take_hires_sampler), ("Hires schedule type", _take_hires_spacing)):
        if fields.raw.get(name, "") not in ("", *USUAL[name]):
            read(record, fields.get(name))
    upscaler = fields.text("Hires upscaler")
    if upscaler in ENLARGERS:
        record.options["enlarger"] = ENLARGERS[upscaler]
    elif upscaler:
        record.lose(f"Hires upscaler '{shown(upscaler)}' is replaced by the default one")


def _take_hires_sampler(record: ForeignRecord, name: str) -> None:
    take_sampler(record, name, option="hires_sampler", what="Hires sampler")


def _take_hires_spacing(record: ForeignRecord, name: str) -> None:
    take_schedule(record, name, "hires_spacing")
    if name.lower() == "automatic" and record.settings.get("Schedule type") != name:
        record.lose(f"not followed: Hires schedule type '{name}'; the second pass has the schedule of the first")


def _factor(record: ForeignRecord, fields: Fields) -> float | None:
    """How much larger the second pass is; the size of a first pass, where the text has that, is taken."""
    width, height = record.options.get("width"), record.options.get("height")
    for name in ("Hires scale", "Hires upscale"):
        if fields.raw.get(name):
            take(record, "hires", fields.get(name), real, name)
    factor = record.options.pop("hires", None)
    resize = SIZE.fullmatch(fields.raw.get("Hires resize", ""))
    first = SIZE.fullmatch(fields.raw.get("First pass size", ""))
    if resize and width and height and int(resize[1]) * height == int(resize[2]) * width:
        return int(fields.get("Hires resize").partition("x")[0]) / width
    if first and width and height and not factor:
        return _first_pass(record, fields, (int(first[1]), int(first[2])), (width, height))
    return factor


def _first_pass(record: ForeignRecord, fields: Fields, first: tuple[int, int], size: tuple[int, int]) -> float | None:
    """Hires as A1111 wrote it before it had fields of its own: `size` was the end, and 0x0 the model's own area."""
    if not all(first):
        scale = math.sqrt(OWN_AREA / (size[0] * size[1]))
        first = tuple(math.ceil(scale * side / 64) * 64 for side in size)
    factor = max(size[0] / first[0], size[1] / first[1])
    if factor < 1:
        record.lose(f"not followed: First pass size {first[0]}x{first[1]}, which is larger than the picture")
        fields.get("First pass size")
        return None
    asked = fields.get("First pass size")
    if first[0] * size[1] != first[1] * size[0]:
        shape = f"First pass size {asked} ({first[0]}x{first[1]}) is of another shape than {size[0]}x{size[1]}"
        record.lose(f"{shape}; what A1111 cuts off stays")
    record.options |= {"width": first[0], "height": first[1]}
    return factor


def _take_mask(record: ForeignRecord, fields: Fields) -> None:
    if any(name in fields.raw for name in MASKED):
        record.inputs = ("image", "mask")
    elif "strength" in record.options:
        record.inputs = ("image",)
    _take_option(record, fields, "mask_blur")
    _take_option(record, fields, "padding")
    if content := fields.text("Masked content"):
        if fill := FILLS.get(content):
            record.options["fill"] = fill
        else:
            record.lose(f"not followed: Masked content '{shown(content)}'")
    if fields.raw.get("Inpaint area") == "Only masked":
        record.options["only_masked"] = bool(fields.get("Inpaint area"))
