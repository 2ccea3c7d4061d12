"""A1111's interface, asked by webuiapi and with what other clients send."""

import base64
import json
import threading
from io import BytesIO

import pytest
from PIL import Image

from pleinair.serve.painting import JobPainter
from serving import paint, png

webuiapi = pytest.importorskip("webuiapi")
PICTURE = Image.new("RGB", (64, 64), "red")
CODED = base64.b64encode(png((64, 64))).decode()


@pytest.fixture
def ask(place):
    """The real client of such a server."""

    def make(painter=paint):
        return webuiapi.WebUIApi(baseurl=f"{place(painter)}/sdapi/v1")

    return make


def test_a_picture_of_a_prompt(ask, place):
    found = ask().txt2img(prompt="a house", negative_prompt="night", seed=5, width=64, height=64, steps=4, batch_size=2)
    assert found.image.size == (8, 8) and found.info["all_seeds"] == [7] and found.parameters["steps"] == 4
    (spec,) = place.specs
    expected = {"prompt": "a house", "negative": "night", "seed": 5, "width": 64, "height": 64, "steps": 4}
    expected |= {"sampler": "euler_a", "guidance": 7.0, "count": 2, "batch": 2}
    assert expected.items() <= spec.options.items() and not spec.kept


def test_a_picture_repainted_where_the_mask_is_white(ask, place):
    client = ask()
    more = {"inpainting_fill": 2, "inpaint_full_res": False, "inpainting_mask_invert": 1, "scheduler": "Karras"}
    client.img2img([PICTURE], prompt="a boat", mask_image=PICTURE, denoising_strength=0.6, steps=4, **more)
    (spec,) = place.specs
    assert {"strength": 0.6, "fill": "noise", "only_masked": False, "spacing": "karras"}.items() <= spec.options.items()


def test_masks_are_inverted_where_it_is_painted(home, monkeypatch):
    from pleinair.engines.fake import FakeEngine

    monkeypatch.setenv("PLEINAIR_HOME", str(home))
    told = []
    loading = {"engine": FakeEngine()}
    painter = JobPainter(lambda event, *blobs, **facts: told.append((event, facts)), lambda _: None, "other", loading)
    seen = []
    monkeypatch.setattr("pleinair.serve.painting.with_pictures", lambda options, given: seen.append(given["mask"]))
    job = {"task": "generate", "model": "other", "options": {"prompt": "a house"}}
    painter.paint(job, {"image": png(), "mask.inverted": png((8, 8), "white")}, lambda: False)
    assert seen[0].getextrema() == (0, 0)


def test_a_second_pass_and_what_is_set_for_one_picture(ask, place):
    client = ask()
    hires = {"enable_hr": True, "hr_scale": 2, "hr_upscaler": webuiapi.HiResUpscaler.Latent, "hr_second_pass_steps": 3}
    override = {"sd_model_checkpoint": "storybook [abc]", "CLIP_stop_at_last_layers": 1}
    client.txt2img(
        prompt="a house", width=128, height=128, steps=4, denoising_strength=0.4, override_settings=override, **hires
    )
    (spec,) = place.specs
    expected = {"hires": 2, "hires_strength": 0.4, "hires_steps": 3, "enlarger": "latent"}
    assert spec.model == "storybook" and expected.items() <= spec.options.items()


def test_controlnet_units(ask, place):
    client = ask()
    unit = webuiapi.ControlNetUnit(image=PICTURE, module="canny", model="canny [1234]", weight=0.7, guidance_end=0.5)
    client.txt2img(prompt="a house", steps=4, width=64, height=64, controlnet_units=[unit])
    (control,) = place.specs[0].options["controls"]
    assert {"name": "canny", "prepare": "canny", "strength": 0.7, "end": 0.5}.items() <= control.items()
    assert client.controlnet_model_list() and "canny" in client.controlnet_module_list()


def test_what_clients_look_up(ask):
    client = ask()
    assert "Euler a" in client.util_get_sampler_names() and "karras" in client.util_get_scheduler_names()
    assert client.util_get_model_names() == ["other", "storybook"]
    assert {"twice", "Lanczos"} <= {each["name"] for each in client.get_upscalers()}
    assert client.get_latent_upscale_modes() == [{"name": "Latent"}]
    assert "storybook-lcm" in {each["name"] for each in client.get_loras()}
    assert client.get_sd_vae()[0]["model_name"] == "storybook-tiny"
    assert client.get_embeddings()["loaded"].keys() == {"watercolour"}
    assert (
        client.get_scripts() == {"txt2img": ["controlnet"], "img2img": ["controlnet"]}
        and client.get_memory()["ram"]["total"] > 0
    )
    for found in (client.get_hypernetworks(), client.get_face_restorers(), client.get_prompt_styles()):
        assert found == []
    assert client.get_cmd_flags() == {} and client.refresh_checkpoints() is None
    client.util_wait_for_ready(0.01)


def test_all_options_are_posted_back_and_choose_the_model(ask, place):
    client = ask()
    options = client.get_options()
    assert options["sd_model_checkpoint"] == client.util_get_current_model() == "other"
    client.set_options({**options, "sd_model_checkpoint": "storybook", "anything": [1]})
    client.txt2img(prompt="a house", steps=4, width=128, height=128)
    assert place.specs[0].model == client.util_get_current_model() == "storybook"
    assert client.set_options({"sd_model_checkpoint": "gone"})["errors"].startswith("there is no model")


def test_progress_is_shown_and_interrupted(ask):
    client = ask(lambda jobs: paint(jobs, steps=10_000, pause=0.005))
    found = []
    waiting = threading.Thread(target=lambda: found.append(client.txt2img(prompt="a house", steps=4)))
    waiting.start()
    progress = client.get_progress()
    while not progress["state"]["sampling_step"]:
        progress = client.get_progress()
    assert 0 < progress["progress"] < 1 and progress["state"]["job_count"] == 1
    assert Image.open(BytesIO(base64.b64decode(progress["current_image"]))).format == "JPEG"
    client.interrupt()
    waiting.join(30)
    assert found[0].images == [] and client.get_progress()["state"]["job_count"] == 0
    client.skip()


def test_a_picture_is_made_larger(ask, place):
    client = ask()
    found = client.extra_single_image(image=PICTURE, upscaler_1="twice")
    assert found.image.size == (8, 8)
    assert len(client.extra_batch_images(images=[PICTURE, PICTURE], upscaler_1="twice").images) == 2
    assert [(spec.task, spec.model) for spec in place.specs] == [("upscale", "twice")] * 3


def test_a_picture_without_a_record_has_no_info(ask):
    assert ask().png_info(PICTURE).info == ""


def test_unknown_samplers_are_not_found(ask):
    with pytest.raises(RuntimeError, match="404.*Sampler not found"):
        ask().txt2img(prompt="a house", sampler_name="oiler")


OPEN_WEBUI = {"prompt": "a house", "batch_size": 1, "width": 64, "height": 64, "steps": 4}
SILLY_TAVERN = {
    "prompt": "a house",
    "negative_prompt": "",
    "sampler_name": "Euler a",
    "scheduler": "Automatic",
    "steps": 4,
    "cfg_scale": 7,
    "width": 64,
    "height": 64,
    "restore_faces": False,
    "enable_hr": False,
    "hr_upscaler": "Latent",
    "hr_scale": 1,
    "hr_additional_modules": [],
    "denoising_strength": 0.7,
    "hr_second_pass_steps": 0,
    "seed": -1,
    "override_settings": {"CLIP_stop_at_last_layers": 1, "sd_vae": "Automatic"},
    "override_settings_restore_afterwards": True,
    "clip_skip": 1,
    "save_images": True,
    "send_images": True,
    "do_not_save_grid": False,
    "do_not_save_samples": False,
}
KRITA = {"init_images": [f"data:image/png;base64,{CODED}"], "mask": CODED, "prompt": "a house", "steps": 4, "seed": 1}


@pytest.mark.parametrize(
    "path, payload", [("txt2img", OPEN_WEBUI), ("txt2img", SILLY_TAVERN), ("txt2img", {}), ("img2img", KRITA)]
)
def test_what_other_clients_send(client, path, payload):
    found = client().post(f"/sdapi/v1/{path}", json=payload).json()
    info = json.loads(found["info"])
    assert len(found["images"]) == 1 and {"seed", "all_seeds", "infotexts", "sd_model_name"} <= set(info)
    assert "init_images" not in found["parameters"]


@pytest.mark.parametrize(
    "payload",
    [
        {"steps": "many"},
        {"width": 1e9},
        {"batch_size": 99},
        {"init_images": ["http://127.0.0.1/x.png"]},
        {"init_images": [CODED, CODED]},
        {"init_images": "x"},
        {"init_images": [7], "mask": []},
        {"override_settings": {"sd_model_checkpoint": "/etc"}},
        {"override_settings": []},
        {"alwayson_scripts": {"controlnet": {"args": [{"model": "../x", "image": CODED}]}}},
        {"sampler_name": 7},
        {"scheduler": ["x"]},
        {"prompt": None, "seed": "x"},
    ],
)
def test_what_makes_no_sense_is_refused_or_passed_over(client, payload):
    answer = client().post("/sdapi/v1/txt2img", json={"prompt": "a house", "steps": 2, "width": 64, **payload})
    assert answer.status_code in (200, 404, 422), answer.text
    if answer.status_code != 200:
        assert set(answer.json()) == {"error", "detail", "body", "errors"}


def test_asking_before_is_answered(client):
    """SillyTavern's ping."""
    http = client()
    assert {http.options(path).status_code for path in ("/sdapi/v1/txt2img", "/v1/images/generations")} == {204}
