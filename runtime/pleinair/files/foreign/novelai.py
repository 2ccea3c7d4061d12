"""NovelAI's PNG: the prompt in `Description`, all else in the JSON of `Comment`."""

import re
from typing import Any

from pleinair.files.foreign.record import (
    Fields,
    ForeignRecord,
    lost_fields,
    parsed,
    part,
    real,
    take,
    take_sampler,
    text_of,
    whole_or_none,
)

HARMLESS = {  # what names the maker or the request, or has gone into the prompt
    *("hide_debug_overlay", "signed_hash", "version", "params_version", "ucPreset", "qualityToggle", "request_id"),
    *("add_original_image", "image_format", "stream"),
}
USUAL = {  # field -> the values with which it asks for nothing
    "n_samples": (1,),
    "request_type": ("PromptGenerateRequest", "Img2ImgRequest", "NativeInfillingRequest"),
    "uncond_scale": (1, 0),
    "cfg_rescale": (0,),
    "controlnet_strength": (1,),
    "dynamic_thresholding_percentile": (0.999,),
    "dynamic_thresholding_mimic_scale": (10,),
    "inpaintImg2ImgStrength": (1,),
    "cfg_sched_eligibility": ("enable_for_post_summer_samplers",),
    "uncond_per_vibe": (True,),
    "wonky_vibe_correlation": (True,),
    "prefer_brownian": (True,),
    "normalize_reference_strength_multiple": (True,),
}


def read_novelai(texts: dict[str, str]) -> ForeignRecord | None:
    raw = parsed(texts.get("Comment", ""))
    if texts.get("Software") != "NovelAI" or not isinstance(raw, dict):
        return None
    fields = Fields(raw)
    record = ForeignRecord("NovelAI", texts.get("Source"), settings=raw)
    record.prompt = fields.text("prompt") or texts.get("Description", "")
    record.negative = fields.text("uc")
    for option in ("width", "height", "seed", "steps"):
        take(record, option, fields.get(option), whole_or_none)
    take(record, "guidance", fields.get("scale"), real, "scale")
    take_sampler(record, fields.text("sampler"), fields.text("noise_schedule"))
    if raw.get("cfg_rescale"):
        take(record, "rescale", fields.get("cfg_rescale"), real, "cfg_rescale")
    take(record, "strength", fields.get("strength"), real)
    infilled = raw.get("request_type") == "NativeInfillingRequest" or raw.get("mask")
    record.inputs = ("image", "mask") if infilled else ("image",) if "strength" in record.options else ()
    if not record.inputs:
        fields.get("extra_noise_seed")
    for name in ("v4_prompt", "v4_negative_prompt"):
        if _says_no_more(raw.get(name), record):
            fields.get(name)
    if re.search(r"[{}]", record.prompt):
        record.lose("the prompt's weights in {braces} are read as words")
    lost_fields(record, fields.unread(HARMLESS, USUAL))
    return record


def _says_no_more(prompt: Any, record: ForeignRecord) -> bool:
    """Whether a prompt with captions of characters has none of them, and repeats what has been read."""
    caption = part(prompt, "caption")
    return not caption.get("char_captions") and text_of(caption.get("base_caption")) in (record.prompt, record.negative)
