"""What programs send that nobody thought of: pictures that lie on their side, numbers with a point, odd values."""

import base64
import zlib
from io import BytesIO

import pytest
from PIL import Image

from pleinair.errors import RequestError
from pleinair.serve.asking import asked_job
from pleinair.serve.pictures_in import picture_bytes, size_of
from pleinair.serve.reading import parsed
from pleinair.serve.refusals import Refused
from pleinair.serve.settings import RequestLimits
from serving import png, sdapi

MOST = 1 << 20
CODED = base64.b64encode(png((64, 64))).decode()


def turned(kind, orientation=6):
    """A picture of 64x32 that is to be seen as 32x64."""
    exif, stream = Image.Exif(), BytesIO()
    exif[0x0112] = orientation
    Image.new("RGB", (64, 32), "red").save(stream, kind, exif=exif)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_picture_that_lies_on_its_side_has_the_size_that_it_is_seen_with(kind, index):
    assert size_of("image", turned(kind), MOST) == (32, 64) and size_of("image", turned(kind, 3), MOST) == (64, 32)
    image, mask = (base64.b64encode(each).decode() for each in (turned(kind), png((32, 64), "white")))
    body = {"prompt": "a house", "image": image, "mask": mask, "steps": 4, "size": "32x64"}
    assert asked_job(body, index, RequestLimits()).pictures["image"] == turned(kind)


def test_a_picture_that_lies_on_its_side_is_not_stretched(asked):
    http = asked()
    body = {"image": base64.b64encode(turned("JPEG")).decode(), "upscaler_1": "Lanczos", "upscaling_resize": 2}
    assert http.post("/sdapi/v1/extra-single-image", json=body).status_code == 200
    options = http.specs.pop().options
    assert (options["width"], options["height"]) == (64, 128)


def test_a_head_with_more_pixels_than_any_picture_has_is_not_damaged():
    told = b"IHDR" + b"\x7f\xff\xff\xff" * 2 + b"\x08\x02\x00\x00\x00"
    head = png()[:12] + told + zlib.crc32(told).to_bytes(4, "big") + png()[33:]
    with pytest.raises(RequestError, match="far too many pixels"):
        size_of("image", head, MOST)


@pytest.mark.parametrize(
    "text",
    [
        f"data:image/png;charset=utf-8;base64,{CODED}",
        f"data:application/octet-stream;base64,{CODED}",
        f"DATA:image/png;base64,{CODED}",
        f"data:;base64,{CODED}",
        base64.encodebytes(png((64, 64))).decode(),
    ],
)
def test_base64_comes_in_many_forms(text):
    assert picture_bytes("image", text, MOST) == png((64, 64))


def test_whole_numbers_may_have_a_point(asked):
    found = parsed(b"[2.0, -1.0, 1e3, 2.5, 1e300, -0.0, 9007199254740993.0]", 4, 100)
    assert found == [2, -1, 1000, 2.5, 1e300, 0, 2.0**53]
    assert [type(each) for each in found] == [int, int, int, float, float, int, float]
    payload = '{"prompt": "a house", "steps": 2.0, "width": 64.0, "height": 64, "cfg_scale": 7.0, "seed": -1.0}'
    http = asked()
    answer = http.post("/sdapi/v1/txt2img", content=payload, headers={"Content-Type": "application/json"})
    assert answer.status_code == 200 and http.specs.pop().options["steps"] == 2


@pytest.mark.parametrize("model", [["gpt-image-1"], {}, 1, True])
def test_a_model_that_is_no_text_is_none(asked, model):
    answer = asked().post("/v1/images/generations", json={"prompt": "a house", "size": "64x64", "model": model})
    assert answer.status_code == 404 and answer.json()["error"]["code"] == "model_not_found"


@pytest.mark.parametrize(
    "lora, strength", [("storybook-chalk", 1.0), ('[{"name": "storybook-chalk", "strength": 0.5}]', 0.5)]
)
def test_a_lora_may_be_a_field_of_a_form(asked, lora, strength):
    http = asked()
    form = {"prompt": "a house", "size": "64x64", "steps": "4", "lora": lora, "model": "storybook"}
    answer = http.post("/v1/images/edits", data=form, files={"image": ("a.png", png((64, 64)))})
    assert answer.status_code == 200, answer.text
    assert http.specs.pop().options["loras"] == [{"name": "storybook-chalk", "strength": strength}]
    wrong = http.post("/v1/images/edits", data={**form, "lora": "[x"}, files={"image": ("a.png", png((64, 64)))})
    assert wrong.status_code == 400


def test_no_setting_makes_the_server_refuse_everybody_s_requests(asked):
    http = asked()
    refused = http.post("/sdapi/v1/options", json={"CLIP_stop_at_last_layers": 99})
    assert refused.status_code == 422 and "choose 1 to" in refused.json()["detail"]
    assert http.post("/sdapi/v1/options", json={"CLIP_stop_at_last_layers": 2}).status_code == 200
    _, _, spec = sdapi(http, "txt2img", {"prompt": "a house", "width": 64, "height": 64, "steps": 1})
    assert spec.options["clip_skip"] == 2


@pytest.mark.parametrize(
    "body, message",
    [
        ({"task": "morph", "prompts": ["a"] * 300}, "at most 240 prompts, not 300"),
        ({"task": "morph", "prompts": ["a", "b"], "count": 2}, "give them with 'seeds'"),
        ({"task": "upscale"}, "there is no image"),
    ],
)
def test_refusals_make_sense(index, body, message):
    with pytest.raises(Refused) as refused:
        asked_job(body, index, RequestLimits())
    assert message in refused.value.trouble.message


def test_without_upscalers_it_is_said_where_one_comes_from(index, monkeypatch):
    listed = index.listed()
    monkeypatch.setattr(index, "listed", lambda: listed.__class__(**{**vars(listed), "upscalers": {}}))
    with pytest.raises(Refused, match="pleinair export"):
        asked_job({"task": "upscale", "image": CODED}, index, RequestLimits())
