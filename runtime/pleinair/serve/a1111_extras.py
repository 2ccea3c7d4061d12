"""What A1111's interface does beside painting: pictures made larger, or ready for a ControlNet."""

import base64
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from pleinair.checks import number, one_of
from pleinair.pictures.preparing import PREPARERS
from pleinair.request.options import OPTIONS
from pleinair.serve.a1111_lists import Chosen
from pleinair.serve.a1111_payload import MODULES
from pleinair.serve.asking import PREPARE, RESIZING, UPSCALE, asked_job, checked, over
from pleinair.serve.job import JobSpec
from pleinair.serve.pictures_in import picture_bytes, size_of
from pleinair.serve.refusals import Refused
from pleinair.serve.settings import RequestLimits
from pleinair.serve.shared import Shared

FACTOR, SIDE = 2.0, 512  # that A1111 takes where a payload does not say
MOST_TIMES = 8.0
UNCHANGED = ("None", "", None)  # names of no upscaler


async def single(request: Request, shared: Shared, chosen: Chosen, body: Mapping[str, Any]) -> Response:
    """The answer to POST /extra-single-image."""
    return JSONResponse({"html_info": "", "image": await enlarged(request, shared, chosen, body, body.get("image"))})


async def batch(request: Request, shared: Shared, chosen: Chosen, body: Mapping[str, Any]) -> Response:
    """The answer to POST /extra-batch-images: one after the other."""
    listed, most = body.get("imageList"), shared.settings.limits.count
    if not isinstance(listed, list) or len(listed) > most:
        raise Refused(422, "invalid_request", f"imageList must be at most {most} pictures; send fewer")
    given = [each.get("data") if isinstance(each, Mapping) else each for each in listed]
    images = [await enlarged(request, shared, chosen, body, data) for data in given]
    return JSONResponse({"html_info": "", "images": images})


async def detect(request: Request, shared: Shared, chosen: Chosen, body: Mapping[str, Any]) -> Response:
    """The answer to the ControlNet extension's POST /detect: what a ControlNet would see of pictures."""
    listed, most = body.get("controlnet_input_images"), shared.settings.limits.count
    if not isinstance(listed, list) or len(listed) > most:
        raise Refused(422, "invalid_request", f"controlnet_input_images must be at most {most} pictures; send fewer")
    way = body.get("controlnet_module", "none")
    if way in UNCHANGED or way == "none":
        return JSONResponse({"images": listed, "info": "Success"})
    images = []
    for data in listed:
        job = await chosen.done(request, shared, await shared.checks(prepare_of, shared, way, data))
        images += [base64.b64encode(each.data).decode() for each in job.pictures]
    return JSONResponse({"images": images, "info": "Success"})


def prepare_of(shared: Shared, way: Any, image: Any) -> JobSpec:
    """A picture to be prepared."""
    known = MODULES.get(way, way) if isinstance(way, str) else way
    checked("controlnet_module", one_of, "controlnet_module", known, PREPARERS)
    most = shared.settings.limits.input_pixels
    data = checked("controlnet_input_images", picture_bytes, "image", image, most)
    width, height = size_of("image", data, most)
    return JobSpec(PREPARE, known, {}, {"image": data}, width * height, False)


async def enlarged(request: Request, shared: Shared, chosen: Chosen, body: Mapping[str, Any], image: Any) -> str:
    """A larger picture in base64; without an upscaler the one that was sent, as A1111 has it."""
    limits = shared.settings.limits
    if body.get("upscaler_1") in UNCHANGED:
        data = await shared.checks(checked, "image", picture_bytes, "image", image, limits.input_pixels)
    else:
        job = await chosen.done(request, shared, await shared.checks(upscale_of, shared, body, image))
        if not job.pictures:
            raise Refused(409, "cancelled", "the job was interrupted; send it again")
        data = job.pictures[0].data
    return base64.b64encode(data).decode()


def upscale_of(shared: Shared, body: Mapping[str, Any], image: Any) -> JobSpec:
    """A picture to be made larger by `upscaler_1`, and brought to the size that is asked for."""
    limits, name = shared.settings.limits, body["upscaler_1"]
    if name == RESIZING:
        data = checked("image", picture_bytes, "image", image, limits.input_pixels)
        spec = JobSpec(UPSCALE, name, {}, {"image": data}, 0, False)
    else:
        spec = asked_job({"task": UPSCALE, "image": image, "upscale": name}, shared.index, limits, False)
    size = target_of(body, *size_of("image", spec.pictures["image"], limits.input_pixels), limits)
    return replace(spec, options={**spec.options, **size}, work=max(spec.work, size["width"] * size["height"]))


def target_of(body: Mapping[str, Any], width: int, height: int, limits: RequestLimits) -> dict[str, Any]:
    """The size that a payload asks for: a factor, or sides within which the picture is cut or not."""
    crop = False
    if body.get("resize_mode") == 1:
        sides = {name: body.get(f"upscaling_resize_{name[0]}", SIDE) for name in ("width", "height")}
        across, down = (checked(name, OPTIONS[name].type.read, name, side) for name, side in sides.items())
        crop = body.get("upscaling_crop", True) is not False
        factor = max(across / width, down / height)
    else:
        given = body.get("upscaling_resize", FACTOR)
        factor = checked("upscaling_resize", number, "upscaling_resize", given, 0.01, MOST_TIMES)
    larger = (across, down) if crop else (max(1, round(width * factor)), max(1, round(height * factor)))
    if larger[0] * larger[1] > limits.input_pixels:
        pixels = f"the larger picture has {larger[0] * larger[1]:,} pixels"
        raise over("upscaling_resize", pixels, limits.input_pixels, "choose a smaller one")
    return {"width": larger[0], "height": larger[1], "crop": crop}
