"""InvokeAI's JSON: `invokeai_metadata` since version 3, `sd-metadata` before."""

import re

from pleinair.foreign.record import (
    Record,
    lost_fields,
    parsed,
    part,
    real,
    take,
    take_noise,
    take_sampler,
    text_of,
    whole,
)

KNOWN = {
    *("generation_mode", "positive_prompt", "negative_prompt", "width", "height", "seed", "rand_device", "cfg_scale"),
    *("cfg_rescale_multiplier", "steps", "scheduler", "clip_skip", "model", "strength", "init_image", "app_version"),
    *("seamless_x", "seamless_y", "vae", "canvas_v2_metadata", "ref_images", "image_name", "created_at", "created_by"),
}


def read_invokeai(text: str) -> Record | None:
    """`invokeai_metadata`, InvokeAI 3 and later."""
    raw = parsed(text)
    if not isinstance(raw, dict) or not ("positive_prompt" in raw or "generation_mode" in raw):
        return None
    record = Record("InvokeAI", text_of(raw.get("app_version")) or None, settings=raw)
    record.prompt, record.negative = text_of(raw.get("positive_prompt")), text_of(raw.get("negative_prompt"))
    for option in ("width", "height", "seed", "steps"):
        take(record, option, raw.get(option), whole)
    take(record, "guidance", raw.get("cfg_scale"), real)
    if raw.get("cfg_rescale_multiplier"):
        take(record, "rescale", raw["cfg_rescale_multiplier"], real)
    name = text_of(raw.get("scheduler"))
    karras = name.endswith("_k")
    take_sampler(record, name.removesuffix("_k"), "karras" if karras else None)
    take_noise(record, raw.get("rand_device") or "cpu")
    skipped = whole(raw.get("clip_skip") or 0)
    if skipped:
        record.options["clip_skip"] = skipped + 1  # InvokeAI counts the layers left out
    if raw.get("seamless_x") and raw.get("seamless_y"):
        record.options["tile"] = True
    elif raw.get("seamless_x") or raw.get("seamless_y"):
        record.lose("not followed: seamless in one direction")
    if "img2img" in text_of(raw.get("generation_mode")) or raw.get("init_image"):
        take(record, "strength", raw.get("strength"), real)
    elif text_of(raw.get("generation_mode")).endswith(("inpaint", "outpaint")):
        record.options.setdefault("strength", real(raw.get("strength")) or 1.0)
        record.lose("the picture was painted into another one; give that and the mask")
    lost_fields(
        record,
        (key for key, value in raw.items() if value not in (None, [], {}, "", False) and key not in KNOWN),
    )
    _check_compel(record)
    return record


def read_old_invokeai(text: str) -> Record | None:
    """`sd-metadata`, InvokeAI 2 and lstein's fork; what is in [brackets] of its prompt is the negative one."""
    raw = parsed(text)
    image = part(raw, "image")
    if not image:
        return None
    record = Record("InvokeAI", text_of(raw.get("app_version")) or None, settings=raw)
    prompts = image.get("prompt")
    if isinstance(prompts, list):
        texts = [text_of(part({"p": each}, "p").get("prompt")) for each in prompts]
        if len(prompts) > 1:
            record.lose("the weights of the prompt's parts are not followed")
    else:
        texts = [text_of(prompts)]
    whole_prompt = ", ".join(filter(None, texts))
    record.negative = ", ".join(each.strip() for each in re.findall(r"\[([^\[\]]*)\]", whole_prompt))
    record.prompt = " ".join(re.sub(r"\[[^\[\]]*\]", "", whole_prompt).split())
    for option in ("width", "height", "seed", "steps"):
        take(record, option, image.get(option), whole)
    take(record, "guidance", image.get("cfg_scale"), real)
    take_sampler(record, image.get("sampler"))
    take_noise(record, "cpu")
    if image.get("type") == "img2img":
        take(record, "strength", image.get("strength"), real)
    if image.get("variations"):
        record.lose("not followed: variations")
    _check_compel(record)
    return record


def _check_compel(record: Record) -> None:
    if re.search(r"[\w)](?:\+{1,9}|-{2,9})(?:[\s,]|$)|\)[0-9]", record.prompt):
        record.lose("the prompt's weights are written for compel ('word++', '(words)1.2') and are read as words")
