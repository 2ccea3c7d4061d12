"""A1111's payloads in our own words: what txt2img and img2img are sent, as the body of a job."""

import secrets
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
SKIP = "CLIP_stop_at_last_layers"
SEEDS = 1 << 32  # of which A1111 draws one
CONTROL = ("controlnet", "ControlNet")
MODULES = {  # of the ControlNet extension -> the way to prepare a picture
    "invert (from white bg & black line)": "invert",
    "blur_gaussian": "blur",
    "inpaint_only": "inpaint",
    "inpaint_global_harmonious": "inpaint",
}
AXES = {"x": "width", "y": "height"}
GUESSING = (2, "2", "ControlNet is more important")  # of `control_mode`


def body_of(payload: Mapping[str, Any], here: Listed, set_before: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a job, of a payload and the options that were `set_before`.

    Raises Refused for a sampler that is not here (404), as A1111 does.
    """
    set_here = payload.get("override_settings")
    override = {**set_before, **(set_here if isinstance(set_here, Mapping) else {})}
    body = {option: payload[name] for name, option in PLAIN.items() if payload.get(name) not in (None, -1)}
    named = payload.get("model")  # SillyTavern's, of stable-diffusion.cpp's dialect
    body |= {"model": named if named in (*here.models,) else title_of(override.get("sd_model_checkpoint")) or None}
    if payload.get("negative_prompt"):
        body["negative"] = payload["negative_prompt"]
    body |= noise_of(payload) | sampling_of(payload, "sampler_name", "scheduler", "")
    size = whole(payload.get("batch_size"), 1)
    body |= {"count": size * whole(payload.get("n_iter"), 1), "batch": size}
    if payload.get("tiling"):
        body["tile"] = True
    if (skip := max(whole(override.get(SKIP), 1), whole(payload.get("clip_skip"), 1))) > 1:
        body["clip_skip"] = skip
    if (vae := override.get("sd_vae")) not in NONE:
        body["vae"] = vae
    if (refiner := payload.get("refiner_checkpoint")) not in NONE:
        body["refiner"] = title_of(refiner)
        if payload.get("refiner_switch_at") is not None:
            body["refiner_start"] = payload["refiner_switch_at"]
    return body | start_of(payload) | larger_of(payload, here) | controls_of(payload)


def noise_of(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Seeds; -1 is any."""
    found = {} if payload.get("seed") in (None, -1, "-1") else {"seed": payload["seed"]}
    if strength := payload.get("subseed_strength"):
        given = payload.get("subseed")
        subseed = secrets.randbelow(SEEDS) if given in (None, -1, "-1") else given
        found |= {"subseed": subseed, "subseed_strength": strength}
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
    found: dict[str, Any] = {"hires": size_factor(payload) or payload.get("hr_scale") or 2}
    if payload.get("denoising_strength") is not None:
        found["hires_strength"] = payload["denoising_strength"]
    if steps := whole(payload.get("hr_second_pass_steps"), 0):
        found["hires_steps"] = steps
    name = str(payload.get("hr_upscaler") or "Latent")
    found["enlarger"] = name if name in here.upscalers else "lanczos" if name.lower() == "lanczos" else "latent"
    return found | sampling_of(payload, "hr_sampler_name", "hr_scheduler", "hires_")


def size_factor(payload: Mapping[str, Any]) -> float | None:
    """How many times larger the second pass is, where its size was given; of two sides the one that grows more."""
    sides = ((whole(payload.get(f"hr_resize_{axis}"), 0), whole(payload.get(side), 0)) for axis, side in AXES.items())
    return max((target / first for target, first in sides if target and first), default=None)


def controls_of(payload: Mapping[str, Any]) -> dict[str, Any]:
    """The units of the ControlNet extension that are on and have a picture, be it that of img2img."""
    scripts = payload.get("alwayson_scripts")
    scripts = scripts if isinstance(scripts, Mapping) else {}
    units: list[Any] = []
    for name in CONTROL:
        found = scripts.get(name)
        units += listed_in(found.get("args")) if isinstance(found, Mapping) else []
    first = next(iter(listed_in(payload.get("init_images"))), None)
    on = [each for each in units if isinstance(each, Mapping) and each.get("enabled", True) is not False]
    controls = [control_of(each, image) for each in on if each.get("model") and (image := shown_to(each) or first)]
    return {"controls": controls} if controls else {}


def shown_to(unit: Mapping[str, Any]) -> Any:
    """The picture that a unit sees."""
    image = unit.get("image") or unit.get("input_image")
    return image.get("image") if isinstance(image, Mapping) else image


def control_of(unit: Mapping[str, Any], image: Any) -> dict[str, Any]:
    """A unit as one of a job's `controls`."""
    way = unit.get("module")
    names = {"strength": "weight", "start": "guidance_start", "end": "guidance_end"}
    return {
        "name": title_of(unit.get("model")),
        "image": image,
        **{option: unit[name] for option, name in names.items() if unit.get(name) is not None},
        **({} if way in NONE else {"preprocessor": MODULES.get(way, way) if isinstance(way, str) else way}),
        **({"guess": True} if unit.get("control_mode") in GUESSING or unit.get("guessmode") is True else {}),
    }


def listed_in(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def title_of(title: Any) -> Any:
    """ "storybook [1a2b3c]" -> "storybook"."""
    return title.partition(" [")[0] if isinstance(title, str) else title


def whole(value: Any, usual: int) -> int:
    """A small whole number of a payload; the usual one for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 10_000 else usual
