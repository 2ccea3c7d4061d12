"""A1111's payloads in our own words: what txt2img and img2img are sent, as the body of a job."""

from collections.abc import Mapping
from typing import Any

from pleinair.errors import RequestError
from pleinair.sampling.names import SCHEDULE_TYPES, bare, sampler_named
from pleinair.sampling.samplers import OFF, SAMPLERS
from pleinair.serve.naming import Listed
from pleinair.serve.refusals import Refused

PLAIN = {  # of a payload -> option
    "prompt": "prompt",
    "steps": "steps",
    "cfg_scale": "guidance",
    "width": "width",
    "height": "height",
}
OF_PICTURES = {"denoising_strength": "strength", "image_cfg_scale": "image_guidance"}
OF_MASKS = {"mask_blur": "mask_blur", "inpaint_full_res": "only_masked", "inpaint_full_res_padding": "padding"}
FILLS = {0: "original", 1: "original", 2: "noise", 3: "blank"}  # of `inpainting_fill`; 0 would spread colours
RENEWING = {"eta": "eta", "s_churn": "s_churn", "s_noise": "s_noise"}
SPACINGS = {bare(label): name for name, label in SCHEDULE_TYPES.items() if label != "Automatic"}
NONE = (None, "", "None", "none", "Automatic", "automatic", "Use same sampler", "Use same scheduler")
CONTROL = ("controlnet", "ControlNet")


def body_of(payload: Mapping[str, Any], here: Listed, model: str | None) -> dict[str, Any]:
    """The body of a job. Raises Refused for a sampler that is not here (404), as A1111 does."""
    set_here = payload.get("override_settings") or {}
    override = set_here if isinstance(set_here, Mapping) else {}
    body = {option: payload[name] for name, option in PLAIN.items() if payload.get(name) not in (None, -1)}
    body |= {"model": title_of(override.get("sd_model_checkpoint")) or model}
    if payload.get("negative_prompt"):
        body["negative"] = payload["negative_prompt"]
    body |= noise_of(payload) | sampling_of(payload, "sampler_name", "scheduler", "")
    size = whole(payload.get("batch_size"), 1)
    body |= {"count": size * whole(payload.get("n_iter"), 1), "batch": size}
    if payload.get("tiling"):
        body["tile"] = True
    if (skip := whole(override.get("CLIP_stop_at_last_layers"), 1)) > 1:
        body["clip_skip"] = skip
    if (vae := override.get("sd_vae")) not in NONE:
        body["vae"] = vae
    return body | start_of(payload) | larger_of(payload, here) | controls_of(payload)


def noise_of(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Seeds; -1 is any."""
    found = {} if payload.get("seed") in (None, -1, "-1") else {"seed": payload["seed"]}
    strength = payload.get("subseed_strength") or 0
    if strength and payload.get("subseed") not in (None, -1):
        found |= {"subseed": payload["subseed"], "subseed_strength": strength}
    return found


def sampling_of(payload: Mapping[str, Any], sampler: str, scheduler: str, prefix: str) -> dict[str, Any]:
    """A sampler with its schedule type, and what it has of options of its own."""
    found: dict[str, Any] = {}
    name = payload.get(sampler) or (payload.get("sampler_index") if not prefix else None)
    if name not in NONE:
        try:
            known, spacing = sampler_named(name)
        except RequestError as error:
            raise Refused(404, "sampler_not_found", f"Sampler not found: {error}", field=sampler) from None
        found = {f"{prefix}sampler": known, **({f"{prefix}spacing": spacing} if spacing else {})}
        has = SAMPLERS[known].options if not prefix else ()
        found |= {
            option: payload[name]
            for name, option in RENEWING.items()
            if option in has and payload.get(name) not in (None, OFF[option])
        }
    kind = payload.get(scheduler)
    if kind not in NONE and (spacing := SPACINGS.get(bare(str(kind)))):
        found[f"{prefix}spacing"] = spacing
    return found


def start_of(payload: Mapping[str, Any]) -> dict[str, Any]:
    """The picture of img2img, and its mask."""
    images = payload.get("init_images") or []
    if not images:
        return {}
    if not isinstance(images, list) or len(images) > 1:
        raise Refused(422, "invalid_request", "several init_images were sent; send one", field="init_images")
    found = {"image": images[0]} | {
        option: payload[name] for name, option in OF_PICTURES.items() if payload.get(name) is not None
    }
    if payload.get("mask"):
        found |= {"mask": payload["mask"], "fill": FILLS.get(whole(payload.get("inpainting_fill"), 0), "original")}
        found |= {option: payload[name] for name, option in OF_MASKS.items() if payload.get(name) is not None}
        found["only_masked"] = bool(found.get("only_masked"))
    return found


def larger_of(payload: Mapping[str, Any], here: Listed) -> dict[str, Any]:
    """The second pass, where `enable_hr` asks for one."""
    if payload.get("enable_hr") is not True:
        return {}
    found: dict[str, Any] = {"hires": payload.get("hr_scale") or 2}
    if payload.get("denoising_strength") is not None:
        found["hires_strength"] = payload["denoising_strength"]
    if steps := whole(payload.get("hr_second_pass_steps"), 0):
        found["hires_steps"] = steps
    name = str(payload.get("hr_upscaler") or "Latent")
    found["enlarger"] = name if name in here.upscalers else "lanczos" if name.lower() == "lanczos" else "latent"
    return found | sampling_of(payload, "hr_sampler_name", "hr_scheduler", "hires_")


def controls_of(payload: Mapping[str, Any]) -> dict[str, Any]:
    """The units of the ControlNet extension that are on and have a picture."""
    scripts = payload.get("alwayson_scripts")
    scripts = scripts if isinstance(scripts, Mapping) else {}
    units: list[Any] = []
    for name in CONTROL:
        found = scripts.get(name)
        listed = found.get("args") if isinstance(found, Mapping) else None
        units += listed if isinstance(listed, list) else []
    controls = [
        control_of(each) for each in units if isinstance(each, Mapping) and each.get("enabled", True) is not False
    ]
    return {"controls": controls} if controls else {}


def control_of(unit: Mapping[str, Any]) -> dict[str, Any]:
    image = unit.get("image") or unit.get("input_image")
    image = image.get("image") if isinstance(image, Mapping) else image
    way = unit.get("module")
    names = {"strength": "weight", "start": "guidance_start", "end": "guidance_end"}
    return {
        "name": title_of(unit.get("model")),
        "image": image,
        **{option: unit[name] for option, name in names.items() if unit.get(name) is not None},
        **({} if way in NONE else {"preprocessor": way}),
    }


def title_of(title: Any) -> Any:
    """ "storybook [1a2b3c]" -> "storybook"."""
    return title.partition(" [")[0] if isinstance(title, str) else title


def whole(value: Any, usual: int) -> int:
    """A small whole number of a payload; the usual one for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 10_000 else usual
