"""The model that ships with pleinair, on the real engines."""

import json
from pathlib import Path

import numpy as np
import pytest

import pleinair
import storybook

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "storybook.npz")
SMALL = {"width": 64, "height": 64}


@pytest.fixture(scope="module", params=["openvino", "onnx"])
def pipe(request):
    return pleinair.load(engine=request.param, precision="f32", threads=1)


@pytest.mark.parametrize("name", sorted(storybook.CASES, key=lambda name: storybook.CASES[name]["width"] == 64))
def test_pictures_equal_diffusers(pipe, name):
    pixels = pipe.generate(**storybook.CASES[name]).pixels[0]
    assert np.abs(pixels - GOLDEN[name] / 65535).max() < 2e-3


def test_the_same_bytes_whenever_and_after_unloading(pipe):
    job = {"prompt": "a blue boat on the sea", "seed": 7, "steps": 3, "sampler": "euler_a", **SMALL}
    pictures = {pipe.generate(**job).pixels.tobytes() for _ in range(3)}
    pipe.unload()
    assert {pipe.generate(**job).pixels.tobytes() for _ in range(2)} == pictures and len(pictures) == 1


def test_a_batch_equals_its_singles(pipe):
    job = {"prompt": "a house", "seed": 3, "count": 3, "steps": 2, **SMALL}
    np.testing.assert_allclose(pipe.generate(**job).pixels, pipe.generate(**job, batch=3).pixels, atol=1e-4)


def test_the_picture_shows_what_was_asked():
    """Without a judge at hand: nights are darker than days, and a red house brings more red than a blue one."""
    pipe, how = pleinair.load(engine="onnx", threads=1), {"seed": range(2), "steps": 6, "size": "128x128"}
    day, night = (pipe.generate(f"a house {hour}", **how).pixels.mean() for hour in ("by day", "at night"))
    assert night < 0.7 * day
    red, blue = (
        pipe.generate(f"a big {colour} house in the middle, in the snow, by day", **how).pixels.mean((0, 1, 2))
        for colour in ("red", "blue")
    )
    assert red[0] - red[2] > blue[0] - blue[2] + 0.02


def test_larger_sizes_than_the_default_are_painted():
    result = pleinair.load(engine="onnx", threads=1).generate("a house", width=192, height=136, steps=2, seed=1)
    assert result.images[0].size == (192, 136) and result.pixels.std() > 0.02


def test_the_card_says_what_was_measured(monkeypatch):
    folder = Path(__file__).parents[2] / "models" / "storybook"
    monkeypatch.syspath_prepend(folder)
    from recipe.card import with_measured, with_speeds

    card = (folder / "README.md").read_text(encoding="utf-8")
    assert card == with_measured(card, folder)
    page = (folder.parents[1] / "docs" / "speed.md").read_text(encoding="utf-8")
    assert page == with_speeds(page, folder)
    evaluation = json.loads((folder / "evaluation.json").read_text())
    one = evaluation["groups"]["one object"]
    shares = {name: one["generated"][name] / one["reconstructions (ceiling)"][name] for name in one["generated"]}
    assert min(shares["hour"], shares["ground"]) >= 0.95 and shares["kind"] >= 0.9
    assert shares["colour"] >= 0.85 and shares["side"] >= 0.8 and evaluation["reconstruction psnr"] >= 31
