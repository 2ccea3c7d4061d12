"""/api/v1, field by field, on a server in this process."""

import asyncio
import base64
import json
import re
from dataclasses import replace
from io import BytesIO

import pytest
from PIL import Image

from pleinair.request.options import OPTIONS
from serving import KEEPING, LIMITS, PREVIEW, paint, png

JOBS = "/api/v1/jobs"


def coded(data):
    return base64.b64encode(data).decode()


def test_a_job_from_its_acceptance_to_its_picture(client):
    http = client()
    answer = http.post(JOBS, json={"prompt": "a red house", "size": "64x64", "steps": 2})
    assert answer.status_code == 202
    job = answer.json()
    assert (job["status"], job["queue_position"]) == ("queued", 1) and answer.headers["location"] == job["url"]
    assert job["settings"]["seed"] is not None  # the same if it is begun again
    done = events_of(http, job)[-1][1]
    assert done["status"] == "done" and done == http.get(job["url"]).json()
    (image,) = done["images"]
    assert image == {"url": f"{job['url']}/images/0", "seed": 7, "width": 8, "height": 8, "type": "image/png"}
    picture = http.get(image["url"])
    assert picture.headers["content-type"] == "image/png" and picture.content == png()
    for kind in ("jpeg", "webp"):
        found = http.get(image["url"], params={"type": kind})
        assert found.headers["content-type"] == f"image/{kind}"
        assert Image.open(BytesIO(found.content)).format == kind.upper()


def events_of(http, job, **headers):
    """(name, data) of a stream to its end."""
    text = http.get(job["events_url"], headers=headers).text
    blocks = [dict(line.split(": ", 1) for line in each.splitlines()) for each in text.strip().split("\n\n")]
    numbers = [int(each["id"]) for each in blocks]
    assert numbers == sorted(numbers)
    return [(each["event"], json.loads(each["data"])) for each in blocks]


def test_events_tell_of_steps_and_pictures_and_can_be_taken_up(client):
    http = client()
    job = http.post(f"{JOBS}?wait=true", json={"prompt": "a house"}).json()
    names = [name for name, _ in events_of(http, job)]
    assert names == ["queued", "step", "image", "done"]
    found = dict(events_of(http, job))
    assert found["step"] == {"step": 2, "steps": 2, "eta_s": 0.0, "seeds": [7], "preview": PREVIEW}
    assert found["image"]["url"] == f"{job['url']}/images/0"
    numbers = re.findall(r"^id: (\d+)$", http.get(job["events_url"]).text, re.M)
    later = events_of(http, job, **{"Last-Event-ID": numbers[1]})
    assert [name for name, _ in later] == ["image", "done"]


def test_a_waiting_client_is_answered_with_the_ended_job(client):
    answer = client().post(f"{JOBS}?wait=true", json={"prompt": "a house"})
    assert (answer.status_code, answer.json()["status"]) == (200, "done")


def test_a_full_queue_says_when_to_come_back(client):
    async def asleep(jobs):
        await asyncio.sleep(3600)

    http = client(painter=asleep, limits=replace(LIMITS, queue=1))
    first = http.post(JOBS, json={"prompt": "a house"}).json()
    answer = http.post(JOBS, json={"prompt": "a house"})
    assert answer.status_code == 429 and 1 <= int(answer.headers["retry-after"]) <= 120
    assert answer.json()["error"]["code"] == "queue_full"
    assert http.get("/api/v1/capabilities").json()["queue"]["length"] == 1
    assert http.post(first["cancel_url"]).json()["status"] == "cancelled"
    assert http.post(first["cancel_url"]).status_code == 409
    assert events_of(http, first)[-1][0] == "cancelled"


def test_the_same_key_is_the_same_job(client):
    http = client()
    headers = {"Idempotency-Key": "mine"}
    ids = {http.post(JOBS, json={"prompt": "a house"}, headers=headers).json()["id"] for _ in range(2)}
    assert len(ids) == 1
    assert http.post(JOBS, json={"prompt": "a boat"}, headers=headers).status_code == 409


def test_a_job_whose_time_is_over_is_gone_and_one_that_never_was_is_unknown(client):
    from serving import KEEPING

    http = client(keeping=replace(KEEPING, seconds=-1))
    job = http.post(JOBS, json={"prompt": "a house"}).json()
    http.get(job["events_url"])
    for url in (job["url"], job["events_url"], f"{job['url']}/images/0"):
        answer = http.get(url)
        assert (answer.status_code, answer.json()["error"]["code"]) == (410, "job_expired")
    assert http.get(f"{JOBS}/{'0' * 32}").json()["error"]["code"] == "job_unknown"


@pytest.mark.parametrize(
    "body, field, words",
    [
        ([], None, "JSON object"),
        ({"prompt": 7}, "prompt", "must be text"),
        ({"prompt": "x" * 10_001}, "prompt", "10,001 characters"),
        ({"stepz": 7}, "stepz", "did you mean 'steps'?"),
        ({"stop": True}, "stop", "unknown option"),
        ({"steps": 0}, "steps", "choose 1 to 1000"),
        ({"steps": True}, "steps", "whole number"),
        ({"steps": 1000}, "steps", "too many"),
        ({"sampler": "oiler"}, "sampler", "oiler"),
        ({"size": "4096x4096"}, "size", "smaller size"),
        ({"count": 17}, "count", "fewer at a time"),
        ({"steps": 500, "size": "2048x2048"}, "steps", "fewer steps"),
        ({"hires": 8, "size": "1024x1024"}, "hires", "choose 8 to 4096"),
        ({"model": "another"}, "model", "choose from: other"),
        ({"model": "../other"}, "model", "there is no model"),
        ({"model": "/etc"}, "model", "there is no model"),
        ({"model": 7}, "model", "there is no model"),
        ({"vae": "/etc"}, "vae", "there is no vae"),
        ({"refiner": "..\\x"}, "refiner", "there is no refiner"),
        ({"upscale": "other"}, "upscale", "choose from: twice"),
        ({"enlarger": "/etc", "hires": 2}, "enlarger", "there is no enlarger"),
        ({"lora": [{"name": "/etc/passwd"}]}, None, "there is no LoRA"),
        ({"lora": [{"name": "storybook-chalk", "strength": 1e9}]}, "loras", "choose"),
        ({"lora": "storybook-chalk"}, "loras", "must be a list"),
        ({"lora": [], "loras": []}, "loras", "given twice"),
        ({"prompt": "a house <lora:../../secret:1>"}, "prompt", "into 'PLEINAIR_HOME"),
        ({"embeddings": ["../watercolour"]}, None, "there is no embedding"),
        ({"control": [{"name": "canny"}]}, "controls", "there is no control image"),
        ({"control": [{"name": "/etc", "image": coded(png())}]}, None, "there is no ControlNet"),
        ({"control": [{"name": "canny", "path": "/etc"}]}, "controls", "part of a control"),
        ({"image": "photo.png"}, "image", "not base64"),
        ({"image": "/etc/passwd"}, "image", "PNG, JPEG or WebP"),
        ({"image": "file:///etc/passwd"}, "image", "none is ever fetched"),
        ({"image": "http://127.0.0.1/x.png"}, "image", "none is ever fetched"),
        ({"image": coded(b"GIF89a" + bytes(99))}, "image", "PNG, JPEG or WebP"),
        ({"image": coded(png()[:20])}, "image", "PNG, JPEG or WebP"),
        ({"image": coded(png((5000, 4000)))}, "image", "send it smaller"),
        ({"mask": coded(png())}, "mask", "add one with 'image'"),
        ({"task": "train"}, "task", "generate, upscale"),
        ({"task": "upscale"}, "image", "there is no image"),
        ({"task": "upscale", "image": coded(png()), "upscale": "other"}, "upscale", "choose from: twice"),
        ({"task": "upscale", "image": coded(png((2500, 2500)))}, "image", "larger picture"),
        ({"task": "upscale", "image": coded(png()), "prompt": "x"}, "prompt", "unknown option"),
    ],
)
def test_what_makes_no_sense_is_refused_before_it_waits(client, body, field, words):
    http = client()
    answer = http.post(JOBS, json=body)
    error = answer.json()["error"]
    assert answer.status_code == 422 and words in error["message"], error
    assert error.get("field") == field and "; " in error["message"] and http.jobs.length == 0


@pytest.mark.parametrize(
    "limit, body, field",
    [
        ({"pixels": 64 * 64}, {"size": "72x64"}, "size"),
        ({"pixels": 64 * 64}, {"steps": 4, "hires": 2}, "size"),
        ({"steps": 3}, {"steps": 4}, "steps"),
        ({"steps": 3}, {"steps": 3, "hires": 2, "hires_steps": 4}, "steps"),
        ({"count": 2}, {"count": 3}, "count"),
        ({"pixel_steps": 3 * 64 * 64}, {"size": "64x64", "steps": 4}, "steps"),
        ({"result": 2 * 3 * 64 * 64}, {"size": "64x64", "count": 3}, "size"),
        ({"result": 11 * 64 * 64}, {"upscale": "twice"}, "size"),
        ({"input_pixels": 3 * 64 * 64}, {"upscale": "twice"}, "upscale"),
        ({"prompt": 3}, {"prompt": "four"}, "prompt"),
        ({"prompt": 3}, {"prompt": "", "negative": "four"}, "negative"),
    ],
)
def test_what_is_over_a_limit_is_refused_with_the_limit_and_what_is_not_is_taken(client, limit, body, field):
    asked = {"prompt": "a", "size": "64x64", "steps": 1, **body}
    error = client(limits=replace(LIMITS, **limit)).post(JOBS, json=asked).json()["error"]
    assert (error["code"], error["field"]) == ("over_limit", field) and f"{[*limit.values()][0]:,}" in error["message"]
    assert client().post(JOBS, json=asked).status_code == 202


@pytest.mark.parametrize("place", ["1", "-1", "x", "\u0661", "9" * 5000, "0x0", ""])
def test_a_picture_that_a_job_does_not_have_is_unknown(client, place):
    http = client()
    job = http.post(f"{JOBS}?wait=true", json={"prompt": "a house"}).json()
    assert http.get(f"{job['url']}/images/{place}").status_code == 404


def test_limits_are_told(client):
    limits = replace(LIMITS, pixels=5000, steps=30, count=2, body=1 << 20, result=3 << 20)
    http = client(limits=limits, keeping=replace(KEEPING, jobs=4, seconds=5))
    told = http.get("/api/v1/capabilities").json()
    expected = {"max_pixels": 5000, "max_steps": 30, "max_count": 2, "max_body": 1 << 20, "max_result_bytes": 3 << 20}
    assert {**expected, "max_results": 4, "result_ttl_s": 5}.items() <= told["limits"].items()
    schemas = {each["name"]: each["schema"] for each in told["options"]}
    assert (schemas["steps"]["maximum"], schemas["count"]["maximum"]) == (30, 2)


def test_pictures_and_add_ons_are_named_and_sent(client):
    http = client(painter=lambda jobs: asyncio.sleep(3600))
    picture = coded(png((64, 64)))
    body = {
        "prompt": "a house",
        "image": f"data:image/png;base64,{picture}",
        "mask": picture,
        "lora": [{"name": "storybook-chalk", "strength": 0.5}],
        "control": [{"name": "canny", "image": picture, "strength": 0.8, "preprocessor": "canny"}],
        "hires": None,
    }
    job = http.post(JOBS, json=body).json()
    assert job["settings"]["loras"] == [{"name": "storybook-chalk", "strength": 0.5}]
    (waiting,) = http.jobs._queue
    assert sorted(waiting.spec.pictures) == ["controls.0", "image", "mask"]
    assert waiting.spec.options["controls"] == [{"name": "canny", "strength": 0.8, "prepare": "canny"}]


@pytest.mark.parametrize(
    "content, kind, status, code",
    [
        (b"{", "application/json", 400, "invalid_json"),
        (b'{"guidance": NaN}', "application/json", 400, "invalid_json"),
        (b"\xff", "application/json", 400, "invalid_json"),
        (b"[" * 100 + b"]" * 100, "application/json", 422, "invalid_request"),
        (b"[" * 200_000, "application/json", 422, "invalid_request"),
        (b'{"prompt": "x"}', "text/plain", 415, "unsupported_media_type"),
        (b"prompt=x", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
    ],
)
def test_bodies_that_are_no_plain_json(client, content, kind, status, code):
    answer = client().post(JOBS, content=content, headers={"content-type": kind})
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_capabilities_have_every_option_that_json_can_say(client):
    found = client().get("/api/v1/capabilities").json()
    assert [each["name"] for each in found["options"]] == [name for name, each in OPTIONS.items() if each.type.json]
    options = {each["name"]: each for each in found["options"]}
    assert options["steps"]["schema"] == OPTIONS["steps"].type.schema() and options["loras"]["aliases"] == ["lora"]
    assert "euler_a" in options["eta"]["by_sampler"] and options["image"]["schema"]["contentEncoding"] == "base64"
    default = [each["name"] for each in found["models"] if each["default"]]
    assert default == ["other"] and {"storybook", "other"} == {each["name"] for each in found["models"]}
    assert found["upscalers"] == [{"name": "twice", "scale": 2}] and found["embeddings"] == [{"name": "watercolour"}]


def test_capabilities_say_which_models_add_ons_fit(client):
    http = client()
    for _ in range(2):
        found = http.get("/api/v1/capabilities").json()
        fits = {each["name"]: set(each["fits"]) for name in ("loras", "controlnets", "vaes") for each in found[name]}
        assert fits["storybook-lcm"] == fits["canny"] == fits["storybook-tiny"] == {"storybook", "other"}
        assert fits["wide"] == {"other"} and fits["broken"] == set()  # the other one names no layers


def test_the_document_has_every_option(client):
    document = client().get("/api/v1/openapi.json").json()
    body = document["paths"]["/api/v1/jobs"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert {name for name, each in OPTIONS.items() if each.type.json} <= set(body["properties"])


def test_tokens_are_counted_and_unknown_words_named(client):
    http = client()
    found = http.post("/api/v1/tokens", json={"prompt": "a red zeppelin", "model": "storybook"}).json()
    assert found["tokens"] >= 3 and (found["limit"], found["chunks"], found["unknown"]) == (75, 1, ["zeppelin"])
    long = http.post("/api/v1/tokens", json={"prompt": "house " * 100, "model": "storybook"}).json()
    assert long["chunks"] == 2 and long["unknown"] == []
    assert http.post("/api/v1/tokens", json={"prompt": "x", "model": "/etc"}).status_code == 422


AROUND = {"width": 8, "height": 8, "sampler": "ddim", "guidance": 1.0, "batch": 1, "pleinair": "0.1.0", "model": "m"}


def test_a_picture_says_how_it_was_made(client):
    from pleinair.files.metadata import save_options

    settings = {"format": 1, "prompt": "a red house", "negative": "", "seeds": [3], "steps": 4}
    stream = BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "PNG", **save_options("PNG", {**settings, **AROUND}, 3))
    http = client()
    found = http.post("/api/v1/metadata", content=stream.getvalue()).json()
    assert found["from"] == "pleinair" and found["text"].startswith("a red house\nSteps: 4")
    assert {"prompt": "a red house", "seed": 3, "steps": 4}.items() <= found["settings"].items()
    for data in (b"", b"no picture", png()):
        assert http.post("/api/v1/metadata", content=data).status_code == 422


def test_health_answers_while_a_job_is_painted(client):
    http = client(painter=lambda jobs: paint(jobs, steps=1000, pause=0.01))
    job = http.post(JOBS, json={"prompt": "a house"}).json()
    while http.get(job["url"]).json()["status"] != "painting":
        pass
    assert http.get("/health").json() == {"status": "ok"}
    assert http.post(job["cancel_url"]).status_code == 200
    assert events_of(http, job)[-1][0] == "cancelled"


def test_whether_to_wait_is_said_in_a_word_that_is_known(client):
    answer = client().post(f"{JOBS}?wait=yes", json={"prompt": "a house"})
    assert answer.status_code == 422 and answer.json()["error"]["field"] == "wait"
