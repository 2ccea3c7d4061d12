"""Reuse: which steps ask the network, what stands in for its answers, and what is refused."""

from itertools import pairwise

import numpy as np
import pytest

import pleinair
from bundles import light_control, light_copy
from pleinair.engines.fake import FakeEngine
from pleinair.errors import RequestError
from pleinair.sampling.coordinates import move
from pleinair.sampling.path import Point
from pleinair.sampling.reuse import Reuse, asked_steps

SHAPE = (1, 4, 2, 2)
ASK = {"seed": 3, "steps": 12, "sampler": "dpmpp_2m"}


def never(step):
    return False


def test_early_steps_and_turns_are_asked():
    assert sorted(asked_steps(10, 1, never)) == [*range(10)]
    assert sorted(asked_steps(20, 2, never)) == [0, 1, 2, 3, 5, 7, 9, 11, 14, 18]
    assert sorted(asked_steps(20, 20 / 7, never)) == [0, 1, 2, 4, 7, 12, 18]
    assert sorted(asked_steps(12, 4, lambda step: step == 5)) == [0, 1, 5, 6, 10]
    assert sorted(asked_steps(12, 4, lambda step: step == 11)) == [0, 1, 10, 11]
    assert [sorted(asked_steps(count, 10, never)) for count in (1, 2, 3, 8)] == [[0], [0, 1], [0, 1, 2], [0, 1, 6]]


@pytest.mark.parametrize("count", [1, 2, 7, 20, 150, 1000])
def test_as_many_steps_are_asked_as_were_wanted(count):
    for calls in range(min(3, count), count + 1, 1 + count // 50):
        asked = sorted(asked_steps(count, count / calls, never))
        gaps = [after - before for before, after in pairwise(asked)]
        assert len(asked) == calls and asked[0] == 0 and asked[-1] < count, calls
        assert all(later >= gap - 1 for gap, later in pairwise(gaps)), calls


def test_noise_that_stays_is_found_without_asking():
    """Of a network that finds the same noise everywhere: asked in some steps it leads where it leads in all."""
    noise = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)
    levels = [Point(t=s, alpha=(1 - s * s) ** 0.5, sigma=s) for s in (0.999, 0.95, 0.8, 0.6, 0.4, 0.2, 0.05)]
    asked = []

    def denoise(x, point, step):
        asked.append(step)
        return (x - point.sigma * noise) / max(point.alpha, 1e-3)

    def walk(seen):
        x = np.ones(SHAPE, np.float32)
        for step, (here, there) in enumerate(zip(levels, levels[1:], strict=False)):
            x = move(x, seen(x, here, step), here, there)
        return x

    exact, every = walk(denoise), len(asked)
    saved = walk(Reuse(denoise, {0, 1, 2, 5}))
    np.testing.assert_allclose(saved, exact, atol=2e-4 * np.abs(exact).max())
    assert (every, asked[every:]) == (6, [0, 1, 2, 5])


def calls(**how):
    """At which times the network is called while a picture is painted."""
    times = []

    def note(graph, inputs):
        if graph == "unet":
            times.append(float(np.ravel(inputs["timestep"])[0]))

    with pleinair.load(engine=FakeEngine(note)) as pipe:
        result = pipe.generate("a red house", **{**ASK, **how})
    return times, result


def test_a_picture_asks_less_and_says_so():
    every, exact = calls()
    half, saved = calls(reuse=2)
    third, _ = calls(reuse=3)
    assert (len(every), len(half), len(third)) == (12, 6, 4)
    assert {*half} < {*every} and saved.settings["reuse"] == 2 and "reuse" not in exact.settings
    assert len(saved.timings.steps) == 12
    again, _ = calls(reuse=3, hires="1.5x", hires_strength=0.5)
    assert len(again) == 4 + 3  # of the six steps of the second pass
    blank = np.zeros((256, 256, 3), np.uint8)
    assert len(calls(reuse=2, image=blank, strength=0.5)[0]) == 4  # of six


def test_a_refiner_is_asked_where_it_begins(tmp_path):
    light_copy(tmp_path / "finisher")
    whole = calls(reuse=3)[0]
    shared = calls(reuse=3, refiner=tmp_path / "finisher", refiner_start=0.5)[0]
    assert {*whole} < {*shared} and len(shared) <= len(whole) + 2


def test_what_is_told_anew_is_asked(tmp_path):
    light_control(tmp_path / "control")
    times, _ = calls(reuse=4)
    control = {"model": tmp_path / "control", "image": np.zeros((64, 64, 3), np.uint8), "end": 0.5}
    for change in ({"controls": [control]}, {"guidance_end": 0.5}):
        changed, _ = calls(reuse=4, **change)
        assert len({*changed}) == len(times) + 2, change


def test_a_sampler_that_renews_noise_is_refused():
    with pleinair.load(engine="fake") as pipe:
        for how in ({"sampler": "euler_a"}, {"sampler": "ddim", "eta": 0.5}, {"sampler": "euler", "s_churn": 5}):
            with pytest.raises(RequestError, match="adds new noise.*leave --reuse out"):
                pipe.generate("a red house", **{**ASK, **how}, reuse=2)
        pipe.generate("a red house", **{**ASK, "sampler": "ddim", "eta": 0.0}, reuse=2)
        for wrong in (0, 11, float("nan"), "often"):
            with pytest.raises(RequestError):
                pipe.generate("a red house", **ASK, reuse=wrong)


def test_half_the_calls_paint_nearly_the_same_picture():
    with pleinair.load() as pipe:
        size = {"width": 128, "height": 128, "steps": 20, "seed": 3, "sampler": "dpmpp_2m"}
        exact, saved, fewer = (
            pipe.generate("a red house on a hill", **{**size, **how}).pixels
            for how in ({}, {"reuse": 2}, {"steps": 10})
        )
    near, far = (np.square(each - exact).mean() for each in (saved, fewer))
    assert near < 1e-3 and near < far
