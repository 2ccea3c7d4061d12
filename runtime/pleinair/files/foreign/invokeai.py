"""InvokeAI's JSON: `invokeai_metadata` since version 3, `sd-metadata` before, and the `Dream` command before that."""

import re
from collections.abc import Iterator

from pleinair.files.foreign.record import (
    Fields,
    ForeignRecord,
    lost_fields,
    parsed,
    real,
    shown,
    take,
    take_noise,
    take_sampler,
    text_of,
    whole_or_none,
)

HARMLESS = {  # what names the maker, the model or a place in the gallery
    *("app_version", "app_id", "created_by", "created_at", "image_name", "board_id", "type", "id", "is_intermediate"),
    *("model", "model_id", "model_hash", "model_weights", "use_cache"),
    *("image.orig_hash", "image.step_number", "image.fit", "image.iterations"),
}
USUAL = {  # field -> the values with which it asks for nothing
    "image.threshold": (0,),
    "image.perlin": (0,),
    "image.inpaint_replace": (0,),
    "image.facetool_strength": (0,),
    "image.gfpgan_strength": (0,),
}
MODES = re.compile(r"(?:sdxl_)?(txt2img|img2img|inpaint|outpaint)")
DREAM_NUMBERS = {
    **dict.fromkeys(("-s", "--steps"), ("steps", whole_or_none)),
    **dict.fromkeys(("-S", "--seed"), ("seed", whole_or_none)),
    **dict.fromkeys(("-W", "--width"), ("width", whole_or_none)),
    **dict.fromkeys(("-H", "--height"), ("height", whole_or_none)),
    **dict.fromkeys(("-C", "--cfg_scale"), ("guidance", real)),
}
DREAM_HARMLESS = ("-F", "--fit", "-n", "--iterations", "-b", "--batch_size", "-q", "-i", "--individual", "-o")
SWITCH = re.compile(r"(--[a-z][a-z_]*)(?:=(\S+))?|(-(?:ft|cf))|(-[AmIM])(\S*)|(-[A-Za-z])([-+.0-9]\S*)?")


def read_invokeai(text: str) -> ForeignRecord | None:
    """`invokeai_metadata`, InvokeAI 3 and later."""
    raw = parsed(text)
    if not isinstance(raw, dict) or not ("positive_prompt" in raw or "generation_mode" in raw):
        return None
    fields = Fields(raw)
    record = ForeignRecord("InvokeAI", fields.text("app_version") or None, settings=raw)
    record.prompt, record.negative = fields.text("positive_prompt"), fields.text("negative_prompt")
    for option in ("width", "height", "seed", "steps"):
        take(record, option, fields.get(option), whole_or_none)
    take(record, "guidance", fields.get("cfg_scale"), real, "cfg_scale")
    if raw.get("cfg_rescale_multiplier") != 0:
        take(record, "rescale", fields.get("cfg_rescale_multiplier"), real, "cfg_rescale_multiplier")
    _take_scheduler(record, fields.text("scheduler"))
    take_noise(record, fields.get("rand_device") or "cpu")
    if skipped := whole_or_none(raw.get("clip_skip") or 0):
        record.options["clip_skip"] = skipped + 1  # InvokeAI counts the layers left out
    if raw.get("clip_skip") == 0 or skipped:
        fields.get("clip_skip")
    _take_seamless(record, fields)
    _take_mode(record, fields)
    lost_fields(record, fields.unread(HARMLESS, {"cfg_rescale_multiplier": (0,)}))
    _check_compel(record)
    return record


def _take_scheduler(record: ForeignRecord, name: str) -> None:
    karras = name.endswith("_k")
    take_sampler(record, name.removesuffix("_k"), "karras" if karras else None, what="scheduler")
    if record.options.get("sampler") == "tcd":
        record.options["eta"] = 1.0  # as InvokeAI calls it, whatever the scheduler's default is


def _take_seamless(record: ForeignRecord, fields: Fields) -> None:
    axes = "".join(axis for axis in "xy" if fields.raw.get(f"seamless_{axis}") is True)
    if axes:
        record.options["tile"] = axes if axes != "xy" else True
    for axis in axes:
        fields.get(f"seamless_{axis}")


def _take_mode(record: ForeignRecord, fields: Fields) -> None:
    """What a picture was made of."""
    if mode := MODES.fullmatch(text_of(fields.raw.get("generation_mode"))):
        fields.get("generation_mode")
    kind = mode[1] if mode else "txt2img"
    if kind == "img2img" or fields.raw.get("init_image"):
        fields.get("init_image")
        record.inputs = ("image",)
    elif kind in ("inpaint", "outpaint"):
        record.inputs = ("image", "mask")
        record.options["strength"] = 1.0
    if record.inputs:
        take(record, "strength", fields.get("strength"), real)


def read_old_invokeai(text: str) -> ForeignRecord | None:
    """`sd-metadata`, InvokeAI 2 and lstein's fork; what is in [brackets] of its prompt is the negative one."""
    raw = parsed(text)
    if not isinstance(raw, dict):
        return None
    fields = Fields(raw)
    record = ForeignRecord("InvokeAI", fields.text("app_version") or None, settings=raw)
    images = raw.get("images")
    if not raw.get("image") and isinstance(images, list) and images and isinstance(images[0], dict):
        record.lose("the file is a grid of images, of which the first is read")
        fields.raw = {**raw, "image": fields.get("images")[0]}
    image = fields.part("image")
    if not image.raw:
        return None
    _take_prompt(record, _weighted(record, image))
    for option in ("width", "height", "seed", "steps"):
        take(record, option, image.get(option), whole_or_none)
    take(record, "guidance", image.get("cfg_scale"), real, "cfg_scale")
    take_sampler(record, image.text("sampler"))
    take_noise(record, "cpu")
    if image.raw.get("seamless") is True:
        record.options["tile"] = image.get("seamless")
    _take_old_inputs(record, image)
    if not image.raw.get("facetool_strength"):
        image.get("facetool")
    lost_fields(record, (path.removeprefix("image.") for path in fields.unread(HARMLESS, USUAL)))
    _check_compel(record)
    return record


def _weighted(record: ForeignRecord, image: Fields) -> str:
    """The prompt's parts, with their weights left out and named."""
    prompts = image.raw.get("prompt")
    if not isinstance(prompts, list):
        return image.text("prompt")
    image.get("prompt")
    parts = [each for each in prompts if isinstance(each, dict)]
    if len(prompts) != 1 or any(each.get("weight", 1) != 1 for each in parts):
        record.lose("the weights of the prompt's parts are not followed")
    return ", ".join(filter(None, (text_of(each.get("prompt")) for each in parts)))


def _take_prompt(record: ForeignRecord, text: str) -> None:
    record.negative = ", ".join(each.strip() for each in re.findall(r"\[([^\[\]]*)\]", text))
    record.prompt = " ".join(re.sub(r"\[[^\[\]]*\]", "", text).split())


def _take_old_inputs(record: ForeignRecord, image: Fields) -> None:
    kind = image.text("type")
    if kind not in ("", "txt2img", "img2img", "inpaint"):  # a picture that was only enlarged or mended has its own type
        record.lose(f"not followed: type '{shown(kind)}'")
    masked = kind == "inpaint" or any(image.raw.get(name) for name in ("init_mask", "mask_image_path"))
    started = kind == "img2img" or any(image.raw.get(name) for name in ("init_img", "init_image_path"))
    for name in ("init_mask", "mask_image_path", "init_img", "init_image_path"):
        image.get(name)
    record.inputs = ("image", "mask") if masked else ("image",) if started else ()
    if record.inputs:
        name = "strength" if "strength" in image.raw else "strength_steps"  # early versions renamed it by mistake
        take(record, "strength", image.get(name), real, name)


def read_dream(text: str) -> ForeignRecord | None:
    """The `Dream` command of the earliest versions: "a red house" -s50 -W512 -H512 -C7.5 -Ak_lms -S42."""
    quoted, mark, rest = text.strip().rpartition('" ')
    if text.lstrip().startswith('"') and mark:
        prompt, words = quoted[1:], rest.split()
    else:
        every = text.split()
        start = next((at for at, word in enumerate(every) if SWITCH.fullmatch(word) and at), len(every))
        prompt, words = " ".join(every[:start]), every[start:]
    switches = list(_switches(words))
    if not any(name in DREAM_NUMBERS for name, _ in switches):
        return None
    record = ForeignRecord("InvokeAI", settings=dict(switches))
    _take_prompt(record, prompt)
    take_noise(record, "cpu")
    lost = []
    for name, value in switches:
        if name in DREAM_NUMBERS:
            option, kind = DREAM_NUMBERS[name]
            take(record, option, value, kind, name)
        elif name in ("-A", "-m", "--sampler"):
            take_sampler(record, value)
        elif name in ("-f", "--strength"):
            take(record, "strength", value, real, name)
        elif name in ("-I", "--init_img"):
            record.inputs = record.inputs or ("image",)
        elif name in ("-M", "--init_mask"):
            record.inputs = ("image", "mask")
        elif name == "--seamless":
            record.options["tile"] = True
        elif name not in DREAM_HARMLESS:
            lost.append(name)
    if not record.inputs and record.options.pop("strength", None) is not None:
        lost.append("-f")
    lost_fields(record, lost)
    return record


def _switches(words: list[str]) -> Iterator[tuple[str, str]]:
    """-s50, -s 50 and --steps=50 -> ("-s", "50"), ("-s", "50"), ("--steps", "50")."""
    name, values = "", []
    for word in words:
        if found := SWITCH.fullmatch(word):
            if name:
                yield name, " ".join(values)
            name, *values = filter(None, found.groups())
        else:
            values.append(word)
    if name:
        yield name, " ".join(values)


def _check_compel(record: ForeignRecord) -> None:
    if re.search(r"[\w)](?:\+{1,9}|-{2,9})(?:[\s,]|$)|\)[0-9]", record.prompt):
        record.lose("the prompt's weights are written for compel ('word++', '(words)1.2') and are read as words")
