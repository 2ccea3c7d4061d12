"""Morphs over the server: which are taken, and what is painted of them."""

import asyncio

import pytest

from pleinair.engines.fake import FakeEngine
from pleinair.serve.asking import asked_job
from pleinair.serve.job import JobSpec
from pleinair.serve.jobs import Jobs
from pleinair.serve.painting import JobPainter
from pleinair.serve.refusals import Refused
from pleinair.serve.settings import RequestLimits, ServeSettings

BODY = {"task": "morph", "prompts": ["a house", "a boat"], "frames": 3, "size": "64x64", "steps": 2}


def test_a_morph_is_painted_frame_by_frame(index):
    spec = asked_job({**BODY, "seeds": [5], "loop": True}, index, RequestLimits())
    assert spec.options["morph"]["seeds"] == [5, 5] and spec.work == 64 * 64 * 2 * 3
    told = []
    job = {"task": spec.task, "model": spec.model, "options": spec.options}
    painter = JobPainter(
        lambda event, *_, **facts: told.append((event, facts)), lambda _: None, "other", {"engine": FakeEngine()}
    )
    painter.paint(job, {}, lambda: False)
    kinds = [event for event, _ in told]
    assert kinds.count("image") == 3 and kinds[-1] == "done", told[-1]
    assert [facts["step"] for event, facts in told if event == "step"][-1] == 6
    assert {facts["steps"] for event, facts in told if event == "step"} == {6}


def test_their_prompts_are_logged_where_prompts_are(index, caplog):
    caplog.set_level("INFO")

    async def work():
        jobs = Jobs(ServeSettings(log_prompts=True))
        for body in (BODY, {"prompt": "a lake", "size": "64x64"}):
            await jobs.submit(asked_job(body, index, RequestLimits()))
        await jobs.submit(JobSpec("upscale", "twice", {}))

    asyncio.run(work())
    said = [each.getMessage().partition(": ")[2] for each in caplog.records]
    assert [line for line in said if "with" not in line] == ["a house", "a boat", "a lake"]


def test_seeds_that_nobody_gives_are_chosen_once(index):
    shape = asked_job(BODY, index, RequestLimits()).options["morph"]
    assert len(shape["seeds"]) == 2 and len({*shape["seeds"]}) == 1


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"prompts": ["a house"]}, "two keyframes"),
        ({"prompts": "a house"}, "must be a list of texts"),
        ({"prompts": [1, 2]}, "must be a list of texts"),
        ({"frames": 1}, "frames"),
        ({"frames": 241}, "frames"),
        ({"ease": "never"}, "ease"),
        ({"seeds": [1, 2, 3]}, "do not fit"),
        ({"seeds": "x"}, "seed"),
        ({"seed": 3}, "seeds"),
        ({"image": ""}, "image"),
        ({"loras": [{"name": "gone"}]}, "gone"),
        ({"size": "1024x1024", "steps": 1, "frames": 240}, "754,974,720 bytes"),
        ({"size": "2048x2048", "steps": 40, "frames": 240}, "takes at most"),
    ],
)
def test_morphs_that_cannot_be_are_refused(index, more, message):
    with pytest.raises(Refused) as refused:
        asked_job({**BODY, **more}, index, RequestLimits())
    assert refused.value.status in (400, 422) and message in refused.value.trouble.message
