"""What a painting process does with a job, here in this process, and how it speaks."""

import asyncio
import base64
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from pleinair.engines.fake import FakeEngine
from pleinair.files.metadata import read_record
from pleinair.preflight import Need
from pleinair.serve import painting, wire
from pleinair.serve.painting import JobPainter
from pleinair.system.limits import Room
from serving import png

JOB = {"task": "generate", "model": "other", "options": {"prompt": "a house", "seed": 3, "steps": 2, "size": "64x64"}}


class Heard:
    """What a painter tells."""

    def __init__(self):
        self.events, self.blobs, self.admitted = [], [], []

    def __call__(self, event, *blobs, **facts):
        self.events.append((event, facts))
        self.blobs.append(blobs)

    def of(self, event):
        return [(facts, blobs) for (name, facts), blobs in zip(self.events, self.blobs, strict=True) if name == event]


@pytest.fixture
def painter(home, monkeypatch):
    """`painter(**loading)`: a painter with a fake engine, and what it tells."""
    monkeypatch.setenv("PLEINAIR_HOME", str(home))

    def make(model="other", engine=None, **loading):
        heard = Heard()
        return JobPainter(heard, heard.admitted.append, model, {"engine": engine or FakeEngine(), **loading}), heard

    return make


def never():
    return False


def options(**more):
    return {**JOB, "options": {**JOB["options"], **more}}


def test_a_job_becomes_steps_and_a_picture_with_its_record(painter, tmp_path):
    worker, heard = painter()
    worker.paint(JOB, {}, never)
    assert [facts["step"] for facts, _ in heard.of("step")] == [1, 2] and heard.events[-1] == ("done", {})
    assert Image.open(BytesIO(heard.of("step")[0][1][0])).format == "JPEG"
    ((facts, (data,)),) = heard.of("image")
    assert (facts["seed"], facts["width"], facts["height"], facts["settings"]["model"]) == (3, 64, 64, "storybook")
    (tmp_path / "a.png").write_bytes(data)
    assert read_record(tmp_path / "a.png").prompt == "a house" and len(heard.admitted) == 1


def test_steps_count_over_all_batches(painter):
    worker, heard = painter()
    worker.paint(options(count=3, batch=2), {}, never)
    assert [(facts["step"], facts["steps"]) for facts, _ in heard.of("step")] == [(n, 4) for n in (1, 2, 3, 4)]
    assert [facts["seed"] for facts, _ in heard.of("image")] == [3, 4, 5]


def test_pictures_and_add_ons_reach_the_pipeline(painter):
    worker, heard = painter()
    asked = options(strength=0.5, controls=[{"name": "canny", "strength": 0.5}], steps=4)
    worker.paint(asked, {"image": png((64, 64)), "controls.0": png((64, 64), "white")}, never)
    ((facts, _),) = heard.of("image")
    assert facts["settings"]["task"] == "image2image" and facts["settings"]["controls"][0]["strength"] == 0.5


def test_a_job_stops_within_a_step(painter):
    asked = []
    worker, heard = painter(engine=FakeEngine(lambda graph, inputs: asked.append(graph)))
    worker.paint(options(steps=50), {}, lambda: "unet" in asked)
    assert heard.events[-1] == ("cancelled", {}) and asked.count("unet") == 1


def test_the_pipeline_stays_for_the_same_model_and_goes_for_another(painter):
    worker, heard = painter()
    for model in ("other", "other", "storybook", "other"):
        before = worker._pipe
        worker.paint({**JOB, "model": model}, {}, never)
        assert (worker._pipe is before) == (len(heard.of("done")) == 2), model


@pytest.mark.parametrize(
    "job, pictures, code, words",
    [
        (options(steps=0), {}, "invalid_request", "choose 1 to"),
        ({**JOB, "model": "gone"}, {}, "invalid_request", "there is no model"),
        (options(), {"image": b"no picture"}, "invalid_request", "PNG, JPEG or WebP"),
    ],
)
def test_expected_errors_are_told_in_a_line(painter, job, pictures, code, words):
    worker, heard = painter()
    worker.paint(job, pictures, never)
    ((facts, _),) = heard.of("failed")
    assert facts["code"] == code and words in facts["message"]
    worker.paint(JOB, {}, never)
    assert heard.events[-1][0] == "done"


def test_a_bug_is_told_by_its_place_alone(painter):
    def broken(graph, inputs):
        raise RuntimeError("a secret prompt")

    worker, heard = painter(engine=FakeEngine(broken))
    worker.paint(JOB, {}, never)
    ((facts, _),) = heard.of("failed")
    assert facts["code"] in ("internal", "engine_error") and "secret" not in str(facts.get("trace"))


def test_a_full_disk_is_no_bug(painter, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(painting, "png", full)
    worker, heard = painter()
    worker.paint(JOB, {}, never)
    ((facts, _),) = heard.of("failed")
    assert facts["code"] == "out_of_resources" and "free space" in facts["message"]


def test_jobs_that_memory_will_not_suffice_for_are_refused_before_anything_is_loaded(painter, sketch, monkeypatch):
    monkeypatch.setattr("pleinair.pipeline.room_left", lambda: Room(memory=1 << 20))
    worker, heard = painter(model=str(sketch), engine="openvino")
    for _ in range(2):
        worker.paint({**JOB, "model": sketch.name}, {}, never)
    assert [facts["code"] for facts, _ in heard.of("failed")] == ["out_of_resources"] * 2
    assert "MB" in heard.of("failed")[0][0]["message"] and not heard.of("loading")


def test_a_picture_is_only_made_larger(painter, monkeypatch):
    def larger(folder, **how):
        assert folder.name == "twice" and how == {"threads": 1}
        return lambda pixels, axes, check: pixels.repeat(2, 1).repeat(2, 2)

    monkeypatch.setattr(painting, "load_upscaler", larger)
    monkeypatch.setattr(painting, "enlarging_need", lambda *_: None)
    worker, heard = painter()
    worker._loading = {"threads": 1, "memory": "low"}
    worker.paint({"task": "upscale", "model": "twice", "options": {}}, {"image": png((8, 4))}, never)
    ((facts, (data,)),) = heard.of("image")
    assert (facts["width"], facts["height"], facts["seed"]) == (16, 8, None)
    assert (np.asarray(Image.open(BytesIO(data))) == (255, 0, 0)).all() and heard.events[-1][0] == "done"


@pytest.mark.parametrize("model", ["twice", "Lanczos"])
@pytest.mark.parametrize("short", ["memory", "address_space"])
def test_two_pictures_that_memory_does_not_suffice_for_are_not_made_larger(painter, monkeypatch, model, short):
    need = Need(memory=2e9, address_space=3e9)
    for name in ("enlarging_need", "resizing_need"):
        monkeypatch.setattr(painting, name, lambda *_: need)
    monkeypatch.setattr(painting, "load_upscaler", lambda *_, **__: None)  # whatever is done with it, is a bug
    monkeypatch.setattr(
        painting, "room_left", lambda: Room(**{"memory": 4 << 30, "address_space": None, short: 1 << 30})
    )
    worker, heard = painter()
    job = {"task": "upscale", "model": model, "options": {"width": 16, "height": 8, "crop": False}}
    for _ in range(2):
        worker.paint(job, {"image": png((8, 4))}, never)
    told = [facts for facts, _ in heard.of("failed")]
    assert [facts["code"] for facts in told] == ["out_of_resources"] * 2 and "8x4" in told[0]["message"]
    assert "GB" in told[0]["message"] and not heard.admitted and not heard.of("loading")
    worker._loading["preflight"] = False
    worker.paint({**job, "model": "Lanczos"}, {"image": png((8, 4))}, never)
    assert heard.events[-1][0] == "done" and heard.admitted == [2e9]


@pytest.mark.parametrize("crop", [False, True])
def test_a_picture_is_resized_without_an_upscaler(painter, crop):
    worker, heard = painter()
    options = {"width": 12, "height": 12, "crop": crop}
    halves = Image.new("RGB", (8, 4), "red")
    halves.paste("blue", (0, 0, 2, 4))
    stream = BytesIO()
    halves.save(stream, "PNG")
    worker.paint({"task": "upscale", "model": "Lanczos", "options": options}, {"image": stream.getvalue()}, never)
    ((facts, (data,)),) = heard.of("image")
    assert (facts["width"], facts["height"]) == (12, 12)
    red, _, blue = Image.open(BytesIO(data)).getpixel((0, 6))  # the blue rim is cut off, or not
    assert (red > blue) is crop


def test_a_picture_that_memory_does_not_suffice_for_is_not_prepared(painter, monkeypatch):
    monkeypatch.setattr(painting, "memory_left", lambda: 3000)
    worker, heard = painter()
    worker.paint({"task": "prepare", "model": "canny", "options": {}}, {"image": png((8, 4))}, never)
    ((told, _),) = heard.of("failed")
    assert told["code"] == "out_of_resources" and "send a smaller one" in told["message"]
    assert not heard.admitted


def test_a_picture_is_prepared_for_a_controlnet(painter):
    worker, heard = painter()
    worker.paint({"task": "prepare", "model": "invert", "options": {}}, {"image": png((8, 4))}, never)
    ((_, (data,)),) = heard.of("image")
    assert Image.open(BytesIO(data)).convert("RGB").getpixel((0, 0)) == (0, 255, 255)


def test_messages_go_over_a_pipe_and_back():
    message, blobs = {"job": "x", "prompt": "a house é"}, [b"", b"\x00png"]
    assert wire.read(BytesIO(wire.packed(message, blobs))) == ({**message, "sizes": [0, 4]}, blobs)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        b"\xff\xff\xff\xff",
        b"\x00\x00\x00\x02{}",
        b"\x00\x00\x00\x02no",
        wire.HEAD.pack(14) + b'{"sizes":[-1]}',
        wire.HEAD.pack(16) + b'{"sizes":["12"]}',
        wire.HEAD.pack(13) + b'{"sizes":[5]}abc',
    ],
)
def test_what_is_no_message_is_the_end(data):
    async def heard():
        stream = asyncio.StreamReader()
        stream.feed_data(data)
        stream.feed_eof()
        return await wire.receive(stream)

    with pytest.raises(EOFError):
        wire.read(BytesIO(data))
    with pytest.raises(EOFError):
        asyncio.run(heard())


def test_data_urls_and_base64_are_pictures():
    from pleinair.serve.pictures_in import picture_bytes

    coded = base64.b64encode(png()).decode()
    assert picture_bytes("image", coded, 64) == picture_bytes("image", f"data:image/png;base64,{coded}", 64) == png()
