"""What plugins of GIMP, Photoshop and Krita send, read in their sources; the plugins themselves were not run."""

import base64

import pytest

from serving import png, recorded, sdapi

SIDES = {"width": 64, "height": 64}
CODED = base64.b64encode(png((64, 64))).decode()
GIMP_UNIT = {
    "input_image": CODED,
    "mask": "",
    "module": "none",
    "model": "canny",
    "weight": 0.8,
    "resize_mode": "Scale to Fit (Inner Fit)",
    "lowvram": False,
    "processor_res": 64,
    "threshold_a": 64,
    "threshold_b": 64,
    "guidance": 1.0,
    "guidance_start": 0.0,
    "guidance_end": 0.5,
    "control_mode": 2,
}


def test_gimp(asked):
    """Stable Gimpfusion 15 (3a92fcf) for GIMP 2.10 and stable-gimpfusion3 0.1.0 (5809fc2) for GIMP 3."""
    http = asked()
    assert "canny" in http.get("/controlnet/model_list").json()["model_list"]
    assert "other" in [each["title"] for each in http.get("/sdapi/v1/sd-models").json()]
    assert http.get("/sdapi/v1/progress?skip_current_image=true").json()["current_image"] is None
    plain = {"prompt": "a house", "negative_prompt": "", "denoising_strength": 0.8, "steps": 4, "cfg_scale": 7.5}
    plain |= {**SIDES, "sampler_index": "DPM++ 2M Karras", "batch_size": 2, "seed": -1}
    start = {"resize_mode": 0, "init_images": [CODED], "mask": CODED, "mask_blur": 4, "inpainting_fill": 1}
    start |= {"inpaint_full_res": False, "inpaint_full_res_padding": 10, "inpainting_mask_invert": 0}
    units = {"alwayson_scripts": {"controlnet": {"args": [GIMP_UNIT]}}}
    for path, payload in {"txt2img": plain, "img2img": plain | start | units}.items():
        images, info, spec = sdapi(http, path, payload)
        assert len(images) == len(info["infotexts"]) == len(info["all_seeds"]) == 2
        assert (spec.options["sampler"], spec.options["spacing"]) == ("dpmpp_2m", "karras")
    (control,) = spec.options["controls"]
    assert {"name": "canny", "strength": 0.8, "end": 0.5, "guess": True}.items() <= control.items()
    assert {"strength": 0.8, "mask_blur": 4, "only_masked": False}.items() <= spec.options.items()
    other = {"txt2img": plain | start, "img2img": plain | start | {"enable_hr": True}}  # fields of the other one
    specs = [sdapi(http, path, payload)[2] for path, payload in other.items()]
    assert [sorted(spec.pictures) for spec in specs] == [[], ["image", "mask"]] and "hires" not in specs[1].options


def test_photoshop(asked):
    """Auto-Photoshop-StableDiffusion-Plugin 1.4.1 (6f6d490): units that are off, and png-info of every picture."""
    http = asked()
    assert http.get("/controlnet/settings").json()["control_net_unit_count"] > 0
    modules = http.get("/controlnet/module_list?alias_names=true").json()
    assert all(modules["module_detail"][name]["model_free"] is False for name in modules["module_list"])
    assert http.get("/sdapi/v1/script-info").json() == [] and http.post("/sdapi/v1/interrogate", json={}).is_error
    assert http.post("/sdapi/v1/options", json={"sd_vae": "storybook-tiny"}).status_code == 200
    off = {"enabled": False, "input_image": "", "mask": "", "module": "none", "model": "None"}
    on = {"enabled": True, "module": "canny", "model": "canny", "weight": 1, "control_mode": 0, "pixel_perfect": True}
    payload = {"prompt": "a house", "negative_prompt": "", **SIDES, "steps": 4, "cfg_scale": 7, "seed": "-1"}
    payload |= {"mode": "img2img", "sampler_name": "Euler a", "batch_size": 1, "subseed": -1, "selection_info": {}}
    payload |= {"init_images": [CODED], "controlnet_units": [off, on], "override_settings": {}, "hr_scale": 2}
    payload |= {"alwayson_scripts": {"ADetailer": {"args": [False, {}]}, "controlnet": {"args": [off, on]}}}
    (image,), _, spec = sdapi(http, "img2img", payload)
    (control,) = spec.options["controls"]  # of the picture of img2img
    assert control["prepare"] == "canny" and "controls.0" in spec.pictures and spec.options["strength"] == 0.75
    assert spec.options["vae"] == "storybook-tiny"
    found = http.post("/sdapi/v1/png-info", json={"image": f"data:image/png;base64,{image}"}).json()
    assert {"Seed": "7", "Steps": "4", "Size-1": "8", "Prompt": "a house"}.items() <= found["parameters"].items()
    assert found["info"].startswith("a house")


KRITA_LISTS = "sd-models sd-vae samplers upscalers face-restorers prompt-styles scripts loras embeddings hypernetworks"


def test_krita(asked):
    """Cyanic SD-Krita (5678aa1): it is connected where /queue/status answers."""
    http = asked()
    paths = ["/queue/status", *(f"/sdapi/v1/{name}" for name in f"{KRITA_LISTS} options".split())]
    paths += [f"/controlnet/{name}" for name in ("version", "settings", "control_types", "model_list?update=true")]
    assert {http.get(path).status_code for path in paths} == {200}
    assert "controlnet" in http.get("/sdapi/v1/scripts").json()["txt2img"]
    types = http.get("/controlnet/control_types").json()["control_types"]
    assert "canny" in types["All"]["module_list"] and "canny" in types["All"]["model_list"]
    payload = {"prompt": "a house", "negative_prompt": "", "cfg_scale": 7.0, "seed": -1, "subseed": -1, "steps": 4}
    payload |= {"subseed_strength": 0.2, "n_iter": 2, "batch_size": 1, "sampler_name": "Euler a", **SIDES}
    payload |= {"override_settings": {"sd_model_checkpoint": "other", "sd_vae": "Automatic"}}
    payload |= {"override_settings_restore_afterwards": False, "CYANIC": {"results_below_layer_uuid": "x"}}
    second = {"enable_hr": True, "hr_upscaler": "twice", "hr_second_pass_steps": 0, "denoising_strength": 0.5}
    images, _, spec = sdapi(http, "txt2img", payload | second | {"hr_resize_x": 96, "hr_resize_y": 96})
    assert len(images) == 2 and {"hires": 1.5, "enlarger": "twice"}.items() <= spec.options.items()
    assert spec.options["subseed"] >= 0  # any
    unit = {"enabled": True, "module": "inpaint_only", "model": "canny", "image": {"image": CODED, "mask": CODED}}
    unit |= {"weight": 1.0, "control_mode": "ControlNet is more important", "guidance_end": 1.0}
    repaint = {"init_images": [CODED], "mask": CODED, "mask_blur": 4, "inpainting_mask_invert": 1}
    repaint |= {"inpainting_fill": 1, "inpaint_full_res": True, "inpaint_full_res_padding": 0}
    repaint |= {"alwayson_scripts": {"controlnet": {"args": [{}, unit]}}}
    _, _, spec = sdapi(http, "img2img", payload | repaint)
    (control,) = spec.options["controls"]
    assert (control["prepare"], control["guess"], spec.options["only_masked"]) == ("inpaint", True, True)
    assert "mask.inverted" in spec.pictures


def test_what_a_controlnet_sees_is_shown(asked):
    """The same plugin's preview, and Photoshop's."""
    http = asked()
    payload = {"controlnet_input_images": [CODED], "controlnet_processor_res": 512, "controlnet_threshold_a": 64}
    found = http.post("/controlnet/detect", json={**payload, "controlnet_module": "blur_gaussian"}).json()
    assert base64.b64decode(found["images"][0]) == recorded() and found["info"]
    (spec,) = http.specs
    assert (spec.task, spec.model) == ("prepare", "blur")
    assert http.post("/controlnet/detect", json={**payload, "controlnet_module": "none"}).json()["images"] == [CODED]
    for wrong in ({"controlnet_module": "openpose"}, {"controlnet_module": ["x"]}, {"controlnet_input_images": ["x"]}):
        answer = http.post("/controlnet/detect", json={**payload, "controlnet_module": "canny", **wrong})
        assert answer.status_code == 422 and "; " in answer.json()["detail"]


@pytest.mark.parametrize(
    "asked_for, options",
    [
        ({"upscaler_1": "twice"}, {"width": 128, "height": 128, "crop": False}),
        ({"upscaler_1": "Lanczos", "upscaling_resize": 1.5}, {"width": 96, "height": 96, "crop": False}),
        (
            {"upscaler_1": "twice", "resize_mode": 1, "upscaling_resize_w": 96, "upscaling_resize_h": 64},
            {"width": 96, "height": 64, "crop": True},
        ),
        (
            {"upscaler_1": "twice", "resize_mode": 1, "upscaling_resize_w": 96, "upscaling_crop": False},
            {"width": 512, "height": 512, "crop": False},
        ),
    ],
)
def test_krita_s_upscaling(asked, asked_for, options):
    """The same plugin: by a factor, or to a size."""
    http = asked()
    answer = http.post("/sdapi/v1/extra-single-image", json={"image": CODED, **asked_for})
    assert base64.b64decode(answer.json()["image"]) == recorded() and options.items() <= http.specs[0].options.items()


def test_a_picture_without_an_upscaler_stays_as_it_is(asked):
    http = asked()
    answer = http.post("/sdapi/v1/extra-single-image", json={"image": CODED, "upscaler_1": "None"})
    assert answer.json()["image"] == CODED and not http.specs
    for wrong in ({"upscaling_resize": 9}, {"upscaling_resize": "x"}, {"resize_mode": 1, "upscaling_resize_w": 0}):
        answer = http.post("/sdapi/v1/extra-single-image", json={"image": CODED, "upscaler_1": "Lanczos", **wrong})
        assert answer.status_code == 422 and "; " in answer.json()["detail"]


def test_img2img_without_a_picture_is_not_found(asked):
    answer = asked().post("/sdapi/v1/img2img", json={"prompt": "a house"})
    assert answer.status_code == 404 and answer.json()["detail"].startswith("Init image not found")


JUNK = (None, True, -1, 1e9, 2.5, "", "x", CODED, [], ["x"], [None], {}, {"a": 1}, {"controlnet": {"args": [[], {}]}})
WHOLE = {"prompt": "a house", "steps": 2, **SIDES, "init_images": [CODED], "mask": CODED, "enable_hr": True}
OF_TEXT = ("seed", "subseed_strength", "hr_resize_x", "clip_skip", "refiner_checkpoint", "sampler_name", "model")
OF_PICTURES = ("inpainting_fill", "mask_blur", "alwayson_scripts", "override_settings", "denoising_strength")
FIELDS = {
    "/sdapi/v1/txt2img": (WHOLE, (*WHOLE, *OF_TEXT)),
    "/sdapi/v1/img2img": (WHOLE, (*WHOLE, *OF_PICTURES)),
    "/sdapi/v1/extra-single-image": (
        {"image": CODED, "upscaler_1": "Lanczos", "resize_mode": 1},
        ("image", "upscaler_1", "resize_mode", "upscaling_resize", "upscaling_resize_w", "upscaling_crop"),
    ),
    "/sdapi/v1/options": ({}, ("sd_model_checkpoint", "sd_vae", "CLIP_stop_at_last_layers")),
    "/controlnet/detect": (
        {"controlnet_module": "canny", "controlnet_input_images": [CODED]},
        ("controlnet_module", "controlnet_input_images"),
    ),
}


@pytest.mark.parametrize("path", FIELDS)
def test_whatever_a_field_has_is_answered(asked, path):
    http, (payload, fields) = asked(), FIELDS[path]
    assert http.post(path, json=payload).status_code == 200
    for name in fields:
        for junk in JUNK:
            answer = http.post(path, json={**payload, name: junk})
            assert answer.status_code in (200, 404, 422), (name, junk, answer.text)


def test_whatever_a_unit_has_is_answered(asked):
    http, unit = asked(), {"model": "canny", "image": CODED, "module": "canny", "control_mode": 0, "guidance_end": 1}
    for name in unit:
        for junk in JUNK:
            scripts = {"controlnet": {"args": [{**unit, name: junk}]}}
            answer = http.post("/sdapi/v1/txt2img", json={**WHOLE, "alwayson_scripts": scripts})
            assert answer.status_code in (200, 404, 422), (name, junk, answer.text)
