"""The JSON of Fooocus' own scheme; its other scheme is A1111's text."""

import re

from pleinair.files.foreign.record import (
    Fields,
    ForeignRecord,
    check_prompt,
    lost_fields,
    parsed,
    real,
    take,
    take_sampler,
    whole_or_none,
)

HARMLESS = ("base_model", "base_model_hash", "refiner_model_hash", "metadata_scheme", "created_by", "version")
USUAL = {  # field -> the values with which it asks for nothing
    "performance": ("Speed", "Quality"),
    "refiner_model": ("None",),
    "vae": ("Default (model)",),
}


def read_fooocus(text: str) -> ForeignRecord | None:
    """A `parameters` or UserComment text that is Fooocus' JSON."""
    raw = parsed(text) if text.lstrip().startswith("{") else None
    if not isinstance(raw, dict) or "prompt" not in raw:
        return None
    fields = Fields(raw)
    record = ForeignRecord("Fooocus", fields.text("version") or None, fields.text("prompt"), settings=raw)
    record.negative = fields.text("negative_prompt")
    take(record, "steps", fields.get("steps"), whole_or_none)
    take(record, "seed", fields.get("seed"), whole_or_none)
    take(record, "guidance", fields.get("guidance_scale"), real, "guidance_scale")
    take(record, "clip_skip", fields.get("clip_skip"), whole_or_none)
    take_sampler(record, fields.text("sampler"), fields.text("scheduler"))
    if size := re.fullmatch(r"\(([0-9]{1,9}), ([0-9]{1,9})\)", str(raw.get("resolution"))[:40]):
        fields.get("resolution")
        record.options |= {"width": int(size[1]), "height": int(size[2])}
    if raw.get("styles") == "[]":
        fields.get("styles")
    if raw.get("refiner_model") in (None, "", "None"):
        fields.get("refiner_switch")
    lost_fields(record, fields.unread(HARMLESS, USUAL))
    check_prompt(record)
    return record
