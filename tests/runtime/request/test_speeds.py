"""Speed: what it stands for, what holds against it, where it changes nothing, and how it is recorded."""

import json

import numpy as np
import pytest
from PIL import Image

import pleinair
from pleinair.cli import app as cli
from pleinair.errors import RequestError
from pleinair.files.metadata import read_record
from pleinair.request.request import resolve
from pleinair.request.speeds import adds_noise
from pleinair.sampling.reuse import SPEEDS
from pleinair.tasks.rerun import rerun

ASK = {"seed": 3, "steps": 12, "sampler": "dpmpp_2m", "width": 64, "height": 64}


@pytest.fixture(scope="module")
def pipe():
    return pleinair.load(engine="fake")


def resolved(pipe, **options):
    return resolve(pipe.bundle, "a boat", **{**ASK, **options})


def test_more_steps_are_reused_of_more():
    """Calls grow as the root of the steps."""
    bundle = pleinair.open_bundle()
    calls = {
        speed: [count / resolve(bundle, "a boat", steps=count, speed=speed).reuse for count in (12, 20, 50, 1000)]
        for speed in ("balanced", "fast")
    }
    assert np.round(calls["balanced"]).tolist() == [8, 10, 16, 100]
    assert np.round(calls["fast"]).tolist() == [6, 7, 11, 100]
    assert resolve(bundle, "a boat", speed="fast").reuse == 2  # of the model's own 12 steps


def test_exact_is_as_good_as_nothing(pipe):
    plain, exact = (pipe.generate("a boat", **ASK, **how) for how in ({}, {"speed": "exact"}))
    assert np.array_equal(plain.pixels, exact.pixels)
    assert plain.settings == exact.settings and not {"speed", "reuse"} & {*exact.settings}


def test_reuse_holds_against_speed(pipe):
    asked = resolved(pipe, speed="fast", reuse=1)
    assert asked.reuse == 1 and resolved(pipe, speed="exact", reuse=3).reuse == 3
    assert np.array_equal(
        pipe.generate("a boat", **ASK, speed="balanced", reuse=2).pixels, pipe.generate("a boat", **ASK, reuse=2).pixels
    )


@pytest.mark.parametrize(
    "how",
    [
        {"sampler": "euler_a"},
        {"sampler": "ddim", "eta": 0.5},
        {"sampler": "euler", "s_churn": 5},
        {"steps": 8},
        {"loras": ["storybook-lcm"], "steps": None, "sampler": None},
        {"hires": 1.5, "hires_sampler": "euler_a"},
        {"sigmas": [9, 3, 1], "steps": None},
    ],
    ids=str,
)
def test_speed_changes_nothing_where_no_step_can_be_spared(pipe, how):
    asked = resolved(pipe, speed="fast", **how)
    assert (asked.speed, asked.reuse) == ("exact", 1)
    (line,) = [warning for warning in asked.idle if "speed" in warning]
    assert line.startswith("'speed' has no effect, because ") and "; leave it out" in line


@pytest.mark.parametrize(
    ("sampler", "config"),
    [
        ("euler", {"_class_name": "FlowMatchEulerDiscreteScheduler", "stochastic_sampling": True}),
        ("dpmpp_2s", {"algorithm_type": "sde-dpmsolver++"}),
    ],
)
def test_a_scheduler_config_may_add_noise(pipe, sampler, config):
    steps = resolved(pipe, sampler=sampler).steps
    assert adds_noise(steps, config) and not adds_noise(steps, {})
    assert not adds_noise(resolved(pipe, sampler="dpmpp_2m").steps, config)


def test_a_picture_is_made_again_from_what_its_speed_stood_for(pipe, tmp_path, monkeypatch):
    result = pipe.generate("a boat", **ASK, speed="fast", image=np.zeros((64, 64, 3), np.uint8), strength=0.9, hires=2)
    assert (result.settings["speed"], result.settings["reuse"]) == ("fast", 2.0)
    result.picture(0).save(tmp_path / "a.png")
    blank = tmp_path / "blank.png"
    Image.new("RGB", (64, 64)).save(blank)
    monkeypatch.setitem(SPEEDS, "fast", 3.0)  # as another version may have it
    again = rerun(tmp_path / "a.png", image=blank)
    assert again.difference.max_abs == 0 and again.result.settings == result.settings
    assert resolved(pipe, speed="fast").reuse != 2


@pytest.mark.usefixtures("silent_storybook")
def test_lists_and_the_command_line_have_it(tmp_path):
    listed = tmp_path / "list.jsonl"
    listed.write_text(json.dumps({"prompt": "a boat", "speed": "fast", **ASK}), encoding="utf-8")
    alone = ["generate", "a boat", "--speed", "fast", "--steps", "12", "--size", "64x64", "-o", f"{tmp_path}/a.png"]
    assert cli.run(alone) == 0 and cli.run(["generate", "--prompts", str(listed), "-o", str(tmp_path)]) == 0
    records = [read_record(file).ours for file in tmp_path.glob("*.png")]
    assert [(record["speed"], record["reuse"]) for record in records] == [("fast", 2.0)] * 2


def test_another_word_is_refused(pipe):
    with pytest.raises(RequestError, match="exact, balanced, fast"):
        resolved(pipe, speed="quick")
