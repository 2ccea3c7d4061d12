"""What programs to chat and automate with send, read in their sources; the programs themselves were not run."""

import base64
from io import BytesIO

from PIL import Image

from serving import png, recorded, sdapi

SIDES = {"width": 64, "height": 64}
KEY = "0123456789abcdef"


def test_open_webui_as_a1111(asked):
    """open-webui at 02530d5, routers/images.py: without a password its authorization is "Basic Og==" or nothing."""
    for authorization in ("", "Basic Og=="):
        http = asked({"authorization": authorization})
        options = http.get("/sdapi/v1/options").json()
        models = http.get("/sdapi/v1/sd-models").json()
        assert options["sd_model_checkpoint"] in [each["title"] for each in models]
        options["sd_model_checkpoint"] = "storybook"
        assert http.post("/sdapi/v1/options", json=options).status_code == 200
        plain = {"prompt": "a house", "batch_size": 2, **SIDES, "steps": 4, "negative_prompt": "night"}
        images, info, spec = sdapi(http, "txt2img", plain)
        assert len(images) == 2 and info["all_seeds"] == [7, 8]
        assert (spec.model, spec.options["count"], spec.options["negative"]) == ("storybook", 2, "night")
        assert http.get("/sdapi/v1/options").json()["sd_model_checkpoint"] == "storybook"


def test_open_webui_as_openai(asked):
    """The same file: an edit of a stranger's model name, `image` for one picture and `image[]` for a list."""
    http = asked({"Authorization": f"Bearer {KEY}"}, key=KEY)
    asked_for = {"model": "dall-e-2", "prompt": "a house", "n": 1, "size": "64x64", "response_format": "b64_json"}
    (image,) = http.post("/v1/images/generations", json=asked_for).json()["data"]
    assert not image.get("url") and base64.b64decode(image["b64_json"]) == recorded()
    fields = {"model": "gpt-image-1", "prompt": "a boat", "n": "1", "size": "64x64", "response_format": "b64_json"}
    for name in ("image", "image[]"):
        file = {name: ("0b.png", png((64, 64)), "image/png")}
        answer = http.post("/v1/images/edits?api-version=1", data=fields, files=file)
        assert answer.status_code == 200 and answer.json()["data"][0]["b64_json"]
    assert [sorted(spec.pictures) for spec in http.specs] == [[], ["image"], ["image"]]


SILLY_TAVERN = {
    "url": "http://127.0.0.1:7860",
    "auth": "",
    "prompt": "a house",
    "negative_prompt": "",
    "sampler_name": "Euler a",
    "scheduler": "karras",
    "steps": 4,
    "cfg_scale": 7,
    **SIDES,
    "restore_faces": False,
    "enable_hr": True,
    "hr_upscaler": "Latent",
    "hr_scale": 1.5,
    "hr_additional_modules": [],
    "denoising_strength": 0.7,
    "hr_second_pass_steps": 0,
    "override_settings": {"CLIP_stop_at_last_layers": 2, "sd_vae": "storybook-tiny"},
    "override_settings_restore_afterwards": True,
    "clip_skip": 2,
    "save_images": True,
    "send_images": True,
    "do_not_save_grid": False,
    "do_not_save_samples": False,
    "alwayson_scripts": {"ADetailer": {"args": [True, True, {"ad_model": "face_yolov8n.pt"}]}},
}


def test_sillytavern_as_a1111(asked):
    """SillyTavern at 02903fd, endpoints/stable-diffusion.js, in its order, with the key as password."""
    http = asked({"Authorization": f"Basic {base64.b64encode(f'me:{KEY}'.encode()).decode()}"}, key=KEY)
    assert "forge_preset" not in http.get("/sdapi/v1/options").json()
    listed = {
        name: [each[field] for each in http.get(f"/sdapi/v1/{name}").json()]
        for name, field in {
            "upscalers": "name",
            "latent-upscale-modes": "name",
            "sd-vae": "model_name",
            "samplers": "name",
            "schedulers": "name",
            "sd-models": "title",
        }.items()
    }
    assert listed["upscalers"][0] == "None" and SILLY_TAVERN["hr_upscaler"] in listed["latent-upscale-modes"]
    assert http.get("/sdapi/v1/sd-modules").status_code == 404  # Forge's
    for name, field in {"samplers": "sampler_name", "schedulers": "scheduler"}.items():
        assert SILLY_TAVERN[field] in listed[name]
    assert "storybook-tiny" in listed["sd-vae"]
    assert http.post("/sdapi/v1/options", json={"sd_model_checkpoint": "storybook"}).status_code == 200
    progress = http.get("/sdapi/v1/progress").json()
    assert (progress["progress"], progress["state"]["job_count"]) == (0.0, 0)
    images, _, spec = sdapi(http, "txt2img", SILLY_TAVERN)
    expected = {"sampler": "euler_a", "spacing": "karras", "hires": 1.5, "hires_strength": 0.7, "clip_skip": 2}
    assert len(images) == 1 and {**expected, "vae": "storybook-tiny"}.items() <= spec.options.items()
    assert http.post("/sdapi/v1/interrupt").status_code == 200  # sent when its page is closed


def test_sillytavern_as_stable_diffusion_cpp(asked):
    """The same file: a ping, the list of models, and a payload that names one."""
    http = asked()
    assert http.options("/v1/images/generations").status_code == 204
    (name, *_) = [each["id"] for each in http.get("/v1/models").json()["data"] if each["id"] != "other"]
    payload = {"model": name, "prompt": "a house", **SIDES, "steps": 4, "cfg_scale": 7, "seed": -1, "batch_size": 1}
    _, _, spec = sdapi(http, "txt2img", payload | {"sampler_name": "Euler a", "clip_skip": 2})
    assert (spec.model, spec.options["clip_skip"]) == (name, 2)


def test_librechat_as_a1111(asked):
    """LibreChat's StableDiffusion.js (00b3bc3): the same numbers for every model, and `infotexts` of what it gets."""
    payload = {"prompt": "a house", "negative_prompt": "night", "cfg_scale": 4.5, "steps": 22}
    (image,), info, spec = sdapi(asked(), "txt2img", payload | {"width": 1024, "height": 1024})
    assert base64.b64decode(image.split(",", 1)[0]) == recorded()
    assert {"width", "height", "seed"} <= set(info) and "Steps: 4" in info["infotexts"][0].splitlines()[-1]
    assert (spec.options["guidance"], spec.options["steps"], spec.options["width"]) == (4.5, 22, 1024)


def test_librechat_as_openai(asked):
    """LibreChat's OpenAIImageTools.js (00b3bc3): generations of OpenAI's client, and a form of axios for edits."""
    http = asked()
    more = {"background": "auto", "output_format": "webp", "output_compression": 100, "quality": "auto", "size": "auto"}
    answer = http.post("/v1/images/generations", json={"model": "gpt-image-1", "prompt": "a house", "n": 1, **more})
    data = base64.b64decode(answer.json()["data"][0]["b64_json"])
    assert Image.open(BytesIO(data)).format == "WEBP"
    fields = {"model": "gpt-image-1", "prompt": "a boat", "quality": "auto", "size": "auto"}
    file = ("image[]", ("picture.png", png((64, 64)), "image/png"))
    assert http.post("/v1/images/edits", data=fields, files=[file]).json()["data"][0]["b64_json"]
    answer = http.post("/v1/images/edits", data=fields, files=[file, file])
    assert answer.status_code == 400 and "send one" in answer.json()["error"]["message"]


def test_nextcloud(asked):
    """integration_openai 5.0.0 (d807260): the list of models, then a picture without a response_format."""
    http = asked({"Authorization": f"Bearer {KEY}", "User-Agent": "Nextcloud OpenAI integration"}, key=KEY)
    models = http.get("/v1/models").json()["data"]
    assert all(isinstance(each["id"], str) for each in models)
    for model in ("dall-e-2", models[0]["id"]):
        asked_for = {"prompt": "a house", "size": "64x64", "n": 2, "model": model}
        answer = http.post("/v1/images/generations", json=asked_for)
        assert [each.get("url") for each in answer.json()["data"]] == [None, None]
        assert len([each["b64_json"] for each in answer.json()["data"]]) == 2
    error = http.post("/v1/images/generations", json={"prompt": "a house", "model": "flux"}).json()["error"]
    assert isinstance(error["message"], str)


def test_home_assistant(asked):
    """rest_command of docs/serve.md, whose body is a text, and `generate_image` of openai_conversation."""
    http = asked()
    body = '{"prompt": "a house", "size": "64x64", "response_format": "url"}'
    answer = http.post("/v1/images/generations", content=body, headers={"Content-Type": "application/json"})
    url = answer.json()["data"][0]["url"]
    assert http.get(url).content == recorded()
    old = {"model": "dall-e-3", "quality": "hd", "style": "vivid", "size": "1024x1024", "n": 1}
    answer = http.post("/v1/images/generations", json={"prompt": "a house", **old, "response_format": "url"})
    assert answer.json()["data"][0]["url"].startswith("http://127.0.0.1:7860/")


def test_comfyui_nodes_that_speak_openai(asked):
    """comfyui-gpt-image 1.3.0 (77b621c) and ComfyUI-AI-CustomURL (e0eeff8), which looks whether there is an `url`."""
    http = asked()
    fields = {"model": "gpt-image-1", "prompt": "a boat", "quality": "low", "background": "opaque", "n": 1}
    mask = png((64, 64), (0, 0, 0, 0), "RGBA")
    files = [("image", ("image_0.png", png((64, 64)))), ("mask", ("mask.png", mask))]
    answer = http.post("/v1/images/edits", data={**fields, "size": "64x64", "moderation": "low"}, files=files)
    assert answer.status_code == 200 and sorted(http.specs.pop().pictures) == ["image", "mask.alpha"]
    for form in ("url", "b64_json"):
        asked_for = {"model": "dall-e-3", "prompt": "a house", "n": 1, "size": "512x512", "response_format": form}
        (image,) = http.post("/v1/images/generations", json=asked_for).json()["data"]
        assert ("url" in image) == (form == "url")
