"""What stable-diffusion.cpp says in its own way: samplers with their schedule, and a JSON object behind the text."""

from pleinair.files.foreign.record import (
    Fields,
    ForeignRecord,
    lost_fields,
    numbers_of,
    parsed,
    take_sampler,
)

HARMLESS = {
    *("schema", "generator.name", "generator.commit", "width", "height", "models.model", "batch_count"),
    *("sampling.guidance.distilled_guidance", "sampling.guidance.img_cfg", "auto_resize_ref_image"),
    *("sampling.guidance.slg.layers", "sampling.guidance.slg.start", "sampling.guidance.slg.end"),
    *("increase_ref_index", "seed", "clip_skip", "rng"),
}
USUAL = {  # its defaults, which it writes too
    "mode": ("img_gen",),
    "sampling.guidance.slg.scale": (0,),
    "sampling.shifted_timestep": (0, -1),
    "strength": (0.75,),
    "control_strength": (0.9,),
    "ip_adapter_strength": (1,),
    "sampling.eta": (0,),
}


def take_sdcpp(record: ForeignRecord, fields: Fields, extra: str) -> None:
    """Its "Sampler: euler_a karras", and what its JSON says more exactly."""
    sampler, _, schedule = fields.text("Sampler").partition(" ")
    if numbers := numbers_of(fields.raw.get("Custom Sigmas", "")):
        fields.get("Custom Sigmas")
        record.options["sigmas"] = numbers
    if extra:
        raw = parsed(extra)
        if isinstance(raw, dict):
            record.settings["SDCPP"] = raw
            more = Fields(raw)
            sampler, schedule = _take_sdcpp_json(record, more, sampler, schedule)
            lost_fields(record, more.unread(HARMLESS, USUAL))
        else:
            record.lose("not followed: SDCPP, which is not a JSON object")
    take_sampler(record, sampler, schedule)


def _take_sdcpp_json(record: ForeignRecord, more: Fields, sampler: str, schedule: str) -> tuple[str, str]:
    """The prompt without the <lora:...> that the text repeats, and the names of sampler and schedule."""
    prompt, sampling = more.part("prompt"), more.part("sampling")
    guidance = sampling.part("guidance")
    guidance.part("slg")
    guidance.get("txt_cfg")  # which the text has too, like some others
    if positive := prompt.text("positive"):
        record.prompt, record.negative = positive, prompt.text("negative")
    record.version = more.part("generator").text("version") or record.version
    more.part("models")
    for name in ("steps", "custom_sigmas"):
        sampling.get(name)
    hires = more.raw.get("hires")
    if isinstance(hires, dict) and hires.get("enabled") is False:
        more.get("hires")
    return sampling.text("method") or sampler, sampling.text("scheduler") or schedule
