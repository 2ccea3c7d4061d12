"""Painting over pictures, second passes, seams, cancelling and threads: on the fake engine."""

import threading

import numpy as np
import pytest
from PIL import Image

import pleinair
from bundles import light_copy
from engines import Closed
from pleinair.errors import Cancelled, RequestError


@pytest.fixture(scope="module")
def pipe(tmp_path_factory):
    return pleinair.load(light_copy(tmp_path_factory.mktemp("models") / "small"), engine="fake")


def picture(width=128, height=128, value=(200, 40, 90)):
    image = Image.new("RGB", (width, height), value)
    image.paste((20, 160, 220), (width // 4, height // 4, width // 2, height // 2))
    return image


def mask(width=128, height=128):
    hole = Image.new("L", (width, height), 0)
    hole.paste(255, (32, 48, 96, 80))
    return hole


def test_less_strength_keeps_more_of_the_picture(pipe):
    image = picture()
    distances = [
        np.abs(
            pipe.generate("x", image=image, strength=strength, seed=1, steps=10).pixels[0] * 255 - np.array(image)
        ).mean()
        for strength in (0.1, 0.4, 0.9)
    ]
    assert distances == sorted(distances)


def test_strength_sets_the_number_of_steps(pipe):
    frames = [frame for frame in pipe.stream("x", image=picture(), strength=0.3, seed=1, steps=10) if not frame.result]
    assert [frame.step for frame in frames] == [1, 2, 3] and {frame.steps for frame in frames} == {3}


def test_a_picture_keeps_its_shape_at_the_models_size(pipe):
    result = pipe.generate("x", image=picture(300, 150), seed=1, steps=2)
    assert result.images[0].size == (184, 88)
    assert pipe.generate("x", image=picture(300, 150), seed=1, steps=2, width=64, height=64).images[0].size == (64, 64)


def test_what_is_not_masked_stays_as_it_was(pipe):
    image, hole = picture(), mask()
    result = pipe.generate("x", image=image, mask=hole, mask_blur=0, seed=1, steps=3)
    outside = np.array(hole) == 0
    assert np.array_equal(np.array(result.images[0])[outside], np.array(image)[outside])
    assert not np.array_equal(np.array(result.images[0])[~outside], np.array(image)[~outside])


def test_only_the_masked_region_is_painted_at_full_size(pipe):
    image, hole = picture(400, 320), mask(400, 320)
    result = pipe.generate("x", image=image, mask=hole, only_masked=True, padding=8, mask_blur=0, seed=1, steps=2)
    assert result.images[0].size == (400, 320) and result.latents.shape[2:] == (16, 16)
    outside = np.array(hole) == 0
    assert np.array_equal(np.array(result.images[0])[outside], np.array(image)[outside])


def test_outpainting_adds_pixels_around_the_picture(pipe):
    image = picture(64, 64)
    result = pipe.generate("x", image=image, outpaint=[32, 0, 16, 8], mask_blur=0, seed=1, steps=2)
    assert result.images[0].size == (112, 72)
    assert np.array_equal(np.array(result.images[0])[16:48, 48:80], np.array(image)[16:48, 16:48])


@pytest.mark.parametrize("enlarger", ["latent", "lanczos"])
def test_a_second_pass_makes_it_larger(pipe, enlarger):
    frames = list(pipe.stream("x", seed=1, steps=4, hires=1.5, hires_strength=0.5, hires_steps=6, enlarger=enlarger))
    assert frames[-1].result.images[0].size == (192, 192)
    assert [frame.step for frame in frames[:-1]] == [1, 2, 3, 4, 5, 6, 7] and frames[0].steps == 7


def test_cancelling_from_another_thread_takes_effect_within_a_step(pipe):
    stop, painted = threading.Event(), []

    def paint():
        with pytest.raises(Cancelled):
            for frame in pipe.stream("x", seed=1, steps=500, stop=stop.is_set):
                painted.append(frame.step)
                seen.set()

    seen = threading.Event()
    thread = threading.Thread(target=paint)
    thread.start()
    seen.wait(10)
    stop.set()
    thread.join(10)
    assert not thread.is_alive() and len(painted) < 500
    assert pipe.generate("x", seed=1, steps=2).images


@pytest.mark.parametrize("calls", range(10))
def test_cancelling_at_every_stage_leaves_a_usable_pipeline(pipe, calls):
    """`stop` is asked before the text, every step and the decoder: say so at each of them."""
    before = pipe.generate("x", image=picture(), hires=1.5, seed=1, steps=3).pixels
    asked = iter([False] * calls + [True] * 100)
    with pytest.raises(Cancelled):
        pipe.generate("x", image=picture(), hires=1.5, seed=1, steps=3, stop=lambda: next(asked))
    assert np.array_equal(before, pipe.generate("x", image=picture(), hires=1.5, seed=1, steps=3).pixels)


def test_two_threads_may_share_a_pipeline(pipe):
    alone = [pipe.generate("x", seed=seed, steps=5, width=64 + 8 * seed).pixels for seed in range(4)]
    together = [None] * 4

    def paint(seed):
        together[seed] = pipe.generate("x", seed=seed, steps=5, width=64 + 8 * seed).pixels

    threads = [threading.Thread(target=paint, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(one, other) for one, other in zip(alone, together, strict=True))


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"strength": 1.5}, "strength"),
        ({"strength": -0.1}, "strength"),
        ({"strength": float("nan")}, "strength"),
        ({"strength": 0.0}, "strength"),
        ({"mask": mask(64, 64)}, "64"),
        ({"mask": Image.new("L", (128, 128), 0)}, "mask"),
        ({"only_masked": True}, "--mask"),
        ({"fill": "paint", "mask": mask()}, "original"),
        ({"outpaint": [0, 0, 0, 0]}, "four numbers"),
        ({"outpaint": [1, 2]}, "four numbers"),
        ({"outpaint": [8, 0, 0, 0], "mask": mask()}, "one after the other"),
        ({"image": "no/such/file.png"}, "no/such/file.png"),
        ({"image": None, "mask": mask()}, "--image"),
        ({"image": None, "strength": 0.5}, "--image"),
        ({"hires": 0.5}, "hires"),
        ({"hires": 1e9}, "hires"),
        ({"mask_blur": -1}, "mask_blur"),
        ({"padding": -1, "mask": mask(), "only_masked": True}, "padding"),
        ({"imgae": 1}, "did you mean 'image'"),
        ({"tile": "yes"}, "choose from xy"),
        ({"sigmas": "x,y"}, "list of numbers"),
        ({"sigmas": [1, 2, 3]}, "fall"),
        ({"sigmas": [10, 1], "timesteps": [900, 10]}, "one of them"),
        ({"sigmas": [10, 1], "steps": 3}, "leave those out"),
        ({"timesteps": [2000, 10]}, "0 to 999"),
        ({"guidance_start": 0.8, "guidance_end": 0.2}, "never on"),
        ({"rescale": 2}, "rescale"),
        ({"noise": "cuda"}, "philox"),
        ({"subseed_strength": 2}, "subseed_strength"),
        ({"clip_skip": 0}, "clip_skip"),
    ],
)
def test_bad_requests_are_refused_before_anything_is_loaded(wrong, message):
    pipe = pleinair.load(engine=Closed())
    with pytest.raises(RequestError) as caught:
        pipe.stream("a house", **{"image": picture(), **wrong})
    assert message in str(caught.value) and "\n" not in str(caught.value)
