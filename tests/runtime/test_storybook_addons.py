"""The add-ons that ship with storybook, seen at work: what they change in a picture, on both engines."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

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


def sketched(wall=(30, 60, 90, 110), roof=((20, 62), (60, 25), (100, 62))):
    """A house of lines, white on black."""
    sketch = Image.new("RGB", (128, 128))
    draw = ImageDraw.Draw(sketch)
    draw.rectangle(wall, outline="white")
    draw.polygon(roof, outline="white")
    draw.line((0, 100, 30, 100), fill="white")
    draw.line((90, 100, 128, 100), fill="white")
    return sketch


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
