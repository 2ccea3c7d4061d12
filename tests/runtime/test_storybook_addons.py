"""The add-ons that ship with storybook, seen at work: what they change in a picture, on both engines."""

import numpy as np
import pytest

import pleinair
from pleinair.pictures.preparing import canny

ENGINES = ("openvino", "onnx")
SIZE = {"width": 128, "height": 128}
CAT = {"prompt": "a yellow cat in a meadow on a sunny day", "seed": 3, **SIZE}


@pytest.fixture(scope="module", params=ENGINES)
def pipe(request):
    return pleinair.load(engine=request.param, precision="f32", threads=1)


@pytest.fixture(scope="module")
def plain(pipe):
    return pipe.generate(**CAT)


def edges(picture):
    return np.asarray(canny(picture))[..., 0] > 0


def near(marks, by=1):
    """What lies within so many pixels of marks."""
    wide = np.pad(marks, by)
    shifted = [np.roll(wide, (dy, dx), (0, 1)) for dy in range(-by, by + 1) for dx in range(-by, by + 1)]
    return np.any(shifted, 0)[by:-by, by:-by]


def test_chalk_turns_a_sunny_day_into_pale_lines_on_a_dark_board(pipe, plain):
    drawn = pipe.generate(**CAT, loras=["storybook-chalk"])
    before, after = plain.pixels[0], drawn.pixels[0]
    assert after.mean() < 0.7 * before.mean()
    board = np.median(after, (0, 1))
    assert board.max() < 0.45 and board.argmax() > 0
    colourful = [(each.max(-1) - each.min(-1)).mean() for each in (before, after)]
    assert colourful[1] < 0.6 * colourful[0]
    lines = [
        each.mean(-1)[edges(made.images[0])].mean() / each.mean() for each, made in ((before, plain), (after, drawn))
    ]
    assert lines[1] > 1.15 * lines[0]
    assert [(lora.name, lora.left_out) for lora in drawn.loras] == [("storybook-chalk", ())]


def test_four_steps_paint_what_the_prompt_says(pipe):
    """Half as many calls a step as with guidance, and a third of the steps."""
    asked = {"prompt": "a red house on a snowy hill at night", "seed": 3, **SIZE}
    quick = pipe.generate(**asked, loras=["storybook-lcm"])
    told = {name: quick.settings[name] for name in ("sampler", "steps", "guidance")}
    assert told == {"sampler": "lcm", "steps": 4, "guidance": 1.0} and "LCM-LoRA" in " ".join(quick.warnings)
    slow = pipe.generate(**asked).pixels[0]
    made = quick.pixels[0]
    sky, snow = made[:24].mean((0, 1)), made[104:].mean((0, 1))
    assert sky.max() < 0.45 and sky.argmax() == 2 and snow.mean() > 1.3 * sky.mean()
    reds = [((each[..., 0] > 0.45) & (each[..., 0] > 1.8 * each[..., 1])).mean() for each in (made, slow)]
    assert reds[0] > 0.02 and reds[1] > 0.02, reds


def test_the_small_vae_shows_the_same_picture_a_little_softer(pipe, plain):
    small = pipe.generate(**CAT, vae="storybook-tiny")
    error = np.square(small.pixels - plain.pixels).mean()
    assert 1e-5 < error < 3e-3, error
    assert small.settings["vae"] != plain.settings.get("vae")
    # The other way: a picture through both halves comes back.
    back = pipe.generate(**CAT, image=plain.images[0], strength=0.1, steps=10, vae="storybook-tiny")
    assert np.square(back.pixels - plain.pixels).mean() < 6e-3


def test_a_picture_follows_the_edges_that_it_is_shown(pipe):
    """Another house at another hour: its lines lie where those of the first one do."""
    first = pipe.generate("a red house on the right in a meadow by day", seed=9, **SIZE).images[0]
    asked = {"prompt": "a purple house in the snow at night", "seed": 3, **SIZE}
    lines = edges(first)

    def followed(picture):
        return lines[near(edges(picture), by=2)].sum() / lines.sum()

    shown = {"model": "storybook-edges", "image": first, "prepare": "canny"}
    free = pipe.generate(**asked)
    held = pipe.generate(**asked, controls=[shown])
    half = pipe.generate(**asked, controls=[{**shown, "end": 0.4}])
    assert followed(held.images[0]) > 0.7 > 0.5 > followed(free.images[0])
    assert followed(half.images[0]) > followed(free.images[0]) + 0.2
    assert np.abs(half.pixels - held.pixels).max() > 0.05
    night = held.pixels[0, :24].mean((0, 1))
    assert night.max() < 0.5 and night.argmax() == 2
